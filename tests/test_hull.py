"""Hulls: of as many voxels as a plain program counts, however flat the cell."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import ConvexHull
from skimage.measure import regionprops_table

from mosaicell.hull import hull_voxels
from phantoms import ellipsoid, packed_cells


def hull_of(mask):
    return hull_voxels(mask.astype(int), np.array([1]), np.array([[0, 0, 0, *mask.shape]]))[0]


def plain_hull_of(mask):
    """Voxels in the hull of all face centres, by Qhull."""
    steps = np.concatenate((np.eye(3), -np.eye(3))) / 2
    points = (np.argwhere(mask)[:, np.newaxis] + steps).reshape(-1, 3)
    planes = ConvexHull(points).equations
    centres = np.indices(mask.shape).reshape(3, -1)
    return ((planes[:, :3] @ centres + planes[:, 3:]) <= 1e-9).all(0).sum()


@given(st.integers(0, 2**31))
def test_a_hull_has_as_many_voxels_as_that_of_qhull(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(1, 10, 3)) < rng.random() ** 2
    if mask.any():
        assert hull_of(mask) == plain_hull_of(mask)


@given(st.integers(0, 2**31), st.permutations(range(3)), st.booleans())
def test_a_hull_does_not_depend_on_how_the_cell_lies(seed, axes, mirrored):
    rng = np.random.default_rng(seed)
    mask = rng.random((6, 8, 9)) < rng.choice((0.01, 0.1, 0.7))
    mask[2, 3, 4] = True
    turned = mask.transpose(axes)[:: -1 if mirrored else 1]
    assert hull_of(turned) == hull_of(mask)


def test_cells_have_the_hulls_of_scikit_image():
    labels = packed_cells((48, 48, 48), spacing=15, seed=0)
    ids = np.arange(1, labels.max() + 1)
    known = regionprops_table(labels, properties=("label", "area_convex", "bbox"))
    boxes = np.stack([known[f"bbox-{k}"] for k in range(6)], -1)
    np.testing.assert_array_equal(hull_voxels(labels, ids, boxes), known["area_convex"])


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (1, 1, 9), (1, 7, 1), (5, 1, 1), (1, 4, 5), (3, 4, 5)]
)
def test_a_box_is_its_own_hull_however_flat(shape):
    assert hull_of(np.ones(shape, bool)) == np.prod(shape)


def test_a_hollow_cell_has_the_hull_of_the_full_one():
    full = ellipsoid((9, 7, 8), (1, 1, 1)) > 0
    hollow = full.copy()
    hollow[5:-5, 5:-5, 5:-5] = False
    assert hull_of(hollow) == hull_of(full)


def test_a_large_cell_needs_no_larger_numbers():
    mask = np.zeros((2, 2, 2**18), bool)
    mask[0, 0, 0] = mask[1, 1, -1] = mask[0, 1, 2**17] = True
    assert hull_of(mask) >= 3
