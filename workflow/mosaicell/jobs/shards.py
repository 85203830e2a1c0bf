"""Shards of zarr arrays, computed or found as an earlier run recorded them."""

from collections.abc import Callable, Iterable

import numpy as np
import zarr

from ..geometry import Box, Triple
from ..progress import work_off
from ..records import Records
from ..store import DamagedError, checksum, shard_grid, write_shards


def check_shards(array: zarr.Array, records: Records, box: Box, frame: int = 0) -> None:
    """Refuse to read a box of a frame if shards under it are not as `fill_shards` recorded them.

    Zarr takes a shard that is missing for an empty one.

    Raises
    ------
    DamagedError
    """
    grid = shard_grid(array)
    leading = grid.leading(frame)
    for shard in grid.overlapping(box, frame):
        payload = records.payload(shard)
        if payload is None or payload["stored"][0] != checksum(array, grid[shard], leading):
            raise DamagedError(f"shard {shard} of {array.store_path} is damaged or missing")


def fill_shards(
    compute: Callable[[int, Box], np.ndarray],
    arrays: list[tuple[zarr.Array, Triple]],
    *,
    shards: Iterable[int],
    records: Records,
    what: str,
    threads: int = 1,
    survey: Callable[[np.ndarray, Box], dict] | None = None,
) -> int:
    """Compute shards of an array, and of coarser arrays that pick every n-th voxel of it.

    Parameters
    ----------
    compute : callable
        Gives the voxels of a frame and a `Box` of the first array.
    arrays : list of (zarr.Array, tuple of int)
        Arrays with axes (z, y, x) or (t, z, y, x), and which voxels of the first array each holds:
        every n-th along z, y and x. Shards of all must fit those of the first.
    shards : iterable of int
        Numbers of the shards of the first array to be done.
    records : Records
    what, threads
        See `progress.work_off`.
    survey : callable, optional
        Says more of a shard for its record: a dict that JSON can hold. It is given the shard's
        voxels, with one voxel before them along each axis where there is one, and its `Box`.

    Returns
    -------
    int
        How many shards were computed; the others were there.
    """
    grid = shard_grid(arrays[0][0])

    def box_of(shard: int, steps: Triple) -> Box:
        box = grid[shard]
        return Box(
            tuple(a // n for a, n in zip(box.start, steps, strict=True)),
            tuple(-(-b // n) for b, n in zip(box.stop, steps, strict=True)),
        )

    def stored(shard: int) -> list[int]:
        leading = grid.leading(grid.frame_of(shard))
        return [checksum(array, box_of(shard, steps), leading) for array, steps in arrays]

    def is_done(shard: int) -> bool:
        payload = records.payload(shard)
        return payload is not None and payload["stored"] == stored(shard)

    def do(shard: int) -> None:
        core, frame = grid[shard], grid.frame_of(shard)
        box = core if survey is None else Box(core.grown((1, 1, 1), grid.shape).start, core.stop)
        computed = compute(frame, box)
        voxels = computed[core.seen_from(box.start).slices]
        for array, steps in arrays:
            picked = voxels[tuple(slice(None, None, n) for n in steps)]
            write_shards(array, box_of(shard, steps), picked, grid.leading(frame))
        said = {} if survey is None else survey(computed, core)
        records.add(shard, {"stored": stored(shard), **said})

    return work_off(shards, do, is_done=is_done, what=what, threads=threads, unit="shards")
