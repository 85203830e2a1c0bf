"""Tiles cover a volume once, whatever their shape, and boxes behave as the voxels they hold."""

from collections import Counter
from itertools import product
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosaicell.geometry import Box, Grid, cube

SHAPES = st.tuples(*[st.integers(1, 9)] * 3)
GRIDS = st.builds(Grid, SHAPES, st.tuples(*[st.integers(1, 12)] * 3))


@st.composite
def boxes(draw, shape=(9, 9, 9)) -> Box:
    """A box of at least one voxel inside a volume."""
    edges = [sorted(draw(st.sets(st.integers(0, n), min_size=2, max_size=2))) for n in shape]
    return Box(tuple(a for a, _ in edges), tuple(b for _, b in edges))


def voxels(box: Box) -> set:
    return set(product(*(range(a, b) for a, b in zip(box.start, box.stop, strict=True))))


@given(grid=GRIDS)
def test_the_tiles_of_a_grid_cover_every_voxel_once(grid):
    covered = np.zeros(grid.shape, int)
    for box in grid:
        assert all(0 < n <= t for n, t in zip(box.shape, grid.tile, strict=True))
        covered[box.slices] += 1
    assert (covered == 1).all()
    assert len(list(grid)) == len(grid)


@given(grid=GRIDS)
def test_tiles_are_numbered_in_raster_order(grid):
    starts = [box.start for box in grid]
    assert starts == sorted(starts)


@given(grid=GRIDS, data=st.data())
def test_the_tiles_that_overlap_a_box_are_found(grid, data):
    box = data.draw(boxes(grid.shape))
    expected = [i for i, tile in enumerate(grid) if tile.intersection(box).size > 0]
    assert grid.overlapping(box) == expected


@given(grid=GRIDS, jobs=st.integers(1, 12))
def test_the_shares_of_the_jobs_are_all_tiles_in_order_and_even(grid, jobs):
    shares = [grid.share(job, jobs) for job in range(jobs)]
    assert [tile for share in shares for tile in share] == list(range(len(grid)))
    lengths = Counter(map(len, shares))
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("index", [-1, 8, 100])
def test_a_tile_that_does_not_exist_is_an_index_error(index):
    with pytest.raises(IndexError, match=f"tile {index} of 8"):
        Grid((4, 4, 4), (2, 2, 2))[index]


@given(a=boxes(), b=boxes())
def test_a_box_holds_as_many_voxels_as_its_size_says(a, b):
    common = a.intersection(b)
    assert common.size == len(voxels(a) & voxels(b))
    if common.size:
        assert voxels(common) == voxels(a) & voxels(b)
    assert a.size == len(voxels(a)) == np.prod(a.shape)


@given(box=boxes(), halo=st.tuples(*[st.integers(0, 4)] * 3))
def test_a_halo_reaches_as_far_as_the_volume_lets_it(box, halo):
    within = (9, 9, 9)
    grown = box.grown(halo, within)
    for a, b, start, stop, h, n in zip(
        grown.start, grown.stop, box.start, box.stop, halo, within, strict=True
    ):
        assert a == max(0, start - h)
        assert b == min(n, stop + h)


@given(box=boxes(), outer=boxes())
def test_a_box_seen_from_another_finds_the_same_voxels_in_its_array(box, outer):
    volume = np.arange(9**3).reshape(9, 9, 9)
    inner = box.intersection(outer)
    if inner.size:
        part = volume[outer.slices]
        np.testing.assert_array_equal(
            part[inner.seen_from(outer.start).slices], volume[inner.slices]
        )


@pytest.mark.parametrize(
    ("shape", "voxels", "expected"),
    [
        ((1000, 1000, 1000), 64**3, (64, 64, 64)),
        ((1000, 1000, 1000), 256**3, (256, 256, 256)),
        ((1, 2000, 2000), 64**3, (1, 512, 512)),
        ((1, 1, 1), 64**3, (1, 1, 1)),
        ((30, 128, 128), 64**3, (32, 64, 128)),
        ((3, 5, 7), 64**3, (4, 8, 8)),
    ],
)
def test_a_cube_is_as_cubic_as_the_volume_allows(shape, voxels, expected):
    assert cube(shape, voxels) == expected


@given(shape=st.tuples(*[st.integers(1, 3000)] * 3), exponent=st.integers(0, 24))
def test_a_cube_has_no_more_voxels_than_allowed_and_edges_that_are_powers_of_two(shape, exponent):
    edges = cube(shape, 2**exponent)
    assert prod(edges) <= 2**exponent
    for edge, length in zip(edges, shape, strict=True):
        assert edge.bit_count() == 1
        assert edge < 2 * length
