"""What can be said of a cell only among all cells: outliers, and the distance to the nearest.

Outliers are those whose size is far from the median of all. Sizes are counted, so it takes no more
memory than there are different sizes.

Nearest cells, exactly, a layer of tiles at a time: centres are sorted into boxes of a grid; from a
centre's own box on, shells of boxes are searched until the next shell cannot hold a nearer one. A
distance is always computed from the same two centres in the same way, so it is the same to the last
bit however centres are grouped.

Limits: in memory are the centres of two groups.
"""

from math import exp, log

import numpy as np
from numba import njit

# A shell is searched unless it is farther by more than rounding can account for.
SLACK = 1 - 1e-9
OUTLIER = 3.5 / 0.6745


def usual_sizes(sizes: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """The range of sizes outside of which a cell is an outlier.

    The modified z-score, 0.6745 times the distance from the median by the median absolute
    deviation, of the sizes' logarithms is up to 3.5 inside (Iglewicz and Hoaglin 1993, "How to
    detect and handle outliers", ASQC). If the deviation is 0 there are no outliers.

    Parameters
    ----------
    sizes : ndarray of int64, (n,)
        The sizes that occur, ascending.
    counts : ndarray of int64, (n,)
        How many cells are of each.

    Returns
    -------
    lowest, highest : float
    """
    if len(sizes) == 0:
        return 0.0, np.inf
    logs = np.array([log(size) for size in sizes.tolist()])
    median = _median(logs, counts)
    deviation = _median(np.abs(logs - median), counts)
    if deviation == 0:
        return 0.0, np.inf
    # A hair wider, so that rounding makes no outlier of what lies at the limit.
    width = OUTLIER * deviation + 1e-9
    return exp(median - width), exp(median + width)


def _median(values: np.ndarray, counts: np.ndarray) -> float:
    order = np.argsort(values, kind="stable")
    below = np.cumsum(counts[order])
    low, high = (below[-1] - 1) // 2, below[-1] // 2
    low, high = (values[order[np.searchsorted(below, k, side="right")]] for k in (low, high))
    return (low + high) / 2


def nearest(
    queries: np.ndarray, points: np.ndarray, best: np.ndarray, *, same: bool = False
) -> None:
    """Lower squared distances to those of the nearest points, in place.

    Parameters
    ----------
    queries : ndarray of float64, (n, 3)
    points : ndarray of float64, (m, 3)
        Finite.
    best : ndarray of float64, (n,)
        Squared distances that are known; inf if none is.
    same : bool
        Whether the points are the queries, so that each leaves itself out.
    """
    if len(points) == 0 or len(queries) == 0:
        return
    low = points.min(0)
    extent = points.max(0) - low
    thick = extent[extent > 0]
    edge = (thick.prod() / len(points)) ** (1 / len(thick)) if len(thick) else 1.0
    # Boxes are about as many as points, also where these lie in a plane or a line.
    edge = max(edge, extent.max() / 1024)
    counts = (extent // edge).astype(np.int64) + 1
    boxes = np.minimum(((points - low) // edge).astype(np.int64), counts - 1)
    number = (boxes[:, 0] * counts[1] + boxes[:, 1]) * counts[2] + boxes[:, 2]
    order = np.argsort(number, kind="stable")
    begin = np.searchsorted(number[order], np.arange(counts.prod() + 1))
    _search(queries, points[order], order, begin, low, edge, counts, best, same)


@njit(nogil=True, cache=True)
def _search(queries, points, order, begin, low, edge, counts, best, same):
    at = np.empty(3, np.int64)
    for i in range(len(queries)):
        outside = 0.0  # squared distance to the grid, from which no point can be nearer
        shells = 0
        for axis in range(3):
            inner = np.floor((queries[i, axis] - low[axis]) / edge)
            at[axis] = min(max(np.int64(inner), 0), counts[axis] - 1)
            shells = max(shells, at[axis], counts[axis] - 1 - at[axis])
            top = low[axis] + counts[axis] * edge
            away = max(low[axis] - queries[i, axis], queries[i, axis] - top, 0.0)
            outside += away * away
        if outside * SLACK > best[i]:
            continue
        for shell in range(shells + 1):
            # A point in this shell is at least so far, unless the query lies outside of the grid.
            gap = (shell - 1) * edge
            if shell > 1 and gap * gap * SLACK > best[i]:
                break
            for z in range(max(at[0] - shell, 0), min(at[0] + shell + 1, counts[0])):
                for y in range(max(at[1] - shell, 0), min(at[1] + shell + 1, counts[1])):
                    rim = abs(z - at[0]) == shell or abs(y - at[1]) == shell
                    step = 1 if rim or shell == 0 else 2 * shell
                    for x in range(at[2] - shell, at[2] + shell + 1, step):
                        if x < 0 or x >= counts[2]:
                            continue
                        box = (z * counts[1] + y) * counts[2] + x
                        for k in range(begin[box], begin[box + 1]):
                            if same and order[k] == i:
                                continue
                            dz = queries[i, 0] - points[k, 0]
                            dy = queries[i, 1] - points[k, 1]
                            dx = queries[i, 2] - points[k, 2]
                            best[i] = min(best[i], dz * dz + dy * dy + dx * dx)
