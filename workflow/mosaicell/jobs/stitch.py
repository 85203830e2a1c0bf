"""The stitch stage on disk: graphs of tiles become basins, and those of all tiles become cells.

Limits: `stitch_volume` begins anew if it was killed. What it could find done is half of its work,
the writing of what each tile needs, and to know that takes one more record for each tile.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..geometry import Grid
from ..progress import Progress
from ..records import Records
from ..segment import TileGraph
from ..stitch import Stitched, TileBasins, contract_tile, stitch
from ..store import DamagedError, read_arrays, write_arrays
from .tiles import fill_tiles, tile_file

# A tile needs the rims and exits of its neighbours, most of which the next tile needs again.
NEIGHBOURS_IN_MEMORY = 128


def stitch_tiles(
    folder: Path,
    *,
    grid: Grid,
    tiles: Iterable[int],
    persistence: float,
    records: Records,
    segmented: Records,
    what: str,
    threads: int = 1,
) -> int:
    """Decide for tiles what can be decided in each of them alone.

    Parameters
    ----------
    folder, tiles, records, what, threads
        See `fill_tiles`.
    grid : Grid
        The tiles of the volume.
    persistence : float
        In units of the stored landscape.
    segmented : Records
        Of all tiles: what the neighbours leave at their borders is read too.

    Returns
    -------
    int
        How many tiles were computed; the others were there.

    Raises
    ------
    DamagedError
        If a tile was not segmented as `segmented` expects.
    """

    def read(tile: int, kind: str) -> dict[str, np.ndarray]:
        if segmented.payload(tile) is None:
            raise DamagedError(f"tile {tile} in {folder} was not segmented as the others were")
        return read_arrays(tile_file(folder, tile, kind))

    @lru_cache(NEIGHBOURS_IN_MEMORY)
    def border_of(tile: int) -> dict[str, np.ndarray]:
        return read(tile, "rim")

    def rim_of(tile: int) -> np.ndarray:
        return border_of(tile)["rim"]

    def exits_of(tile: int) -> np.ndarray:
        return border_of(tile)["exits"]

    def compute(tile: int) -> None:
        graph = TileGraph(**read(tile, "graph"))
        basins = contract_tile(
            tile, graph, rim_of, grid=grid, persistence=persistence, exits_of=exits_of
        )
        write_arrays(tile_file(folder, tile, "basins"), basins.arrays())

    return fill_tiles(
        compute, folder, ("basins",), tiles=tiles, records=records, what=what, threads=threads
    )


def stitch_volume(
    folder: Path,
    *,
    grid: Grid,
    persistence: float,
    min_size: int,
    contracted: Records,
    what: str,
    threads: int = 1,
) -> Stitched:
    """Stitch all tiles of a volume and write for each what it needs of the result.

    Parameters
    ----------
    folder : Path
        See `mosaicell.jobs`.
    grid, persistence, min_size
        See `stitch.stitch`; the persistence is that of `stitch_tiles`.
    contracted : Records
        Of the tiles, by `stitch_tiles`.
    what : str
        See `progress.Progress`.
    threads : int
        Groups of tiles, and then tiles, in work at a time.

    Returns
    -------
    Stitched

    Raises
    ------
    DamagedError
        If something of a tile is not as `stitch_tiles` left it.
    """
    for tile in range(len(grid)):
        if contracted.payload(tile) is None:
            raise DamagedError(f"tile {tile} in {folder} was not stitched as the others were")

    def read(tile: int) -> TileBasins:
        return TileBasins(**read_arrays(tile_file(folder, tile, "basins")))

    stitched = stitch(read, grid=grid, persistence=persistence, min_size=min_size, threads=threads)
    progress = Progress(what, len(grid))

    def write(tile: int) -> None:
        write_arrays(tile_file(folder, tile, "cells"), vars(stitched.cells_of(tile)))
        progress.advance()

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(write, range(len(grid))):
            pass
    return stitched
