"""Surface and Euler number: near the truth for ellipsoids, and those of scikit-image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import elliprg
from skimage.measure import euler_number, perimeter_crofton

from mosaicell.surface import count_crossings, perimeter, surface_area
from phantoms import ellipsoid


def crossings_of(labels):
    box = np.array([[0, 0, 0, *labels.shape]])
    return count_crossings(labels, np.array([1]), box)


def area_of_ellipsoid(a, b, c):
    """Carlson 1995 (doi 10.1007/BF02198293): 4 pi times his integral R_G."""
    return 4 * np.pi * elliprg((a * b) ** 2, (a * c) ** 2, (b * c) ** 2)


@pytest.mark.parametrize(
    ("half_axes", "voxel_size", "within"),
    [
        ((10, 10, 10), (1, 1, 1), 0.01),
        ((5, 5, 5), (1, 1, 1), 0.02),
        ((14, 8, 6), (1, 1, 1), 0.02),
        ((10, 10, 10), (2, 0.5, 0.5), 0.03),
        ((10, 10, 10), (1, 0.5, 0.25), 0.03),
        ((12, 6, 6), (2, 1, 1), 0.05),
        ((5, 12, 9), (1, 0.5, 0.5), 0.05),
        ((20, 5, 5), (0.8, 0.3, 0.3), 0.08),
    ],
)
def test_the_surface_of_an_ellipsoid_is_near_the_truth(half_axes, voxel_size, within):
    labels = ellipsoid(half_axes, voxel_size)
    area = surface_area(crossings_of(labels), np.array(voxel_size))
    assert area == pytest.approx(area_of_ellipsoid(*half_axes), rel=within)


@pytest.mark.parametrize("pixel_size", [(1, 1), (0.5, 0.5), (0.6, 0.3)])
def test_the_perimeter_of_an_ellipse_is_near_the_truth(pixel_size):
    labels = ellipsoid((0.5, 12, 12), (1, *pixel_size))
    length = perimeter(crossings_of(labels), np.array((1, *pixel_size)))
    assert length == pytest.approx(2 * np.pi * 12, rel=0.03)


@given(st.integers(0, 2**31))
def test_the_perimeter_is_that_of_scikit_image(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(1, 12, 2)) < rng.random()
    ours = perimeter(crossings_of(mask[np.newaxis].astype(int)), np.ones(3))
    assert ours == pytest.approx(perimeter_crofton(np.pad(mask, 1), directions=4), rel=1e-12)


@given(st.integers(0, 2**31))
def test_the_euler_number_is_that_of_scikit_image(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(1, 9, 3)) < rng.random()
    assert crossings_of(mask.astype(int))[0, -1] == euler_number(mask, connectivity=3)
    plane = mask[0]
    assert crossings_of(plane[np.newaxis].astype(int))[0, -1] == euler_number(plane, connectivity=2)


@given(st.integers(0, 2**31), st.permutations(range(3)))
def test_the_surface_does_not_depend_on_the_order_of_the_axes(seed, axes):
    rng = np.random.default_rng(seed)
    mask = (rng.random((5, 6, 7)) < 0.5).astype(int)
    size = np.array([2.0, 0.7, 0.4])
    turned = surface_area(crossings_of(mask.transpose(axes)), size[list(axes)])
    assert turned == pytest.approx(surface_area(crossings_of(mask), size), rel=1e-9)


def test_the_surface_grows_with_the_square_of_the_voxel_size():
    crossings = crossings_of(ellipsoid((4, 5, 6), (1, 1, 1)))
    size = np.array([1.5, 1.0, 0.5])
    assert surface_area(crossings, 3 * size) == pytest.approx(9 * surface_area(crossings, size))
