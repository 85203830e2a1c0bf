"""Ingest: an image of any format becomes a sharded OME-Zarr pyramid with its global histogram.

Idea: one pass over the source, slab by slab. A slab is as many planes as a shard is deep, and a
shard is as deep as one chunk, so a source that is stored plane by plane is read once, in order.
A slab is taken in bands of rows, each a row of shards, so what is in memory is a band per thread
and neither a volume nor a slab.

1. Each (frame, channel, slab) is read, written to level 0, counted into a histogram, and its planes
   are hashed. Its record, with the checksum of what was stored, comes last.
2. Each level is made of the one before, shard by shard.
3. The histograms of a channel are added up, over all frames; its limits follow. The hashes of all
   planes make the content hash: it names the image by its voxels, whatever format they came in.
4. The metadata of the group are written: an image without them is not complete.

A run that starts again does only what has no record that fits, or what was deleted or changed.
An array has an axis of time if there are several frames; a slab or shard lies in one of them.

Limits: integers of up to 32 bits and float32; float16 and float64 become float32. Planes that
can be unpacked only as a whole go through a temporary file of one slab if a slab has several
bands. A band is at least one chunk high, so images wider than 30,000 pixels need more memory.
"""

import base64
import hashlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import zarr

from .geometry import Box, Grid, Triple, VoxelSize, cube
from .intensity import histogram, limits, n_bins, statistics
from .memory import BAND_BYTES
from .omezarr import image_attributes
from .progress import work_off
from .pyramid import halve, level_factors, level_shape
from .records import Records, fingerprint
from .source import Source
from .store import (
    CHUNK_VOXELS,
    SHARD_VOXELS,
    checksum,
    lay_out,
    remove_group,
    remove_levels,
    write_group,
    write_shards,
)
from .version import __version__

VOXELS_COUNTED_AT_ONCE = 2**20


def ingest(
    source: Source,
    store: Path,
    *,
    name: str,
    voxel_size: Sequence[float | None] | None,
    records_folder: Path,
    code: str,
    threads: int = 1,
    what: str = "ingest",
) -> dict:
    """Copy an image into an OME-Zarr 0.5 pyramid with the axes c, z, y, x; a movie's has t before.

    Parameters
    ----------
    source : Source
    store : Path
        Folder of the OME-Zarr group; what else is in it (labels) stays.
    name : str
        Name of the image in its metadata.
    voxel_size : (z, y, x) in um, or None
        An axis that is None here is taken from the source. Voxels of unknown size are allowed.
    records_folder : Path
    code : str
        Fingerprint of the code of this stage.
    threads : int
        Slabs in work at a time; each needs about four times `memory.BAND_BYTES` of memory.
    what : str
        Begins the lines that report progress.

    Returns
    -------
    dict
        What others need to know: `shape` (c, z, y, x), `frames` (None for a single one),
        `frame_interval` (s or None), `dtype`, `voxel_size` (um or None), `channels` (for each its
        `limits`, low and high, and its `intensity.statistics`), `levels` (factors z, y, x of each)
        and `content` (SHA-256 of shape, dtype and voxels).

    Raises
    ------
    ValueError
        If the dtype is not allowed, a voxel is not finite, the voxel size is known for some axes
        only, or the source cannot be read.
    """
    dtype = _stored_dtype(source.dtype)
    voxel_size = _known_voxel_size(voxel_size, source.voxel_size)
    factors = level_factors(source.volume, voxel_size)
    before = source.shape[:2] if source.frames else source.shape[1:2]
    remove_group(store)

    level = _lay_out(store / "0", (*before, *source.volume), dtype)
    slabs = _stream(
        source,
        level,
        records_folder=records_folder / "level0",
        code=code,
        threads=threads,
        what=what,
        with_histogram=True,
    )
    content = _content(level.shape, dtype, slabs)
    for number in range(1, len(factors)):
        step = tuple(b // a for a, b in zip(*factors[number - 1 : number + 1], strict=True))
        finer = level
        shape = level_shape(source.volume, factors[number])
        level = _lay_out(store / str(number), (*before, *shape), dtype)
        _coarsen(
            finer,
            level,
            step,
            records_folder=records_folder / f"level{number}",
            identity={"content": content, "code": code, "factors": factors[: number + 1]},
            threads=threads,
            what=f"{what}, level {number}",
        )
    remove_levels(store, len(factors))

    n_channels = source.shape[1]
    per_stack = len(slabs) // (source.shape[0] * n_channels)
    counts = [
        sum(
            _unpacked(slab["histogram"])
            for number, slab in enumerate(slabs)
            if number // per_stack % n_channels == channel
        )
        for channel in range(n_channels)
    ]
    channel_limits = [limits(of_channel, dtype) for of_channel in counts]
    attributes = image_attributes(
        name=name,
        voxel_size=voxel_size,
        factors=factors,
        dtype=dtype,
        limits=channel_limits,
        frames=source.frames,
        frame_interval=source.frame_interval,
    )
    write_group(store, attributes | {"mosaicell": {"version": __version__, "input": content}})
    return {
        "shape": list(source.shape[1:]),
        "frames": source.frames,
        "frame_interval": source.frame_interval if source.frames else None,
        "dtype": dtype.name,
        "voxel_size": None if voxel_size is None else list(voxel_size),
        "channels": [
            {"limits": list(pair), **statistics(of_channel, dtype)}
            for pair, of_channel in zip(channel_limits, counts, strict=True)
        ],
        "levels": [list(f) for f in factors],
        "content": content,
    }


def ingest_landscape(
    source: Source,
    array_path: Path,
    *,
    records_folder: Path,
    code: str,
    threads: int = 1,
    what: str = "ingest landscape",
) -> dict:
    """Copy a landscape that a sample brings into a zarr array with the axes z, y, x, or t before.

    Parameters
    ----------
    source : Source
        One channel of integers of up to 32 bits or floats (float16 becomes float32).
    array_path : Path
        The zarr array.
    records_folder, code, threads, what
        See `ingest`.

    Returns
    -------
    dict
        `shape` ((t,) z, y, x), `dtype`, and `content` as in `ingest`.

    Raises
    ------
    ValueError
        If there are several channels, the dtype is not allowed, or a voxel is not finite.
    """
    if source.shape[1] > 1:
        raise ValueError(
            f"the landscape has {source.shape[1]} channels; allowed is one: "
            "save the channel that is the landscape on its own"
        )
    dtype = np.dtype(np.float32) if source.dtype == np.float16 else source.dtype
    if dtype.itemsize == 8 and dtype.kind != "f":
        raise ValueError(
            f"the landscape has the dtype {dtype}; allowed are integers of up to 32 bits and "
            "floats: convert it"
        )
    before = () if source.frames is None else (source.frames,)
    array = _lay_out(array_path, (*before, *source.volume), dtype, axes="tzyx")
    slabs = _stream(
        source,
        array,
        records_folder=records_folder,
        code=code,
        threads=threads,
        what=what,
        with_histogram=False,
    )
    return {
        "shape": list(array.shape),
        "dtype": dtype.name,
        "content": _content(source.shape[0 if source.frames else 1 :], dtype, slabs),
    }


def _stored_dtype(dtype: np.dtype) -> np.dtype:
    if dtype.kind == "f":
        return np.dtype(np.float32)
    if dtype.itemsize > 4:
        raise ValueError(
            f"the image has the dtype {dtype}; allowed are integers of up to 32 bits and floats: "
            "convert it"
        )
    return dtype


def _known_voxel_size(
    given: Sequence[float | None] | None, stated: VoxelSize | None
) -> VoxelSize | None:
    """The voxel size that the user gives, completed by what the file states."""
    sizes = tuple(
        a if a is not None else b
        for a, b in zip(given or (None,) * 3, stated or (None,) * 3, strict=True)
    )
    if sizes == (None, None, None):
        return None
    if None in sizes:
        raise ValueError(
            f"the voxel size (z, y, x) is known as {sizes} um, and the file does not say the rest; "
            "allowed is a size for all axes or for none: complete it in the sample sheet"
        )
    return tuple(float(size) for size in sizes)


def _lay_out(
    path: Path, shape: tuple[int, ...], dtype: np.dtype, *, axes: str = "tczyx"
) -> zarr.Array:
    leading = (1,) * (len(shape) - 3)
    chunk = cube(shape[-3:], CHUNK_VOXELS)
    return lay_out(
        path,
        shape=shape,
        dtype=dtype,
        chunks=(*leading, *chunk),
        shards=(*leading, *_flat_shard(shape[-3:], chunk, dtype)),
        dimension_names=tuple(axes[-len(shape) :]),
    )


def _flat_shard(shape: Triple, chunk: Triple, dtype: np.dtype) -> Triple:
    """Chunks side by side, one deep: near to square, but no higher than a band may be."""
    depth, height, width = chunk
    highest = BAND_BYTES // (depth * shape[2] * dtype.itemsize)
    while depth * height * width * 2 <= SHARD_VOXELS:
        can_rise = height < shape[1] and height * 2 <= highest
        can_widen = width < shape[2]
        if can_rise and (height <= width or not can_widen):
            height *= 2
        elif can_widen:
            width *= 2
        else:
            break
    return depth, height, width


def _stream(
    source: Source,
    array: zarr.Array,
    *,
    records_folder: Path,
    code: str,
    threads: int,
    what: str,
    with_histogram: bool,
) -> list[dict]:
    """Copy a source into an array, and return what the records of all slabs say.

    The slabs are numbered frame by frame, and channel by channel.
    """
    n_planes, n_rows, n_columns = source.volume
    depth, height, _ = array.shards[-3:]
    per_stack = -(-n_planes // depth)
    records = Records(
        records_folder,
        fingerprint(
            source=source.identity,
            code=code,
            shape=source.shape,
            dtype=array.dtype.name,
            chunks=array.chunks,
            shards=array.shards,
        ),
    )

    def place(slab: int) -> tuple[tuple[int, int], Box, tuple[int, ...]]:
        stack, layer = divmod(slab, per_stack)
        box = Box((layer * depth, 0, 0), (min((layer + 1) * depth, n_planes), n_rows, n_columns))
        return divmod(stack, source.shape[1]), box, _leading(array, stack)

    def copy(slab: int) -> None:
        stack, box, leading = place(slab)
        planes = [hashlib.sha256() for _ in range(box.shape[0])]
        counts = np.zeros(n_bins(array.dtype), np.int64)
        bands = [
            Box((box.start[0], y, 0), (box.stop[0], min(y + height, n_rows), n_columns))
            for y in range(0, n_rows, height)
        ]
        with _reader(source, stack, box, unpack_once=len(bands) > 1) as read:
            for band in bands:
                values = _as_stored(read(band), array.dtype, band)
                write_shards(array, band, values, leading)
                for digest, rows in zip(planes, values, strict=True):
                    digest.update(rows.astype(array.dtype.newbyteorder("<"), copy=False))
                if with_histogram:
                    counts += _histogram(values)
        payload = {
            "checksum": checksum(array, box, leading),
            "planes": [digest.hexdigest() for digest in planes],
        }
        if with_histogram:
            payload["histogram"] = _packed(counts)
        records.add(slab, payload)

    def is_done(slab: int) -> bool:
        _, box, leading = place(slab)
        known = records.payload(slab)
        return known is not None and known["checksum"] == checksum(array, box, leading)

    slabs = range(source.shape[0] * source.shape[1] * per_stack)
    work_off(slabs, copy, is_done=is_done, what=what, threads=threads, unit="slabs")
    return [records.payload(slab) for slab in slabs]


def _leading(array: zarr.Array, stack: int) -> tuple[int, ...]:
    """What stands before z, y, x in the index of an array: its volumes are numbered in order."""
    return tuple(map(int, np.unravel_index(stack, array.shape[:-3]))) if array.ndim > 3 else ()


@contextmanager
def _reader(
    source: Source, stack: tuple[int, int], slab: Box, *, unpack_once: bool
) -> Iterator[Callable[[Box], np.ndarray]]:
    """What reads the bands of a slab of a frame and a channel.

    Planes that can be unpacked only as a whole are unpacked once, into a temporary file.
    """
    if not (source.whole_planes and unpack_once):
        yield lambda band: source.read(*stack, band)
        return
    depth, n_rows, n_columns = slab.shape
    with TemporaryFile() as file:
        for z in range(slab.start[0], slab.stop[0]):
            plane = source.read(*stack, Box((z, 0, 0), (z + 1, n_rows, n_columns)))
            file.write(plane.data)
        file.flush()

        def read(band: Box) -> np.ndarray:
            values = np.empty(band.shape, source.dtype)
            for z in range(depth):
                file.seek((z * n_rows + band.start[1]) * n_columns * values.itemsize)
                file.readinto(values[z].data)
            return values

        yield read


def _as_stored(values: np.ndarray, dtype: np.dtype, box: Box) -> np.ndarray:
    """Convert to the dtype of the store and refuse what is not finite then."""
    with np.errstate(over="ignore"):
        stored = values.astype(dtype, copy=False)
    if dtype.kind == "f" and not np.isfinite(stored).all():
        place = np.unravel_index(np.argmin(np.isfinite(stored)), stored.shape)
        position = tuple(int(a + b) for a, b in zip(place, box.start, strict=True))
        raise ValueError(
            f"the voxel at (z, y, x) = {position} is {values[place]}; allowed are finite numbers "
            f"in the range of {dtype}: replace NaN, infinite and too large values"
        )
    return stored


def _coarsen(
    finer: zarr.Array,
    level: zarr.Array,
    step: Triple,
    *,
    records_folder: Path,
    identity: dict,
    threads: int,
    what: str,
) -> None:
    """Make one level of the one before: shards, each put together from small blocks."""
    grid = Grid(level.shape[-3:], level.shards[-3:])
    records = Records(
        records_folder,
        fingerprint(**identity, shape=level.shape, chunks=level.chunks, shards=level.shards),
    )

    def make(unit: int) -> None:
        stack, shard = divmod(unit, len(grid))
        leading, box = _leading(level, stack), grid[shard]
        values = np.empty(box.shape, level.dtype)
        for part in Grid(box.shape, level.chunks[-3:]):
            start = [(a + b) * f for a, b, f in zip(part.start, box.start, step, strict=True)]
            stop = [(a + b) * f for a, b, f in zip(part.stop, box.start, step, strict=True)]
            block = finer[(*leading, *map(slice, start, stop))]  # zarr cuts at the border
            values[part.slices] = halve(block, step)
        write_shards(level, box, values, leading)
        records.add(unit, {"checksum": checksum(level, box, leading)})

    def is_done(unit: int) -> bool:
        stack, shard = divmod(unit, len(grid))
        known, stored = records.payload(unit), checksum(level, grid[shard], _leading(level, stack))
        return known is not None and known["checksum"] == stored

    units = range(prod(level.shape[:-3]) * len(grid))
    work_off(units, make, is_done=is_done, what=what, threads=threads, unit="shards")


def _content(shape: tuple[int, ...], dtype: np.dtype, slabs: list[dict]) -> str:
    """The hash that names an image by shape, dtype and the hashes of its planes in order."""
    planes = [plane for slab in slabs for plane in slab["planes"]]
    return fingerprint(shape=shape, dtype=dtype.name, planes=planes)


def _histogram(values: np.ndarray) -> np.ndarray:
    """The histogram of a band, piece by piece: counting takes twelve bytes of memory per voxel."""
    flat = values.reshape(-1)
    starts = range(0, flat.size, VOXELS_COUNTED_AT_ONCE)
    return sum(histogram(flat[start : start + VOXELS_COUNTED_AT_ONCE]) for start in starts)


def _packed(counts: np.ndarray) -> str:
    """A histogram as text: most bins are empty, so it is short."""
    return base64.b64encode(zlib.compress(counts.astype("<i8").tobytes())).decode()


def _unpacked(text: str) -> np.ndarray:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), "<i8")


def lay_out_landscape(path: Path, shape: Triple, frames: int | None = None) -> None:
    """Create the array, or open it as it is, that predicting fills with a landscape of uint16.

    Its shards are cubes, not slabs: less of what is read for them is halo.
    """
    before = () if frames is None else (1,)
    lay_out(
        path,
        shape=tuple(shape) if frames is None else (frames, *shape),
        dtype=np.uint16,
        chunks=(*before, *cube(shape, CHUNK_VOXELS)),
        shards=(*before, *cube(shape, SHARD_VOXELS)),
        dimension_names=("z", "y", "x") if frames is None else ("t", "z", "y", "x"),
    )
