"""Final labels on disk: fragments and ids of the tiles become shards of the label image.

Coarser levels pick every n-th voxel of the finest, so that a shard fills its part of all levels,
and never mix the ids of cells.
"""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import zarr

from ..geometry import Box, Grid, Triple
from ..records import Records
from ..store import (
    CHUNK_VOXELS,
    SHARD_VOXELS,
    cube,
    lay_out,
    read_arrays,
    remove_group,
    remove_levels,
)
from .shards import fill_shards
from .tiles import tile_file


def lay_out_labels(
    folder: Path, *, shape: Triple, dtype: np.dtype, factors: list[Triple]
) -> list[tuple[zarr.Array, Triple]]:
    """Create the arrays of a label pyramid, or open them as they are.

    Parameters
    ----------
    folder : Path
        Of the label image; level k becomes the array `folder / str(k)`.
    shape : tuple of int
        Of the finest level.
    dtype : dtype
    factors : list of tuple of int
        Voxels of the finest level per voxel of each level: powers of two.

    Returns
    -------
    list of (zarr.Array, tuple of int)
        Arrays and their factors, for `write_labels`.
    """
    # A shard is at least one voxel of the coarsest level, so that each shard has its own there.
    shards = tuple(map(max, cube(shape, SHARD_VOXELS), factors[-1]))
    chunks = cube(shape, CHUNK_VOXELS)
    remove_group(folder)  # labels without metadata are not complete
    levels = []
    for level, factor in enumerate(factors):
        level_shards = tuple(s // f for s, f in zip(shards, factor, strict=True))
        array = lay_out(
            folder / str(level),
            shape=tuple(-(-n // f) for n, f in zip(shape, factor, strict=True)),
            dtype=dtype,
            chunks=tuple(map(min, chunks, level_shards)),
            shards=level_shards,
            dimension_names=("z", "y", "x"),
        )
        levels.append((array, factor))
    remove_levels(folder, len(factors))
    return levels


def read_labels(folder: Path, grid: Grid, dtype: np.dtype, box: Box) -> np.ndarray:
    """The final labels of a box of voxels, put together from the tiles under it."""
    labels = np.empty(box.shape, dtype)
    for tile in grid.overlapping(box):
        core = grid[tile]
        common = core.intersection(box)
        fragments = read_arrays(tile_file(folder, tile, "fragments"))["fragments"]
        ids = read_arrays(tile_file(folder, tile, "cells"))["ids"]
        part = fragments[common.seen_from(core.start).slices]
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
    """Write the final labels, shard by shard, and their pyramid; see `fill_shards`."""
    compute = partial(read_labels, folder, grid, arrays[0][0].dtype)
    return fill_shards(compute, arrays, shards=shards, records=records, what=what, threads=threads)
