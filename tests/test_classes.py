"""Classes: cells stay whole and apart, whatever their numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from mosaicell.classes import BACKGROUND, BORDER, CELL, classes_of
from phantoms import packed_cells


def test_a_cell_alone_keeps_its_voxels_and_two_that_touch_give_one_layer_each():
    labels = np.array([[[0, 0, 7, 7, 7, 0, 0, 3, 3, 3, 9, 9, 9]]], np.int32)
    expected = [0, 2, 1, 1, 1, 2, 2, 1, 1, 2, 2, 1, 1]
    np.testing.assert_array_equal(classes_of(labels)[0, 0], expected)


def test_cells_that_touch_by_a_corner_are_kept_apart():
    labels = np.zeros((1, 4, 4), np.int32)
    labels[0, :2, :2], labels[0, 2:, 2:] = 1, 2
    assert classes_of(labels)[0, 1, 1] == classes_of(labels)[0, 2, 2] == BORDER


@pytest.mark.parametrize("value", [0, 5])
def test_a_volume_of_one_kind_has_no_border(value):
    labels = np.full((3, 4, 5), value, np.int32)
    assert (classes_of(labels) == (CELL if value else BACKGROUND)).all()


@given(st.integers(0, 1000), st.sampled_from([(1, 30, 36), (10, 18, 16)]))
def test_pieces_of_interior_are_of_one_cell_each_and_border_is_a_layer(seed, shape):
    labels = packed_cells(shape, spacing=7, seed=seed).astype(np.int32)
    classes = classes_of(labels)
    interior, n = ndimage.label(classes == CELL, np.ones((3, 3, 3)))
    for number in range(1, n + 1):
        assert len(np.unique(labels[interior == number])) == 1
    # The plain way, voxel by voxel.
    wide = np.pad(labels, 1, mode="edge")
    for at in np.ndindex(*shape):
        near = set(wide[tuple(slice(i, i + 3) for i in at)].ravel()) - {0}
        own = labels[at]
        expected = BORDER if near - {own} else (CELL if own else BACKGROUND)
        assert classes[at] == expected
    numbers = np.random.default_rng(seed).permutation(int(labels.max())) + 1
    np.testing.assert_array_equal(
        classes_of(np.concatenate([[0], numbers])[labels].astype(np.int32)), classes
    )
