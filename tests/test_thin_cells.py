"""Cells two to five planes thick, cut by every kind of tile: each is found once, and whole.

On such cells a border is close to every voxel, so what relies on an overlap of tiles fails here
first. The last test shows it, so that this phantom cannot become too easy unnoticed.
"""

import numpy as np
import pytest
from scipy.ndimage import find_objects
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

import mosaicell
from mosaicell.evaluate import match
from phantoms import ONE, landscape_of, thin_cells

SHAPE = (40, 80, 80)
MIN_SIZE = 20
HEIGHTS = {"threshold": 0.05 * ONE, "persistence": 0.3 * ONE}
# Along z, along y, along x, and along several axes.
TILE_SHAPES = [(1, 80, 80), (40, 3, 80), (40, 80, 3), (1, 10, 10), (2, 3, 40), (1, 80, 1)]


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return thin_cells(SHAPE, spacing=20, seed=1)


@pytest.fixture(scope="module", params=[0.0, 0.06], ids=["no noise", "noise"])
def landscape(request, truth) -> np.ndarray:
    return landscape_of(truth, seed=2, voxel_size=(5.0, 1.0, 1.0), noise=request.param)


@pytest.fixture(scope="module")
def whole(landscape) -> np.ndarray:
    return mosaicell.watershed(landscape, **HEIGHTS, min_size=MIN_SIZE)


def test_the_cells_are_two_to_five_planes_thick(truth):
    planes = [box[0].stop - box[0].start for box in find_objects(truth)]
    assert set(planes) == {2, 3, 4, 5}
    assert len(planes) > 150


def test_every_cell_is_found_once_and_whole(whole, truth):
    assert whole.max() == truth.max()
    # A voxel at the rim may drain into a neighbour that is much steeper.
    assert match(whole, truth, iou=0.85)["f1"] == 1
    assert match(whole, truth, iou=0.95)["f1"] > 0.95


@pytest.mark.parametrize("tile_shape", TILE_SHAPES, ids=str)
def test_tiles_that_cut_every_cell_change_nothing(landscape, whole, truth, tile_shape):
    for box in find_objects(truth):
        assert any(
            side.start // edge < (side.stop - 1) // edge
            for side, edge in zip(box, tile_shape, strict=True)
        )
    tiled = mosaicell.watershed(
        landscape, **HEIGHTS, min_size=MIN_SIZE, tile_shape=tile_shape, threads=2
    )
    np.testing.assert_array_equal(tiled, whole)


def merged_by_overlap(landscape: np.ndarray, *, width: int, halo: int) -> np.ndarray:
    """What others do: slabs along y are cut one by one, and labels that agree are merged.

    Two labels agree if their IoU reaches 0.5 where their slabs, halos included, overlap.
    """
    cores, agreed = [], []
    below = np.zeros((SHAPE[0], 0, SHAPE[2]), np.int64)  # the end of the slab before
    n_labels = 0
    for start in range(0, SHAPE[1], width):
        first = max(0, start - halo)
        slab = mosaicell.watershed(landscape[:, first : start + width + halo], **HEIGHTS)
        labels = np.where(slab > 0, slab.astype(np.int64) + n_labels, 0)
        n_labels += slab.max()
        above = labels[:, : below.shape[1]]
        pairs = np.stack((below, above), -1)[(below > 0) & (above > 0)]
        for (a, b), shared in zip(*np.unique(pairs, axis=0, return_counts=True), strict=True):
            if shared >= 0.5 * np.count_nonzero((below == a) | (above == b)):
                agreed.append((a, b))
        cores.append(labels[:, start - first :][:, :width])
        below = labels[:, start - first + width - halo :]
    graph = coo_array(
        (np.ones(len(agreed)), tuple(np.array(agreed).T)), shape=(n_labels + 1, n_labels + 1)
    )
    merged = connected_components(graph, directed=False)[1][np.concatenate(cores, 1)]
    return np.where(np.bincount(merged.ravel())[merged] >= MIN_SIZE, merged, 0)


@pytest.mark.parametrize(("width", "halo"), [(5, 1), (5, 2), (10, 1)])
def test_merging_by_overlap_would_not_keep_these_cells_whole(landscape, truth, width, halo):
    assert match(merged_by_overlap(landscape, width=width, halo=halo), truth)["f1"] < 0.93


def test_merging_by_overlap_would_do_if_tiles_and_halos_were_large(landscape, truth):
    assert match(merged_by_overlap(landscape, width=40, halo=20), truth)["f1"] == 1
