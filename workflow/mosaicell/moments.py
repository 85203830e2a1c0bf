"""Where the voxels of cells lie: moments, principal axes, and sums of the landscape.

Idea: positions and their products are summed as whole numbers from the bounding box on, so they are
exact; what is in um is computed from the sums.

Limits: int64 sums of products hold for bounding boxes of up to 2**20 voxels along an axis and
2**23 voxels in a cell, or smaller boxes and more voxels.
"""

import numpy as np
from numba import njit


def position_sums(labels: np.ndarray, ids: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Sums over the voxels of each cell.

    Parameters
    ----------
    labels : ndarray of integers, (z, y, x)
    ids : ndarray of integers, (n,)
    boxes : ndarray of int64, (n, 6)
        Bounding boxes in `labels`.

    Returns
    -------
    ndarray of int64, (n, 10)
        Of 1, z, y, x, zz, yy, xx, zy, zx and yx, from the box on.
    """
    sums = np.zeros((ids.size, 10), np.int64)
    _sum_positions(labels, ids, boxes, sums)
    return sums


def landscape_sums(landscape: np.ndarray, labels: np.ndarray, *, ids, boxes) -> np.ndarray:
    """The highest value of the landscape in each cell, and the sum of its values, (n, 2)."""
    out = np.zeros((ids.size, 2))
    _sum_landscape(landscape, labels, ids, boxes, out)
    return out


def covariance(sums: np.ndarray, voxel_size: np.ndarray) -> np.ndarray:
    """Covariance of the positions of each cell's voxels, (n, 3, 3), in the voxel size's unit."""
    offset = sums[:, 1:4] / sums[:, :1]
    products = (sums[:, 4:] / sums[:, :1])[:, [0, 3, 4, 3, 1, 5, 4, 5, 2]].reshape(-1, 3, 3)
    about_mean = products - offset[:, :, np.newaxis] * offset[:, np.newaxis, :]
    return about_mean * (voxel_size[:, np.newaxis] * voxel_size)


def principal_axes(covariance: np.ndarray, *, is_2d: bool) -> tuple[np.ndarray, np.ndarray]:
    """Principal axes of ellipsoids (2D: ellipses) of the same second moments.

    A solid ellipsoid of half-axis a has the variance a**2 / 5 along it, an ellipse a**2 / 4.

    Parameters
    ----------
    covariance : ndarray of float64, (n, 3, 3)
    is_2d : bool

    Returns
    -------
    lengths : ndarray of float64, (n, 3)
        Full lengths, longest first; the middle one is NaN in 2D.
    direction : ndarray of float64, (n, 3)
        Of the longest (z, y, x); its first component that is not 0 is positive.
    """
    n_cells = len(covariance)
    if n_cells == 0 or np.isnan(covariance).any():
        return np.full((n_cells, 3), np.nan), np.full((n_cells, 3), np.nan)
    variances, vectors = np.linalg.eigh(covariance)
    lengths = 2 * np.sqrt((4 if is_2d else 5) * np.maximum(variances[:, ::-1], 0))
    if is_2d:
        lengths = np.stack((lengths[:, 0], np.full(n_cells, np.nan), lengths[:, 1]), -1)
    direction = vectors[:, :, -1]
    first = np.argmax(np.abs(direction) > 1e-9, axis=-1)
    sign = np.sign(np.take_along_axis(direction, first[:, np.newaxis], -1))
    return lengths, direction * sign


@njit(nogil=True, cache=True)
def _sum_positions(labels, ids, boxes, out):
    """See `position_sums`."""
    for i in range(ids.size):
        z0, y0, x0, z1, y1, x1 = boxes[i]
        for z in range(z1 - z0):
            for y in range(y1 - y0):
                n = 0
                sx = 0
                sxx = 0
                for x in range(x1 - x0):
                    if labels[z0 + z, y0 + y, x0 + x] == ids[i]:
                        n += 1
                        sx += x
                        sxx += x * x
                row = out[i]
                row[0] += n
                row[1] += n * z
                row[2] += n * y
                row[3] += sx
                row[4] += n * z * z
                row[5] += n * y * y
                row[6] += sxx
                row[7] += n * z * y
                row[8] += z * sx
                row[9] += y * sx


@njit(nogil=True, cache=True)
def _sum_landscape(landscape, labels, ids, boxes, out):
    for i in range(ids.size):
        z0, y0, x0, z1, y1, x1 = boxes[i]
        highest = -np.inf
        total = 0.0
        for z in range(z0, z1):
            for y in range(y0, y1):
                for x in range(x0, x1):
                    if labels[z, y, x] == ids[i]:
                        value = np.float64(landscape[z, y, x])
                        highest = max(highest, value)
                        total += value
        out[i, 0] = highest
        out[i, 1] = total
