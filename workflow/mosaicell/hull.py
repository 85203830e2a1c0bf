"""Convex hulls of cells, exactly, in whole numbers.

Idea: the hull is that of the centres of all faces of the cell's voxels, as in scikit-image, so a
single voxel has a hull with a volume. In steps of half a voxel these points are whole numbers, on
which side of a plane a point lies is the sign of a whole number, and nothing is ever nearly flat.
How large the hull is, is how many centres of voxels lie in it or on it.

Steps, for each cell:
1. `_corners`: in each plane only voxels at corners of the outline's hull can matter; the centres
   of their faces, but for those between two voxels of the cell, are the points.
2. `_grow`: a tetrahedron of points grows into the hull (quickhull): the farthest point outside of a
   triangle takes the place of all triangles that it sees. Points in the plane of a triangle are
   not outside of it, so flat faces in many triangles do no harm.
3. `_count_inside`: each triangle, seen along x, says for the rows of voxels behind it how far the
   hull reaches.

Source of step 2: Barber, Dobkin and Huhdanpaa 1996 (doi 10.1145/235815.235821).

Limits: bounding boxes of up to 2**18 voxels along an axis, so that all numbers fit into an int64.
"""

import numpy as np
from numba import njit


def hull_voxels(labels: np.ndarray, ids: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Number of voxels whose centre lies in the convex hull of each cell.

    Parameters
    ----------
    labels : ndarray of integers, (z, y, x)
    ids : ndarray of integers, (n,)
    boxes : ndarray of int64, (n, 6)
        Bounding boxes in `labels`.

    Returns
    -------
    ndarray of int64, (n,)
    """
    counts = np.empty(ids.size, np.int64)
    _hulls(labels, ids, boxes, counts)
    return counts


@njit(nogil=True, cache=True)
def _hulls(labels, ids, boxes, out):
    for i in range(ids.size):
        points = _corners(labels, ids[i], boxes[i])
        facets, normals, n = _grow(points)
        box = boxes[i]
        out[i] = _count_inside(points, facets, normals, n, box[3] - box[0], box[4] - box[1])


@njit(nogil=True, cache=True)
def _corners(labels, label, box):
    """Step 1: points in half voxels from the first voxel's centre, (n, 3)."""
    z0, y0, x0, z1, y1, x1 = box
    # Ends of rows, first those of lower then those of higher x; at most all of a plane's.
    ends = np.empty((2, y1 - y0, 2), np.int64)
    points = np.empty((64, 3), np.int64)
    n_points = 0
    for z in range(z0, z1):
        n_low = 0
        n_high = 0
        for y in range(y0, y1):
            first = x0
            while first < x1 and labels[z, y, first] != label:
                first += 1
            if first == x1:
                continue
            last = x1 - 1
            while labels[z, y, last] != label:
                last -= 1
            n_low = _extend(ends[0], n_low, y - y0, first - x0, -1)
            n_high = _extend(ends[1], n_high, y - y0, last - x0, 1)
        while n_points + 6 * (n_low + n_high) > len(points):
            points = np.concatenate((points, np.empty_like(points)))
        for side in range(2):
            for k in range(n_high if side else n_low):
                y, x = y0 + ends[side, k, 0], x0 + ends[side, k, 1]
                for face in range(6):
                    axis, step = face // 2, 2 * (face % 2) - 1
                    dz, dy, dx = step * (axis == 0), step * (axis == 1), step * (axis == 2)
                    # The middle of two voxels' centres is no corner.
                    if (
                        z0 <= z + dz < z1
                        and y0 <= y + dy < y1
                        and x0 <= x + dx < x1
                        and labels[z + dz, y + dy, x + dx] == label
                    ):
                        continue
                    points[n_points, 0] = 2 * (z - z0) + dz
                    points[n_points, 1] = 2 * (y - y0) + dy
                    points[n_points, 2] = 2 * (x - x0) + dx
                    n_points += 1
    return points[:n_points]


@njit(nogil=True, cache=True)
def _extend(chain, n, y, x, side):
    """Add the end of a row to a convex chain; `side` is 1 if larger x are outside, else -1."""
    while n >= 2:
        ay, ax = chain[n - 2]
        by, bx = chain[n - 1]
        if side * ((bx - ax) * (y - ay) - (x - ax) * (by - ay)) > 0:
            break
        n -= 1
    chain[n, 0] = y
    chain[n, 1] = x
    return n + 1


@njit(nogil=True, cache=True)
def _normal(points, a, b, c, out):
    """The plane through three points: its normal, and the normal's product with its points."""
    # Number by number: differences of rows would be arrays of their own, which take time.
    uz, vz = points[b, 0] - points[a, 0], points[c, 0] - points[a, 0]
    uy, vy = points[b, 1] - points[a, 1], points[c, 1] - points[a, 1]
    ux, vx = points[b, 2] - points[a, 2], points[c, 2] - points[a, 2]
    out[0] = uy * vx - ux * vy
    out[1] = ux * vz - uz * vx
    out[2] = uz * vy - uy * vz
    out[3] = out[0] * points[a, 0] + out[1] * points[a, 1] + out[2] * points[a, 2]


@njit(nogil=True, cache=True)
def _above(planes, f, points, k):
    """How far point k is outside of plane f, in units of that plane."""
    along = planes[f, 0] * points[k, 0] + planes[f, 1] * points[k, 1]
    return along + planes[f, 2] * points[k, 2] - planes[f, 3]


@njit(nogil=True, cache=True)
def _tetrahedron(points):
    """Four points that span a volume, the fourth below the plane of the others."""
    a = np.argmin(points[:, 0])
    b = np.argmax(points[:, 0])
    plane = np.empty((1, 4), np.int64)
    c, d = a, a
    widest = 0
    for k in range(len(points)):
        _normal(points, a, b, k, plane[0])
        width = abs(plane[0, 0]) + abs(plane[0, 1]) + abs(plane[0, 2])
        if width > widest:
            widest, c = width, k
    _normal(points, a, b, c, plane[0])
    farthest = 0
    for k in range(len(points)):
        away = _above(plane, 0, points, k)
        if abs(away) > abs(farthest):
            farthest, d = away, k
    if farthest > 0:
        b, c = c, b
    return a, b, c, d


@njit(nogil=True, cache=True)
def _grow(points):
    """Step 2: corners (n, 3) and planes (n, 4) of the triangles, and how many there are.

    A triangle's corners run so that its normal points outwards; its neighbour k lies beyond the
    edge from corner k to corner k + 1. Points outside of it are a linked list.
    """
    room = 256
    corners = np.empty((room, 3), np.int64)
    planes = np.empty((room, 4), np.int64)
    beyond = np.empty((room, 3), np.int64)
    head = np.full(room, -1)  # first of the points outside
    mark = np.zeros(room, np.int8)  # 0: on the hull, 1: seen by the new point, 2: no more
    following = np.full(len(points), -1)
    by_start = np.empty(len(points), np.int64)  # the new triangle whose first corner this is

    a, b, c, d = _tetrahedron(points)
    corners[0] = a, b, c
    corners[1] = b, a, d
    corners[2] = c, b, d
    corners[3] = a, c, d
    beyond[0] = 1, 2, 3
    beyond[1] = 0, 3, 2
    beyond[2] = 0, 1, 3
    beyond[3] = 0, 2, 1
    n = 4
    for f in range(n):
        _normal(points, corners[f, 0], corners[f, 1], corners[f, 2], planes[f])
    for k in range(len(points)):
        for f in range(n):
            if _above(planes, f, points, k) > 0:
                following[k] = head[f]
                head[f] = k
                break

    seen = np.empty(room, np.int64)
    f = 0
    while f < n:
        if mark[f] == 2 or head[f] < 0:
            f += 1
            continue
        # The farthest point outside of this triangle becomes a corner of the hull.
        tip, farthest = head[f], np.int64(0)
        k = head[f]
        while k >= 0:
            away = _above(planes, f, points, k)
            if away > farthest:
                farthest, tip = away, k
            k = following[k]
        seen[0] = f
        mark[f] = 1
        n_seen = 1
        at = 0
        n_before = n
        while at < n_seen:
            old = seen[at]
            at += 1
            for side in range(3):
                other = beyond[old, side]
                if mark[other] == 1:
                    continue
                if _above(planes, other, points, tip) > 0:
                    mark[other] = 1
                    if n_seen == len(seen):
                        seen = np.concatenate((seen, np.empty_like(seen)))
                    seen[n_seen] = other
                    n_seen += 1
                    continue
                if n == room:
                    corners = np.concatenate((corners, np.empty_like(corners)))
                    planes = np.concatenate((planes, np.empty_like(planes)))
                    beyond = np.concatenate((beyond, np.empty_like(beyond)))
                    head = np.concatenate((head, np.full(room, -1)))
                    mark = np.concatenate((mark, np.zeros(room, np.int8)))
                    room *= 2
                first, second = corners[old, side], corners[old, (side + 1) % 3]
                corners[n, 0], corners[n, 1], corners[n, 2] = first, second, tip
                _normal(points, first, second, tip, planes[n])
                beyond[n, 0] = other
                for k in range(3):
                    if beyond[other, k] == old and corners[other, k] == second:
                        beyond[other, k] = n
                by_start[first] = n
                n += 1
        for new in range(n_before, n):
            after = by_start[corners[new, 1]]
            beyond[new, 1] = after
            beyond[after, 2] = new
        for at in range(n_seen):
            old = seen[at]
            mark[old] = 2
            k = head[old]
            while k >= 0:
                after = following[k]
                for new in range(n_before, n):
                    if _above(planes, new, points, k) > 0:
                        following[k] = head[new]
                        head[new] = k
                        break
                k = after
    kept = 0
    for f in range(n):
        if mark[f] == 0:
            corners[kept] = corners[f]
            planes[kept] = planes[f]
            kept += 1
    return corners, planes, kept


@njit(nogil=True, cache=True)
def _count_inside(points, corners, planes, n, n_z, n_y):
    """Step 3: voxels in the hull; rows along x lie at even z and y."""
    first = np.full((n_z, n_y), np.int64(1) << 40)
    last = np.full((n_z, n_y), -(np.int64(1) << 40))
    for f in range(n):
        slope = planes[f, 2]
        if slope == 0:
            continue
        az, ay, _ = points[corners[f, 0]]
        bz, by, _ = points[corners[f, 1]]
        cz, cy, _ = points[corners[f, 2]]
        turn = 1 if slope > 0 else -1
        for z in range(max(0, (min(az, bz, cz) + 1) // 2), min(n_z - 1, max(az, bz, cz) // 2) + 1):
            for y in range(
                max(0, (min(ay, by, cy) + 1) // 2), min(n_y - 1, max(ay, by, cy) // 2) + 1
            ):
                pz, py = 2 * z, 2 * y
                if (
                    turn * ((bz - az) * (py - ay) - (by - ay) * (pz - az)) < 0
                    or turn * ((cz - bz) * (py - by) - (cy - by) * (pz - bz)) < 0
                    or turn * ((az - cz) * (py - cy) - (ay - cy) * (pz - cz)) < 0
                ):
                    continue
                rest = planes[f, 3] - planes[f, 0] * pz - planes[f, 1] * py
                if slope > 0:
                    last[z, y] = rest // (2 * slope)
                else:
                    first[z, y] = -(rest // (-2 * slope))
    count = 0
    for z in range(n_z):
        for y in range(n_y):
            count += max(0, last[z, y] - first[z, y] + 1)
    return count
