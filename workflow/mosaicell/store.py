"""Stores on disk: zarr arrays written shard by shard, and small files written whole or not at all.

How things are written, read and checked on disk is known here alone; others name what is in a
store by its path below it. What this module promises:

1. `lay_out` creates an array, or keeps it if it is already there with the same layout, so a
   job that starts again finds what it has written. An array's metadata carry their own hash: a
   damaged one could have all chunks read or written otherwise.
2. A shard is written by one task at a time; tasks are therefore cut along `shard_grid`.
3. `checksum` reads back what is stored under a box, so that a record can tell later whether a
   shard was deleted or changed.
4. `write_file` replaces a file in one step: readers see the old content or the new, never half.

Every chunk carries a CRC-32C; a chunk that was damaged is found when it is read.
"""

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np
import zarr
from numcodecs import Zstd
from zarr.codecs import Crc32cCodec, ZstdCodec

from .geometry import Box, Grid, Triple

CHUNK_VOXELS = 64**3
SHARD_VOXELS = 256**3
CODECS = (ZstdCodec(level=1), Crc32cCodec())
# Shards of zeros are written too, so that a missing one is known to be missing.
CONFIG = {"write_empty_chunks": True}
ALIGNMENT = 16  # bytes
METADATA = "zarr.json"
SEAL = "mosaicell.sha256"


class DamagedError(ValueError):
    """Something that an earlier job wrote is not there as it was written."""


def lay_out(
    path: Path,
    *,
    shape: tuple[int, ...],
    dtype: np.dtype,
    chunks: tuple[int, ...],
    shards: tuple[int, ...],
    dimension_names: tuple[str, ...],
) -> zarr.Array:
    """Create a sharded zarr array, or open it if it is there with just this layout.

    An array of another layout at `path` is removed first. Chunks whose metadata are missing or
    damaged stay: whether they can be used is for the records to say. To be called by one job at
    a time.
    """
    memory = {}
    zarr.create_array(
        memory,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        shards=shards,
        compressors=CODECS,
        fill_value=0,
        dimension_names=dimension_names,
    )
    layout = json.loads(memory[METADATA].to_bytes())
    layout["attributes"] = {SEAL: _seal_of_layout(layout)}
    try:
        if _layout(path) != layout:
            shutil.rmtree(path)
    except DamagedError:
        pass
    write_json(path / METADATA, layout)
    return open_array(path, "r+")


def _layout(path: Path) -> dict:
    """The metadata of an array that `lay_out` made."""
    layout = read_json(path / METADATA)
    if layout.get("attributes", {}).get(SEAL) != _seal_of_layout(layout):
        raise DamagedError(f"{path / METADATA} is damaged")
    return layout


def _seal_of_layout(layout: dict) -> str:
    return _seal({key: value for key, value in layout.items() if key != "attributes"})


def remove_levels(folder: Path, first: int) -> None:
    """Remove the arrays `folder / str(k)`, k >= first, that a pyramid of more levels has left."""
    for path in folder.glob("[0-9]*"):
        if int(path.name) >= first:
            shutil.rmtree(path)


def open_array(path: Path, mode: str = "r") -> zarr.Array:
    """Open an array that `lay_out` made for reading ("r") or for writing into it as well ("r+").

    Raises
    ------
    DamagedError
        If its metadata are missing or not as they were written.
    """
    _layout(path)
    # Opening takes no `config`, and would leave out shards of zeros.
    return zarr.open_array(path, mode=mode).with_config(CONFIG)


def read(
    array: zarr.Array,
    box: Box,
    leading: tuple[int | slice, ...] = (),
    *,
    steps: Triple = (1, 1, 1),
) -> np.ndarray:
    """Read a box of an array that `lay_out` made and that was written.

    Parameters
    ----------
    array : zarr.Array with axes (..., z, y, x)
    box : Box
    leading : tuple of int or slice
        For each axis before z.
    steps : tuple of int, optional
        Along z, y, x: every so many voxels are read.

    Returns
    -------
    ndarray

    Raises
    ------
    DamagedError
        If a shard is missing or damaged. (Zarr takes a missing shard for an empty one.)
    """
    ranges = [
        range(n)[index] if isinstance(index, slice) else [index]
        for n, index in zip(array.shape, leading, strict=False)
    ]
    for position in product(*ranges):
        for path in _shard_paths(array, box, position):
            if not path.exists():
                raise DamagedError(f"{path} is missing")
    slices = (slice(a, b, s) for a, b, s in zip(box.start, box.stop, steps, strict=True))
    try:
        return array[(*leading, *slices)]
    except (ValueError, RuntimeError) as error:
        raise DamagedError(f"{array.store_path} is damaged ({error})") from error


def shard_grid(array: zarr.Array) -> Grid:
    """The shards of an array (z, y, x) or (t, z, y, x) as tiles: the unit of writing."""
    frames = array.shape[0] if array.metadata.dimension_names[0] == "t" else None
    return Grid(array.shape[-3:], (array.shards or array.chunks)[-3:], frames)


def checksum(array: zarr.Array, box: Box, leading: tuple[int, ...] = ()) -> int:
    """CRC-32 of all that is stored for the shards under a box; a missing shard counts as empty.

    Parameters
    ----------
    array : zarr.Array with axes (..., z, y, x)
    box : Box
        Voxels along the last three axes.
    leading : tuple of int
        Index along each axis before z.
    """
    crc = 0
    for path in _shard_paths(array, box, leading):
        try:
            crc = zlib.crc32(path.read_bytes(), crc)
        except FileNotFoundError:
            crc = zlib.crc32(b"absent", crc)
    return crc


def write_shards(
    array: zarr.Array, box: Box, values: np.ndarray, leading: tuple[int, ...] = ()
) -> None:
    """Write whole shards, whatever was there before.

    Zarr reads a shard at the far border before it replaces it, so one that is damaged could
    never be written again: what is stored is removed first.

    Parameters
    ----------
    array : zarr.Array with axes (..., z, y, x)
    box : Box
        Whole shards, or what the array's border leaves of them.
    values : ndarray of the box's shape
    leading : tuple of int
        Index along each axis before z.
    """
    for path in _shard_paths(array, box, leading):
        path.unlink(missing_ok=True)
    array[(*leading, *box.slices)] = values


def _shard_paths(array: zarr.Array, box: Box, leading: tuple[int, ...]) -> Iterator[Path]:
    """The files of the shards under a box, in raster order, whether they exist or not."""
    shards = array.shards or array.chunks
    ranges = [
        range(a // s, -(-b // s)) for a, b, s in zip(box.start, box.stop, shards[-3:], strict=True)
    ]
    folder = Path(array.store_path.store.root) / array.store_path.path
    for position in product(*ranges):
        yield folder / array.metadata.encode_chunk_key((*leading, *position))


def write_group(path: Path, attributes: dict) -> None:
    """Write the metadata of a zarr group in one step; arrays and groups in it stay."""
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / METADATA, {"zarr_format": 3, "node_type": "group", "attributes": attributes})


def remove_group(path: Path) -> None:
    """Remove the metadata of a zarr group, if any; arrays and groups in it stay."""
    (path / METADATA).unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Replace a file in one step by what is written meanwhile, to a temporary file beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Always the same name, so that what a killed writer left is overwritten by the next one.
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_file(path: Path, content: bytes) -> None:
    """Replace a file by `content` in one step."""
    with replacing(path) as file:
        file.write(content)


def write_json(path: Path, content: object) -> None:
    """Write JSON with sorted keys, in one step."""
    write_file(path, json.dumps(content, indent=1, sort_keys=True).encode() + b"\n")


def read_json(path: Path) -> dict:
    """Read a JSON file that holds an object.

    Raises
    ------
    DamagedError
        If the file is not there or not such a file.
    """
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError) as error:
        raise DamagedError(f"{path} is damaged or missing ({error})") from error
    if not isinstance(content, dict):
        raise DamagedError(f"{path} is damaged")
    return content


def write_sealed(path: Path, content: dict) -> None:
    """Write JSON in one step, with a hash of itself by which `read_sealed` knows it."""
    write_json(path, content | {SEAL: _seal(content)})


def read_sealed(path: Path) -> dict:
    """Read what `write_sealed` wrote.

    Raises
    ------
    DamagedError
        If the file is not there or not as it was written.
    """
    content = read_json(path)
    if content.pop(SEAL, None) != _seal(content):
        raise DamagedError(f"{path} is damaged")
    return content


def _seal(content: dict) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write named arrays into one compressed, checksummed file, in one step.

    It holds the length of a header, the header (names, dtypes and shapes, in JSON), and the arrays
    one after the other as they are in memory, each at a multiple of `ALIGNMENT` bytes.
    """
    contents = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    if any(array.dtype.hasobject for array in contents.values()):
        raise ValueError("arrays of objects came; allowed are numbers and text of fixed width")
    header = json.dumps([[name, a.dtype.str, a.shape] for name, a in contents.items()]).encode()
    parts = [len(header).to_bytes(8, "little"), header]
    begin = 8 + len(header)
    for array in contents.values():
        parts += [bytes(-begin % ALIGNMENT), array.data if array.size else b""]
        begin += -begin % ALIGNMENT + array.nbytes
    write_file(path, Zstd(level=1, checksum=True).encode(b"".join(parts)))


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read what `write_arrays` wrote.

    Raises
    ------
    DamagedError
        If the file is not there or not whole.
    """
    try:
        content = np.frombuffer(Zstd().decode(path.read_bytes()), np.uint8).copy()
    except (FileNotFoundError, RuntimeError) as error:
        raise DamagedError(f"{path} is damaged or missing ({error})") from error
    begin = 8 + int.from_bytes(content[:8].tobytes(), "little")
    arrays = {}
    for name, dtype, shape in json.loads(content[8:begin].tobytes()):
        begin += -begin % ALIGNMENT
        end = begin + prod(shape) * np.dtype(dtype).itemsize
        arrays[name] = content[begin:end].view(dtype).reshape(shape)
        begin = end
    return arrays


def checksum_of_files(paths: list[Path]) -> int | None:
    """CRC-32 of the contents of files, in order; None if one is not there."""
    crc = 0
    for path in paths:
        if not path.is_file():
            return None
        crc = zlib.crc32(path.read_bytes(), crc)
    return crc
