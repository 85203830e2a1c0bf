"""Texture: that of scikit-image in a plane, and of a plain program in a volume."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.feature import graycomatrix, graycoprops

from mosaicell.columns import TEXTURES
from mosaicell.surface import DIRECTIONS
from mosaicell.texture import texture


def measured(labels, image, levels):
    box = np.array([[0, 0, 0, *labels.shape]])
    limits = (0, levels)
    return texture(labels, image, levels=levels, limits=limits, ids=np.array([1]), boxes=box)[0]


def plain_texture(mask, grey, levels):
    """Features of scikit-image, from pairs that are counted one by one."""
    matrices = []
    for step in DIRECTIONS:
        matrix = np.zeros((levels, levels))
        for here in np.argwhere(mask):
            there = here + step
            if ((there >= 0) & (there < mask.shape)).all() and mask[tuple(there)]:
                matrix[grey[tuple(here)], grey[tuple(there)]] += 1
        if matrix.any():
            matrices.append((matrix + matrix.T) / (2 * matrix.sum()))
    if not matrices:
        return np.full(len(TEXTURES), np.nan)
    stacked = np.stack(matrices, -1)[:, :, np.newaxis]
    return [graycoprops(stacked, name).mean() for name in TEXTURES]


@given(st.integers(0, 2**31), st.sampled_from([2, 5, 16]))
def test_features_are_those_of_scikit_image(seed, levels):
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(1, 5, 3)) < 0.7
    image = rng.integers(0, levels, mask.shape)
    found = measured(mask.astype(int), image, levels)
    np.testing.assert_allclose(found, plain_texture(mask, image, levels), rtol=1e-9, atol=1e-12)


def test_a_plane_has_the_texture_of_its_co_occurrence_matrix():
    image = np.random.default_rng(0).integers(0, 8, (20, 30)).astype(np.uint8)
    angles = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
    matrix = graycomatrix(image, [1], angles, levels=8, symmetric=True, normed=True)
    found = measured(np.ones((1, 20, 30), int), image[np.newaxis], 8)
    expected = [graycoprops(matrix, name).mean() for name in TEXTURES]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize(("value", "level"), [(-5, 0), (0, 0), (9.9, 3), (10, 3), (99, 3)])
def test_values_beyond_the_limits_are_of_the_outer_levels(value, level):
    labels = np.ones((1, 1, 2), int)
    image = np.array([[[0.0, value]]])
    contrast = texture(
        labels,
        image,
        levels=4,
        limits=(0, 10),
        ids=np.array([1]),
        boxes=np.array([[0, 0, 0, 1, 1, 2]]),
    )[0, 0]
    assert contrast == level**2


def test_a_single_voxel_has_no_texture():
    assert np.isnan(measured(np.ones((1, 1, 1), int), np.zeros((1, 1, 1)), 4)).all()
