"""The stitch stage on disk: all tiles' graphs become one file of cells a tile."""

from pathlib import Path

from ..geometry import Grid
from ..progress import Progress
from ..segment import TileGraph
from ..stitch import Stitched, stitch
from ..store import read_arrays, write_arrays
from .tiles import tile_file


def stitch_tiles(
    folder: Path, *, grid: Grid, persistence: float, min_size: int, what: str
) -> Stitched:
    """Stitch all tiles of a sample; `persistence` is in units of the stored landscape."""

    def read(tile: int) -> TileGraph:
        return TileGraph(**read_arrays(tile_file(folder, tile, "graph")))

    stitched = stitch(read, grid=grid, persistence=persistence, min_size=min_size)
    progress = Progress(what, len(grid))
    for tile in range(len(grid)):
        write_arrays(tile_file(folder, tile, "cells"), vars(stitched.cells_of(tile)))
        progress.advance()
    return stitched
