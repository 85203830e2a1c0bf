"""How bright cells are, and the background around them.

Idea: values of a cell's voxels are gathered in raster order and added in float64, always in that
order, so sums are the same to the last bit in any crop. Medians and quartiles are those of the
sorted values. The background of a cell is the median of the voxels of no cell in a ring around it.

Passes, for each cell:
1. `_brightness`: sums, then around the mean the squares, then order statistics (quickselect).
2. `_background`: the ring is all that is not farther than `Ring.limit` from a voxel of the cell,
   from centre to centre. The squared distance to the cell is a minimum along x, then y, then z.

Limits: a ring takes eight bytes for each voxel of a cell's bounding box and what is around it.

Source of quickselect: Hoare 1961 (doi 10.1145/366622.366647).
"""

import numpy as np
from numba import njit

from .ring import Ring

# What `brightness` says of a cell, in this order.
STATISTICS = (
    "mean",
    "std",
    "min",
    "max",
    "quartile_lower",
    "median",
    "quartile_upper",
)


def brightness(channels: np.ndarray, labels: np.ndarray, *, ids, boxes, background) -> np.ndarray:
    """What the values of each channel are in each cell.

    Parameters
    ----------
    channels : ndarray, (c, z, y, x)
    labels : ndarray of integers, (z, y, x)
    ids : ndarray of integers, (n,)
    boxes : ndarray of int64, (n, 6)
        Bounding boxes in `labels`.
    background : ndarray of float64, (n, c)
        See `background`; NaN where there is none.

    Returns
    -------
    ndarray of float64, (c, n, 13)
        `STATISTICS`, then the centroid (z, y, x) from the box on, weighted by the values, and
        the same weighted by what of them is above the background. NaN where weights add up to
        nothing.
    """
    out = np.full((len(channels), ids.size, len(STATISTICS) + 6), np.nan)
    for channel, rows, levels in zip(channels, out, background.T, strict=True):
        _brightness(labels, channel, ids, boxes, np.ascontiguousarray(levels), rows)
    return out


def background(channels: np.ndarray, labels: np.ndarray, *, ids, boxes, ring: Ring) -> tuple:
    """The background around each cell.

    Parameters
    ----------
    channels, labels, ids, boxes
        As for `brightness`, on a crop that holds the cells and the ring's reach around them,
        where the volume goes on.
    ring : Ring

    Returns
    -------
    sizes : ndarray of int64, (n,)
        Number of voxels of the ring.
    medians : ndarray of float64, (n, c)
        NaN where the ring has no voxel.
    """
    sizes = np.zeros(ids.size, np.int64)
    medians = np.full((ids.size, len(channels)), np.nan)
    size = np.array(ring.voxel_size, np.float64)
    _background(
        labels, channels, ids, boxes, np.array(ring.reach), size, ring.limit, sizes, medians
    )
    return sizes, medians


@njit(nogil=True, cache=True)
def _split(values, low, high, pivot, with_pivot):
    """Bring values below the pivot (or up to it) to the front; where the others begin.

    Nothing here waits for a comparison, of which half would be guessed wrong.
    """
    at = low
    for k in range(low, high):
        value = values[k]
        values[k] = values[at]
        values[at] = value
        at += (value <= pivot) if with_pivot else (value < pivot)
    return at


@njit(nogil=True, cache=True)
def _select(values, start, k):
    """Bring the value of rank k to place k, lower ones before it; those before `start` are low."""
    low, high = start, values.size
    drawn = 1
    while high - low > 1:
        # The middle of three that are drawn always in the same way, whatever the values.
        drawn = drawn * 69069 % 4294967296 + 1
        a = values[low + drawn % (high - low)]
        b = values[low + (drawn >> 8) % (high - low)]
        c = values[low + (drawn >> 16) % (high - low)]
        pivot = max(min(a, b), min(max(a, b), c))
        at = _split(values, low, high, pivot, False)
        if k < at:
            high = at
            continue
        low = _split(values, at, high, pivot, True)
        if k < low:
            break  # equal to the pivot
    return values[k]


@njit(nogil=True, cache=True)
def _quantile(values, start, share):
    """A quantile, linear between ranks; values before `start` are known to be of lower rank."""
    at = share * (values.size - 1)
    k = int(at)
    low = _select(values, start, k)
    if at == k:
        return low
    high = np.inf
    for value in values[k + 1 :]:
        high = min(high, value)
    return low + (high - low) * (at - k)


@njit(nogil=True, cache=True)
def _brightness(labels, image, ids, boxes, levels, out):
    """Pass 1 for one channel."""
    buffer = np.empty(1024)
    for i in range(ids.size):
        z0, y0, x0, z1, y1, x1 = boxes[i]
        room = (z1 - z0) * (y1 - y0) * (x1 - x0)
        if room > buffer.size:
            buffer = np.empty(room)
        n = 0
        total = 0.0
        sums = np.zeros(8)  # weights and weighted positions; the same above the background
        for z in range(z0, z1):
            for y in range(y0, y1):
                in_row = 0.0
                along = 0.0
                above = 0.0
                above_along = 0.0
                for x in range(x0, x1):
                    if labels[z, y, x] == ids[i]:
                        value = np.float64(image[z, y, x])
                        buffer[n] = value
                        n += 1
                        total += value
                        in_row += value
                        along += value * (x - x0)
                        if value > levels[i]:
                            above += value - levels[i]
                            above_along += (value - levels[i]) * (x - x0)
                sums[0] += in_row
                sums[1] += in_row * (z - z0)
                sums[2] += in_row * (y - y0)
                sums[3] += along
                sums[4] += above
                sums[5] += above * (z - z0)
                sums[6] += above * (y - y0)
                sums[7] += above_along
        values = buffer[:n]
        mean = total / n
        squares = 0.0
        lowest = np.inf
        highest = -np.inf
        for value in values:
            squares += (value - mean) ** 2
            lowest = min(lowest, value)
            highest = max(highest, value)
        row = out[i]
        row[0] = mean
        row[1] = np.sqrt(squares / n)
        row[2] = lowest
        row[3] = highest
        # Each leaves lower values before it, so the next one looks at a half.
        row[5] = _quantile(values, 0, 0.5)
        row[6] = _quantile(values, n // 2 if n > 1 else 0, 0.75)
        row[4] = _quantile(values[: n // 2 + 1], 0, 0.25 * (n - 1) / (n // 2)) if n > 1 else lowest
        for first in (0, 4):
            if sums[first] > 0:
                for axis in range(3):
                    row[7 + 3 * (first // 4) + axis] = sums[first + 1 + axis] / sums[first]


@njit(nogil=True, cache=True)
def _background(labels, channels, ids, boxes, reach, size, limit, sizes, medians):
    """Pass 2."""
    nz, ny, nx = labels.shape
    rz, ry, rx = reach
    for i in range(ids.size):
        z0, y0, x0, z1, y1, x1 = boxes[i]
        # What is read begins at the lower corner; the cell's box is in its middle.
        az, ay, ax = max(z0 - rz, 0), max(y0 - ry, 0), max(x0 - rx, 0)
        bz, by, bx = min(z1 + rz, nz), min(y1 + ry, ny), min(x1 + rx, nx)
        along_x = np.full((z1 - z0, y1 - y0, bx - ax), np.inf)
        own = np.empty(x1 - x0)
        for z in range(z0, z1):
            for y in range(y0, y1):
                for x in range(x0, x1):
                    own[x - x0] = 0.0 if labels[z, y, x] == ids[i] else np.inf
                row = along_x[z - z0, y - y0]
                for k in range(-rx, rx + 1):
                    cost = (k * size[2]) ** 2
                    first, last = max(x0 + k, ax), min(x1 + k, bx)
                    for x in range(first, last):
                        row[x - ax] = min(row[x - ax], own[x - k - x0] + cost)
        along_y = np.full((z1 - z0, by - ay, bx - ax), np.inf)
        for z in range(z1 - z0):
            for y in range(ay, by):
                row = along_y[z, y - ay]
                for other in range(max(y - ry, y0), min(y + ry + 1, y1)):
                    cost = ((y - other) * size[1]) ** 2
                    before = along_x[z, other - y0]
                    for x in range(row.size):
                        row[x] = min(row[x], before[x] + cost)
        values = np.empty((len(channels), (bz - az) * (by - ay) * (bx - ax)))
        n = 0
        row = np.empty(bx - ax)
        for z in range(az, bz):
            for y in range(ay, by):
                row[:] = np.inf
                for other in range(max(z - rz, z0), min(z + rz + 1, z1)):
                    cost = ((z - other) * size[0]) ** 2
                    before = along_y[other - z0, y - ay]
                    for x in range(row.size):
                        row[x] = min(row[x], before[x] + cost)
                for x in range(row.size):
                    if row[x] <= limit and labels[z, y, ax + x] == 0:
                        for c in range(len(channels)):
                            values[c, n] = channels[c, z, y, ax + x]
                        n += 1
        sizes[i] = n
        if n > 0:
            for c in range(len(channels)):
                medians[i, c] = _quantile(values[c, :n], 0, 0.5)
