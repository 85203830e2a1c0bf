"""Pointers from each voxel to the highest of its neighbourhood, and where they lead.

Steps:
1. `point`: the highest of 27 voxels is the highest along x, of these along y, of these along z. Of
   equal ones the first is taken each time, so it is the first of all.
2. `shorten`: pointers skip what they point to, so that hardly any voxel needs more than a step.
3. `number`: what ends at the same voxel gets the same number, from 1 in the order of first voxels.

The loops of step 1 run along rows and have no branch, so that compilers make vector instructions
of them.

Limits: an index into the frame (see `mosaicell.frame`) fits into an int32.
"""

import numpy as np
from numba import njit

STEP_Y, STEP_Z = np.uint8(3), np.uint8(9)  # of codes


@njit(nogil=True, cache=True)
def point(values, frame, below, steps, parent):
    """Step 1: `parent` gets the linear index of the highest voxel of each neighbourhood.

    The frame points to itself. What is not in a basin points to one entry more than there are
    voxels, and that to itself.
    """
    nz, ny, nx = frame
    n = nx - 2
    nowhere = parent.size - 1
    parent[nowhere] = nowhere
    in_row = np.empty((ny, n), values.dtype)
    row_code = np.empty((ny, n), np.uint8)
    in_plane = np.empty((3, ny, n), values.dtype)
    plane_code = np.empty((3, ny, n), np.uint8)
    highest = np.empty(n, values.dtype)
    code = np.empty(n, np.uint8)
    for z in range(nz):
        for y in range(ny):
            row = (z * ny + y) * nx
            _highest_in_row(values[row : row + nx], in_row[y], row_code[y])
            is_frame = z == 0 or z == nz - 1 or y == 0 or y == ny - 1
            for x in range(0, nx, 1 if is_frame else nx - 1):
                parent[row + x] = row + x
        values_a, values_b, values_c = in_plane[(z - 2) % 3], in_plane[(z - 1) % 3], in_plane[z % 3]
        codes_a, codes_b, codes_c = (
            plane_code[(z - 2) % 3],
            plane_code[(z - 1) % 3],
            plane_code[z % 3],
        )
        for y in range(1, ny - 1):
            a, b, c = in_row[y - 1], in_row[y], in_row[y + 1]
            code_a, code_b, code_c = row_code[y - 1], row_code[y], row_code[y + 1]
            _highest_of_three(a, b, c, code_a, code_b, code_c, STEP_Y, values_c[y], codes_c[y])
        if z < 2:
            continue
        for y in range(1, ny - 1):
            a, b, c = values_a[y], values_b[y], values_c[y]
            code_a, code_b, code_c = codes_a[y], codes_b[y], codes_c[y]
            _highest_of_three(a, b, c, code_a, code_b, code_c, STEP_Z, highest, code)
            row = ((z - 1) * ny + y) * nx + 1
            own = values[row : row + n]
            out = parent[row : row + n]
            for x in range(n):
                out[x] = row + x + steps[code[x]] if own[x] != below else nowhere


@njit(nogil=True, cache=True)
def _highest_in_row(row, highest, code):
    """Highest of each voxel and its two neighbours along x; of equal ones the first."""
    for x in range(highest.size):
        value, which = row[x], np.uint8(0)
        if row[x + 1] > value:
            value, which = row[x + 1], np.uint8(1)
        if row[x + 2] > value:
            value, which = row[x + 2], np.uint8(2)
        highest[x] = value
        code[x] = which


@njit(nogil=True, cache=True)
def _highest_of_three(a, b, c, code_a, code_b, code_c, step, highest, code):
    """Highest of each three voxels in three rows, and its code; of equal ones the first."""
    for x in range(highest.size):
        value, which = a[x], code_a[x]
        is_higher = b[x] > value
        value = b[x] if is_higher else value
        which = np.uint8(code_b[x] + step) if is_higher else which
        is_higher = c[x] > value
        highest[x] = c[x] if is_higher else value
        code[x] = np.uint8(code_c[x] + step + step) if is_higher else which


@njit(nogil=True, cache=True)
def shorten(parent):
    """Step 2: in a sweep backward, each voxel points to where its target points.

    A path that only goes forward is followed to its end, however long it is.
    """
    for k in range(parent.size):
        i = parent.size - 1 - k
        parent[i] = parent[parent[i]]


@njit(nogil=True, cache=True)
def number(parent, frame, fragments, ends):
    """Step 3: fragment of each voxel, and the end of each fragment; how many there are.

    Afterwards `parent` is -1 minus the number of the fragment for all voxels of the core and all
    ends. What a voxel points to has its number by then, if it comes before it; else the path is
    followed, and all that is on it is numbered too, so no step is taken twice.
    """
    nz, ny, nx = frame
    n = 0
    parent[parent.size - 1] = -1
    for z in range(1, nz - 1):
        for y in range(1, ny - 1):
            row = (z * ny + y) * nx + 1
            for x in range(nx - 2):
                i = row + x
                number = parent[i]
                if number >= 0:
                    end = number
                    number = parent[end]
                    if number >= 0:
                        while number >= 0 and number != end:
                            end = number
                            number = parent[end]
                        if number >= 0:
                            ends[n] = end
                            n += 1
                            number = np.int32(-1 - n)
                            parent[end] = number
                        on_path = parent[i]
                        while on_path >= 0:
                            after = parent[on_path]
                            parent[on_path] = number
                            on_path = after
                    parent[i] = number
                fragments[z - 1, y - 1, x] = -1 - number
    return n
