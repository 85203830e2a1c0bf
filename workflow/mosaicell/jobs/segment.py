"""The segment stage on disk: tiles of a landscape become files of fragments and graphs."""

from collections.abc import Iterable
from pathlib import Path

import zarr

from ..geometry import Grid
from ..records import Records
from ..segment import HALO, segment
from ..store import write_arrays
from .tiles import fill_tiles, tile_file


def segment_tiles(
    landscape: zarr.Array,
    folder: Path,
    *,
    grid: Grid,
    tiles: Iterable[int],
    threshold: float,
    records: Records,
    what: str,
    threads: int = 1,
) -> int:
    """Segment tiles of a landscape; `threshold` is in units of the stored values.

    Returns the number of tiles that were computed; the others were there.
    """

    def compute(tile: int) -> None:
        core = grid[tile]
        values = landscape[core.grown(HALO, grid.shape).slices]
        fragments, graph = segment(values, core=core, volume=grid.shape, threshold=threshold)
        write_arrays(tile_file(folder, tile, "fragments"), {"fragments": fragments})
        write_arrays(tile_file(folder, tile, "graph"), graph.arrays())

    return fill_tiles(
        compute,
        folder,
        ("fragments", "graph"),
        tiles=tiles,
        records=records,
        what=what,
        threads=threads,
    )
