"""The stitch stage on disk: graphs of tiles become basins, and those of all tiles become cells.

Frames of a movie never meet: each is stitched by itself, one after the other, and the ids of its
cells go on where those of the frame before have ended.

Limits: `stitch_volume` begins anew if it was killed. What it could find done is half of its work,
the writing of what each tile needs, and to know that takes one more record for each tile.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from ..geometry import Grid
from ..memory import NEIGHBOURS_IN_MEMORY
from ..progress import Progress
from ..records import Records
from ..segment import TileGraph
from ..stitch import (
    MOST_CELLS_OF_UINT32,
    Stitched,
    TileBasins,
    TileCells,
    contract_tile,
    stitch,
)
from ..store import DamagedError, read_arrays, write_arrays
from .tiles import fill_tiles, tile_file


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
        The tiles of the volume, or of all frames.
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

    in_frame = grid.of_frame

    def compute(tile: int) -> None:
        first = grid.frame_of(tile) * len(in_frame)

        def rim_of(other: int) -> np.ndarray:
            return border_of(first + other)["rim"]

        def exits_of(other: int) -> np.ndarray:
            return border_of(first + other)["exits"]

        basins = contract_tile(
            tile - first,
            TileGraph(**read(tile, "graph")),
            rim_of,
            exits_of,
            grid=in_frame,
            persistence=persistence,
        )
        write_arrays(tile_file(folder, tile, "basins"), basins.arrays())

    return fill_tiles(
        compute, folder, ("basins",), tiles=tiles, records=records, what=what, threads=threads
    )


@dataclass(frozen=True)
class Counts:
    """What stitching has found.

    Attributes
    ----------
    dtype : numpy.dtype
        Of the ids.
    num_cells, num_voxels : list of int
        Cells, and voxels of all cells, in each frame.
    """

    dtype: np.dtype
    num_cells: list[int]
    num_voxels: list[int]

    @property
    def n_cells(self) -> int:
        return sum(self.num_cells)


def stitch_volume(
    folder: Path,
    *,
    grid: Grid,
    persistence: float,
    min_size: int,
    min_peak: float,
    min_relative_peak: float,
    contracted: Records,
    what: str,
    threads: int = 1,
) -> Counts:
    """Stitch all tiles of a volume, or of each frame, and write what each needs of the result.

    Parameters
    ----------
    folder : Path
        See `mosaicell.jobs`.
    grid, persistence, min_size, min_peak, min_relative_peak
        See `stitch.stitch`; the persistence is that of `stitch_tiles`, and heights are in units of
        the stored landscape.
    contracted : Records
        Of the tiles, by `stitch_tiles`.
    what : str
        See `progress.Progress`.
    threads : int
        Groups of tiles, and then tiles, in work at a time.

    Returns
    -------
    Counts

    Raises
    ------
    DamagedError
        If something of a tile is not as `stitch_tiles` left it.
    """
    for tile in range(len(grid)):
        if contracted.payload(tile) is None:
            raise DamagedError(f"tile {tile} in {folder} was not stitched as the others were")

    in_frame = grid.of_frame
    progress = Progress(what, len(grid))

    def stitch_frame(first: int) -> Stitched:
        def read(tile: int) -> TileBasins:
            return TileBasins(**read_arrays(tile_file(folder, first + tile, "basins")))

        return stitch(
            read,
            grid=in_frame,
            persistence=persistence,
            min_size=min_size,
            min_peak=min_peak,
            min_relative_peak=min_relative_peak,
            threads=threads,
        )

    def write(stitched: Stitched, first: int, before: int, dtype: np.dtype, tile: int) -> int:
        cells = stitched.cells_of(tile).after(before, dtype)
        write_arrays(tile_file(folder, first + tile, "cells"), vars(cells))
        progress.advance()
        return int(cells.size.sum())

    dtype = np.dtype(np.uint32)
    num_cells, num_voxels = [], []
    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, len(grid), len(in_frame)):
            stitched, before = stitch_frame(first), sum(num_cells)
            if dtype == np.uint32 and before + stitched.n_cells > MOST_CELLS_OF_UINT32:
                dtype = np.dtype(np.uint64)
                for tile in range(first):
                    file = tile_file(folder, tile, "cells")
                    write_arrays(file, vars(TileCells(**read_arrays(file)).after(0, dtype)))
            write_tile = partial(write, stitched, first, before, dtype)
            num_voxels.append(sum(pool.map(write_tile, range(len(in_frame)))))
            num_cells.append(stitched.n_cells)
    return Counts(dtype, num_cells, num_voxels)
