"""Texture of cells: how often neighbouring voxels have which grey levels.

Idea: values become a few grey levels between two limits that are the same for all cells of a
sample. Of all pairs of adjacent voxels of a cell it is counted how often one has level i and the
other level j, each pair both ways, for each of 13 directions (4 in one plane). A feature is
computed for each direction, then averaged over those in which there are pairs.

Source: Haralick, Shanmugam and Dinstein 1973 (doi 10.1109/TSMC.1973.4309314). Features, their
definitions and names are those of scikit-image's `graycoprops`.

Limits: neighbours are counted in voxels, however long voxels are.
"""

import numpy as np
from numba import njit

from .surface import DIRECTIONS

N_FEATURES = 6


def texture(
    labels: np.ndarray,
    image: np.ndarray,
    *,
    levels: int,
    limits: tuple[float, float],
    ids: np.ndarray,
    boxes: np.ndarray,
) -> np.ndarray:
    """Measure the texture of cells in one channel.

    Parameters
    ----------
    labels : ndarray of integers, (z, y, x)
    image : ndarray, (z, y, x)
    levels : int
        Number of grey levels, at least 2.
    limits : tuple of float
        Values from which on a voxel is of the lowest and of the highest level.
    ids : ndarray of integers, (n,)
    boxes : ndarray of int64, (n, 6)
        Bounding boxes in `labels`.

    Returns
    -------
    ndarray of float64, (n, 6)
        In the order of `columns.TEXTURES`; NaN for a cell without adjacent voxels.
    """
    out = np.full((ids.size, N_FEATURES), np.nan)
    low, high = map(float, limits)
    scale = levels / (high - low) if high > low else 0.0
    _texture(labels, image, levels, low, scale, ids, boxes, DIRECTIONS, out)
    return out


@njit(nogil=True, cache=True)
def _texture(labels, image, levels, low, scale, ids, boxes, directions, out):
    counts = np.empty((levels, levels), np.int64)
    for i in range(ids.size):
        z0, y0, x0, z1, y1, x1 = boxes[i]
        grey = np.full((z1 - z0, y1 - y0, x1 - x0), -1)
        for z in range(z0, z1):
            for y in range(y0, y1):
                for x in range(x0, x1):
                    if labels[z, y, x] == ids[i]:
                        level = np.floor((np.float64(image[z, y, x]) - low) * scale)
                        grey[z - z0, y - y0, x - x0] = min(max(level, 0.0), levels - 1.0)
        features = np.zeros(N_FEATURES)
        used = 0
        for k in range(len(directions)):
            if _count_pairs(grey, directions[k], counts):
                _add_features(counts, features)
                used += 1
        if used > 0:
            out[i] = features / used


@njit(nogil=True, cache=True)
def _count_pairs(grey, step, counts):
    """Count the pairs of one direction; whether there are any."""
    counts[:] = 0
    any_pair = False
    nz, ny, nx = grey.shape
    dz, dy, dx = step
    for z in range(nz - dz):  # dz is never negative
        for y in range(max(0, -dy), ny - max(0, dy)):
            for x in range(max(0, -dx), nx - max(0, dx)):
                one, other = grey[z, y, x], grey[z + dz, y + dy, x + dx]
                if one >= 0 and other >= 0:
                    counts[one, other] += 1
                    counts[other, one] += 1
                    any_pair = True
    return any_pair


@njit(nogil=True, cache=True)
def _add_features(counts, features):
    total = counts.sum()
    levels = len(counts)
    mean = 0.0
    for i in range(levels):
        mean += i * (counts[i].sum() / total)
    variance = 0.0
    product = 0.0
    for i in range(levels):
        for j in range(levels):
            if counts[i, j] == 0:
                continue
            p = counts[i, j] / total
            features[0] += p * (i - j) ** 2
            features[1] += p * abs(i - j)
            features[2] += p / (1 + (i - j) ** 2)
            features[3] += p * p
            features[4] -= p * np.log(p)
            variance += p * (i - mean) ** 2
            product += p * (i - mean) * (j - mean)
    features[5] += product / variance if variance > 1e-15 else 1.0
