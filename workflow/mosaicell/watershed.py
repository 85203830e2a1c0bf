"""The exact watershed of a whole array in memory: the same code as the stages, without files."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from .geometry import Grid, Triple
from .segment import HALO, check_threshold, check_values, segment
from .stitch import check_merging, stitch

DEFAULT_EDGE = 512


def watershed(
    landscape: np.ndarray,
    *,
    threshold: float,
    persistence: float,
    min_size: int = 0,
    tile_shape: Triple | None = None,
    threads: int = 1,
) -> np.ndarray:
    """Cut a landscape into cells, one for each peak that stands out.

    Parameters
    ----------
    landscape : ndarray, (z, y, x) or (y, x)
        Higher inside cells than between them: a distance transform, a probability. Integers of
        magnitude up to 2**53 or floats, without NaN and infinity.
    threshold : float
        Only voxels above it belong to a cell; in units of the landscape.
    persistence : float
        Two peaks are two cells if the lower one rises above the saddle between them by at least
        this much; in units of the landscape.
    min_size : int, optional
        Cells of fewer voxels are dropped.
    tile_shape : tuple of int, optional
        Shape of the tiles that are worked on one by one; by default at most 512 voxels along
        each axis. It never changes the result.
    threads : int, optional
        Tiles in work at a time. It never changes the result.

    Returns
    -------
    labels : ndarray of uint32, of the landscape's shape
        0 is background; cells are 1..N in the order of their peaks' linear indices.

    Raises
    ------
    ValueError
        If the landscape is not 2D or 3D, of another type, or holds NaN or infinity; if a
        parameter is out of its range.

    Notes
    -----
    Each voxel points to the highest voxel among itself and its 26 (2D: 8) neighbours, the one
    of lowest linear index where several are equally high; basins are what leads to the same
    peak. See `mosaicell.segment` and `mosaicell.stitch` for the method and its sources.

    Examples
    --------
    >>> import numpy as np
    >>> watershed(np.array([[0, 3, 1, 2, 0]]), threshold=0, persistence=1)
    array([[0, 1, 1, 2, 0]], dtype=uint32)
    >>> watershed(np.array([[0, 3, 1, 2, 0]]), threshold=0, persistence=2)
    array([[0, 1, 1, 1, 0]], dtype=uint32)
    """
    landscape = np.asarray(landscape)
    if landscape.ndim not in (2, 3):
        raise ValueError(
            f"the landscape has {landscape.ndim} axes; allowed are 3 (z, y, x) or 2 (y, x): pass "
            "one frame and channel at a time"
        )
    check_threshold(threshold)
    check_merging(persistence=persistence, min_size=min_size)
    check_values(landscape)
    volume = landscape if landscape.ndim == 3 else landscape[np.newaxis]
    if volume.size == 0:
        return np.zeros(landscape.shape, np.uint32)
    grid = Grid(volume.shape, _full_tile(tile_shape, volume.shape))

    def segment_tile(tile: int):
        core = grid[tile]
        read = core.grown(HALO, volume.shape)
        return segment(volume[read.slices], core=core, volume=volume.shape, threshold=threshold)

    with ThreadPoolExecutor(threads) as pool:
        tiles = list(pool.map(segment_tile, range(len(grid))))
    stitched = stitch(
        lambda tile: tiles[tile][1], grid=grid, persistence=persistence, min_size=min_size
    )
    labels = np.empty(volume.shape, stitched.dtype)
    for tile, (fragments, _) in enumerate(tiles):
        labels[grid[tile].slices] = stitched.cells_of(tile).ids[fragments]
    return labels.reshape(landscape.shape)


def _full_tile(tile_shape: Triple | None, shape: Triple) -> Triple:
    """The tile shape as three edges of at least one voxel."""
    if tile_shape is None:
        return tuple(max(1, min(n, DEFAULT_EDGE)) for n in shape)
    tile = (1,) * (3 - len(tile_shape)) + tuple(tile_shape)
    if len(tile) != 3 or any(not isinstance(n, int | np.integer) or n < 1 for n in tile):
        raise ValueError(
            f"tile_shape is {tile_shape}; allowed are three positive whole numbers (z, y, x), or "
            "two (y, x) for an image: choose the edges in voxels"
        )
    return tile
