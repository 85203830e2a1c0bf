"""The one global step: fragments of tiles become basins, basins become cells.

Passes:
1. Every exit is looked up in the rim of the tile that it leads to; following exits from tile to
   tile gives each fragment the basin (the peak) to which it belongs.
2. Edges and seams of the tiles become edges between basins; the highest of each pair is its
   saddle.
3. `merge`: saddles from high to low, ties by the order of the peaks in the volume. Where two
   components meet, the one with the lower peak joins the higher if it rises above the saddle by
   less than the persistence.
4. Components of fewer than `min_size` voxels are dropped, the others get the ids 1..N in the
   order of their peaks' linear indices.

A tile gets back its `TileCells`: the id of each of its fragments, and the cells that it owns, those
whose peak lies in its core.

Limits: the fragments and edges of all tiles are in memory, about 300 bytes a fragment; rims are
read again as they are needed and never all at once.

Merging by persistence is that of Edelsbrunner, Letscher and Zomorodian 2002
(doi 10.1007/s00454-002-2885-2).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit

from .geometry import Grid
from .segment import TileGraph, find

RIMS_IN_MEMORY = 128


@dataclass(frozen=True)
class TileCells:
    """What a tile needs to know of the result.

    Attributes
    ----------
    ids : ndarray of uint32 (uint64 past 2**32 - 1 cells), (n + 1,)
        Cell of fragment i; 0 for i = 0 and for dropped fragments.
    label : ndarray of the same dtype, (m,)
        The cells whose peak lies in this tile, ascending.
    peak : ndarray of int64, (m,)
        Linear index in the volume of their peaks.
    size : ndarray of int64, (m,)
        Number of voxels.
    bbox : ndarray of int64, (m, 6)
        First z, y, x and last z, y, x plus one.
    """

    ids: np.ndarray
    label: np.ndarray
    peak: np.ndarray
    size: np.ndarray
    bbox: np.ndarray


@dataclass(frozen=True)
class Stitched:
    """The result of stitching: the number of cells, and what each tile needs of it."""

    n_cells: int
    dtype: np.dtype
    cells_of: Callable[[int], TileCells]


def stitch(
    read: Callable[[int], TileGraph], *, grid: Grid, persistence: float, min_size: int
) -> Stitched:
    """Join the fragments of all tiles to cells.

    Parameters
    ----------
    read : callable
        Gives the graph of a tile by its number; it is called several times for a tile.
    grid : Grid
        The tiles of the volume.
    persistence : float
        A basin stays a cell of its own if its peak rises above the saddle to a higher one by at
        least this much; in units of the landscape.
    min_size : int
        Cells of fewer voxels are dropped.

    Returns
    -------
    Stitched
    """
    check_merging(persistence=persistence, min_size=min_size)
    fragments = _Fragments(read, len(grid))
    basin_of = _basin_of_fragments(read, grid, fragments)
    peak_voxel, first = np.unique(fragments.end[basin_of], return_index=True)
    basin = np.searchsorted(peak_voxel, fragments.end[basin_of])
    peak = fragments.peak[basin_of[first]]

    a, b, saddle = _edges_of_basins(read, grid, fragments, basin, peak_voxel.size)
    component = merge(a, b, saddle, peak, persistence=persistence)

    owner, member = np.unique(component, return_inverse=True)
    cell_of_fragment = member[basin]
    size = np.bincount(cell_of_fragment, fragments.size, minlength=owner.size).astype(np.int64)
    bbox = np.full((owner.size, 6), np.iinfo(np.int64).max)
    bbox[:, 3:] = 0
    np.minimum.at(bbox[:, :3], cell_of_fragment, fragments.bbox[:, :3])
    np.maximum.at(bbox[:, 3:], cell_of_fragment, fragments.bbox[:, 3:])

    kept = size >= min_size
    n_cells = int(kept.sum())
    dtype = np.dtype(np.uint32 if n_cells < 2**32 else np.uint64)
    ids = np.where(kept, np.cumsum(kept), 0).astype(dtype)
    id_of_fragment = ids[cell_of_fragment]
    cell_peak = peak_voxel[owner[kept]]
    # Basins are ordered by peak; the tile of a cell is the tile of its peak's own fragment.
    tile_of_cell = fragments.tile_of(basin_of[first][owner[kept]])
    by_tile = np.argsort(tile_of_cell, kind="stable")
    bounds = np.searchsorted(tile_of_cell[by_tile], np.arange(len(grid) + 1))
    size, bbox = size[kept], bbox[kept]

    def cells_of(tile: int) -> TileCells:
        own = by_tile[bounds[tile] : bounds[tile + 1]]
        return TileCells(
            ids=np.concatenate(([0], id_of_fragment[fragments.slice_of(tile)])).astype(dtype),
            label=(own + 1).astype(dtype),
            peak=cell_peak[own],
            size=size[own],
            bbox=bbox[own],
        )

    return Stitched(n_cells, dtype, cells_of)


def check_merging(*, persistence: float, min_size: int) -> None:
    """Refuse parameters without a meaning, in one sentence (ValueError)."""
    if not (np.isfinite(persistence) and persistence >= 0):
        raise ValueError(
            f"persistence is {persistence}; allowed is a finite number of at least 0, in units of "
            "the landscape: 0 keeps every peak"
        )
    if min_size < 0:
        raise ValueError(
            f"min_size is {min_size}; allowed is a number of voxels of at least 0: 0 keeps every "
            "cell"
        )


class _Fragments:
    """The fragments of all tiles in one numbering, from 0, tile after tile."""

    def __init__(self, read: Callable[[int], TileGraph], n_tiles: int):
        ends, exits, peaks, sizes, boxes, counts = [], [], [], [], [], []
        for tile in range(n_tiles):
            graph = read(tile)
            ends.append(graph.end)
            exits.append(graph.is_exit)
            peaks.append(graph.peak)
            sizes.append(graph.size)
            boxes.append(graph.bbox)
            counts.append(graph.end.size)
        self.end = np.concatenate(ends)
        self.is_exit = np.concatenate(exits)
        self.peak = np.concatenate(peaks)
        self.size = np.concatenate(sizes)
        self.bbox = np.concatenate(boxes)
        self.offsets = np.concatenate(([0], np.cumsum(counts)))

    def slice_of(self, tile: int) -> slice:
        return slice(self.offsets[tile], self.offsets[tile + 1])

    def tile_of(self, fragment: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.offsets, fragment, side="right") - 1


class _Rims:
    """Finds the fragment of a voxel of any tile's rim."""

    def __init__(self, read: Callable[[int], TileGraph], grid: Grid, fragments: _Fragments):
        self.grid = grid
        self.fragments = fragments

        @lru_cache(maxsize=RIMS_IN_MEMORY)
        def rim(tile: int) -> tuple[np.ndarray, np.ndarray]:
            graph = read(tile)
            return graph.rim_voxel, graph.rim_fragment

        self.rim = rim

    def fragments_of(self, voxels: np.ndarray) -> np.ndarray:
        """Global fragment numbers of voxels given by their linear indices in the volume."""
        position = np.stack(np.unravel_index(voxels, self.grid.shape), -1)
        place = position // np.array(self.grid.tile)
        tiles = np.ravel_multi_index(tuple(place.T), self.grid.counts)
        found = np.empty(voxels.size, np.int64)
        for tile in np.unique(tiles):
            here = tiles == tile
            rim_voxel, rim_fragment = self.rim(int(tile))
            at = np.searchsorted(rim_voxel, voxels[here])
            found[here] = self.fragments.offsets[tile] + rim_fragment[at] - 1
        return found


def _basin_of_fragments(
    read: Callable[[int], TileGraph], grid: Grid, fragments: _Fragments
) -> np.ndarray:
    """Pass 1: for each fragment the fragment that holds the peak of its basin."""
    rims = _Rims(read, grid, fragments)
    parent = np.arange(fragments.end.size)
    for tile in range(len(grid)):
        leaving = np.flatnonzero(fragments.is_exit[fragments.slice_of(tile)])
        leaving += fragments.offsets[tile]
        parent[leaving] = rims.fragments_of(fragments.end[leaving])
    while True:
        further = parent[parent]
        if np.array_equal(further, parent):
            return parent
        parent = further


def _edges_of_basins(
    read: Callable[[int], TileGraph],
    grid: Grid,
    fragments: _Fragments,
    basin: np.ndarray,
    n_basins: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pass 2: the pairs of basins that touch, a < b, and the saddle of each."""
    rims = _Rims(read, grid, fragments)
    parts = []
    for tile in range(len(grid)):
        graph = read(tile)
        offset = fragments.offsets[tile] - 1
        a = np.concatenate((graph.edge_a, graph.seam_a)).astype(np.int64) + offset
        b = np.concatenate(
            (graph.edge_b.astype(np.int64) + offset, rims.fragments_of(graph.seam_voxel))
        )
        saddle = np.concatenate((graph.edge_saddle, graph.seam_saddle))
        parts.append(_highest_of_pairs(basin[a], basin[b], saddle, n_basins))
    a, b, saddle = (np.concatenate(part) for part in zip(*parts, strict=True))
    return _highest_of_pairs(a, b, saddle, n_basins)


def _highest_of_pairs(
    a: np.ndarray, b: np.ndarray, saddle: np.ndarray, n_nodes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One edge a < b for each pair of different nodes, with the highest of its saddles."""
    pair = np.minimum(a, b) * n_nodes + np.maximum(a, b)
    order = np.lexsort((saddle, pair))
    pair, saddle = pair[order], saddle[order]
    last = np.append(pair[1:] != pair[:-1], True)[: pair.size]
    a, b = np.divmod(pair[last], max(1, n_nodes))
    return a[a != b], b[a != b], saddle[last][a != b]


def merge(
    a: np.ndarray,
    b: np.ndarray,
    saddle: np.ndarray,
    peak: np.ndarray,
    *,
    persistence: float,
) -> np.ndarray:
    """Merge basins that rise too little above their saddles.

    Parameters
    ----------
    a, b : ndarray of int64, (m,)
        Basins that touch, a < b, each pair once. Basins are numbered in the order of their
        peaks' linear indices.
    saddle : ndarray, (m,)
        Height of each pair's saddle.
    peak : ndarray, (n,)
        Height of each basin's peak.
    persistence : float
        See `stitch`.

    Returns
    -------
    ndarray of int64, (n,)
        For each basin the basin that holds the highest peak of its component.
    """
    height = saddle.astype(np.float64)
    order = np.lexsort((b, a, -height))
    return _merge(a[order], b[order], height[order], peak.astype(np.float64), persistence)


@njit(nogil=True, cache=True)
def _merge(a, b, saddle, peak, persistence):
    root = np.arange(peak.size)  # the representative of a component is the basin of its peak
    for k in range(a.size):
        high = find(root, a[k])
        low = find(root, b[k])
        if high == low:
            continue
        if peak[low] > peak[high] or (peak[low] == peak[high] and low < high):
            high, low = low, high
        if peak[low] - saddle[k] < persistence:
            root[low] = high
    for i in range(root.size):
        root[i] = find(root, i)
    return root
