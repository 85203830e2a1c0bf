"""Intensities and background: those of plain numpy and scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from mosaicell.brightness import STATISTICS, background, brightness
from mosaicell.ring import ring_of
from test_contacts import boxes_of

SIZE = (1.3, 0.7, 0.5)


@given(st.integers(0, 2**31), st.booleans())
def test_statistics_and_centroids_are_those_of_numpy(seed, whole):
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 10, 3)
    labels = rng.integers(0, 4, shape)
    image = rng.integers(0, 9, (2, *shape)) if whole else rng.normal(50, 20, (2, *shape))
    ids, boxes = boxes_of(labels)
    levels = rng.normal(50, 20, (ids.size, 2))
    found = brightness(image, labels, ids=ids, boxes=boxes, background=levels)
    for channel, row in np.ndindex(2, ids.size):
        mask = labels == ids[row]
        values = image[channel][mask]
        quartiles = np.percentile(values, (25, 50, 75))
        expected = (values.mean(), values.std(), values.min(), values.max(), *quartiles)
        assert len(expected) == len(STATISTICS)
        np.testing.assert_allclose(found[channel, row, :7], expected, rtol=1e-12, atol=1e-12)
        places = np.argwhere(mask) - boxes[row, :3]
        above = np.maximum(values - levels[row, channel], 0)
        for weights, centroid in (
            (values, found[channel, row, 7:10]),
            (above, found[channel, row, 10:]),
        ):
            if weights.sum() > 0:
                expected = (places * weights[:, None]).sum(0) / weights.sum()
                np.testing.assert_allclose(centroid, expected, rtol=1e-9, atol=1e-9)
            else:
                assert np.isnan(centroid).all()


@given(
    st.integers(0, 2**31), st.sampled_from([{"um": 1.5}, {"voxel": 1}, {"voxel": 2.5}, {"um": 3}])
)
def test_the_ring_is_what_lies_near_a_cell_and_in_no_other(seed, width):
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 9, 3)
    labels = rng.integers(1, 4, shape) * (rng.random(shape) < rng.random())
    image = rng.integers(0, 1000, (2, *shape)).astype(np.uint16)
    ids, boxes = boxes_of(labels)
    ring = ring_of(**width, voxel_size=SIZE)
    sizes, medians = background(image, labels, ids=ids, boxes=boxes, ring=ring)
    for row, label in enumerate(ids):
        sampling = SIZE if "um" in width else (1, 1, 1)
        distance = distance_transform_edt(labels != label, sampling=sampling)
        near = (distance <= max(width.values()) + 1e-9) & (labels == 0)
        assert sizes[row] == near.sum()
        for channel in range(2):
            if near.any():
                assert medians[row, channel] == np.median(image[channel][near])
            else:
                assert np.isnan(medians[row, channel])


@pytest.mark.parametrize(
    ("width", "voxel_size", "said"),
    [
        ({"um": 1.0}, None, "neither the sample sheet nor the image file says"),
        ({"um": 30.0}, (1.0, 0.2, 0.2), "150 voxels wide; allowed are up to 64"),
        ({"voxel": 65}, None, "65 voxels wide"),
    ],
)
def test_a_ring_that_cannot_be_read_is_refused(width, voxel_size, said):
    with pytest.raises(ValueError, match=said) as refusal:
        ring_of(**width, voxel_size=voxel_size)
    assert "allowed" in str(refusal.value)
