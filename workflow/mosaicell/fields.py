"""Smooth random fields, and volumes read between their voxels: short sums along one axis at a time.

Idea: a value of the new volume depends on few neighbours along each axis, so a matrix of shape
(new length, old length) is stored as a band: where each row begins, and its few weights.

1. Make a band for each axis: a bell around coarse knots, or linear interpolation.
2. Sum along z, then y, then x, always in one order: the result knows no number of threads.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

REACH = 3  # knots on each side of a voxel that its value depends on
BELL = 0.7  # deviation of the weights, in knots


@dataclass(frozen=True)
class Band:
    """How an axis is read: row i of `weights` times the values from `first[i]` on."""

    first: np.ndarray  # (n,) int64
    weights: np.ndarray  # (n, k) float32


def interpolation(positions: np.ndarray, length: int) -> Band:
    """Read an axis of at least two voxels at the given positions linearly; its ends go on."""
    positions = np.clip(positions, 0, length - 1)
    first = np.minimum(positions.astype(np.int64), length - 2)
    share = positions - first
    return Band(first, np.stack([1 - share, share], -1).astype(np.float32))


def along_axes(values: np.ndarray, z: Band, y: Band, x: Band) -> np.ndarray:
    """Apply a band to each axis of a volume, float32 (z, y, x)."""
    planes = len(z.first), *values.shape[1:]
    rows = len(z.first), len(y.first), values.shape[2]
    values = _sums(np.ascontiguousarray(values)[None], z.first, z.weights).reshape(planes)
    values = _sums(values, y.first, y.weights).reshape(rows)
    return _sums_of_rows(values, x.first, x.weights)


@njit(nogil=True, cache=True)
def _sums(values, first, weights):
    """Along the middle axis of (a, b, ...), all that follows taken as one axis."""
    values = values.reshape(values.shape[0], values.shape[1], -1)
    out = np.zeros((values.shape[0], len(first), values.shape[2]), np.float32)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            for k in range(weights.shape[1]):
                weight = weights[j, k]
                for m in range(out.shape[2]):
                    out[i, j, m] += weight * values[i, first[j] + k, m]
    return out


@njit(nogil=True, cache=True)
def _sums_of_rows(values, first, weights):
    out = np.empty((values.shape[0], values.shape[1], len(first)), np.float32)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            for m in range(out.shape[2]):
                total = np.float32(0)
                for k in range(weights.shape[1]):
                    total += weights[m, k] * values[i, j, first[m] + k]
                out[i, j, m] = total
    return out


def smooth_noise(rng: np.random.Generator, shape, scale: float) -> np.ndarray:
    """Gaussian noise of mean 0, deviation 1 and correlation length `scale` voxels, float32.

    Parameters
    ----------
    rng : Generator
    shape : tuple of int
        (z, y, x) voxels.
    scale : float
        Distance of the knots between which it changes, in voxels.
    """
    bands, knots = [], []
    for n in shape:
        at = np.arange(n) / scale
        first = np.floor(at).astype(np.int64)  # of the knots, which begin `REACH` before voxel 0
        away = at[:, None] - first[:, None] - np.arange(-REACH, REACH + 2)
        weights = np.exp(-0.5 * (away / BELL) ** 2)
        weights /= np.sqrt((weights**2).sum(1, keepdims=True))
        bands.append(Band(first, weights.astype(np.float32)))
        knots.append(int(first[-1]) + weights.shape[1])
    return along_axes(rng.standard_normal(knots, dtype=np.float32), *bands)
