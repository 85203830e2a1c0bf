"""A rim gives every outermost voxel of a core its fragment."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mosaicell.geometry import Grid
from mosaicell.rim import fragments_at, rim

SHAPES = st.tuples(*[st.integers(1, 7)] * 3)


@given(SHAPES, SHAPES)
def test_the_fragment_of_each_voxel_beside_another_tile_is_found(volume, tile_shape):
    grid = Grid(volume, tile_shape)
    voxels = np.arange(np.prod(volume)).reshape(volume)
    for core in grid:
        fragments = (voxels[core.slices] + 1).astype(np.uint32)
        beside = np.zeros(volume, bool)
        for other in grid:
            if other != core:
                beside[other.grown((1, 1, 1), volume).slices] = True
        sought = voxels[core.slices][beside[core.slices]]
        found = fragments_at(rim(fragments, volume), core, volume, sought)
        np.testing.assert_array_equal(found, sought + 1)


def test_a_volume_of_one_tile_has_no_rim():
    assert rim(np.ones((3, 4, 5), np.uint32), (3, 4, 5)).size == 0
