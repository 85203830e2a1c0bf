"""The stitch stage on disk: all tiles' graphs become one file of cells a tile."""

from pathlib import Path

from ..geometry import Grid
from ..progress import Progress
from ..records import Records
from ..segment import TileGraph
from ..stitch import Stitched, stitch
from ..store import DamagedError, read_arrays, write_arrays
from .tiles import tile_file


def stitch_tiles(
    folder: Path,
    *,
    grid: Grid,
    persistence: float,
    min_size: int,
    segmented: Records,
    what: str,
) -> Stitched:
    """Stitch all tiles of a sample and write for each what it needs of the result.

    Parameters
    ----------
    folder : Path
        See `mosaicell.jobs`.
    grid, min_size
        See `stitch.stitch`.
    persistence : float
        In units of the stored landscape.
    segmented : Records
        Of the tiles.
    what : str
        See `progress.Progress`.

    Returns
    -------
    Stitched

    Raises
    ------
    DamagedError
        If a tile was not segmented as `segmented` expects.
    """
    for tile in range(len(grid)):
        if segmented.payload(tile) is None:
            raise DamagedError(f"tile {tile} in {folder} was not segmented as the others were")

    def read(tile: int) -> TileGraph:
        return TileGraph(**read_arrays(tile_file(folder, tile, "graph")))

    stitched = stitch(read, grid=grid, persistence=persistence, min_size=min_size)
    progress = Progress(what, len(grid))
    for tile in range(len(grid)):
        write_arrays(tile_file(folder, tile, "cells"), vars(stitched.cells_of(tile)))
        progress.advance()
    return stitched
