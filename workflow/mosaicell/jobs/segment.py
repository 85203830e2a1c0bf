"""The segment stage on disk: tiles of a landscape become files of fragments and graphs."""

from collections.abc import Iterable
from pathlib import Path

import zarr

from ..cut import box_to_read, cut_tile
from ..geometry import Grid
from ..records import Records
from ..rim import rim
from ..sigma import Sigma
from ..store import read, write_arrays
from .shards import check_shards
from .tiles import fill_tiles, tile_file


def segment_tiles(
    landscape: zarr.Array,
    folder: Path,
    *,
    grid: Grid,
    tiles: Iterable[int],
    threshold: float,
    sigma: Sigma = (0, 0, 0),
    records: Records,
    predicted: Records | None,
    what: str,
    threads: int = 1,
) -> int:
    """Segment tiles of a landscape.

    Parameters
    ----------
    landscape : zarr.Array, (z, y, x) or (t, z, y, x)
    folder, tiles, records, what, threads
        See `fill_tiles`.
    grid : Grid
        The tiles of the volume, or of all frames.
    threshold : float
        In units of the stored values.
    sigma : tuple of float, optional
        By how many voxels the landscape is smoothed first, along each axis.
    predicted : Records or None
        Of the landscape's shards, which are compared with it; None if it was not predicted.

    Returns
    -------
    int
        How many tiles were computed; the others were there.
    """

    def compute(tile: int) -> None:
        core, frame = grid[tile], grid.frame_of(tile)
        box = box_to_read(core, sigma=sigma, volume=grid.shape)
        if predicted is not None:
            check_shards(landscape, predicted, box, frame)
        values = read(landscape, box, grid.leading(frame))
        fragments, graph = cut_tile(
            values, core=core, volume=grid.shape, threshold=threshold, sigma=sigma
        )
        write_arrays(tile_file(folder, tile, "fragments"), {"fragments": fragments})
        border = {"rim": rim(fragments, grid.shape), "exits": graph.end[graph.is_exit]}
        write_arrays(tile_file(folder, tile, "rim"), border)
        write_arrays(tile_file(folder, tile, "graph"), graph.arrays())

    return fill_tiles(
        compute,
        folder,
        ("fragments", "rim", "graph"),
        tiles=tiles,
        records=records,
        what=what,
        threads=threads,
    )
