"""The normalised distance against shapes whose distances are known."""

import numpy as np
import pytest

from mosaicell.distance import normalised_distance


def ellipsoid(shape, centre, radii) -> np.ndarray:
    grids = np.ogrid[tuple(slice(n) for n in shape)]
    terms = (((g - c) / r) ** 2 for g, c, r in zip(grids, centre, radii, strict=True))
    return sum(terms) <= 1


@pytest.mark.parametrize("radius", [3, 6, 10])
def test_a_sphere_falls_linearly_from_its_centre(radius):
    shape, centre = (25, 27, 29), (12, 13, 14)
    labels = ellipsoid(shape, centre, (radius,) * 3).astype(np.uint16)
    found = normalised_distance(labels)
    grids = np.ogrid[tuple(slice(n) for n in shape)]
    away = np.sqrt(sum((g - c) ** 2 for g, c in zip(grids, centre, strict=True)))
    assert found.dtype == np.float32
    assert found[centre] == 1
    assert np.array_equal(found > 0, labels > 0)
    expected = 1 - away / (radius + 0.5)  # the surface lies half a voxel beyond the last one
    assert np.abs(found - expected)[labels > 0].max() < 1 / radius


def test_voxel_size_makes_a_flat_ellipsoid_the_sphere_that_it_is():
    flat = ellipsoid((21, 41, 41), (10, 20, 20), (8, 16, 16)).astype(np.int32)
    found = normalised_distance(flat, voxel_size=(2.0, 1.0, 1.0))
    assert found[10, 20, 20] == 1
    # Half way to the surface along each axis: the same distance in length.
    assert found[14, 20, 20] == pytest.approx(found[10, 28, 20], abs=0.07)
    assert found[10, 28, 20] == pytest.approx(0.5, abs=0.07)
    # Without the voxel size, the distance along z is all that counts.
    assert normalised_distance(flat)[10, 28, 20] > found[10, 28, 20] + 0.1


def test_only_the_ratios_of_the_voxel_size_matter():
    labels = ellipsoid((15, 15, 15), (7, 7, 7), (6, 5, 4)).astype(np.uint8)
    small = normalised_distance(labels, voxel_size=(2, 1, 1))
    assert np.allclose(small, normalised_distance(labels, voxel_size=(4, 2, 2)))


def test_touching_instances_stay_apart_and_each_peaks_at_1():
    labels = np.zeros((9, 9, 30), np.uint16)
    labels[1:8, 1:8, 1:8] = 7
    labels[1:8, 1:8, 8:29] = 3
    found = normalised_distance(labels)
    assert found[4, 4, 4] == 1  # the cube's centre
    assert found[labels == 3].max() == 1
    # A valley on both sides of the common face, equal to that at any other face.
    assert np.allclose(found[4, 4, [1, 7, 8, 28]], 0.25)


def test_the_volume_border_dents_no_instance():
    ball = ellipsoid((31, 31, 31), (15, 15, 15), (10, 10, 10)).astype(np.uint8)
    whole = normalised_distance(ball)
    assert np.array_equal(normalised_distance(ball[15:]), whole[15:])


@pytest.mark.parametrize("value", [0, 4])
def test_a_volume_of_one_value_is_all_background_or_all_deepest(value):
    found = normalised_distance(np.full((4, 5, 6), value, np.int64))
    assert (found == (value > 0)).all()


def test_an_empty_volume_stays_empty():
    assert normalised_distance(np.zeros((0, 4, 4), np.uint8)).shape == (0, 4, 4)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.int64])
def test_neither_dtype_nor_threads_nor_memory_layout_matter(dtype):
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 4, (5, 5, 5)), np.ones((4, 4, 4), int))
    expected = normalised_distance(labels.astype(np.uint16))
    other = np.asfortranarray(labels.astype(dtype))
    assert np.array_equal(normalised_distance(other, threads=3), expected)
