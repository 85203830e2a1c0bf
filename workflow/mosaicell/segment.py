"""The exact watershed of one tile: fragments, and the graph that stitching needs of them.

Idea: voxels are totally ordered (higher value first, then lower linear index in the volume), and
every voxel above the threshold points to the highest voxel of its neighbourhood. Where a pointer
leads is a matter of its 26 neighbours (8 in a 2D image), so a tile that reads a halo of one voxel
sets each pointer just as the whole volume would. Following them ends at a *peak* (a voxel that
points to itself) or at an *exit* (a voxel of the halo, whose own pointer another tile knows). All
voxels of the core that end at the same place are a *fragment*. A basin of the whole volume is
the union of the fragments whose exits lead to the same peak.

Passes over the tile:
1. `_point`: the pointer of each voxel.
2. `_follow`: pointers are followed with path compression; fragments get numbers from 1 in raster
   order, their size and their bounding box.
3. `_scan_saddles`: for each pair of adjacent voxels in different fragments the lower value is a
   candidate for their *saddle*, and the highest candidate is kept. A pair is seen from its
   voxel of lower linear index. If the other voxel is in the halo, the pair is a *seam*: it is
   kept under that voxel, because the name of its fragment is known only to the other tile.
4. `thin`: saddles that cannot matter are dropped.

What a tile hands on is its `TileGraph`; it also names the fragments of the core's outermost
voxels (the *rim*), where other tiles' exits and seams arrive.

Limits: a tile with its halo holds fewer than 2**31 voxels; memory is 17 bytes a voxel of uint16
beside the landscape, and up to twice that on a map of nothing but noise.

The pointer formulation is that of the watershed on steepest ascent by Cousty et al. 2009
(doi 10.1109/TPAMI.2008.173) with a total order instead of plateau rules; that a tile's exits and
spanning forest are all that merging needs follows Lu, Zlateski and Seung 2021
(arXiv 2106.10795).
"""

from dataclasses import dataclass, fields
from math import prod

import numpy as np
from numba import njit

from .geometry import Box, Triple

HALO: Triple = (1, 1, 1)
MAX_VOXELS = 2**31  # linear indices in a tile are int32


@dataclass(frozen=True)
class TileGraph:
    """What stitching needs to know of one tile with n fragments, numbered 1..n.

    Attributes
    ----------
    end : ndarray of int64, (n,)
        Linear index in the volume of the voxel at which fragment i + 1 ends.
    is_exit : ndarray of bool, (n,)
        Whether that voxel lies outside of the core.
    peak : ndarray of the landscape's dtype, (n,)
        Value of that voxel.
    size : ndarray of int64, (n,)
        Number of voxels.
    bbox : ndarray of int64, (n, 6)
        First z, y, x and last z, y, x plus one, in the volume.
    edge_a, edge_b : ndarray of uint32; edge_saddle : ndarray of the landscape's dtype
        Fragments that touch, a < b, and their saddle.
    seam_a : ndarray of uint32; seam_voxel : ndarray of int64; seam_saddle : landscape's dtype
        A fragment, the linear index of a voxel of the halo that touches it, and their saddle.
    rim_voxel : ndarray of int64, ascending; rim_fragment : ndarray of uint32
        Linear indices of the core's outermost voxels above the threshold, and their fragments.
    """

    end: np.ndarray
    is_exit: np.ndarray
    peak: np.ndarray
    size: np.ndarray
    bbox: np.ndarray
    edge_a: np.ndarray
    edge_b: np.ndarray
    edge_saddle: np.ndarray
    seam_a: np.ndarray
    seam_voxel: np.ndarray
    seam_saddle: np.ndarray
    rim_voxel: np.ndarray
    rim_fragment: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """The attributes by name, for writing them to a file."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def segment(
    landscape: np.ndarray, *, core: Box, volume: Triple, threshold: float
) -> tuple[np.ndarray, TileGraph]:
    """Cut one tile of a landscape into fragments of basins.

    Parameters
    ----------
    landscape : ndarray, (z, y, x)
        Values of the core and of its halo of one voxel, where the volume has one; integers of
        magnitude up to 2**53 or floats, without NaN or infinity (see `check_values`).
    core : Box
        The tile's core, in voxels of the volume.
    volume : tuple of int
        Shape of the volume.
    threshold : float
        Only voxels above it belong to a basin; in units of the landscape.

    Returns
    -------
    fragments : ndarray of uint32, of the core's shape
        Number of each voxel's fragment; 0 where the landscape is not above the threshold.
    graph : TileGraph
    """
    check_threshold(threshold)
    values, below = _framed(landscape, core, volume, threshold)
    flat = values.reshape(-1)
    frame = values.shape
    ahead = _offsets_ahead(frame, is_2d=volume[0] == 1)
    parent = np.full(flat.size, -1, np.int32)
    _point(flat, frame, below, ahead, parent)
    labels, ends, size, bbox = _follow(parent, frame)
    pairs, pair_saddles, seams, seam_saddles = _scan_saddles(flat, labels, frame, below, ahead)

    def in_volume(framed: np.ndarray) -> np.ndarray:
        """Linear index in the volume of a voxel given by its index in the frame."""
        return _linear(np.stack(np.unravel_index(framed, frame), -1) + _origin(core), volume)

    order = np.argsort(pairs)
    edges = thin(
        pairs[order] >> 32, pairs[order] & 0xFFFFFFFF, pair_saddles[order], n_nodes=ends.size + 1
    )
    order = np.argsort(seams)
    fragments = labels.reshape(frame)[1:-1, 1:-1, 1:-1].astype(np.uint32)
    end_position = np.stack(np.unravel_index(ends, frame), -1)
    outside = (end_position == 0) | (end_position == np.array(frame) - 1)
    rim_voxel, rim_fragment = _rim(fragments, core, volume)
    graph = TileGraph(
        end=in_volume(ends),
        is_exit=outside.any(-1),
        peak=flat[ends],
        size=size,
        bbox=bbox + np.tile(_origin(core), 2),
        edge_a=edges[0].astype(np.uint32),
        edge_b=edges[1].astype(np.uint32),
        edge_saddle=edges[2],
        seam_a=(seams[order] >> 32).astype(np.uint32),
        seam_voxel=in_volume(seams[order] & 0xFFFFFFFF),
        seam_saddle=seam_saddles[order],
        rim_voxel=rim_voxel,
        rim_fragment=rim_fragment,
    )
    return fragments, graph


def check_threshold(threshold: float) -> None:
    """Refuse a threshold without a meaning, in one sentence (ValueError)."""
    if not np.isfinite(threshold):
        raise ValueError(
            f"threshold is {threshold}; allowed is a finite number in units of the landscape: "
            "choose one between its lowest and highest value"
        )


def check_values(landscape: np.ndarray) -> None:
    """Refuse values that have no place in an order of voxels, in one sentence (ValueError)."""
    if landscape.dtype.kind == "f":
        bad, allowed = ~np.isfinite(landscape), "finite numbers"
    elif landscape.dtype.itemsize == 8:
        bad, allowed = np.abs(landscape.astype(np.float64)) > 2**53, "integers up to 2**53"
    else:
        return
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"the landscape is {landscape[first]} at voxel {first}; allowed are {allowed}: "
            "replace what is not, for example by 0"
        )


def _origin(core: Box) -> np.ndarray:
    """Position in the volume of the frame's first voxel."""
    return np.array(core.start, np.int64) - 1


def _linear(positions: np.ndarray, volume: Triple) -> np.ndarray:
    """Linear indices (int64) in the volume of positions (..., 3)."""
    _, ny, nx = volume
    return (positions[..., 0] * ny + positions[..., 1]) * nx + positions[..., 2]


def _framed(
    landscape: np.ndarray, core: Box, volume: Triple, threshold: float
) -> tuple[np.ndarray, int | float]:
    """The tile with a frame of one voxel all around, and the value that means "not in a basin".

    The frame is the halo; where the volume ends, and wherever the landscape is not above the
    threshold, stands a value lower than all others, so that the passes need no bounds check.
    """
    read = core.grown(HALO, volume)
    if landscape.shape != read.shape:
        raise ValueError(
            f"the landscape of tile {core} has shape {landscape.shape}; with its halo it needs "
            f"{read.shape}"
        )
    kind, width = landscape.dtype.kind, landscape.dtype.itemsize
    if kind == "f":
        dtype, below = (np.float64 if width == 8 else np.float32), -np.inf
    elif kind in "bu" and width <= 2 and threshold >= 0:
        dtype, below = np.uint16, 0
    elif kind in "biu":
        dtype, below = np.int64, np.iinfo(np.int64).min
    else:
        raise ValueError(
            f"the landscape is of type {landscape.dtype}; allowed are integers and floats: "
            "convert it"
        )
    frame = tuple(n + 2 for n in core.shape)
    if prod(frame) >= MAX_VOXELS:
        raise ValueError(
            f"a tile of shape {core.shape} has {prod(frame)} voxels with its halo; allowed are "
            f"fewer than {MAX_VOXELS}: choose smaller tiles"
        )
    values = np.full(frame, below, dtype)
    inside = read.seen_from(tuple(a - 1 for a in core.start)).slices
    # In float64, so that a landscape gives the same in any dtype that holds its values.
    above = landscape > np.float64(threshold)
    values[inside] = np.where(above, landscape, values.dtype.type(below))
    return values, values.dtype.type(below)


def _offsets_ahead(frame: Triple, *, is_2d: bool) -> np.ndarray:
    """Steps in linear index to the neighbours that come later in raster order."""
    _, ny, nx = frame
    planes = (0,) if is_2d else (0, 1)
    steps = [(dz * ny + dy) * nx + dx for dz in planes for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    return np.array([step for step in steps if step > 0], np.int64)


@njit(nogil=True, cache=True)
def _point(values, frame, below, ahead, parent):
    """Pass 1: `parent` gets the linear index of the highest voxel of each neighbourhood."""
    nz, ny, nx = frame
    n_ahead = ahead.size
    for z in range(1, nz - 1):
        for y in range(1, ny - 1):
            row = (z * ny + y) * nx
            for i in range(row + 1, row + nx - 1):
                own = values[i]
                if own == below:
                    continue
                # Neighbours in raster order: the first of equal ones has the lowest index.
                best = i - ahead[n_ahead - 1]
                highest = values[best]
                for k in range(n_ahead - 2, -1, -1):
                    if values[i - ahead[k]] > highest:
                        best = i - ahead[k]
                        highest = values[best]
                if own > highest:
                    best, highest = i, own
                for k in range(n_ahead):
                    if values[i + ahead[k]] > highest:
                        best = i + ahead[k]
                        highest = values[best]
                parent[i] = best


@njit(nogil=True, cache=True)
def _follow(parent, frame):
    """Pass 2: fragment of each voxel, and of each fragment its end, size and bounding box."""
    nz, ny, nx = frame
    labels = np.zeros(parent.size, np.int32)
    ends = np.empty(256, np.int64)
    sizes = np.empty(256, np.int64)
    boxes = np.empty((256, 6), np.int64)
    n = 0
    for z in range(1, nz - 1):
        for y in range(1, ny - 1):
            row = (z * ny + y) * nx
            for x in range(1, nx - 1):
                i = row + x
                if parent[i] < 0:
                    continue
                end = i
                while parent[end] >= 0 and parent[end] != end:
                    end = parent[end]
                step = i
                while step != end:
                    after = parent[step]
                    parent[step] = end
                    step = after
                label = labels[end]
                if label == 0:
                    if n == ends.size:
                        ends = _doubled(ends)
                        sizes = _doubled(sizes)
                        boxes = np.concatenate((boxes, np.empty_like(boxes)))
                    ends[n] = end
                    sizes[n] = 0
                    boxes[n] = (z, y, x, z + 1, y + 1, x + 1)
                    n += 1
                    label = n
                    labels[end] = label
                labels[i] = label
                sizes[label - 1] += 1
                box = boxes[label - 1]
                box[1] = min(box[1], y)
                box[2] = min(box[2], x)
                box[3] = z + 1
                box[4] = max(box[4], y + 1)
                box[5] = max(box[5], x + 1)
    return labels, ends[:n].copy(), sizes[:n].copy(), boxes[:n].copy()


@njit(nogil=True, cache=True)
def _doubled(array):
    return np.concatenate((array, np.empty_like(array)))


@njit(nogil=True, cache=True)
def _scan_saddles(values, labels, frame, below, ahead):
    """Pass 3: saddles of pairs of fragments, and of fragments with voxels of the halo.

    A pair is a key: the fragment in the upper half, the other fragment (the larger number) or
    the voxel of the halo in the lower half.
    """
    nz, ny, nx = frame
    edges = np.full(1024, -1, np.int64)
    edge_saddles = np.empty(1024, values.dtype)
    seams = np.full(1024, -1, np.int64)
    seam_saddles = np.empty(1024, values.dtype)
    n_edges = 0
    n_seams = 0
    mixed = np.empty(nx, np.bool_)
    last_key = np.int64(-1)
    last_saddle = values[0]
    for z in range(1, nz - 1):
        for y in range(1, ny - 1):
            row = (z * ny + y) * nx
            _mark_mixed(labels, row, nx, ahead, mixed)
            for x in range(1, nx - 1):
                i = row + x
                label = np.int64(labels[i])
                if label == 0 or not mixed[x]:
                    continue
                own = values[i]
                at_border = x == 1 or x == nx - 2 or y == 1 or y == ny - 2 or z == nz - 2
                for k in range(ahead.size):
                    j = i + ahead[k]
                    other = np.int64(labels[j])
                    if at_border and values[j] != below and _in_frame_border(j, frame):
                        saddle = min(own, values[j])
                        n_seams += _keep_highest(seams, seam_saddles, label << 32 | j, saddle)
                        if 2 * n_seams > seams.size:
                            seams, seam_saddles = _rehashed(seams, seam_saddles)
                    elif other != label and values[j] != below:
                        saddle = min(own, values[j])
                        key = min(label, other) << 32 | max(label, other)
                        # Neighbouring voxels mostly meet the pair that was met last.
                        if key == last_key and saddle <= last_saddle:
                            continue
                        last_key, last_saddle = key, saddle
                        n_edges += _keep_highest(edges, edge_saddles, key, saddle)
                        if 2 * n_edges > edges.size:
                            edges, edge_saddles = _rehashed(edges, edge_saddles)
    used = edges >= 0
    used_seams = seams >= 0
    return edges[used], edge_saddles[used], seams[used_seams], seam_saddles[used_seams]


@njit(nogil=True, cache=True)
def _mark_mixed(labels, row, nx, ahead, mixed):
    """Mark the voxels of a row that have another fragment or none beside them, and no others.

    Most voxels have not. Step by step along the row, so that the compiler takes many at a time.
    A voxel of the halo where a fragment ends has that fragment's number, but is of its basin too.
    """
    own = labels[row : row + nx]
    mixed[:] = False
    for step in ahead:
        beside = labels[row + step : row + step + nx]
        for x in range(beside.size):
            mixed[x] |= beside[x] != own[x]


@njit(nogil=True, cache=True, inline="always")
def _in_frame_border(i, frame):
    nz, ny, nx = frame
    z, rest = divmod(i, ny * nx)
    y, x = divmod(rest, nx)
    return z == 0 or z == nz - 1 or y == 0 or y == ny - 1 or x == 0 or x == nx - 1


@njit(nogil=True, cache=True)
def _keep_highest(keys, highest, key, value):
    """Open-addressing hash map: keep the highest value of a key; 1 if the key is new, else 0."""
    mask = keys.size - 1
    slot = (key * np.int64(-7046029254386353131) >> 20) & mask  # 2**64 / golden ratio
    while keys[slot] != -1:
        if keys[slot] == key:
            highest[slot] = max(highest[slot], value)
            return 0
        slot = (slot + 1) & mask
    keys[slot] = key
    highest[slot] = value
    return 1


@njit(nogil=True, cache=True)
def _rehashed(keys, highest):
    """The same hash map with twice the slots."""
    new_keys = np.full(2 * keys.size, -1, np.int64)
    new_highest = np.empty(2 * keys.size, highest.dtype)
    for slot in range(keys.size):
        if keys[slot] != -1:
            _keep_highest(new_keys, new_highest, keys[slot], highest[slot])
    return new_keys, new_highest


def thin(
    a: np.ndarray, b: np.ndarray, saddle: np.ndarray, *, n_nodes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Drop the edges whose ends are connected by strictly higher saddles.

    They cannot change how basins merge: along the higher path every two neighbours have merged,
    or refused to because both stand out by the persistence, and then the ends of the lower edge
    stand out even more. Edges of equal height all stay, because which of them is first depends
    on peaks that a tile may not know. The rest is a maximum spanning forest, plus ties.

    Parameters
    ----------
    a, b : ndarray of integers below `n_nodes`, (m,)
        Nodes of each edge.
    saddle : ndarray, (m,)
        Height of each edge.
    n_nodes : int

    Returns
    -------
    a, b, saddle : ndarrays
        The edges that stay, highest first.
    """
    order = np.argsort(saddle, kind="stable")[::-1]
    a, b, saddle = a[order], b[order], saddle[order]
    keep = _connects(a.astype(np.int64), b.astype(np.int64), saddle, n_nodes)
    return a[keep], b[keep], saddle[keep]


@njit(nogil=True, cache=True)
def _connects(a, b, saddle, n_nodes):
    root = np.arange(n_nodes)
    keep = np.zeros(a.size, np.bool_)
    begin = 0
    while begin < a.size:
        stop = begin
        while stop < a.size and saddle[stop] == saddle[begin]:
            keep[stop] = find(root, a[stop]) != find(root, b[stop])
            stop += 1
        for k in range(begin, stop):
            root[find(root, a[k])] = find(root, b[k])
        begin = stop
    return keep


@njit(nogil=True, cache=True)
def find(root, i):
    """Representative of i in a union-find forest, halving the path (Tarjan 1975)."""
    while root[i] != i:
        root[i] = root[root[i]]
        i = root[i]
    return i


def _rim(fragments: np.ndarray, core: Box, volume: Triple) -> tuple[np.ndarray, np.ndarray]:
    """Linear indices and fragments of the core's outermost voxels that are in a fragment."""
    outermost = np.ones(fragments.shape, bool)
    # An axis along which there is only one tile has no seam.
    inner = tuple(
        slice(None) if size == n else slice(1, -1)
        for size, n in zip(fragments.shape, volume, strict=True)
    )
    outermost[inner] = False
    position = np.argwhere(outermost & (fragments > 0))
    voxels = _linear(position + np.array(core.start, np.int64), volume)
    return voxels, fragments[tuple(position.T)]
