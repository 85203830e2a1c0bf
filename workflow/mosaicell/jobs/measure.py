"""The measure stage on disk: each tile's own cells become a file of rows."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import zarr

from ..geometry import Grid
from ..measure import batches, measure_cells
from ..records import Records
from ..stitch import TileCells
from ..store import DamagedError, checksum_of_files, read, read_arrays, write_arrays
from .shards import check_shards
from .tiles import fill_tiles, tile_file

# Cells of a tile are measured on one crop, unless it would have many times the tile's voxels.
CROP_VOXELS = 4 * 256**3


def measure_tiles(
    labels: zarr.Array,
    image: zarr.Array,
    folder: Path,
    *,
    grid: Grid,
    tiles: Iterable[int],
    voxel_size: tuple[float, float, float] | None,
    records: Records,
    written: Records,
    what: str,
    threads: int = 1,
) -> int:
    """Measure the cells that tiles own, each on its complete crop.

    Parameters
    ----------
    labels : zarr.Array, (z, y, x) or (t, z, y, x)
        The final labels of the whole volume.
    image : zarr.Array, (c, z, y, x) or (t, c, z, y, x)
    folder, grid, tiles, records, what, threads
        As for `segment_tiles`.
    voxel_size : tuple of float or None
        (z, y, x) in um.
    written : Records
        Of the shards of the labels, which are compared with them.

    Returns
    -------
    int
        How many tiles were measured; the others were there.
    """

    def compute(tile: int) -> None:
        cells = TileCells(**read_arrays(tile_file(folder, tile, "cells")))
        frame = grid.frame_of(tile)
        leading = grid.leading(frame)
        measure_run = partial(measure_cells, volume=grid.shape, voxel_size=voxel_size)
        parts = []
        for run, box in batches(cells.bbox, max_voxels=CROP_VOXELS):
            check_shards(labels, written, box, frame)
            part = measure_run(
                read(labels, box, leading),
                read(image, box, (*leading, slice(None))),
                ids=cells.label[run],
                boxes=cells.bbox[run],
                origin=box.start,
            )
            parts.append(part)
        table = pd.concat(parts) if parts else _no_cells(image, grid, voxel_size)
        columns = {name: column.to_numpy() for name, column in table.items()}
        columns = {"frame": np.full(len(table), frame, np.int64), **columns}
        write_arrays(tile_file(folder, tile, "table"), columns)

    return fill_tiles(
        compute, folder, ("table",), tiles=tiles, records=records, what=what, threads=threads
    )


def _no_cells(image: zarr.Array, grid: Grid, voxel_size: tuple | None) -> pd.DataFrame:
    """A table without rows, with all columns in their types."""
    nothing = np.empty((image.shape[-4], 0, 0, 0))
    return measure_cells(
        np.empty((0, 0, 0), np.uint32),
        nothing,
        ids=np.empty(0, np.uint32),
        boxes=np.empty((0, 6), np.int64),
        origin=(0, 0, 0),
        volume=grid.shape,
        voxel_size=voxel_size,
    )


def gather_cells(folder: Path, *, grid: Grid, measured: Records) -> pd.DataFrame:
    """The rows of all tiles, by ascending label.

    Raises
    ------
    DamagedError
        If the rows of a tile are not those that `measured` speaks of.
    """
    parts = []
    for tile in range(len(grid)):
        file = tile_file(folder, tile, "table")
        payload = measured.payload(tile)
        if payload is None or payload["stored"] != checksum_of_files([file]):
            raise DamagedError(f"{file} is damaged or missing")
        parts.append(pd.DataFrame(read_arrays(file)))
    filled = [part for part in parts if len(part)] or parts[:1]
    return pd.concat(filled).sort_values("label", ignore_index=True)
