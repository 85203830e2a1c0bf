"""The exact watershed: equal to a plain reference, for any tiling."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import mosaicell
import reference
from mosaicell.geometry import Grid
from mosaicell.segment import HALO, segment, thin
from mosaicell.stitch import merge, stitch

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
    }
)


@given(landscapes(), parameters, st.tuples(*[st.integers(1, 9)] * 3), st.integers(1, 4))
def test_any_tiling_gives_the_labels_of_the_plain_reference(landscape, chosen, tile_shape, threads):
    expected = reference.watershed(landscape, **chosen)
    whole = mosaicell.watershed(landscape, **chosen)
    tiled = mosaicell.watershed(landscape, **chosen, tile_shape=tile_shape, threads=threads)
    np.testing.assert_array_equal(whole, expected)
    np.testing.assert_array_equal(tiled, expected)
    assert whole.dtype == tiled.dtype == np.uint32


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


@pytest.mark.parametrize(("persistence", "cells"), [(0, 2), (2, 2), (2.01, 1)])
def test_a_peak_is_a_cell_if_it_rises_by_at_least_the_persistence(persistence, cells):
    landscape = np.array([[1, 5, 3, 6, 1]])
    assert mosaicell.watershed(landscape, threshold=0, persistence=persistence).max() == cells


@pytest.mark.parametrize(("min_size", "cells"), [(0, 2), (2, 2), (3, 1), (4, 0)])
def test_cells_of_fewer_voxels_than_min_size_are_dropped(min_size, cells):
    landscape = np.array([[3, 3, 0, 4, 4, 4]])
    labels = mosaicell.watershed(landscape, threshold=0, persistence=0, min_size=min_size)
    assert labels.max() == cells


@pytest.mark.parametrize("shape", [(0, 4, 4), (0, 3), (3, 0)])
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
        ({"landscape": np.zeros((2, 2, 2, 2))}, "4 axes"),
        ({"threshold": np.nan}, "threshold is nan"),
        ({"persistence": -1}, "persistence is -1"),
        ({"persistence": np.inf}, "persistence is inf"),
        ({"min_size": -1}, "min_size is -1"),
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


@st.composite
def graphs(draw):
    """A random graph with many ties, its peaks above all saddles that touch them."""
    n = draw(st.integers(1, 12))
    pairs = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda p: p[0] < p[1])
    edges = sorted(draw(st.sets(pairs, max_size=40))) if n > 1 else []
    saddle = np.array([draw(st.integers(0, 6)) for _ in edges], float)
    peak = np.array([draw(st.integers(0, 9)) for _ in range(n)], float)
    a, b = np.array(edges, np.int64).reshape(-1, 2).T
    np.maximum.at(peak, a, saddle)
    np.maximum.at(peak, b, saddle)
    return a, b, saddle, peak


@given(graphs(), st.sampled_from([0.0, 1.0, 2.0, 4.0, 100.0]))
def test_thinning_the_edges_never_changes_the_merging(graph, persistence):
    a, b, saddle, peak = graph
    thinned = thin(a, b, saddle, n_nodes=peak.size)
    assert len(thinned[0]) <= len(a)
    np.testing.assert_array_equal(
        merge(*thinned, peak, persistence=persistence),
        merge(a, b, saddle, peak, persistence=persistence),
    )


def test_without_ties_thinning_leaves_a_forest():
    rng = np.random.default_rng(0)
    a, b = np.triu_indices(20, 1)
    thinned = thin(a, b, rng.permutation(a.size).astype(float), n_nodes=20)
    assert len(thinned[0]) == 19


@given(landscapes(), parameters, st.tuples(*[st.integers(1, 9)] * 3))
def test_tiles_know_the_cells_whose_peaks_they_hold(landscape, chosen, tile_shape):
    volume = landscape.shape
    grid = Grid(volume, tile_shape)
    threshold = chosen.pop("threshold")
    graphs = [
        segment(
            landscape[core.grown(HALO, volume).slices],
            core=core,
            volume=volume,
            threshold=threshold,
        )[1]
        for core in grid
    ]
    stitched = stitch(graphs.__getitem__, grid=grid, **chosen)
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
