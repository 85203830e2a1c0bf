"""Synthetic volumes: reproducible, varied, and labelled as promised."""

import numpy as np
import pytest
from skimage.measure import label as connected_components

from mosaicell.synthesis import synthesise
from mosaicell.synthetic_shapes import MAX_RADIUS, MIN_VOXELS


@pytest.mark.parametrize("seed", [0, (1, 2, 3)])
def test_a_seed_names_a_volume(seed):
    image, labels = synthesise(seed, (24, 32, 40))
    again, labels_again = synthesise(seed, (24, 32, 40))
    assert (image.dtype, labels.dtype) == (np.uint16, np.int32)
    assert image.shape == labels.shape == (24, 32, 40)
    assert np.array_equal(image, again)
    assert np.array_equal(labels, labels_again)
    assert not np.array_equal(image, synthesise(99, (24, 32, 40))[0])


@pytest.mark.parametrize("seed", range(8))
def test_labels_are_consecutive_connected_and_of_nuclear_size(seed):
    _, labels = synthesise(seed)
    n = labels.max()
    assert n >= 1
    sizes = np.bincount(labels.ravel())[1:]
    assert sizes.min() >= MIN_VOXELS
    assert sizes.max() < (2 * MAX_RADIUS) ** 3
    assert connected_components(labels, connectivity=1).max() == n


def test_volumes_range_from_sparse_to_packed_and_from_clear_to_hidden():
    volumes = [synthesise(seed, (48, 48, 48)) for seed in range(40)]
    filled = np.array([(labels > 0).mean() for _, labels in volumes])
    assert filled.min() < 0.05
    assert filled.max() > 0.3
    contrast = np.array(
        [
            (image[labels > 0].mean() - image[labels == 0].mean()) / image[labels == 0].std()
            for image, labels in volumes
        ]
    )
    assert contrast.min() < 2
    assert contrast.max() > 5
    assert np.median(contrast) > 0.5
