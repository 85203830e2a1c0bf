"""Final labels on disk: fragments and ids of the tiles become shards of the label image.

Coarser levels pick every n-th voxel of the finest, so that a shard fills its part of all levels,
and never mix the ids of cells. While a shard is at hand, its straight borders are counted (see
`mosaicell.seams`). That takes a voxel before it, which is in the rim of other tiles.
"""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import zarr

from ..geometry import Box, Grid, Triple, cube
from ..records import Records
from ..rim import fragments_at
from ..seams import straight_borders
from ..store import (
    CHUNK_VOXELS,
    SHARD_VOXELS,
    DamagedError,
    lay_out,
    read_arrays,
    remove_group,
    remove_levels,
    shard_grid,
)
from .shards import fill_shards
from .tiles import tile_file


def lay_out_labels(
    folder: Path,
    *,
    shape: Triple,
    dtype: np.dtype,
    factors: list[Triple],
    frames: int | None = None,
) -> list[tuple[zarr.Array, Triple]]:
    """Create the arrays of a label pyramid, or open them as they are.

    Parameters
    ----------
    folder : Path
        Of the label image; level k becomes the array `folder / str(k)`.
    shape : tuple of int
        Of the finest level, (z, y, x).
    dtype : dtype
    factors : list of tuple of int
        Voxels of the finest level per voxel of each level: powers of two.
    frames : int, optional
        Of a movie, whose arrays have an axis of time before.

    Returns
    -------
    list of (zarr.Array, tuple of int)
        Arrays and their factors, for `write_labels`.
    """
    # A shard is at least one voxel of the coarsest level, so that each shard has its own there.
    shards = tuple(map(max, cube(shape, SHARD_VOXELS), factors[-1]))
    chunks = cube(shape, CHUNK_VOXELS)
    before = () if frames is None else (1,)
    remove_group(folder)  # labels without metadata are not complete
    levels = []
    for level, factor in enumerate(factors):
        level_shards = tuple(s // f for s, f in zip(shards, factor, strict=True))
        level_shape = tuple(-(-n // f) for n, f in zip(shape, factor, strict=True))
        array = lay_out(
            folder / str(level),
            shape=level_shape if frames is None else (frames, *level_shape),
            dtype=dtype,
            chunks=(*before, *map(min, chunks, level_shards)),
            shards=(*before, *level_shards),
            dimension_names=("z", "y", "x") if frames is None else ("t", "z", "y", "x"),
        )
        levels.append((array, factor))
    remove_levels(folder, len(factors))
    return levels


def read_labels(folder: Path, grid: Grid, dtype: np.dtype, frame: int, box: Box) -> np.ndarray:
    """The final labels of a box of a frame, put together from the tiles under it."""
    labels = np.empty(box.shape, dtype)
    for tile in grid.overlapping(box, frame):
        core = grid[tile]
        common = core.intersection(box)
        if any(
            a == c - 1 and c < b for a, b, c in zip(common.start, box.stop, core.stop, strict=True)
        ):
            # The box holds no more of the tile than a last plane, for which its rim will do.
            z, y, x = np.ogrid[common.slices]
            voxels = (z * grid.shape[1] + y) * grid.shape[2] + x
            rim = read_arrays(tile_file(folder, tile, "rim"))["rim"]
            part = fragments_at(rim, core, grid.shape, voxels.reshape(-1)).reshape(common.shape)
        else:
            fragments = read_arrays(tile_file(folder, tile, "fragments"))["fragments"]
            part = fragments[common.seen_from(core.start).slices]
        ids = read_arrays(tile_file(folder, tile, "cells"))["ids"]
        labels[common.seen_from(box.start).slices] = ids[part]
    return labels


def write_labels(
    folder: Path,
    arrays: list[tuple[zarr.Array, Triple]],
    *,
    grid: Grid,
    shards: Iterable[int],
    records: Records,
    what: str,
    threads: int = 1,
) -> int:
    """Write the final labels, shard by shard, and their pyramid; see `fill_shards`.

    The record of a shard also says how many straight borders it has, see `gather_borders`.
    """

    def survey(labels: np.ndarray, core: Box) -> dict:
        borders = straight_borders(labels, core=core, volume=grid.shape)
        return {"borders": [counts.tolist() for counts in borders]}

    return fill_shards(
        partial(read_labels, folder, grid, arrays[0][0].dtype),
        arrays,
        shards=shards,
        records=records,
        what=what,
        threads=threads,
        survey=survey,
    )


def gather_borders(labels: zarr.Array, *, written: Records) -> list[np.ndarray]:
    """Straight borders of the whole volume, or of all frames together, as the shards' records say.

    Parameters
    ----------
    labels : zarr.Array, (z, y, x) or (t, z, y, x)
        The finest level.
    written : Records
        Of its shards.

    Returns
    -------
    list of three ndarray of int64, (2, n)
        See `seams.straight_borders`.

    Raises
    ------
    DamagedError
        If a shard was not written as `written` expects.
    """
    grid = shard_grid(labels)
    borders = [np.zeros((2, n), np.int64) for n in grid.shape]
    for shard, core in enumerate(grid):
        payload = written.payload(shard)
        if payload is None:
            raise DamagedError(f"shard {shard} of {labels.store_path} is damaged or missing")
        for axis, counts in enumerate(payload["borders"]):
            borders[axis][:, core.start[axis] : core.stop[axis]] += np.array(counts)
    return borders
