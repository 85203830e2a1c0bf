"""Labelled images: what is read is what was drawn, and what cannot be learned from is refused."""

import numpy as np
import pytest
import tifffile

from mosaicell.dataset import labelled, median_diameter, open_labelled
from mosaicell.distance import normalised_distance
from mosaicell.sources import open_source
from phantoms import landscape_of, packed_cells
from running import write_ome_zarr


def balls(shape, radii, voxel_size=(1.0, 1.0, 1.0)) -> np.ndarray:
    """Balls (discs, in one plane) in a row along x, each with room around."""
    labels = np.zeros(shape, np.uint16)
    x = 2.0
    for number, radius in enumerate(radii, start=1):
        centre = [shape[0] * voxel_size[0] / 2, shape[1] * voxel_size[1] / 2, x + radius]
        axes = (
            (np.arange(n) + 0.5) * v - c for n, v, c in zip(shape, voxel_size, centre, strict=True)
        )
        z, y, x_away = np.ix_(*axes)
        z = z if shape[0] > 1 else z * 0
        labels[z**2 + y**2 + x_away**2 < radius**2] = number
        x += 2 * radius + 2
    return labels


@pytest.mark.parametrize(
    ("shape", "voxel_size"),
    [((1, 40, 80), (1.0, 1.0, 1.0)), ((40, 40, 80), (1.0, 1.0, 1.0)), ((20, 80, 80), (2, 0.5, 1))],
)
def test_the_diameter_of_round_cells_is_measured(shape, voxel_size):
    labels = balls(shape, (5, 6, 9), voxel_size)
    assert median_diameter(labels, voxel_size=voxel_size) == pytest.approx(12, rel=0.04)


def test_cells_that_the_border_cuts_do_not_count_if_there_are_others():
    labels = balls((1, 40, 60), (6, 8))
    labels[0, :9, :7] = 3
    assert median_diameter(labels) == pytest.approx(14, rel=0.05)
    cut = (labels == 3).astype(np.uint16)
    assert median_diameter(cut) == pytest.approx(np.sqrt(9 * 7 * 4 / np.pi))


def test_numbers_of_cells_do_not_matter_and_the_target_knows_the_voxel_size():
    labels = packed_cells((10, 30, 40), spacing=9, seed=1)
    image = landscape_of(labels, seed=1)
    names = np.array([0, *np.random.default_rng(0).choice(2**31, labels.max(), False)], np.uint32)
    size = (2.0, 0.5, 0.5)
    one = labelled(image, labels, dimensions=3, voxel_size=size)
    other = labelled(image, names[labels], dimensions=3, voxel_size=size)
    np.testing.assert_array_equal(one.target, normalised_distance(labels, voxel_size=size))
    np.testing.assert_array_equal(one.target, other.target)
    assert sorted(np.unique(other.labels)) == list(range(labels.max() + 1))
    assert one.diameter == other.diameter
    for number, (z, y, x) in enumerate(one.centres, start=1):
        found = [axis.mean() for axis in np.nonzero(labels == number)]
        assert found == pytest.approx([z, y, x])


def test_brightness_is_normalised_and_halved_level_by_level():
    labels = packed_cells((1, 70, 90), spacing=9, seed=1)
    picture = labelled(landscape_of(labels, seed=1), labels, dimensions=2)
    assert [factors for factors, _ in picture.levels] == [(1, f, f) for f in (1, 2, 4, 8)]
    (_, fine), (_, coarse) = picture.levels[:2]
    assert (fine.dtype, coarse.dtype) == (np.float32, np.float32)
    assert fine.max() <= 1.5
    assert coarse[0, 3, 4] == pytest.approx(fine[0, 6:8, 8:10].mean())


def test_a_diameter_brings_cells_to_the_model():
    labels = packed_cells((10, 30, 40), spacing=9, seed=1)
    picture = labelled(labels, labels, dimensions=3, voxel_size=(2.0, 0.5, 0.5), diameter=4.0)
    assert picture.scale(12.0) == (6.0, 1.5, 1.5)


def write(folder, name, values, **metadata):
    tifffile.imwrite(folder / name, values, **metadata)
    return open_source(folder / name)


def test_files_are_read_as_they_are(tmp_path):
    labels = packed_cells((1, 30, 40), spacing=9, seed=1).astype(np.uint16)
    image = landscape_of(labels, seed=1)
    found = open_labelled(
        write(tmp_path, "i.tif", image[0]), write(tmp_path, "l.tif", labels[0]), dimensions=2
    )
    expected = labelled(image, labels, dimensions=2)
    np.testing.assert_array_equal(found.levels[0][1], expected.levels[0][1])
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert found.voxel_size == (1, 1, 1)


PLANE = np.zeros((30, 40), np.uint16)
PLANE[5:9, 5:9] = 1
VOLUME = np.stack([PLANE] * 5)


@pytest.mark.parametrize(
    ("image", "labels", "given", "said"),
    [
        (PLANE, PLANE[1:], {}, "the label image has the shape"),
        (PLANE, PLANE.astype(np.float32), {}, "channels of float32; allowed is one channel"),
        (PLANE, PLANE.astype(np.int16) - 1, {}, "holds -1; allowed are 0"),
        (PLANE, PLANE * 0, {}, "names no cell"),
        (PLANE, PLANE, {"channel": 1}, "channel 1 is to be segmented"),
        (PLANE, PLANE, {"diameter": 4.0}, "how large a voxel is"),
        (PLANE, PLANE, {"dimensions": 3}, "has 1 planes, and train.dimensions is 3; allowed is a"),
        (VOLUME, VOLUME, {}, "has 5 planes, and train.dimensions is 2; allowed is a single"),
    ],
)
def test_what_cannot_be_learned_from_is_refused_in_one_sentence(
    tmp_path, image, labels, given, said
):
    opened = write(tmp_path, "i.tif", image), write(tmp_path, "l.tif", labels)
    with pytest.raises(ValueError, match=r"allowed|needed") as refusal:
        open_labelled(*opened, **{"dimensions": 2} | given)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_movie_is_refused(tmp_path):
    movie = np.stack([PLANE] * 3)
    opened = [
        write(tmp_path, name, movie, imagej=True, metadata={"axes": "TYX"})
        for name in ("i.tif", "l.tif")
    ]
    with pytest.raises(ValueError, match="has 3 frames; allowed is one"):
        open_labelled(*opened, dimensions=2)


def test_an_image_without_cells_is_background_if_the_diameter_is_known():
    picture = labelled(PLANE[None], PLANE[None] * 0, dimensions=2, diameter=9.0)
    assert picture.target.max() == 0
    assert len(picture.centres) == 0


@pytest.mark.parametrize("dimensions", [2, 3])
def test_an_ome_zarr_with_its_labels_is_read_as_its_arrays_are(tmp_path, dimensions):
    labels = packed_cells((1 if dimensions == 2 else 10, 30, 40), spacing=9, seed=1)
    channels = np.stack([landscape_of(labels, seed=seed) for seed in (1, 2)])
    size = (2.0, 0.5, 0.5)
    path = tmp_path / "a.ome.zarr"
    write_ome_zarr(path, channels, labels.astype(np.uint32), voxel_size=size)
    found = open_labelled(
        open_source(path), open_source(path / "labels/cells"), dimensions=dimensions, channel=1
    )
    expected = labelled(channels[1], labels, dimensions=dimensions, voxel_size=size)
    assert found.voxel_size == size
    assert found.diameter == expected.diameter
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.target, expected.target)
    np.testing.assert_array_equal(found.levels[0][1], expected.levels[0][1])
