"""The exact watershed: equal to a plain reference, for any tiling."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import mosaicell
import reference
from mosaicell.frame import HALO
from mosaicell.geometry import Box, Grid
from mosaicell.rim import rim
from mosaicell.segment import segment
from mosaicell.smooth import smooth
from mosaicell.stitch import contract_tile, stitch

DTYPES = (
    np.bool_,
    np.uint8,
    np.uint16,
    np.int16,
    np.int32,
    np.int64,
    np.float16,
    np.float32,
    np.float64,
)


@st.composite
def landscapes(draw):
    """Small volumes and images with many ties, plateaus, or none, of all dtypes."""
    shape = draw(st.tuples(*[st.integers(1, 9)] * 3))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    levels = draw(st.sampled_from([1, 2, 3, 12, 200]))
    low = -(levels // 2) if dtype.kind in "if" else 0
    high = min(levels, 1) if dtype.kind == "b" else low + levels
    values = draw(hnp.arrays(np.int64, shape, elements=st.integers(low, high)))
    if dtype.kind == "f" and draw(st.booleans()):
        values = values + draw(hnp.arrays(np.float64, shape, elements=st.floats(0, 1, width=32)))
    return values.astype(dtype)


parameters = st.fixed_dictionaries(
    {
        "threshold": st.sampled_from([-300.0, -1.0, 0.0, 0.3, 0.5, 1.0, 3.0]),
        "persistence": st.sampled_from([0.0, 0.25, 1.0, 2.0, 5.0, 1000.0]),
        "min_size": st.integers(0, 6),
        "min_peak": st.sampled_from([-np.inf, -1.0, 0.5, 1.0, 3.0, 7.0]),
        "min_relative_peak": st.sampled_from([0.0, 0.3, 0.7, 1.0]),
    }
).filter(lambda chosen: chosen["threshold"] >= 0 or chosen["min_relative_peak"] == 0)


@given(landscapes(), parameters, st.tuples(*[st.integers(1, 9)] * 3), st.integers(1, 4))
def test_any_tiling_gives_the_labels_of_the_plain_reference(landscape, chosen, tile_shape, threads):
    expected = reference.watershed(landscape, **chosen)
    whole = mosaicell.watershed(landscape, **chosen)
    tiled = mosaicell.watershed(landscape, **chosen, tile_shape=tile_shape, threads=threads)
    np.testing.assert_array_equal(whole, expected)
    np.testing.assert_array_equal(tiled, expected)
    assert whole.dtype == tiled.dtype == np.uint32


@given(
    st.lists(st.integers(0, 2**32), min_size=0, max_size=4),
    st.tuples(*[st.integers(1, 6)] * 3),
    parameters,
    st.tuples(*[st.integers(1, 6)] * 3),
)
def test_frames_of_a_movie_never_merge_and_share_no_id(seeds, shape, chosen, tile_shape):
    frames = [np.random.default_rng(seed).integers(0, 6, shape) for seed in seeds]
    movie = np.array(frames).reshape(-1, *shape)
    labels = mosaicell.watershed(movie, **chosen, tile_shape=tile_shape, threads=2)
    assert labels.shape == movie.shape
    n_cells = 0
    for frame, found in zip(movie, labels, strict=True):
        expected = reference.watershed(frame, **chosen)
        np.testing.assert_array_equal(found, np.where(expected > 0, expected + n_cells, 0))
        n_cells += expected.max()


@given(
    landscapes(),
    parameters,
    st.tuples(*[st.integers(1, 9)] * 3),
    st.tuples(*[st.sampled_from([0.0, 0.3, 0.8])] * 3),
)
def test_a_smoothed_landscape_is_the_same_in_tiles(landscape, chosen, tile_shape, sigma):
    smoothed = smooth(
        landscape,
        sigma=sigma,
        box=Box((0, 0, 0), landscape.shape),
        volume=landscape.shape,
    )
    expected = reference.watershed(smoothed, **chosen)
    whole = mosaicell.watershed(landscape, **chosen, sigma=sigma)
    tiled = mosaicell.watershed(landscape, **chosen, sigma=sigma, tile_shape=tile_shape)
    np.testing.assert_array_equal(whole, expected)
    np.testing.assert_array_equal(tiled, expected)


@given(landscapes(), parameters)
def test_an_image_of_two_axes_is_a_volume_of_one_plane(landscape, chosen):
    plane = landscape[0]
    np.testing.assert_array_equal(
        mosaicell.watershed(plane, **chosen), mosaicell.watershed(plane[None], **chosen)[0]
    )


@pytest.mark.parametrize("tile_shape", [(16, 16, 16), (7, 40, 13), (1, 9, 64), (40, 50, 3)])
def test_a_smooth_landscape_with_many_cells_is_the_same_in_tiles(tile_shape):
    rng = np.random.default_rng(1)
    noise = rng.random((40, 50, 64))
    smooth = sum(np.roll(noise, s, axis) for axis in range(3) for s in range(-3, 4))
    landscape = ((smooth - smooth.min()) * 1000).astype(np.uint16)
    chosen = {"threshold": float(np.median(landscape)), "persistence": 300, "min_size": 20}
    whole = mosaicell.watershed(landscape, **chosen)
    assert whole.max() > 20
    tiled = mosaicell.watershed(landscape, **chosen, tile_shape=tile_shape, threads=3)
    np.testing.assert_array_equal(tiled, whole)


def test_a_landscape_gives_the_same_in_any_dtype_that_holds_its_values():
    landscape = np.array([[0.3, 0.29, 0.5, 0.3, 0.7]], np.float16)
    given = [landscape, landscape.astype(np.float32), landscape.astype(np.float64)]
    labels = [
        mosaicell.watershed(one, threshold=float(landscape[0, 0]) - 1e-6, persistence=0)
        for one in given
    ]
    assert labels[0][0, 0] == 1
    for other in labels[1:]:
        np.testing.assert_array_equal(other, labels[0])


def test_cells_are_numbered_in_the_order_of_their_peaks():
    landscape = np.array([[0, 5, 0, 9, 0, 7]])
    labels = mosaicell.watershed(landscape, threshold=0, persistence=0)
    np.testing.assert_array_equal(labels, [[0, 1, 0, 2, 0, 3]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("threshold", [0.1, 0.3, 1e300, -1e300])
def test_the_threshold_is_never_rounded_to_the_dtype_of_the_landscape(dtype, threshold):
    near = np.array(threshold, dtype) if abs(threshold) < 2 else np.array(1, dtype)
    values = np.array([[np.nextafter(near, dtype(-9)), near, np.nextafter(near, dtype(9))]])
    labels = mosaicell.watershed(values, threshold=threshold, persistence=0)
    expected = [[float(value) > threshold for value in values[0]]]
    np.testing.assert_array_equal(labels > 0, expected)


def test_minus_zero_is_as_high_as_zero():
    values = np.array([[-1, 0, -1, -0.0, -1, 0, -1]])
    labels = [
        mosaicell.watershed(one, threshold=-2, persistence=persistence)
        for one in (values, np.abs(values) * np.sign(values))
        for persistence in (0.5, 1, 2)
    ]
    for one, other in zip(labels[:3], labels[3:], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("persistence", "cells"), [(0, 2), (2, 2), (2.01, 1)])
def test_a_peak_is_a_cell_if_it_rises_by_at_least_the_persistence(persistence, cells):
    landscape = np.array([[1, 5, 3, 6, 1]])
    assert mosaicell.watershed(landscape, threshold=0, persistence=persistence).max() == cells


@pytest.mark.parametrize(("min_size", "cells"), [(0, 2), (2, 2), (3, 1), (4, 0)])
def test_cells_of_fewer_voxels_than_min_size_are_dropped(min_size, cells):
    landscape = np.array([[3, 3, 0, 4, 4, 4]])
    labels = mosaicell.watershed(landscape, threshold=0, persistence=0, min_size=min_size)
    assert labels.max() == cells


@pytest.mark.parametrize(("min_peak", "cells"), [(-np.inf, 2), (3, 2), (3.01, 1), (4.01, 0)])
def test_cells_of_a_lower_peak_than_min_peak_are_dropped(min_peak, cells):
    landscape = np.array([[3, 3, 0, 4, 4, 4]])
    labels = mosaicell.watershed(landscape, threshold=0, persistence=0, min_peak=min_peak)
    assert labels.max() == cells


@pytest.mark.parametrize(("share", "cells"), [(0, 4), (0.5, 4), (0.51, 3), (0.8, 2), (0.81, 1)])
def test_cells_of_a_low_share_of_what_the_highest_tenth_reaches_are_dropped(share, cells):
    landscape = np.array([[6, 0, 10, 0, 5, 0, 8]])
    chosen = {"threshold": 0, "persistence": 0, "min_relative_peak": share}
    labels = mosaicell.watershed(landscape, **chosen)
    assert labels.max() == cells


def test_what_is_too_small_or_too_low_does_not_say_what_the_highest_tenth_reaches():
    low = np.array([[5, 0, 4] + [0, 1] * 20])
    small = np.array([[5, 0, 4] + [0, 9] * 20, [5, 0, 4] + [0, 0] * 20])
    chosen = {"threshold": 0, "persistence": 0, "min_relative_peak": 0.9}
    assert mosaicell.watershed(low, **chosen).max() == 22
    assert mosaicell.watershed(low, **chosen, min_peak=2).max() == 1
    assert mosaicell.watershed(small, **chosen).max() == 20
    assert mosaicell.watershed(small, **chosen, min_size=2).max() == 1


def test_a_part_merges_before_its_peak_is_judged():
    landscape = np.array([[3, 2, 4]])
    labels = mosaicell.watershed(landscape, threshold=0, persistence=2, min_peak=3.5)
    np.testing.assert_array_equal(labels, [[1, 1, 1]])


@pytest.mark.parametrize("shape", [(0, 4, 4), (0, 3), (3, 0), (0, 2, 2, 2), (2, 0, 2, 2)])
def test_an_empty_array_has_no_cells(shape):
    labels = mosaicell.watershed(np.zeros(shape), threshold=0, persistence=0)
    assert labels.shape == shape


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"landscape": np.full((2, 2), np.nan)}, "nan at voxel"),
        ({"landscape": np.array([[0, np.inf]])}, "inf at voxel"),
        ({"landscape": np.array([[0, 2**60]])}, "integers up to"),
        ({"landscape": np.zeros((2, 2), complex)}, "complex128"),
        ({"landscape": np.zeros((2,) * 5)}, "5 axes"),
        ({"landscape": np.zeros(2)}, "1 axes"),
        ({"threshold": np.nan}, "threshold is nan"),
        ({"persistence": -1}, "persistence is -1"),
        ({"persistence": np.inf}, "persistence is inf"),
        ({"min_size": -1}, "min_size is -1"),
        ({"min_peak": np.nan}, "min_peak is nan"),
        ({"min_relative_peak": 1.5}, "min_relative_peak is 1.5"),
        ({"min_relative_peak": 0.5, "threshold": -1}, "min_relative_peak is 0.5 and threshold is"),
        ({"sigma": -1}, "sigma is -1"),
        ({"tile_shape": (0, 2, 2)}, "tile_shape is"),
        ({"tile_shape": (2, 2, 2, 2)}, "tile_shape is"),
        ({"tile_shape": (2.5, 2, 2)}, "tile_shape is"),
    ],
)
def test_what_has_no_meaning_is_refused_in_one_sentence(change, said):
    given = {"landscape": np.zeros((3, 3)), "threshold": 0, "persistence": 0} | change
    with pytest.raises(ValueError, match=said) as refusal:
        mosaicell.watershed(given.pop("landscape"), **given)
    assert "allowed" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@given(landscapes(), parameters, st.tuples(*[st.integers(1, 9)] * 3), st.randoms())
def test_tiles_know_the_cells_whose_peaks_they_hold(landscape, chosen, tile_shape, random):
    volume = landscape.shape
    grid = Grid(volume, tile_shape)
    threshold = chosen.pop("threshold")
    order = list(range(len(grid)))
    random.shuffle(order)
    rims, graphs, basins = {}, {}, {}
    for tile in order:
        core = grid[tile]
        values = landscape[core.grown(HALO, volume).slices]
        fragments, graphs[tile] = segment(values, core=core, volume=volume, threshold=threshold)
        rims[tile] = rim(fragments, volume)
    random.shuffle(order)
    for tile in order:
        basins[tile] = contract_tile(
            tile,
            graphs[tile],
            rims.__getitem__,
            lambda other: graphs[other].end[graphs[other].is_exit],
            grid=grid,
            persistence=chosen["persistence"],
        )
    stitched = stitch(basins.__getitem__, grid=grid, **chosen)
    labels = reference.watershed(landscape, threshold=threshold, **chosen)
    found = 0
    for tile, core in enumerate(grid):
        cells = stitched.cells_of(tile)
        for label, peak, size, box in zip(
            cells.label, cells.peak, cells.size, cells.bbox, strict=True
        ):
            voxels = np.argwhere(labels == label)
            at = np.unravel_index(peak, volume)
            assert all(a <= p < b for a, p, b in zip(core.start, at, core.stop, strict=True))
            assert labels[at] == label
            assert landscape[at] == landscape[labels == label].max()
            assert size == len(voxels)
            np.testing.assert_array_equal(box, [*voxels.min(0), *(voxels.max(0) + 1)])
            found += 1
    assert found == stitched.n_cells == labels.max()
