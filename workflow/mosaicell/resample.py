"""The model's grid: an image brought to the scale that a model knows, and the result brought back.

Idea: a model knows cells of a certain diameter, so it works on a grid of its own, `scale` model
voxels to an image voxel along each axis. Both grids begin at the same corner of the volume, and
each sample is a linear interpolation whose weights depend on the sample's global index alone.
Therefore no tile or window changes a value.

The scale is rounded so that a shard of the landscape covers a whole number of windows' cores, and
every window belongs to one shard: no window is predicted twice, and shards are independent.

The model of single planes takes planes as they are: along z its scale is 1 and a core one plane.

          shard             shard
    |-----------------|-----------------|    image voxels
    |  core  |  core  |  core  |  core  |    model voxels

Passes: image (pyramid level) -> `positions` -> `interpolate` -> window -> network -> core ->
`positions` -> `interpolate` -> landscape.

Limits: linear interpolation does not smooth, so an image is to be taken from the pyramid level
that is no more than twice finer than the model's grid (see `predict.coarsened`).
"""

from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import numpy as np
from numba import njit

from .geometry import Box, Triple


@dataclass(frozen=True)
class ModelGrid:
    """The windows of a model on one volume.

    Attributes
    ----------
    scale : tuple of float
        Model voxels per image voxel.
    core : tuple of int
        Edges of a window's core, in model voxels: multiples of the model's stride.
    """

    scale: tuple[float, float, float]
    core: Triple

    def window_boxes(self, shard: Box) -> list[tuple[Triple, Box]]:
        """The windows of a shard: the first model voxel of each core, and its image voxels.

        An image voxel belongs to the window in whose core its centre lies.
        """
        per_axis = []
        for axis in range(3):
            scale, core = self.scale[axis], self.core[axis]
            first = round(shard.start[axis] * scale / core)
            ends = [shard.start[axis]]
            while ends[-1] < shard.stop[axis]:
                # The first voxel j whose centre (j + 0.5) * scale lies beyond the core.
                end = ceil((first + len(ends)) * core / scale - 0.5)
                ends.append(min(end, shard.stop[axis]))
            per_axis.append([((first + i) * core, a, b) for i, (a, b) in enumerate(pairwise(ends))])
        return [
            ((z[0], y[0], x[0]), Box((z[1], y[1], x[1]), (z[2], y[2], x[2])))
            for z in per_axis[0]
            for y in per_axis[1]
            for x in per_axis[2]
        ]


def model_grid(
    *,
    shard: Triple,
    scale: tuple[float, float, float],
    window: int,
    stride: int,
    dimensions: int = 3,
) -> ModelGrid:
    """Round a scale so that a shard is a whole number of windows.

    Parameters
    ----------
    shard : tuple of int
        Edges of a shard of the landscape, in image voxels.
    scale : tuple of float
        Model voxels per image voxel that would be ideal.
    window : int
        Largest edge of a window's core, in model voxels; a multiple of `stride`.
    stride : int
        Windows begin at multiples of it.
    dimensions : int, optional
        2 for a model of single planes.

    Returns
    -------
    ModelGrid
    """
    planar = 3 - dimensions
    scales, cores = [1.0] * planar, [1] * planar
    for edge, ideal in zip(shard[planar:], scale[planar:], strict=True):
        n_windows = max(1, ceil(edge * ideal / window - 0.5 * stride / window))
        core = max(stride, stride * round(edge * ideal / n_windows / stride))
        scales.append(n_windows * core / edge)
        cores.append(core)
    return ModelGrid(tuple(scales), tuple(cores))


@dataclass(frozen=True)
class Positions:
    """Where samples lie on an axis: between two voxels, by `weight` towards `upper`."""

    lower: np.ndarray
    upper: np.ndarray
    weight: np.ndarray

    @property
    def reach(self) -> tuple[int, int]:
        """The voxels that are needed: from the first up to, not including, the second."""
        return int(self.lower.min()), int(self.upper.max()) + 1

    def seen_from(self, origin: int) -> "Positions":
        """The same positions on a crop that begins at `origin`."""
        return Positions(self.lower - origin, self.upper - origin, self.weight)


def positions(start: int, stop: int, scale: float, length: int | None = None) -> Positions:
    """Positions on an axis of the samples with centres (i + 0.5) / scale, start <= i < stop.

    Parameters
    ----------
    start, stop : int
        Global indices of the samples.
    scale : float
        Samples per voxel of the axis.
    length : int, optional
        Voxels of the axis; beyond its ends it is mirrored. Without it the axis has no ends.

    Returns
    -------
    Positions
        Global indices of voxels (int64), and weights (float32).
    """
    at = (np.arange(start, stop) + 0.5) / scale - 0.5
    if length is not None:
        span = max(1, length - 1)
        at = span - np.abs(np.mod(at, 2 * span) - span)
        at = np.clip(at, 0, length - 1)
    lower = np.floor(at).astype(np.int64)
    weight = (at - lower).astype(np.float32)
    upper = lower + (weight > 0)  # who lies on a voxel needs no other
    if length is not None:
        upper = np.minimum(upper, length - 1)
    return Positions(lower, upper, weight)


def interpolate(volume: np.ndarray, z: Positions, y: Positions, x: Positions) -> np.ndarray:
    """Linear interpolation at all combinations of positions along the three axes.

    Parameters
    ----------
    volume : ndarray of float32, (z, y, x)
        Positions are indices into it.
    z, y, x : Positions

    Returns
    -------
    ndarray of float32, (len(z), len(y), len(x))
    """
    out = np.empty((z.lower.size, y.lower.size, x.lower.size), np.float32)
    _interpolate(
        volume,
        z.lower,
        z.upper,
        z.weight,
        y.lower,
        y.upper,
        y.weight,
        x.lower,
        x.upper,
        x.weight,
        out,
    )
    return out


@njit(nogil=True, cache=True)
def _interpolate(volume, z0, z1, wz, y0, y1, wy, x0, x1, wx, out):
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                a, b, w = x0[k], x1[k], wx[k]
                near_near = _between(volume[z0[i], y0[j], a], volume[z0[i], y0[j], b], w)
                near_far = _between(volume[z0[i], y1[j], a], volume[z0[i], y1[j], b], w)
                far_near = _between(volume[z1[i], y0[j], a], volume[z1[i], y0[j], b], w)
                far_far = _between(volume[z1[i], y1[j], a], volume[z1[i], y1[j], b], w)
                near = _between(near_near, near_far, wy[j])
                far = _between(far_near, far_far, wy[j])
                out[i, j, k] = _between(near, far, wz[i])


@njit(nogil=True, cache=True, inline="always")
def _between(a, b, w):
    return a + (b - a) * w
