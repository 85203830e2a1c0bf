"""Which cells touch which, over how many faces, and how high the landscape is where they do.

Idea: two cells touch if a voxel of one is among the 26 neighbours of a voxel of the other (8 in
one plane). Each cell counts its own contacts on its bounding box and one voxel around it, so both
of two cells that touch tell the same of their contact, without knowing of each other.

Steps, for each cell:
1. `_near_others`: voxels beside another cell, row by row; few are, and only these are looked at.
2. `_contacts`: their neighbours are counted, by a table from labels to rows of the result.
3. `find_contacts`: rows are sorted by label.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit


@dataclass(frozen=True)
class Contacts:
    """The contacts of n cells, m in all, by the cells' order and ascending neighbours.

    Attributes
    ----------
    cell : ndarray of int64, (m,)
        Which of the cells, from 0.
    neighbour : ndarray of int64, (m,)
        Label of the cell that it touches.
    faces : ndarray of int64, (m, 3)
        Faces between voxels of the two, across z, y and x.
    saddle : ndarray of float64, (m,)
        The highest pass between them: of all pairs of adjacent voxels, the highest lower value of
        the landscape. -inf without a landscape.
    """

    cell: np.ndarray
    neighbour: np.ndarray
    faces: np.ndarray
    saddle: np.ndarray


def find_contacts(
    labels: np.ndarray, landscape: np.ndarray | None, *, ids: np.ndarray, boxes: np.ndarray
) -> Contacts:
    """Find what cells touch.

    Parameters
    ----------
    labels : ndarray of integers, (z, y, x)
        A crop that holds the cells and one voxel around them, where the volume goes on.
    landscape : ndarray of the same shape, or None
    ids : ndarray of integers, (n,)
    boxes : ndarray of int64, (n, 6)
        Bounding boxes in `labels`.

    Returns
    -------
    Contacts
    """
    cell, neighbour, faces, saddle = _contacts(labels, landscape, ids, boxes)
    order = np.lexsort((neighbour, cell))
    return Contacts(cell[order], neighbour[order], faces[order], saddle[order])


@njit(nogil=True, cache=True)
def _near_others(labels, label, box, others, near):
    """Step 1: into `near`, the voxels of the box beside which is another cell."""
    z0, y0, x0, z1, y1, x1 = box
    others[:] = 0
    for z in range(max(z0 - 1, 0), min(z1 + 1, labels.shape[0])):
        for y in range(max(y0 - 1, 0), min(y1 + 1, labels.shape[1])):
            row = others[z - z0 + 1, y - y0 + 1]
            for x in range(max(x0 - 1, 0), min(x1 + 1, labels.shape[2])):
                row[x - x0 + 1] = (labels[z, y, x] != 0) & (labels[z, y, x] != label)
    around = np.empty(others.shape[2], np.uint8)
    for z in range(z1 - z0):
        for y in range(y1 - y0):
            around[:] = 0
            for dz in range(3):
                for dy in range(3):
                    row = others[z + dz, y + dy]
                    for x in range(row.size):
                        around[x] |= row[x]
            for x in range(x1 - x0):
                near[z, y, x] = around[x] | around[x + 1] | around[x + 2]


@njit(nogil=True, cache=True)
def _row_of(table, rows, label):
    """Place in an open hash table, whose size is a power of two, of a label or for it."""
    last = table.size - 1
    at = (label * 40503 + (label >> 16)) & last
    while table[at] >= 0 and rows[table[at]] != label:
        at = (at + 1) & last
    return at


@njit(nogil=True, cache=True)
def _contacts(labels, landscape, ids, boxes):
    """Step 2."""
    room = 64
    cell = np.empty(room, np.int64)
    neighbour = np.empty(room, np.int64)
    faces = np.empty((room, 3), np.int64)
    saddle = np.empty(room, np.float64)
    n = 0
    table = np.full(64, -1)  # rows of this cell, counted from its first; -1 is free
    for i in range(ids.size):
        z0, y0, x0, z1, y1, x1 = boxes[i]
        others = np.empty((z1 - z0 + 2, y1 - y0 + 2, x1 - x0 + 2), np.uint8)
        near = np.empty((z1 - z0, y1 - y0, x1 - x0), np.uint8)
        _near_others(labels, ids[i], boxes[i], others, near)
        first = n
        table[:] = -1
        for z in range(z0, z1):
            for y in range(y0, y1):
                for x in range(x0, x1):
                    if near[z - z0, y - y0, x - x0] == 0 or labels[z, y, x] != ids[i]:
                        continue
                    for code in range(27):
                        dz, dy, dx = code // 9 - 1, code // 3 % 3 - 1, code % 3 - 1
                        if others[z + dz - z0 + 1, y + dy - y0 + 1, x + dx - x0 + 1] == 0:
                            continue
                        label = np.int64(labels[z + dz, y + dy, x + dx])
                        at = _row_of(table, neighbour[first:], label)
                        if table[at] < 0:
                            if n == room:
                                cell = np.concatenate((cell, np.empty_like(cell)))
                                neighbour = np.concatenate((neighbour, np.empty_like(neighbour)))
                                faces = np.concatenate((faces, np.empty_like(faces)))
                                saddle = np.concatenate((saddle, np.empty_like(saddle)))
                                room *= 2
                            cell[n] = i
                            neighbour[n] = label
                            faces[n] = 0
                            saddle[n] = -np.inf
                            table[at] = n - first
                            n += 1
                            if 2 * (n - first) > table.size:
                                table = np.full(2 * table.size, -1)
                                for row in range(n - first):
                                    rows = neighbour[first:n]
                                    table[_row_of(table, rows, rows[row])] = row
                                at = _row_of(table, neighbour[first:], label)
                        row = first + table[at]
                        if abs(dz) + abs(dy) + abs(dx) == 1:
                            faces[row, 0] += abs(dz)
                            faces[row, 1] += abs(dy)
                            faces[row, 2] += abs(dx)
                        if landscape is not None:
                            here = np.float64(landscape[z, y, x])
                            there = np.float64(landscape[z + dz, y + dy, x + dx])
                            saddle[row] = max(saddle[row], min(here, there))
    return cell[:n], neighbour[:n], faces[:n], saddle[:n]
