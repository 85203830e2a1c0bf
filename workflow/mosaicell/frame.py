"""A tile of a landscape in its frame, as the exact watershed works on it.

Idea: the tile is laid into an array with one more voxel on each side. There stands the halo; where
the volume ends, and wherever the landscape is not above the threshold, stands a value lower than
all others, so that nothing that looks at neighbours needs a bounds check. Voxels of the frame are
named by their linear index, and their neighbours by steps that are added to it.

Limits: a tile with its halo holds fewer than 2**31 voxels, so an index fits into an int32.
"""

from dataclasses import dataclass
from math import floor, prod

import numpy as np
from numba import njit

from .geometry import Box, Triple

HALO: Triple = (1, 1, 1)
MAX_VOXELS = 2**31
# A voxel and its neighbours have codes 0..26 in raster order; 13 is the voxel itself.
CODES = 27


@dataclass(frozen=True)
class Frame:
    """How a tile lies in its frame.

    The frame is the halo; where the volume ends, and wherever the landscape is not above the
    threshold, stands `below`, which is lower than all others, so that no step needs a bounds check.

    Attributes
    ----------
    shape : tuple of int
        The core's with one more voxel on each side.
    inside : tuple of slice
        Where what was read belongs.
    dtype : dtype
        In which the order of values is that of the landscape.
    below, limit : int or float
        The value for "not in a basin"; values above `limit` are above the threshold.
    """

    shape: Triple
    inside: tuple[slice, slice, slice]
    dtype: np.dtype
    below: int | float
    limit: int | float


def frame_of(
    shape: Triple, dtype: np.dtype, *, core: Box, volume: Triple, threshold: float
) -> Frame:
    """The frame of a tile whose landscape, with its halo, has this shape and dtype."""
    check_threshold(threshold)
    read = core.grown(HALO, volume)
    if tuple(shape) != read.shape:
        raise ValueError(
            f"the landscape of tile {core} has shape {tuple(shape)}; with its halo it needs "
            f"{read.shape}"
        )
    kind, width = dtype.kind, dtype.itemsize
    if kind == "f":
        wide, below = np.dtype(np.float64 if width == 8 else np.float32), -np.inf
    elif kind in "bu" and width <= 2 and threshold >= 0:
        wide, below = np.dtype(np.uint16), 0
    elif kind in "biu":
        wide, below = np.dtype(np.int64), np.iinfo(np.int64).min
    else:
        raise ValueError(
            f"the landscape is of type {dtype}; allowed are integers and floats: convert it"
        )
    framed = tuple(n + 2 for n in core.shape)
    if prod(framed) >= MAX_VOXELS:
        raise ValueError(
            f"a tile of shape {core.shape} has {prod(framed)} voxels with its halo; allowed are "
            f"fewer than {MAX_VOXELS}: choose smaller tiles"
        )
    inside = read.seen_from(tuple(a - 1 for a in core.start)).slices
    return Frame(framed, inside, wide, below, _limit(threshold, wide))


def _limit(threshold: float, dtype: np.dtype) -> int | float:
    """The highest value of a dtype that is not above a threshold.

    With it, a landscape gives the same in any dtype that holds its values.
    """
    if dtype.kind != "f":
        return min(max(floor(threshold), np.iinfo(dtype).min), np.iinfo(dtype).max)
    with np.errstate(over="ignore"):
        limit = dtype.type(threshold)
    return limit if float(limit) <= threshold else np.nextafter(limit, dtype.type(-np.inf))


@njit(nogil=True, cache=True)
def lower_to(values, limit, below):
    """What is not above the limit becomes the value below all others."""
    for i in range(values.size):
        values[i] = values[i] if values[i] > limit else below


def steps_of(frame: Triple) -> np.ndarray:
    """What to add to a linear index to come to the neighbour of each code."""
    _, ny, nx = frame
    near = (-1, 0, 1)
    return np.array([(dz * ny + dy) * nx + dx for dz in near for dy in near for dx in near])


def check_threshold(threshold: float) -> None:
    """Refuse a threshold without a meaning, in one sentence (ValueError)."""
    if not np.isfinite(threshold):
        raise ValueError(
            f"threshold is {threshold}; allowed is a finite number in units of the landscape: "
            "choose one between its lowest and highest value"
        )


def check_values(landscape: np.ndarray) -> None:
    """Refuse values that have no place in an order of voxels, in one sentence (ValueError)."""
    if landscape.dtype.kind == "f":
        bad, allowed = ~np.isfinite(landscape), "finite numbers"
    elif landscape.dtype.itemsize == 8:
        bad, allowed = np.abs(landscape.astype(np.float64)) > 2**53, "integers up to 2**53"
    else:
        return
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"the landscape is {landscape[first]} at voxel {first}; allowed are {allowed}: "
            "replace what is not, for example by 0"
        )
