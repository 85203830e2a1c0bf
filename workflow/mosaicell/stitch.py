"""The one global step: fragments of tiles become basins, basins become cells.

Idea: most of it is no global step at all. A tile decides alone what nothing outside can change,
and hands on only what lies at its border; groups of tiles do the same with what their tiles hand
on, then groups of groups, until one group holds all tiles and nothing is outside. How, and why the
result is that of the whole volume at once, is told in `mosaicell.merging`.

Steps:
1. `contract_tile`, for each tile: the fragments of other tiles to which its exits lead are looked
   up in their rims. That makes them links to names that all tiles know: (tile, fragment). In the
   same way it is looked up to which of its own fragments the exits of others lead; no others are
   known outside. What can be merged in the tile is merged; cells that lie inside are finished.
2. `_contract_box`: a box of at most `TILES_OF_GROUP` tiles is contracted at once, and a larger
   one as the two, four or eight boxes that halve it along each axis, one after the other.
3. `_hand_out`: back down the same tree, each tile learns for its unfinished nodes to which cells
   at the borders of tiles they came to belong.
4. `_Ids`: cells that are large and high enough get the ids 1..N in the order of their peaks' linear
   indices. The peaks of one layer of tiles are a range in this order, so they are counted layer
   by layer.

How high is enough may be a share of what the highest cells reach (`least_peak`); then the heights
of all cells are looked at before step 3.

A tile gets back its `TileCells`: the id of each of its fragments, and the cells that it owns, those
whose peak lies in its core.

Limits: in memory are the cells at borders of tiles, about 100 bytes each, a number for each node
that tiles hand on, about 10 bytes each, and the peaks of all cells of a layer of tiles. A share of
the highest takes 16 bytes more for each cell, for a moment.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise, product
from threading import Lock

import numpy as np
from numba import njit

from .geometry import Box, Grid
from .merging import Basins, contract
from .rim import fragments_at
from .segment import TileGraph

TILES_OF_GROUP = 64
LAYERS_IN_MEMORY = 2
MOST_CELLS_OF_UINT32 = 2**32 - 1
ALL_FACES = 0b111111  # low z, y, x, high z, y, x
# Says of components with these sizes (voxels) and heights of peaks which are cells.
IsCell = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class TileBasins(Basins):
    """A tile of which all is decided that can be decided in it, and what cannot.

    Attributes
    ----------
    component : ndarray of uint32, (n + 1,)
        Of fragment i: 1 to c if it belongs to a cell that is finished; c + 1 + k if it belongs to
        node k of what is handed on. 0 for i = 0.
    cell_peak : ndarray of int64, (c,)
        Linear index in the volume of the peak of each finished cell.
    cell_height : ndarray of float64, (c,)
        Value of the landscape there.
    cell_size : ndarray of int64, (c,)
        Number of voxels.
    cell_bbox : ndarray of int32, (c, 6)
        First z, y, x and last z, y, x plus one.

    The others are those of `merging.Basins`.
    """

    component: np.ndarray
    cell_peak: np.ndarray
    cell_height: np.ndarray
    cell_size: np.ndarray
    cell_bbox: np.ndarray


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

    def after(self, n_cells: int, dtype: np.dtype) -> "TileCells":
        """The same cells with the ids that follow those of `n_cells` others, as a dtype."""
        ids, label = self.ids.astype(dtype), self.label.astype(dtype)
        ids[ids > 0] += dtype.type(n_cells)
        return replace(self, ids=ids, label=label + dtype.type(n_cells))


@dataclass(frozen=True)
class Stitched:
    """The result of stitching: the number of cells, and what each tile needs of it.

    `cells_of` reads the tile again, and is cheapest if tiles are asked for in their order.
    """

    n_cells: int
    dtype: np.dtype
    cells_of: Callable[[int], TileCells]


def check_merging(
    *, persistence: float, min_size: int, min_peak: float, min_relative_peak: float
) -> None:
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
    if np.isnan(min_peak):
        raise ValueError(
            "min_peak is nan; allowed is a number in units of the landscape: the threshold, or "
            "less, keeps every cell"
        )
    if not 0 <= min_relative_peak <= 1:
        raise ValueError(
            f"min_relative_peak is {min_relative_peak}; allowed is a share from 0 to 1 of the peak "
            "that the highest tenth of the cells reaches: 0 keeps every cell"
        )


def least_peak(heights: np.ndarray, *, min_peak: float, min_relative_peak: float) -> float:
    """The height that the peak of a cell must have.

    Of an image unlike those that it has learned from a network is less sure, of all cells alike;
    how sure it can be there, the highest cells tell.

    Parameters
    ----------
    heights : ndarray of float64
        The landscape at the peaks of all cells that are large enough, in any order.
    min_peak : float
        In units of the landscape.
    min_relative_peak : float
        As a share of the height that the highest tenth of those that reach `min_peak` have, so
        that a few exceptional cells do not matter.
    """
    high = heights[heights >= min_peak]
    if min_relative_peak == 0 or not high.size:
        return min_peak
    place = high.size * 9 // 10
    high.partition(place)
    return max(min_peak, min_relative_peak * float(high[place]))


def contract_tile(
    tile: int,
    graph: TileGraph,
    rim_of: Callable[[int], np.ndarray],
    exits_of: Callable[[int], np.ndarray],
    *,
    grid: Grid,
    persistence: float,
) -> TileBasins:
    """Decide what can be decided in one tile.

    Parameters
    ----------
    tile : int
    graph : TileGraph
        Of that tile.
    rim_of : callable
        Gives the rim (see `mosaicell.rim`) of this tile or a neighbouring one by its number.
    exits_of : callable
        Gives where the exits of a neighbouring tile end, the linear indices in the volume of those
        voxels, by its number.
    grid : Grid
        The tiles of the volume.
    persistence : float
        See `stitch`.

    Returns
    -------
    TileBasins
    """
    links = _links(graph.end[graph.is_exit], rim_of, grid)
    is_known = _is_known(tile, graph.end.size, rim_of, exits_of, grid)
    return contract_linked(tile, graph, links, is_known, grid=grid, persistence=persistence)


def contract_linked(
    tile: int,
    graph: TileGraph,
    links: np.ndarray,
    is_known: np.ndarray,
    *,
    grid: Grid,
    persistence: float,
) -> TileBasins:
    """Decide what can be decided in one tile whose exits have been looked up.

    Parameters
    ----------
    tile, graph, grid, persistence
        See `contract_tile`.
    links : ndarray of int64
        Of each exit, in their order, where it leads: tile * 2**32 + fragment.
    is_known : ndarray of bool, (n,)
        Which fragments, if they lie at a face of the tile, may be known outside.

    Returns
    -------
    TileBasins
    """
    core = grid[tile]
    faces = _faces(graph.bbox, np.array(core.start), np.array(core.stop), np.array(grid.shape))
    known = np.flatnonzero((faces > 0) & is_known)
    basins = Basins(
        peak=graph.peak.astype(np.float64),
        voxel=graph.end,
        size=graph.size,
        bbox=graph.bbox,
        address=(tile << 32) + 1 + known,
        address_faces=faces[known],
        address_node=known.astype(np.uint32),
        link=links,
        link_node=np.flatnonzero(graph.is_exit).astype(np.uint32),
        pass_a=graph.edge_a - np.uint32(1),
        pass_b=graph.edge_b - np.uint32(1),
        pass_height=graph.edge_saddle.astype(np.float64),
        pass_place=graph.edge_place,
    )
    contracted = contract([basins], [ALL_FACES], persistence=persistence)
    return TileBasins(
        **contracted.rest.arrays(),
        component=np.concatenate((np.zeros(1, np.uint32), contracted.component)),
        cell_peak=contracted.voxel,
        cell_height=contracted.peak,
        cell_size=contracted.size,
        cell_bbox=contracted.bbox,
    )


@njit(nogil=True, cache=True)
def _faces(bbox, start, stop, volume):
    """At which faces of a tile that are no faces of the volume bounding boxes lie, one bit each."""
    faces = np.zeros(len(bbox), np.uint8)
    for k in range(len(bbox)):
        for axis in range(3):
            if start[axis] > 0 and bbox[k, axis] == start[axis]:
                faces[k] |= np.uint8(1 << axis)
            if stop[axis] < volume[axis] and bbox[k, 3 + axis] == stop[axis]:
                faces[k] |= np.uint8(8 << axis)
    return faces


def _links(voxels: np.ndarray, rim_of: Callable[[int], np.ndarray], grid: Grid) -> np.ndarray:
    """Step 1: tile * 2**32 + fragment of voxels on rims, given by their linear indices."""
    tiles = _tiles_of(voxels, grid)
    links = tiles << 32
    for tile in np.unique(tiles).tolist():
        here = np.flatnonzero(tiles == tile)
        links[here] += fragments_at(rim_of(tile), grid[tile], grid.shape, voxels[here])
    return links


def _is_known(
    tile: int,
    n: int,
    rim_of: Callable[[int], np.ndarray],
    exits_of: Callable[[int], np.ndarray],
    grid: Grid,
) -> np.ndarray:
    """Step 1: to which of the n fragments of a tile exits of its neighbours lead."""
    core = grid[tile]
    is_known = np.zeros(1 + n, np.bool_)
    for other in grid.overlapping(core.grown((1, 1, 1), grid.shape)):
        if other != tile:
            voxels = _inside(exits_of(other), core.start, core.stop, grid.shape)
            is_known[fragments_at(rim_of(tile), core, grid.shape, voxels)] = True
    return is_known[1:]


@njit(nogil=True, cache=True)
def _inside(voxels, start, stop, volume):
    """Those voxels, given by their linear indices, that lie in a box."""
    found = np.empty_like(voxels)
    n = 0
    for voxel in voxels:
        zy, x = divmod(voxel, volume[2])
        z, y = divmod(zy, volume[1])
        if start[0] <= z < stop[0] and start[1] <= y < stop[1] and start[2] <= x < stop[2]:
            found[n] = voxel
            n += 1
    return found[:n].copy()


def _tiles_of(voxels: np.ndarray, grid: Grid) -> np.ndarray:
    """Numbers (int64) of the tiles that hold voxels, given by their linear indices."""
    return _numbers(voxels, np.array(grid.shape), np.array(grid.tile), np.array(grid.counts))


@njit(nogil=True, cache=True)
def _numbers(voxels, volume, tile, counts):
    numbers = np.empty(voxels.size, np.int64)
    for k in range(voxels.size):
        zy, x = divmod(voxels[k], volume[2])
        z, y = divmod(zy, volume[1])
        numbers[k] = (z // tile[0] * counts[1] + y // tile[1]) * counts[2] + x // tile[2]
    return numbers


def stitch(
    read: Callable[[int], TileBasins],
    *,
    grid: Grid,
    persistence: float,
    min_size: int,
    min_peak: float,
    min_relative_peak: float,
    threads: int = 1,
) -> Stitched:
    """Join what is left of all tiles to cells.

    Parameters
    ----------
    read : callable
        Gives the basins of a tile by its number; it is called several times for a tile.
    grid : Grid
        The tiles of the volume.
    persistence : float
        A basin stays a cell of its own if its peak rises above the saddle to a higher one by at
        least this much; in units of the landscape, and what the tiles were contracted with.
    min_size : int
        Cells of fewer voxels are dropped.
    min_peak : float
        Cells whose peak is lower are dropped; in units of the landscape.
    min_relative_peak : float
        So are those whose peak is lower than this share of what the highest tenth reaches.
    threads : int, optional
        Groups of tiles in work at a time.

    Returns
    -------
    Stitched
    """
    least = {"min_peak": min_peak, "min_relative_peak": min_relative_peak}
    check_merging(persistence=persistence, min_size=min_size, **least)
    with ThreadPoolExecutor(threads) as pool:
        whole = _contract_all(read, grid, persistence, pool, threads)
    if min_relative_peak > 0:
        min_peak = least_peak(_heights(read, grid, whole, min_size), **least)

    def is_cell(size: np.ndarray, height: np.ndarray) -> np.ndarray:
        return (size >= min_size) & (height >= min_peak)

    border = _hand_out(whole, grid, is_cell)
    ids = _Ids(read, grid, is_cell, border)
    return Stitched(ids.n_cells, ids.dtype, ids.cells_of)


@dataclass(frozen=True)
class _Group:
    """A box of tiles that was contracted.

    `parts` are the groups or the numbers of the tiles in it, `n_nodes` says how many nodes each
    handed on; the others are those of `Contracted`.
    """

    parts: Sequence
    n_nodes: list[int]
    component: np.ndarray
    peak: np.ndarray
    voxel: np.ndarray
    size: np.ndarray
    bbox: np.ndarray


def _contract_all(
    read: Callable[[int], TileBasins],
    grid: Grid,
    persistence: float,
    pool: ThreadPoolExecutor,
    threads: int,
) -> _Group:
    """Step 2 for all tiles: boxes of the tree on threads, then what is above them."""

    def alone(box: Box) -> tuple[_Group, Basins]:
        return _contract_box(box, alone, read, grid, persistence)

    def above(box: Box) -> tuple[_Group, Basins]:
        if box in begun:
            return begun.pop(box).result()
        return _contract_box(box, above, read, grid, persistence)

    whole = Box((0, 0, 0), grid.counts)
    boxes = [whole]
    # Several boxes for each thread, so that all are busy to the end.
    while len(boxes) < 4 * threads and any(box.size > TILES_OF_GROUP for box in boxes):
        boxes = [part for box in boxes for part in _cut(box, 1 + (box.size > TILES_OF_GROUP))]
    begun = {box: pool.submit(alone, box) for box in boxes}
    return above(whole)[0]


def _contract_box(
    box: Box,
    contract_part: Callable[[Box], tuple[_Group, Basins]],
    read: Callable[[int], TileBasins],
    grid: Grid,
    persistence: float,
) -> tuple[_Group, Basins]:
    """Step 2: contract a box of tiles; the group, and what is left of it."""
    if box.size > TILES_OF_GROUP:
        boxes = _cut(box, 2)
        parts, basins = zip(*map(contract_part, boxes), strict=True)
    else:
        boxes = _cut(box, max(box.shape))
        parts = [int(np.ravel_multi_index(one.start, grid.counts)) for one in boxes]
        basins = [read(tile) for tile in parts]
    outer = [_common_faces(one, box) for one in boxes]
    contracted = contract(basins, outer, persistence=persistence)
    group = _Group(
        parts=parts,
        n_nodes=[part.voxel.size for part in basins],
        component=contracted.component,
        peak=contracted.peak,
        voxel=contracted.voxel,
        size=contracted.size,
        bbox=contracted.bbox,
    )
    return group, contracted.rest


def _cut(box: Box, n: int) -> list[Box]:
    """Cut each axis of a box in n about equal pieces, or in as many as there can be."""
    axes = []
    for start, stop in zip(box.start, box.stop, strict=True):
        pieces = min(n, stop - start)
        bounds = [start + (stop - start) * k // pieces for k in range(pieces + 1)]
        axes.append(pairwise(bounds))
    return [Box(*zip(*ranges, strict=True)) for ranges in product(*axes)]


def _common_faces(part: Box, whole: Box) -> int:
    """The faces of a box that lie in faces of a larger one, as bits."""
    common = [a == b for a, b in zip(part.start, whole.start, strict=True)]
    common += [a == b for a, b in zip(part.stop, whole.stop, strict=True)]
    return sum(1 << bit for bit, is_common in enumerate(common) if is_common)


def _heights(
    read: Callable[[int], TileBasins], grid: Grid, whole: _Group, min_size: int
) -> np.ndarray:
    """The peaks of all cells that are large enough, in no order."""
    found = []
    for basins in map(read, range(len(grid))):
        found.append(basins.cell_height[basins.cell_size >= min_size])
    groups = [whole]
    while groups:
        group = groups.pop()
        found.append(group.peak[group.size >= min_size])
        groups += [part for part in group.parts if isinstance(part, _Group)]
    return np.concatenate(found)


@dataclass(frozen=True)
class _Border:
    """The cells that are kept and are not finished in one tile, from 1 on.

    `cell_of_node` has for each tile the cells of the nodes that it handed on, 0 for none; the
    others are those of `Contracted`.
    """

    cell_of_node: list[np.ndarray]
    voxel: np.ndarray
    size: np.ndarray
    bbox: np.ndarray


def _hand_out(whole: _Group, grid: Grid, is_cell: IsCell) -> _Border:
    """Step 3: from the group of all tiles back to each of them."""
    columns: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    cell_of_node: list[np.ndarray] = [np.empty(0, np.uint8)] * len(grid)
    n_cells = 0

    def give(group: _Group, cell_of_rest: np.ndarray) -> None:
        nonlocal n_cells
        kept = is_cell(group.size, group.peak)
        finished = np.where(kept, n_cells + np.cumsum(kept), 0)
        n_cells += int(kept.sum())
        columns.append((group.voxel[kept], group.size[kept], group.bbox[kept]))
        cells = np.concatenate(([0], finished, cell_of_rest))[group.component]
        cells = cells.astype(np.min_scalar_type(n_cells))
        first = np.cumsum(group.n_nodes)[:-1]
        for part, nodes in zip(group.parts, np.split(cells, first), strict=True):
            if isinstance(part, _Group):
                give(part, nodes)
            else:
                cell_of_node[part] = nodes

    give(whole, np.empty(0, np.int64))
    voxel, size, bbox = (np.concatenate(column) for column in zip(*columns, strict=True))
    return _Border(cell_of_node, voxel, size, bbox)


class _Ids:
    """Step 4: the id of a cell is its place among the peaks of all cells.

    Those of a layer of tiles are sorted when they are needed.
    """

    def __init__(
        self, read: Callable[[int], TileBasins], grid: Grid, is_cell: IsCell, border: _Border
    ):
        self.read, self.grid, self.is_cell, self.border = read, grid, is_cell, border
        self.tiles_of_layer = grid.counts[1] * grid.counts[2]
        tiles = _tiles_of(border.voxel, grid)
        self.by_tile = np.argsort(tiles, kind="stable")
        self.bounds = np.searchsorted(tiles[self.by_tile], np.arange(len(grid) + 1))
        self.sorted_peaks = lru_cache(LAYERS_IN_MEMORY)(self._sorted_peaks)
        self.lock = Lock()
        self.first = [1]
        self.of_border = np.zeros(1 + border.voxel.size, np.int64)
        for layer in range(grid.counts[0]):
            here = self._at_border(layer * self.tiles_of_layer, self.tiles_of_layer)
            self.of_border[1 + here] = self._of_peaks(border.voxel[here], layer)
            self.first.append(self.first[-1] + self.sorted_peaks(layer).size)
        self.n_cells = self.first[-1] - 1
        self.dtype = np.dtype(np.uint32 if self.n_cells <= MOST_CELLS_OF_UINT32 else np.uint64)

    def _at_border(self, first: int, n: int = 1) -> np.ndarray:
        """The cells at borders whose peaks are in a run of tiles, from 0."""
        return self.by_tile[self.bounds[first] : self.bounds[first + n]]

    def _sorted_peaks(self, layer: int) -> np.ndarray:
        first, n = layer * self.tiles_of_layer, self.tiles_of_layer
        peaks = [self.border.voxel[self._at_border(first, n)]]
        for tile in range(first, first + n):
            basins = self.read(tile)
            peaks.append(basins.cell_peak[self.is_cell(basins.cell_size, basins.cell_height)])
        return np.sort(np.concatenate(peaks))

    def _of_peaks(self, peaks: np.ndarray, layer: int) -> np.ndarray:
        with self.lock:  # so that threads do not sort the same layer at the same time
            among = self.sorted_peaks(layer)
        return self.first[layer] + np.searchsorted(among, peaks)

    def cells_of(self, tile: int) -> TileCells:
        """What a tile needs: cells that are finished in it come first, then those at its border."""
        basins, border = self.read(tile), self.border
        kept = self.is_cell(basins.cell_size, basins.cell_height)
        ids = np.zeros(kept.size, np.int64)
        ids[kept] = self._of_peaks(basins.cell_peak[kept], tile // self.tiles_of_layer)
        of_nodes = self.of_border[border.cell_of_node[tile]]
        owned = self._at_border(tile)
        label = np.concatenate((ids[kept], self.of_border[1 + owned]))
        order = np.argsort(label)

        def column(inside: np.ndarray, at_border: np.ndarray) -> np.ndarray:
            return np.concatenate((inside[kept], at_border[owned]))[order]

        return TileCells(
            ids=np.concatenate(([0], ids, of_nodes)).astype(self.dtype)[basins.component],
            label=label[order].astype(self.dtype),
            peak=column(basins.cell_peak, border.voxel),
            size=column(basins.cell_size, border.size),
            bbox=column(basins.cell_bbox, border.bbox).astype(np.int64),
        )
