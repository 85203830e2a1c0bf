"""The exact watershed of a whole array: tiles are cut and stitched as in the stages."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from math import prod

import numpy as np
from numba import njit

from ..cut import box_to_read, cut_tile
from ..frame import check_threshold, check_values
from ..geometry import Grid, Triple, cube
from ..rim import rim
from ..segment import TileGraph
from ..sigma import Sigma, check_sigma
from ..stitch import Stitched, TileBasins, check_merging, contract_tile, stitch

# Larger tiles have less border, smaller ones less of them in memory at a time.
MIN_TILE, MAX_TILE = 2**15, 2**22  # voxels
# Whole planes lie in one piece in memory, which is faster unless a tile is thin.
MIN_PLANES = 32


def watershed(
    landscape: np.ndarray,
    *,
    threshold: float,
    persistence: float,
    min_size: int = 0,
    min_peak: float = -np.inf,
    min_relative_peak: float = 0.0,
    sigma: float | Sigma = 0.0,
    tile_shape: Triple | None = None,
    threads: int = 1,
) -> np.ndarray:
    """Cut a landscape into cells, one for each peak that stands out.

    Parameters
    ----------
    landscape : ndarray, (t, z, y, x), (z, y, x) or (y, x)
        Higher inside cells than between them: a distance transform, a probability. Integers of
        magnitude up to 2**53 or floats, without NaN and infinity. Frames are cut one by one; a
        movie of images is (t, 1, y, x).
    threshold : float
        Only voxels above it belong to a cell; in units of the landscape.
    persistence : float
        Two peaks are two cells if the lower one rises above the saddle between them by at least
        this much; in units of the landscape.
    min_size : int, optional
        Cells of fewer voxels are dropped.
    min_peak : float, optional
        Cells whose peak is lower are dropped; in units of the landscape. The peak of what a network
        is sure of is high.
    min_relative_peak : float, optional
        So are those whose peak is lower than this share of the height that the highest tenth of
        the frame's cells have, of those that `min_size` and `min_peak` leave. For landscapes whose
        background is 0.
    sigma : float or (z, y, x), optional
        Standard deviation in voxels of a Gaussian by which the landscape is smoothed first.
    tile_shape : tuple of int, optional
        Shape of the tiles that are worked on one by one. It never changes the result.
    threads : int, optional
        Tiles in work at a time. It never changes the result.

    Returns
    -------
    labels : ndarray of uint32 (uint64 past 2**32 - 1 cells), of the landscape's shape
        0 is background; cells are 1..N in the order of their peaks' linear indices.

    Raises
    ------
    ValueError
        If the landscape has other axes, is of another type, or holds NaN or infinity; if a
        parameter is out of its range.

    Notes
    -----
    Each voxel points to the highest voxel among itself and its 26 (2D: 8) neighbours, the one
    of lowest linear index where several are equally high; basins are what leads to the same
    peak. See `mosaicell.segment` and `mosaicell.merging` for the method and its sources.

    Examples
    --------
    >>> import numpy as np
    >>> watershed(np.array([[0, 3, 1, 2, 0]]), threshold=0, persistence=1)
    array([[0, 1, 1, 2, 0]], dtype=uint32)
    >>> watershed(np.array([[0, 3, 1, 2, 0]]), threshold=0, persistence=2)
    array([[0, 1, 1, 1, 0]], dtype=uint32)
    """
    landscape = np.asarray(landscape)
    if landscape.ndim not in (2, 3, 4):
        raise ValueError(
            f"the landscape has {landscape.ndim} axes; allowed are 4 (t, z, y, x), 3 (z, y, x) "
            "or 2 (y, x): pass one channel at a time"
        )
    check_threshold(threshold)
    least = {"min_peak": min_peak, "min_relative_peak": min_relative_peak}
    check_merging(persistence=persistence, min_size=min_size, **least)
    if min_relative_peak > 0 > threshold:
        raise ValueError(
            f"min_relative_peak is {min_relative_peak} and threshold is {threshold}; allowed is a "
            "threshold of at least 0, as a share of a height below 0 means nothing: set "
            "min_relative_peak to 0, or raise the threshold"
        )
    sigma = check_sigma(sigma)
    check_values(landscape)
    frames = landscape.reshape((1,) * (4 - landscape.ndim) + landscape.shape)
    labels = np.empty(frames.shape, np.uint32)
    if labels.size == 0:
        return labels.reshape(landscape.shape)
    grid = Grid(frames.shape[1:], _full_tile(tile_shape, frames.shape[1:], threads))
    n_cells = 0
    with ThreadPoolExecutor(threads) as pool:
        for number, frame in enumerate(frames):
            cut = _cut(frame, labels[number], grid, pool, threshold, sigma)
            stitched = _stitch(*cut, grid, pool, persistence, min_size, least, threads)
            if n_cells + stitched.n_cells >= 2**32:
                labels = labels.astype(np.uint64)
            _relabel(labels[number], stitched, grid, pool, n_cells)
            n_cells += stitched.n_cells
    return labels.reshape(landscape.shape)


def _cut(
    frame: np.ndarray,
    fragments: np.ndarray,
    grid: Grid,
    pool: ThreadPoolExecutor,
    threshold: float,
    sigma: Sigma,
) -> Iterator[tuple]:
    """Graphs, rims and exits of all tiles; `fragments` gets the numbers of their fragments."""

    def cut(tile: int) -> tuple[TileGraph, np.ndarray, np.ndarray]:
        core = grid[tile]
        values = frame[box_to_read(core, sigma=sigma, volume=grid.shape).slices]
        part, graph = cut_tile(
            values,
            core=core,
            volume=grid.shape,
            threshold=threshold,
            sigma=sigma,
            out=fragments[core.slices],
        )
        return graph, rim(part, grid.shape), graph.end[graph.is_exit]

    return zip(*pool.map(cut, range(len(grid))), strict=True)


def _stitch(
    graphs: list[TileGraph],
    rims: list[np.ndarray],
    exits: list[np.ndarray],
    grid: Grid,
    pool: ThreadPoolExecutor,
    persistence: float,
    min_size: int,
    least: dict[str, float],
    threads: int,
) -> Stitched:
    """What the tiles' fragments are joined to."""

    def contract(tile: int) -> TileBasins:
        return contract_tile(
            tile,
            graphs[tile],
            rims.__getitem__,
            exits.__getitem__,
            grid=grid,
            persistence=persistence,
        )

    basins = list(pool.map(contract, range(len(grid))))
    return stitch(
        basins.__getitem__,
        grid=grid,
        persistence=persistence,
        min_size=min_size,
        **least,
        threads=threads,
    )


def _relabel(
    labels: np.ndarray, stitched: Stitched, grid: Grid, pool: ThreadPoolExecutor, n_before: int
) -> None:
    """Put cells, from the next free id on, in the place of fragments."""

    def relabel(tile: int) -> None:
        ids = stitched.cells_of(tile).ids.astype(labels.dtype)
        ids[ids > 0] += labels.dtype.type(n_before)
        _replace(labels[grid[tile].slices], ids)

    list(pool.map(relabel, range(len(grid))))


@njit(nogil=True, cache=True)
def _replace(labels, ids):
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                labels[z, y, x] = ids[labels[z, y, x]]


def _full_tile(tile_shape: Triple | None, shape: Triple, threads: int) -> Triple:
    """The tile shape as three edges of at least one voxel."""
    if tile_shape is None:
        voxels = min(max(MIN_TILE, prod(shape) // threads), MAX_TILE)
        planes = voxels // prod(shape[1:])
        return (planes, *shape[1:]) if planes >= MIN_PLANES else cube(shape, voxels)
    tile = (1,) * (3 - len(tile_shape)) + tuple(tile_shape)
    if len(tile) != 3 or any(not isinstance(n, int | np.integer) or n < 1 for n in tile):
        raise ValueError(
            f"tile_shape is {tile_shape}; allowed are three positive whole numbers (z, y, x), or "
            "two (y, x) for an image: choose the edges in voxels"
        )
    return tile
