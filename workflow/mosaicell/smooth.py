"""A Gaussian of the landscape before it is cut, the same to the last bit in any tile.

Idea: noise in a landscape makes peaks of its own, and a Gaussian takes most of them away before
they become basins. It is computed axis by axis (it is separable), on the tile and a halo as wide
as the Gaussian reaches. Beyond the volume's border the landscape is mirrored, edge voxel included
(d c b a | a b c d | d c b a); a mirrored voxel always lies in what the tile has read, however thin
the volume is.

A voxel's value depends on nothing but its neighbours' values, because it is always the same
sequence of roundings. Along z, then y, then x, with c the voxel and l_k and r_k the voxels k before
and after it:

    s = 0;   for k = 1, 2, ...:   s = s + w_k * ((l_k + r_k) - (c + c));   result: c + s

Each sum and product is rounded on its own (none fused into one operation), so whole-array
additions and multiplications in this order give the same bits anywhere: see `smooth_tensor`. The
centre's own weight, 1 - 2 * (w_1 + w_2 + ...), never occurs: where the landscape is constant
everything in parentheses is zero, so plateaus and the background keep their value to the last
bit, and an axis of one voxel is as good as not there.

Passes, plane by plane of the result:
1. `_smooth` along z: rows of the planes around it make a plane;
2. along y: rows of that plane make a row;
3. along x: the row, mirrored at its ends, and itself shifted make a row of the result.
All three add whole rows, which compilers turn into vector instructions.

Limits: values of up to 16 bits and float32 are smoothed in float32, in which noise is far above
what is rounded off, and others in float64; a tile needs four (eight) bytes a voxel of what is read
and four (eight) a voxel of the result.

scipy's gaussian_filter (mode="reflect") computes the same within rounding, line by line in float64,
and takes two to five times as long.
"""

from math import exp

import numpy as np
from numba import njit

from .geometry import Box, Triple
from .sigma import Sigma

TRUNCATE = 4  # sigmas at which the Gaussian ends; what lies beyond weighs 6e-5


def smooth(landscape: np.ndarray, *, sigma: Sigma, box: Box, volume: Triple) -> np.ndarray:
    """Smooth the voxels of a box.

    Parameters
    ----------
    landscape : ndarray, (z, y, x)
        Values of the box and of its halo (see `halo`), where the volume has one; integers or
        floats.
    sigma : tuple of float
        Standard deviation of the Gaussian along each axis, in voxels (see `sigma`).
    box : Box
        In voxels of the volume.
    volume : tuple of int
        Shape of the volume.

    Returns
    -------
    ndarray of the box's shape
        float32 if that holds all values of the landscape's dtype, else float64. If nothing is to
        be smoothed it is the landscape itself, in its own dtype.

    Raises
    ------
    ValueError
        If the landscape has another shape than the box with its halo, or is not of integers or
        floats; if a float is not finite or too large to be added to others.
    """
    kernels = taps(landscape.shape, sigma=sigma, box=box, volume=volume)
    if not any(weights.size for weights, _ in kernels):
        return landscape
    dtype = landscape.dtype
    if dtype.kind not in "buif":
        raise ValueError(
            f"the landscape is of type {dtype}; allowed are integers and floats: convert it"
        )
    wide = np.float32 if np.can_cast(dtype, np.float32) else np.float64
    smoothed = np.empty(box.shape, wide)
    (weights_z, at_z), (weights_y, at_y), (weights_x, at_x) = kernels
    values = np.ascontiguousarray(landscape, wide)
    _smooth(values, weights_z, weights_y, weights_x, at_z, at_y, at_x, smoothed)
    if dtype.kind == "f" and not np.isfinite(smoothed).all():
        raise ValueError(
            f"the landscape holds values that cannot be added up; allowed are finite numbers up to "
            f"{np.finfo(wide).max / 8:.0e}: replace what is not, for example by 0"
        )
    return smoothed


def halo(sigma: Sigma) -> Triple:
    """How far the Gaussian reaches along each axis, in voxels."""
    return tuple(int(TRUNCATE * s + 0.5) for s in sigma)


def taps(
    shape: Triple, *, sigma: Sigma, box: Box, volume: Triple
) -> list[tuple[np.ndarray, np.ndarray]]:
    """What is added up along each axis.

    Parameters
    ----------
    shape : tuple of int
        Shape of what was read.
    sigma, box, volume
        See `smooth`.

    Returns
    -------
    list of (weights, at), for z, y and x
        Weights (float32) of the voxels 1, 2, ..., r away; where in what was read the voxels from
        r before the box to r behind it are found (int64).

    Raises
    ------
    ValueError
        If the shape is not that of the box with its halo.
    """
    read = box.grown(halo(sigma), volume)
    if tuple(shape) != read.shape:
        raise ValueError(
            f"the landscape of {box} has shape {tuple(shape)}; with its halo it needs {read.shape}"
        )
    kernels = []
    for s, first, start, stop, n in zip(
        sigma, read.start, box.start, box.stop, volume, strict=True
    ):
        weights = _weights(s if n > 1 else 0.0)
        at = np.arange(start - weights.size, stop + weights.size) % (2 * n)
        kernels.append((weights, np.minimum(at, 2 * n - 1 - at) - first))
    return kernels


def _weights(sigma: float) -> np.ndarray:
    """Weights of the voxels 1, 2, ... away from the centre.

    In float32 for all landscapes, so that the last digit of an exponential, in which mathematical
    libraries differ, does not show.
    """
    (radius, *_) = halo((sigma, 0.0, 0.0))
    bell = [exp(-0.5 * (k / sigma) ** 2) for k in range(1, radius + 1)]
    return np.array([height / (1 + 2 * sum(bell)) for height in bell], np.float32)


@njit(nogil=True, cache=True)
def _smooth(values, weights_z, weights_y, weights_x, at_z, at_y, at_x, out):
    nz, ny, nx = out.shape
    rz, ry, rx = weights_z.size, weights_y.size, weights_x.size
    plane = np.empty(values.shape[1:], out.dtype)
    row = np.empty(values.shape[2], out.dtype)
    mirrored = np.empty(at_x.size, out.dtype)
    total = np.empty(values.shape[2], out.dtype)
    for z in range(nz):
        for y in range(plane.shape[0]):
            centre = values[at_z[z + rz], y]
            total[:] = 0
            for k in range(1, rz + 1):
                left, right = values[at_z[z + rz - k], y], values[at_z[z + rz + k], y]
                _add(total, weights_z[k - 1], left, right, centre)
            _finish(plane[y], centre, total)
        for y in range(ny):
            centre = plane[at_y[y + ry]]
            total[:] = 0
            for k in range(1, ry + 1):
                left, right = plane[at_y[y + ry - k]], plane[at_y[y + ry + k]]
                _add(total, weights_y[k - 1], left, right, centre)
            _finish(row, centre, total)
            for x in range(mirrored.size):
                mirrored[x] = row[at_x[x]]
            centre = mirrored[rx : rx + nx]
            total[:] = 0
            for k in range(1, rx + 1):
                left, right = mirrored[rx - k : rx - k + nx], mirrored[rx + k : rx + k + nx]
                _add(total[:nx], weights_x[k - 1], left, right, centre)
            _finish(out[z, y], centre, total)


@njit(nogil=True, cache=True)
def _add(total, weight, left, right, centre):
    for x in range(total.size):
        total[x] += weight * ((left[x] + right[x]) - (centre[x] + centre[x]))


@njit(nogil=True, cache=True)
def _finish(out, centre, total):
    for x in range(out.size):
        out[x] = centre[x] + total[x]
