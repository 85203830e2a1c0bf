"""Training volumes: a pure function of seed and number, whatever is learned of them."""

import numpy as np
import pytest
import torch

from mosaicell.classes import BACKGROUND, BORDER, CELL
from mosaicell.dataset import labelled
from mosaicell.volumes import TrainingVolumes
from phantoms import landscape_of, packed_cells

BOTH = ("distance", "classes")


def picture(seed, dimensions=3):
    """A labelled image of packed cells, as a microscope might show them."""
    shape = (1, 48, 40) if dimensions == 2 else (12, 24, 28)
    labels = packed_cells(shape, spacing=10, seed=seed)
    image = landscape_of(labels, seed=seed, blur=1, noise=0.1) // 64 + 100
    return labelled(image, labels, dimensions=dimensions)


def volumes(dimensions=3, share=0.0, seed=1, first=0, images=(), targets=("distance",)):
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
