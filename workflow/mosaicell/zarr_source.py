"""OME-Zarr images and zarr arrays, read box by box.

Idea: zarr reads boxes by itself; what is left is to find the array, and to name its axes.

1. An OME-Zarr image (0.4, 0.5): its finest level, with the axes and the scales of its metadata.
2. A zarr array: its axes come from dimension names, or else are the last of (t, c, z, y, x); it
   has no voxel size.

Limits: the first image of a group, y and x and any of t, c, z. A box costs the chunks that it
touches, each unpacked as a whole (see `Source.whole_planes`).
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import zarr

from .geometry import Box
from .source import (
    Source,
    complete_voxel_size,
    identity_of,
    in_seconds,
    in_um,
    native_dtype,
)


def open_zarr(path: Path) -> Source:
    """Open an OME-Zarr image or a zarr array."""
    node = _node(lambda: zarr.open(path, mode="r"), path)
    if isinstance(node, zarr.Group):
        array, axes, sizes = _finest_level(node, path)
    else:
        array, axes = node, _array_axes(node)
        sizes = [(None, None)] * len(axes)
    if len(axes) != array.ndim or not set("yx") <= set(axes) or set(axes) - set("tczyx"):
        raise ValueError(
            f"{path} has {array.ndim} dimensions with the axes {', '.join(axes) or 'unknown'}; "
            "allowed are y and x and any of t, c, z: name one image with these axes"
        )
    length = dict(zip(axes, array.shape, strict=True))
    if 0 in array.shape:
        raise ValueError(f"{path} is empty (shape {array.shape}): name an image with voxels")
    shape = tuple(length.get(a, 1) for a in "tczyx")
    dtype = native_dtype(array.dtype, path)
    known = dict.fromkeys("tczyx", (None, None)) | dict(zip(axes, sizes, strict=True))
    spatial = [a for a in axes if a in "zyx"]
    order = [spatial.index(a) for a in "zyx" if a in spatial]

    def fill(frame: int, channel: int, box: Box, out: np.ndarray) -> None:
        index = dict(zip("zyx", box.slices, strict=True)) | {"t": frame, "c": channel}
        try:
            values = array[tuple(index[a] for a in axes)]
        except Exception as error:  # a damaged chunk: every codec has exceptions of its own
            raise ValueError(
                f"the data in {path} cannot be read or unpacked ({error}): "
                "copy or write the array again"
            ) from error
        out[...] = values.transpose(order).reshape(out.shape)

    folder = Path(array.store_path.store.root) / array.store_path.path
    chunk = dict(zip(axes, array.chunks, strict=True))
    found = sorted(p for p in {*folder.rglob("*"), *path.glob("*")})
    return Source(
        shape=shape,
        dtype=dtype,
        voxel_size=complete_voxel_size([in_um(*known[a]) for a in "zyx"], shape[2]),
        frame_interval=in_seconds(*known["t"]),
        identity=identity_of(path, [p for p in found if p.is_file()]),
        whole_planes=chunk.get("z", 1) == 1 and chunk["y"] >= length["y"],
        fill=fill,
    )


def _node(find: Callable[[], object], path: Path):
    """An array or a group; zarr and its codecs have many exceptions for one that is damaged."""
    try:
        return find()
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as zarr ({error}); allowed are OME-Zarr 0.4 and 0.5 images "
            "and zarr arrays: write it again"
        ) from error


def _finest_level(group: zarr.Group, path: Path) -> tuple[zarr.Array, list[str], list]:
    """The first level of an OME-Zarr image, its axes, and its (scale, unit) along each."""
    attributes = dict(group.attrs)
    described = attributes.get("ome", attributes).get("multiscales")
    if not described:
        raise ValueError(
            f"{path} is a zarr group without an OME-Zarr image; allowed are a group with "
            "'multiscales' metadata or an array: name one of those inside it "
            f"(it holds {', '.join(sorted(group.keys())[:8]) or 'nothing'})"
        )
    image = described[0]
    axes = [a if isinstance(a, dict) else {"name": a} for a in image.get("axes", [])]
    dataset = image["datasets"][0]
    scales = [1.0] * len(axes)
    for transformation in (
        *dataset.get("coordinateTransformations", []),
        *image.get("coordinateTransformations", []),
    ):
        if transformation.get("type") == "scale":
            scales = [a * b for a, b in zip(scales, transformation["scale"], strict=True)]
    sizes = [(scale, axis.get("unit")) for scale, axis in zip(scales, axes, strict=True)]
    level = _node(lambda: group[dataset["path"]], path)
    return level, [axis["name"].lower() for axis in axes], sizes


def _array_axes(array: zarr.Array) -> list[str]:
    named = getattr(array.metadata, "dimension_names", None)
    if named and all(named):
        return [name.lower() for name in named]
    return list("tczyx"[-array.ndim :]) if 2 <= array.ndim <= 5 else []
