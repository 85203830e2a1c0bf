"""The passes of a tile that may matter, and their order.

Idea: from a voxel, passes lead to its higher neighbours. Where these are connected among
themselves, every pass from the voxel has an earlier way round and never matters (see
`mosaicell.merging`); so it is for most voxels. Where they are in several parts the ground *splits*,
and one pass to each part is enough.

Steps, row by row:
1. `_mark_in_row`, `_mark_not_lower`, `_mark_higher`: higher neighbours become the bits of a mask.
2. `_split`: the first of them is spread to those beside it, all at once, by shifting the mask. If
   after three rounds some were not reached, the ground may split there.
3. `_scan`: at such voxels the parts are found one by one, and a pass to each.
4. `_lead`: the fragments that these passes lead to; those that stay in one are dropped. To look
   them up all at once is faster than one by one, as memory is slow to answer but answers many.

Limits: those of `mosaicell.frame`.

That only voxels whose higher neighbours are in parts matter is how merge trees are built (Carr,
Snoeyink and Axen 2003, doi 10.1016/S0925-7721(02)00093-7).
"""

import numpy as np
from numba import njit

from .frame import CODES
from .geometry import Triple

PASSES_AT_ONCE = 2**16
MAX_PARTS = 8  # of a neighbourhood: voxels of one octant are all adjacent


def find_passes(
    values: np.ndarray,
    frame: Triple,
    below: int | float,
    steps: np.ndarray,
    parent: np.ndarray,
    ends: np.ndarray,
    n: int,
) -> tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The number of fragments, with those without voxels, and the passes between them.

    Of each pass: its two fragments, the index in the frame of its lower voxel and the code of
    the higher, in the order of indices and codes.
    """
    found = []
    row, rows = 0, (frame[0] - 2) * (frame[1] - 2)
    room = max(PASSES_AT_ONCE, MAX_PARTS * frame[2])
    while row < rows:
        lower, code = np.empty(room, np.int64), np.empty(room, np.uint8)
        row, m = _scan(values, frame, below, steps, row, lower, code)
        a, b = np.empty(m, np.uint32), np.empty(m, np.uint32)
        n, m = _lead(steps, parent, ends, n, a, b, lower[:m], code[:m])
        found.append([column[:m] for column in (a, b, lower, code)])
    return n, *(np.concatenate(column) for column in zip(*found, strict=True))


@njit(nogil=True, cache=True)
def _scan(values, frame, below, steps, row, lower, code):
    """Passes from a row of the core on, until the room could be too small for one more row."""
    nz, ny, nx = frame
    width = nx - 2
    earlier = np.empty(width, np.uint16)
    later = np.empty(width, np.uint16)
    higher = np.empty(width, np.uint32)
    is_split = np.empty(width, np.bool_)
    m = 0
    while row < (nz - 2) * (ny - 2) and m + MAX_PARTS * width <= lower.size:
        begin = ((row // (ny - 2) + 1) * ny + row % (ny - 2) + 1) * nx + 1
        row += 1
        own = values[begin : begin + width]
        _mark_in_row(values[begin - 1 : begin + width + 1], earlier, later)
        for k in range(4):
            near = begin + steps[3 * k]
            _mark_not_lower(own, values[near : near + width + 2], np.uint16(1 << 3 * k), earlier)
            near = begin + steps[15 + 3 * k]
            _mark_higher(own, values[near : near + width + 2], np.uint16(2 << 3 * k), later)
        _split(own, below, earlier, later, higher, is_split)
        for x in range(width):
            if not is_split[x]:
                continue
            left = higher[x]
            while left:
                part = np.uint32(left & -left)
                lower[m] = begin + x
                code[m] = BIT[
                    (part * np.uint64(DE_BRUIJN) & np.uint64(0xFFFFFFFF)) >> np.uint64(27)
                ]
                m += 1
                wider = np.uint32(_spread(part) & left)
                while wider != part:
                    part = wider
                    wider = np.uint32(_spread(part) & left)
                left = np.uint32(left ^ part)
    return row, m


@njit(nogil=True, cache=True)
def _lead(steps, parent, ends, n, a, b, lower, code):
    """Step 4: how many fragments there are now, and how many of the passes are left."""
    m = 0
    for k in range(lower.size):
        near = lower[k] + steps[code[k]]
        number = parent[near]
        if number >= 0:  # a voxel of the halo to which no pointer leads
            ends[n] = near
            n += 1
            number = np.int32(-1 - n)
            parent[near] = number
        own_number = parent[lower[k]]
        a[m] = -1 - own_number
        b[m] = -1 - number
        lower[m] = lower[k]
        code[m] = code[k]
        m += number != own_number
    return n, m


@njit(nogil=True, cache=True)
def _mark_in_row(row, earlier, later):
    """Set the bits of the neighbours along x that are higher in the order of voxels, only them."""
    for x in range(earlier.size):
        earlier[x] = np.uint16(1 << 12) if row[x] >= row[x + 1] else np.uint16(0)
        later[x] = np.uint16(1) if row[x + 2] > row[x + 1] else np.uint16(0)


@njit(nogil=True, cache=True)
def _mark_not_lower(own, row, bit, mask):
    """Set bits where neighbours in an earlier row are higher in the order of voxels."""
    for x in range(mask.size):
        bits = bit if row[x] >= own[x] else np.uint16(0)
        bits |= np.uint16(bit << 1) if row[x + 1] >= own[x] else np.uint16(0)
        bits |= np.uint16(bit << 2) if row[x + 2] >= own[x] else np.uint16(0)
        mask[x] |= bits


@njit(nogil=True, cache=True)
def _mark_higher(own, row, bit, mask):
    """Set bits where neighbours in a later row are higher in the order of voxels."""
    for x in range(mask.size):
        bits = bit if row[x] > own[x] else np.uint16(0)
        bits |= np.uint16(bit << 1) if row[x + 1] > own[x] else np.uint16(0)
        bits |= np.uint16(bit << 2) if row[x + 2] > own[x] else np.uint16(0)
        mask[x] |= bits


@njit(nogil=True, cache=True)
def _split(own, below, earlier, later, higher, is_split):
    """Mask of the higher neighbours, and whether they may be in more than one part.

    Three steps from the first of them reach all that are connected, but for a few winding parts.
    """
    for x in range(higher.size):
        mask = np.uint32(earlier[x]) | np.uint32(later[x]) << np.uint32(14)
        part = np.uint32(mask & (~mask + np.uint32(1)))
        part = np.uint32(_spread(part) & mask)
        part = np.uint32(_spread(part) & mask)
        part = np.uint32(_spread(part) & mask)
        higher[x] = mask
        is_split[x] = part != mask and own[x] != below


def _bits(axis: int, at: int) -> np.uint32:
    """The neighbours of a voxel but for those at one end of an axis, as a mask."""
    place = np.unravel_index(np.arange(CODES), (3, 3, 3))[axis]
    return np.uint32(sum(1 << code for code in range(CODES) if place[code] != at))


NOT_FIRST_Y, NOT_LAST_Y, NOT_FIRST_X, NOT_LAST_X = (_bits(a, at) for a in (1, 2) for at in (0, 2))


@njit(nogil=True, cache=True, inline="always")
def _spread(mask):
    """The neighbours in a mask and all that are adjacent to them."""
    mask = mask | (mask << np.uint32(1)) & NOT_FIRST_X | (mask >> np.uint32(1)) & NOT_LAST_X
    mask = mask | (mask << np.uint32(3)) & NOT_FIRST_Y | (mask >> np.uint32(3)) & NOT_LAST_Y
    return mask | mask << np.uint32(9) | mask >> np.uint32(9)


# Number of the only bit that is set: a multiple of the De Bruijn sequence begins with it
# (Leiserson, Prokop and Randall 1998, "Using de Bruijn sequences to index a 1 in a computer word").
DE_BRUIJN = 0x077CB531
BIT = np.empty(32, np.int64)
for _bit in range(32):
    BIT[(DE_BRUIJN << _bit & 0xFFFFFFFF) >> 27] = _bit


def order_passes(height: np.ndarray) -> np.ndarray:
    """The order of passes that are given in the order of their places: the highest first.

    A radix sort, 16 bits at a time, is several times faster than comparing numbers.
    """
    bits = (height + height.dtype.type(0)).view(f"u{height.dtype.itemsize}")  # no negative zero
    if height.dtype.kind != "u":
        # As unsigned numbers, negative floats are in reverse and negative integers above all.
        top = bits.dtype.type(1 << 8 * bits.itemsize - 1)
        is_reversed = (bits & top > 0) & (height.dtype.kind == "f")
        bits = np.where(is_reversed, ~bits, bits ^ top)
    order = np.arange(height.size)
    for shift in range(0, 8 * bits.itemsize, 16):
        digit = (~bits >> shift & 0xFFFF).astype(np.uint16)
        order = order[np.argsort(digit[order], kind="stable")]
    return order
