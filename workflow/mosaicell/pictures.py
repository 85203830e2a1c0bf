"""Pictures of a segmentation: cuts and projections of a volume, with the outlines of its cells.

Idea: a picture needs about as many pixels as a screen has. So each one is read from the finest
pyramid level that is not larger than that, and a level that still is larger is read with gaps.
Outlines are a layer of their own, transparent between the lines; it is drawn finer than the
labels where these have few pixels, so lines are thin and equally wide along every axis.

Passes:
1. `cut` reads a plane, `project` maximum projections, slab by slab: memory is bounded by
   the picture and a slab, whatever the volume. `cut_alike` reads the same without levels.
2. `grey` brings intensities to 8 bits, `outlines` turns labels into coloured lines, `tinted` into
   lines and areas in the colours of classes.
3. `inline` packs a picture into the text of a page.

Limits: where projected cells overlap, the one with the highest label hides the others.
"""

from base64 import b64encode
from collections.abc import Callable

import numpy as np
import zarr
from imagecodecs import PNG, jpeg8_encode, png_encode

from .geometry import Box, Triple
from .store import read

CUT_PIXELS = 1024
PROJECTION_PIXELS = 512
OUTLINE_PIXELS = 1000
SLAB_VOXELS = 2**22
LOSSLESS_BYTES = 100_000
TINT = 100  # opacity of an area, of 255

# Ten colours that differ from each other and from every grey; none is dark.
COLOURS = np.array(
    [
        (255, 92, 92),
        (255, 159, 28),
        (255, 225, 53),
        (158, 240, 26),
        (46, 230, 150),
        (0, 229, 229),
        (64, 184, 255),
        (150, 160, 255),
        (200, 125, 255),
        (255, 123, 213),
    ],
    np.uint8,
)


def _level(levels: list[zarr.Array], axes: tuple[int, ...], pixels: int) -> tuple[int, Triple]:
    """The finest level with at most `pixels` along some axes, and the step to read it with."""
    for k, array in enumerate(levels):
        if all(array.shape[axis - 3] <= pixels for axis in axes):
            return k, (1, 1, 1)
    return len(levels) - 1, tuple(
        -(-n // pixels) if axis in axes else 1 for axis, n in enumerate(levels[-1].shape[-3:])
    )


def cut(
    levels: list[zarr.Array],
    factors: list[Triple],
    *,
    axis: int,
    index: int,
    leading: tuple[int, ...] = (),
    pixels: int = CUT_PIXELS,
) -> np.ndarray:
    """Read one plane of a volume, not larger than a picture.

    Parameters
    ----------
    levels : list of zarr.Array, (..., z, y, x)
        Pyramid, finest first.
    factors : list of tuple of int
        (z, y, x) voxels of level 0 in a voxel of each level.
    axis : int
        0, 1 or 2: the axis z, y or x that the plane is perpendicular to.
    index : int
        Position of the plane along this axis, in voxels of level 0.
    leading : tuple of int, optional
        Index along each axis before z: frame, channel.
    pixels : int, optional
        Largest edge of the picture.

    Returns
    -------
    ndarray of the levels' dtype, 2D
        The two other axes, in the order z, y, x.
    """
    k, step = _level(levels, tuple({0, 1, 2} - {axis}), pixels)
    shape = levels[k].shape[-3:]
    plane = min(index // factors[k][axis], shape[axis] - 1)
    return _plane(levels[k], Box((0, 0, 0), shape), axis, plane, leading, step)


def cut_alike(
    read_box: Callable[[Box], np.ndarray],
    levels: list[zarr.Array],
    factors: list[Triple],
    *,
    axis: int,
    index: int,
) -> np.ndarray:
    """Read of a volume without levels the very voxels that `cut` reads of labels with levels.

    Parameters
    ----------
    read_box : callable
        Gives a box of the volume, (z, y, x).
    levels, factors, axis, index
        As for `cut`. A level of labels holds the first voxel of each block.

    Returns
    -------
    ndarray, 2D
    """
    shape = levels[0].shape[-3:]
    k, step = _level(levels, tuple({0, 1, 2} - {axis}), CUT_PIXELS)
    steps = [s * f for s, f in zip(step, factors[k], strict=True)]
    rows, columns = (other for other in range(3) if other != axis)
    start, stop = [0, 0, 0], list(shape)
    start[axis] = index // factors[k][axis] * factors[k][axis]
    stop[axis] = start[axis] + 1
    band = steps[rows] * max(1, SLAB_VOXELS // (steps[rows] * shape[columns]))
    parts = []
    for begin in range(0, shape[rows], band):
        start[rows], stop[rows] = begin, min(begin + band, shape[rows])
        part = read_box(Box(tuple(start), tuple(stop))).take(0, axis)
        parts.append(part[:: steps[rows], :: steps[columns]])
    return np.concatenate(parts)


def cut_box(
    levels: list[zarr.Array], *, box: Box, axis: int, index: int, leading: tuple[int, ...] = ()
) -> np.ndarray:
    """Read the part of one plane that lies within a box, at full resolution; see `cut`."""
    return _plane(levels[0], box, axis, index, leading)


def _plane(
    array: zarr.Array,
    box: Box,
    axis: int,
    index: int,
    leading: tuple[int, ...],
    steps: Triple = (1, 1, 1),
) -> np.ndarray:
    """Read the plane of a box that is perpendicular to an axis."""
    start, stop = list(box.start), list(box.stop)
    start[axis], stop[axis] = index, index + 1
    return read(array, Box(tuple(start), tuple(stop)), leading, steps=steps).take(0, axis)


def project(levels: list[zarr.Array], *, leading: tuple[int, ...] = ()) -> dict[int, np.ndarray]:
    """Maximum projections of a volume along z and along y, from one pass over it.

    Parameters
    ----------
    levels : list of zarr.Array, (..., z, y, x)
        Pyramid, finest first.
    leading : tuple of int, optional
        Index along each axis before z: frame, channel.

    Returns
    -------
    dict of int to ndarray of the levels' dtype
        0 : (y, x), along z; 1 : (z, x), along y.
    """
    k, (step_z, step_y, step_x) = _level(levels, (0, 1, 2), PROJECTION_PIXELS)
    planes, height, width = levels[k].shape[-3:]
    depth = step_z * max(1, SLAB_VOXELS // (-(-height // step_y) * -(-width // step_x)))
    along_z, along_y = None, []
    for begin in range(0, planes, depth):
        box = Box((begin, 0, 0), (min(begin + depth, planes), height, width))
        slab = read(levels[k], box, leading, steps=(step_z, step_y, step_x))
        highest = slab.max(axis=0)
        along_z = highest if along_z is None else np.maximum(along_z, highest)
        along_y.append(slab.max(axis=1))
    return {0: along_z, 1: np.concatenate(along_y)}


def grey(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Intensities as greys: `low` and less is black, `high` and more is white.

    Parameters
    ----------
    values : ndarray of any shape and numeric dtype
    low, high : float
        high > low.

    Returns
    -------
    ndarray of uint8, same shape
    """
    share = (np.clip(values.astype(np.float64), low, high) - low) / (high - low)
    return np.rint(255 * share).astype(np.uint8)


def outlines(labels: np.ndarray, *, size: tuple[float, float]) -> np.ndarray:
    """Draw the outline of every cell in the cell's colour, inside the cell, on nothing.

    Parameters
    ----------
    labels : ndarray of integers, 2D
        0 is background.
    size : tuple of float
        True height and width of what the labels cover, in any one unit: lines are equally wide
        along both axes when the picture is stretched to this aspect.

    Returns
    -------
    ndarray of uint8, (height, width, 4)
        Red, green, blue, opacity. Each pixel of `labels` became a block of pixels.
    """
    labels, edge = _edges(labels, size)
    picture = np.zeros((*labels.shape, 4), np.uint8)
    picture[edge, :3] = colours(labels[edge])
    picture[edge, 3] = 255
    return picture


def tinted(
    labels: np.ndarray, classes: np.ndarray, palette: np.ndarray, *, size: tuple[float, float]
) -> np.ndarray:
    """Draw every cell in the colour of its class: its outline, and unless it is class 0, its area.

    Parameters
    ----------
    labels : ndarray of integers, 2D
        0 is background.
    classes : ndarray of uint8, same shape
        Of each pixel's cell.
    palette : ndarray of uint8, (n, 3)
    size : tuple of float
        As for `outlines`.

    Returns
    -------
    ndarray of uint8, (height, width, 4)
    """
    zoomed, edge = _edges(labels, size)
    zoom = [n // rows for n, rows in zip(zoomed.shape, labels.shape, strict=True)]
    classes = classes.repeat(zoom[0], axis=0).repeat(zoom[1], axis=1)
    inside = zoomed != 0
    picture = np.zeros((*zoomed.shape, 4), np.uint8)
    picture[inside, :3] = palette[classes[inside]]
    picture[inside & (classes != 0), 3] = TINT
    picture[edge, 3] = 255
    return picture


def _edges(labels: np.ndarray, size: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Labels with blocks in place of pixels, fine enough for thin lines; the outlines (bool)."""
    pixels = [OUTLINE_PIXELS * edge / max(size) for edge in size]
    zoom = [max(1, round(n / rows)) for n, rows in zip(pixels, labels.shape, strict=True)]
    labels = labels.repeat(zoom[0], axis=0).repeat(zoom[1], axis=1)
    edge = np.zeros(labels.shape, bool)
    for step in range(1, min(3, *zoom) + 1):
        down = labels[step:] != labels[:-step]
        edge[step:] |= down
        edge[:-step] |= down
        right = labels[:, step:] != labels[:, :-step]
        edge[:, step:] |= right
        edge[:, :-step] |= right
    edge &= labels != 0
    return labels, edge


def colours(labels: np.ndarray) -> np.ndarray:
    """The colour of each label: neighbouring numbers get very different ones.

    Parameters
    ----------
    labels : ndarray of integers, (n,)

    Returns
    -------
    ndarray of uint8, (n, 3)
    """
    # Fibonacci hashing: the fractional part of label * golden ratio, in 64-bit integers.
    scattered = (labels.astype(np.uint64) * np.uint64(11400714819323198485)) >> np.uint64(32)
    return COLOURS[(scattered * np.uint64(len(COLOURS))) >> np.uint64(32)]


def inline(picture: np.ndarray) -> str:
    """A picture as a data URI, which a page holds in place of the address of a file.

    Parameters
    ----------
    picture : ndarray of uint8, (height, width) or (height, width, 4)
        Greys are packed as JPEG where PNG is large, as it is for noise.

    Returns
    -------
    str
    """
    kind, content = "png", png_encode(picture, level=9, filter=PNG.FILTER.NO)
    if picture.ndim == 2 and len(content) > LOSSLESS_BYTES:
        kind, content = "jpeg", jpeg8_encode(picture, level=80)
    return packed(content, kind)


def packed(content: bytes, kind: str) -> str:
    """The bytes of a picture file (`png`, `jpeg`) as a data URI."""
    return f"data:image/{kind};base64,{b64encode(content).decode()}"
