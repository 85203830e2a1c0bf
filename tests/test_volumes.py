"""Training volumes: a pure function of seed and number, whatever is learned of them."""

import numpy as np
import pytest
import torch

from mosaicell.classes import BACKGROUND, BORDER, CELL
from mosaicell.dataset import labelled, median_diameter
from mosaicell.synthetic.shapes import NOMINAL_DIAMETER
from mosaicell.volumes import TrainingVolumes, held_out
from phantoms import landscape_of, packed_cells

BOTH = ("distance", "classes")


def picture(seed, dimensions=3):
    """A labelled image of packed cells, as a microscope might show them."""
    shape = (1, 48, 40) if dimensions == 2 else (12, 24, 28)
    labels = packed_cells(shape, spacing=10, seed=seed)
    image = landscape_of(labels, seed=seed, blur=1, noise=0.1) // 64 + 100
    return labelled(image, labels, dimensions=dimensions)


def volumes(dimensions=3, share=0.0, seed=1, first=0, images=(), targets=("distance",), rim=0.0):
    return TrainingVolumes(
        images=list(images),
        synthetic_share=share,
        seed=seed,
        first=first,
        last=20,
        edge=16,
        dimensions=dimensions,
        nominal_diameter=12.0,
        targets=targets,
        rim=rim,
    )


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_volume_depends_on_seed_and_number_alone(dimensions, share):
    images = [picture(1, dimensions), picture(2, dimensions)]

    def volume(seed, number, first):
        taken = volumes(dimensions, share, seed, first, images, BOTH)
        return taken[number - first]

    found = volume(1, 5, 0)
    assert set(found) == {"image", *BOTH}
    same = volume(1, 5, 3)
    for name, values in found.items():
        assert values.shape == (1, *[16] * dimensions)
        assert values.dtype == torch.float32
        assert torch.equal(values, same[name])
    assert not torch.equal(volume(1, 6, 0)["image"], found["image"])
    assert not torch.equal(volume(2, 5, 0)["image"], found["image"])


def test_a_share_of_the_volumes_is_synthetic():
    images = [picture(1)]
    synthetic, mixed, real = (volumes(share=share, images=images) for share in (1.0, 0.5, 0.0))
    of_mixed = [
        [torch.equal(mixed[i]["image"], other[i]["image"]) for other in (synthetic, real)]
        for i in range(20)
    ]
    assert all(sum(which) == 1 for which in of_mixed)
    assert 3 < sum(is_synthetic for is_synthetic, _ in of_mixed) < 17


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_what_else_is_learned_changes_no_volume_and_classes_lie_where_the_distance_does(
    dimensions, share
):
    images = [picture(1, dimensions)]
    alone, both, classes = (
        volumes(dimensions, share, images=images, targets=targets)
        for targets in (("distance",), BOTH, ("classes",))
    )
    seen = set()
    for i in range(8):
        assert torch.equal(alone[i]["image"], both[i]["image"])
        assert torch.equal(alone[i]["distance"], both[i]["distance"])
        assert torch.equal(classes[i]["classes"], both[i]["classes"])
        of_voxel = both[i]["classes"].numpy()
        seen |= set(np.unique(of_voxel))
        assert (both[i]["distance"].numpy()[of_voxel == CELL] > 0).all()
    assert seen == {BACKGROUND, CELL, BORDER}


def test_a_rim_lifts_the_target_inside_of_cells_alone():
    for i in range(5):
        plain, lifted = volumes()[i], volumes(rim=0.25)[i]
        assert torch.equal(plain["image"], lifted["image"])
        is_cell = plain["distance"] > 0
        assert torch.equal(lifted["distance"] > 0, is_cell)
        torch.testing.assert_close(
            lifted["distance"][is_cell], 0.25 + 0.75 * plain["distance"][is_cell]
        )


@pytest.mark.parametrize("dimensions", [2, 3])
def test_synthetic_cells_are_brought_to_the_models_diameter_as_those_of_an_image_are(dimensions):
    with_cells = [each for each in held_out(1, 6, dimensions=dimensions) if each.labels.any()]
    assert len(with_cells) > 2
    for each in with_cells:
        assert each.diameter == median_diameter(each.labels)
        assert each.diameter * each.scale(15.0)[2] == pytest.approx(15)


def test_a_synthetic_volume_without_nuclei_has_a_diameter_too(monkeypatch):
    empty = np.zeros((8, 8, 8), np.uint16), np.zeros((8, 8, 8), np.int32)
    monkeypatch.setattr("mosaicell.volumes.synthesise", lambda *_: empty)
    assert held_out(0, 1, dimensions=3)[0].diameter == NOMINAL_DIAMETER
    assert not volumes(share=1.0)[0]["distance"].any()
