"""The seam report: right counts whatever the parts, and seams that are seen where they are."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

import mosaicell
from mosaicell.geometry import Box, Grid
from mosaicell.jobs.labels import gather_borders, lay_out_labels, write_labels
from mosaicell.jobs.tiles import tile_file
from mosaicell.records import Records
from mosaicell.rim import rim
from mosaicell.seams import find_seams, straight_borders
from mosaicell.store import DamagedError, shard_grid, write_arrays

CHOSEN = {"threshold": 0.45, "persistence": 0.05}
SHAPE = (96, 128, 128)
TILE = (32, 40, 48)


def borders_of(labels: np.ndarray) -> list[np.ndarray]:
    return straight_borders(labels, core=Box((0, 0, 0), labels.shape), volume=labels.shape)


def hills(shape=SHAPE, *, seed=0) -> np.ndarray:
    """A smooth random landscape with some hundred peaks."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    smooth = ndimage.gaussian_filter(noise, 3)
    return ((smooth - smooth.min()) / np.ptp(smooth)).astype(np.float32)


def naive(landscape: np.ndarray, tile=TILE) -> np.ndarray:
    """Each tile cut by itself, and nothing merged."""
    labels = np.zeros(landscape.shape, np.uint32)
    for box in Grid(landscape.shape, tile):
        part = mosaicell.watershed(landscape[box.slices], **CHOSEN)
        labels[box.slices] = np.where(part > 0, part + labels.max(), 0)
    return labels


def merged_by_contact(labels: np.ndarray, *, share: float) -> np.ndarray:
    """The common rule: cells that meet on a tile's border are one if they share enough of it."""
    n = int(labels.max()) + 1
    pairs = [np.empty((0, 2), np.int64)]
    for axis, (length, t) in enumerate(zip(labels.shape, TILE, strict=True)):
        for plane in range(t, length, t):
            a, b = (labels.take(p, axis).ravel() for p in (plane - 1, plane))
            sizes = np.bincount(a, minlength=n), np.bincount(b, minlength=n)
            touching = (a > 0) & (b > 0)
            pair, count = np.unique(
                np.stack((a[touching], b[touching]), -1), axis=0, return_counts=True
            )
            union = sizes[0][pair[:, 0]] + sizes[1][pair[:, 1]] - count
            pairs.append(pair[count >= share * union])
    a, b = np.concatenate(pairs).T
    names = connected_components(coo_array((np.ones(len(a)), (a, b)), shape=(n, n)))[1]
    return np.where(labels > 0, names[labels] + 1, 0).astype(np.uint32)


def without_small_parts(labels: np.ndarray) -> np.ndarray:
    """What is left if the smaller parts of cut cells are thrown away."""
    sizes = np.bincount(labels.ravel())
    small = sizes < np.median(sizes[sizes > 0]) / 2
    return np.where(small[labels], 0, labels)


def ratios(seams) -> list[float]:
    return [excess.found / excess.expected for excess in seams.excess]


def by_hand(labels: np.ndarray) -> list[np.ndarray]:
    """Every cube of the volume looked at in the plainest way."""
    wide = labels
    for axis in range(3):
        wide = np.repeat(wide, 2, axis) if labels.shape[axis] == 1 else wide
    counts = [np.zeros((2, n), np.int64) for n in labels.shape]
    for corner in product(*(range(1, n) for n in wide.shape)):
        cube = wide[tuple(slice(i - 1, i + 1) for i in corner)]
        for axis in range(3):
            a, b = (set(cube.take(i, axis).flat) for i in (0, 1))
            if len(a) == len(b) == 1 and a != b:
                counts[axis][int(0 in a | b), corner[axis]] += 1
    return counts


shapes = st.tuples(*[st.integers(1, 6)] * 3)
blocks = shapes.flatmap(lambda shape: hnp.arrays(np.uint32, shape, elements=st.integers(0, 3)))


@given(blocks, st.tuples(*[st.integers(1, 3)] * 3))
def test_every_cube_that_a_straight_border_halves_is_counted_once(labels, coarser):
    labels = labels.repeat(coarser[0], 0).repeat(coarser[1], 1).repeat(coarser[2], 2)
    for found, expected in zip(borders_of(labels), by_hand(labels), strict=True):
        np.testing.assert_array_equal(found, expected)


@given(blocks, shapes, st.sampled_from([np.uint8, np.uint16, np.uint32, np.uint64]))
def test_the_counts_of_parts_add_up_to_those_of_the_whole(labels, part, dtype):
    labels = labels.astype(dtype)
    total = [np.zeros((2, n), np.int64) for n in labels.shape]
    for core in Grid(labels.shape, part):
        read = Box(core.grown((1, 1, 1), labels.shape).start, core.stop)
        counts = straight_borders(labels[read.slices], core=core, volume=labels.shape)
        for axis in range(3):
            total[axis][:, core.slices[axis]] += counts[axis]
    for found, expected in zip(total, borders_of(labels), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_labels_of_another_part_are_refused():
    with pytest.raises(ValueError, match="the part needs"):
        straight_borders(
            np.zeros((4, 4, 4), np.uint32), core=Box((4, 0, 0), (8, 4, 4)), volume=(8, 4, 4)
        )


@pytest.mark.parametrize("tile", [(20, 30, 40), (7, 9, 40), (8, 8, 8), (1, 30, 5), (11, 13, 17)])
@pytest.mark.parametrize("shape", [(20, 30, 40), (1, 30, 40)])
def test_jobs_write_and_count_the_same_for_any_tiles(tmp_path, monkeypatch, shape, tile):
    monkeypatch.setattr("mosaicell.jobs.labels.SHARD_VOXELS", 8**3)
    monkeypatch.setattr("mosaicell.jobs.labels.CHUNK_VOXELS", 4**3)
    coarse = np.random.default_rng(0).integers(0, 4, (10, 10, 10)).astype(np.uint32)
    labels = coarse.repeat(2, 0).repeat(3, 1).repeat(4, 2)[: shape[0]]
    grid = Grid(shape, tile)
    for number, core in enumerate(grid):
        ids, fragments = np.unique(np.append(0, labels[core.slices]), return_inverse=True)
        fragments = fragments[1:].reshape(core.shape).astype(np.uint32)
        write_arrays(tile_file(tmp_path, number, "fragments"), {"fragments": fragments})
        write_arrays(tile_file(tmp_path, number, "rim"), {"rim": rim(fragments, shape)})
        write_arrays(tile_file(tmp_path, number, "cells"), {"ids": ids.astype(np.uint32)})
    levels = lay_out_labels(
        tmp_path / "labels", shape=shape, dtype=np.dtype(np.uint32), factors=[(1, 1, 1)]
    )
    array = levels[0][0]
    n = len(shard_grid(array))
    for job in (range(n // 3), range(n // 3, n)):
        records = Records(tmp_path / "records", "a")
        write_labels(
            tmp_path, levels, grid=grid, shards=job, records=records, what="test", threads=2
        )
    np.testing.assert_array_equal(array[:], labels)
    found = gather_borders(array, written=Records(tmp_path / "records", "a"))
    for counts, expected in zip(found, borders_of(labels), strict=True):
        np.testing.assert_array_equal(counts, expected)
    with pytest.raises(DamagedError, match="shard 0"):
        gather_borders(array, written=Records(tmp_path / "records", "b"))


@pytest.mark.parametrize("seed", range(3))
def test_the_exact_watershed_has_no_seam_and_naive_stitching_has(seed):
    landscape = hills(seed=seed)
    exact = mosaicell.watershed(landscape, **CHOSEN)
    assert exact.max() > 250
    seams = find_seams(borders_of(exact), tile=TILE)
    assert not seams.are_there
    assert seams.elsewhere == []
    assert all(abs(e.found - e.expected) < 4 * e.error < 2 * e.expected for e in seams.excess)

    cut = naive(landscape)
    seams = find_seams(borders_of(cut), tile=TILE)
    assert seams.are_there
    assert ratios(seams)[0] > 100
    assert len(seams.on_tiles) == 2 + 3 + 2

    seams = find_seams(borders_of(merged_by_contact(cut, share=0.25)), tile=TILE)
    assert seams.are_there
    assert ratios(seams)[0] > 8

    between, background = ratios(find_seams(borders_of(without_small_parts(cut)), tile=TILE))
    assert between > 100
    assert background > 4


def test_no_tiling_of_an_exact_result_is_taken_for_a_seam():
    rng = np.random.default_rng(0)
    for seed in range(3):
        borders = borders_of(mosaicell.watershed(hills(seed=seed), **CHOSEN))
        for tile in rng.integers(12, 80, (50, 3)):
            seams = find_seams(borders, tile=tuple(tile))
            assert len(seams.excess) == 2
            assert not seams.are_there


def test_a_landscape_that_jumps_where_tiles_meet_has_seams():
    landscape = hills()
    rng = np.random.default_rng(1)
    for box in Grid(SHAPE, TILE):
        landscape[box.slices] *= rng.uniform(0.85, 1.15)
    seams = find_seams(borders_of(mosaicell.watershed(landscape, **CHOSEN)), tile=TILE)
    assert seams.are_there
    assert ratios(seams)[1] > 3


@pytest.mark.parametrize(
    ("plane", "on_tiles", "elsewhere"), [(64, [(0, 64)], []), (50, [], [(0, 50)])]
)
def test_a_seam_on_one_plane_alone_is_seen_and_named(plane, on_tiles, elsewhere):
    labels = mosaicell.watershed(hills(), **CHOSEN)
    labels[plane:][labels[plane:] > 0] += labels.max()
    seams = find_seams(borders_of(labels), tile=TILE)
    assert seams.are_there == bool(on_tiles)
    assert (seams.on_tiles, seams.elsewhere) == (on_tiles, elsewhere)


def test_a_few_cells_cut_among_hundreds_are_a_seam():
    exact = mosaicell.watershed(hills(), **CHOSEN)
    crossing = np.intersect1d(exact[31], exact[32])[1:]
    labels = exact.copy()
    few = np.isin(labels[32:], crossing[::10])
    labels[32:][few] += labels.max()
    assert len(crossing[::10]) < 0.03 * exact.max()
    assert find_seams(borders_of(labels), tile=TILE).are_there


def test_a_flat_border_that_goes_on_beside_a_plane_is_no_seam():
    labels = np.ones((64, 64, 64), np.uint32)
    for z, stop in ((31, 20), (32, 40), (33, 64)):  # two cells that meet in three steps
        labels[z:, :stop] = 2
    counts = borders_of(labels)
    assert counts[0][0, 32] > 1000
    assert not find_seams(counts, tile=(32, 64, 64)).are_there
    labels = np.ones((64, 64, 64), np.uint32)
    labels[32:] = 2
    assert find_seams(borders_of(labels), tile=(32, 64, 64)).are_there


@pytest.mark.parametrize(
    ("tile", "n_planes", "is_compared"),
    [
        (SHAPE, (0, 0, 0), False),
        ((512, 512, 512), (0, 0, 0), False),
        ((512, 512, 40), (0, 0, 3), True),
        ((95, 128, 128), (1, 0, 0), True),
        ((2, 128, 128), (47, 0, 0), False),
        ((1, 1, 1), (95, 127, 127), False),
    ],
)
def test_planes_are_compared_where_there_are_others_to_compare_with(tile, n_planes, is_compared):
    counts = [np.full((2, n), 7) for n in SHAPE]
    seams = find_seams(counts, tile=tile)
    assert tuple(map(len, seams.planes)) == n_planes
    assert bool(seams.excess) == is_compared
    assert not seams.are_there
    for excess in seams.excess:
        assert (excess.found, excess.error) == (excess.expected, 0)


def test_too_few_straight_borders_are_no_seam():
    counts = [np.zeros((2, n), np.int64) for n in SHAPE]
    counts[0][0, 32] = 99
    assert not find_seams(counts, tile=TILE).are_there
    counts[0][0, 32] = 100
    assert find_seams(counts, tile=TILE).are_there
