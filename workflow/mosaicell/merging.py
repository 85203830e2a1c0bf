"""Merging basins by persistence where only a part of the volume is known.

Idea: the basins of a volume and the passes between them are a graph. Passes are taken from the
first to the last in their order (higher first, then lower place; no two are equal), and where one
leads from one component of basins to another, the two merge if the lower of their peaks rises
above the pass by less than the persistence. `contract` does of this what a part of the graph can
know for certain, and hands on a smaller graph, with which the rest comes to the same end. It does
so for the fragments of a tile, for what is left of several tiles, and so on until nothing is
outside.

Nodes are basins, or pieces of them. Some have an *address*, by which the outside may know them, and
some have a *link*: the address outside of a node that is the same basin. Steps:
1. `_unite`: a link and an address that are equal, or two equal links, make two nodes one.
2. `_order`: the passes of several parts, each in order, come into one order.
3. `_decide`: passes are taken in this order. A pass whose ends earlier passes connect, be it by
   way of others, is dropped (a), and so the rest is a forest. A component is *strong* at a pass if
   it rises above it by the persistence or more. It is *complete* as long as nothing outside can
   have to do with it, and none of its passes was deferred.
       both sides are strong:                          the pass is dropped (b)
       one side is weak and complete:                  the two merge (c)
       else, one side is weak as far as is known:      the pass is deferred
4. `_number`, `_gather`: components that are complete are finished. The others are the nodes of the
   graph that is handed on, with the deferred passes and what still leads to the outside or may
   be sought by it.

Why this is right. Each act leaves a graph in which the passes of the whole volume make the same
components; those of (a), which look at nothing but the order, may be thought of as done first:
(a) Take one end of a dropped pass and walk along the way round. All of its passes are earlier. If
    the two ends are in two components when the dropped pass comes, somewhere on the way a pass out
    of the first end's component was refused, so that component was strong at that pass; the dropped
    pass is not higher, and components only rise, so it is strong now. So is that of the other end,
    and nothing would have happened.
(b) What is known of a peak is a lower bound, so both sides truly are strong, and stay so.
(c) Let C be the complete side. Nothing that is not known here touches it, and what was taken of its
    passes before was dropped or lies within it: this is its first pass, and its peak is known. So
    in the whole volume too C comes to this pass alone, is weak, and merges with whatever A, the
    other side, belongs to by then. To have merged them from the start changes nothing before this
    pass. No earlier pass knows C but by way of A, and C is weak at all of them as well, since they
    are not lower: with C or without, the component of A is strong or weak there as it would be.
A pass is deferred just where the outcome may depend on a peak outside. Where there is no outside
all nodes are complete, so nothing is deferred and all is decided.

Merging by persistence is that of Edelsbrunner, Letscher and Zomorodian 2002
(doi 10.1007/s00454-002-2885-2); to defer what a group of tiles cannot decide is the idea of Lu,
Zlateski and Seung 2021 (arXiv 2106.10795).
"""

from dataclasses import dataclass, fields

import numpy as np
from numba import njit


@dataclass(frozen=True)
class Basins:
    """A graph of n nodes, numbered from 0: basins and pieces of basins of a part of the volume.

    Attributes
    ----------
    peak : ndarray of float64, (n,)
        Highest value that is known of a node.
    voxel : ndarray of int64, (n,)
        Linear index in the volume of the voxel that has it, the lowest if several have.
    size : ndarray of int64, (n,)
        Number of voxels; 0 if a node is known by its links only.
    bbox : ndarray of int32, (n, 6)
        First z, y, x and last z, y, x plus one.
    address, link : ndarray of int64, (k,) and (l,)
        Names of pieces inside of this part that the outside may know, and of pieces outside.
    address_faces : ndarray of uint8, (k,)
        Faces of this part at which the piece lies, one bit each.
    address_node, link_node : ndarray of uint32, (k,) and (l,)
        Nodes to which they belong.
    pass_a, pass_b : ndarray of uint32, (m,)
        Nodes that a pass connects.
    pass_height : ndarray of float64, (m,)
    pass_place : ndarray of int64, (m,)
        Passes stand in their order: height descending, then place ascending.
    """

    peak: np.ndarray
    voxel: np.ndarray
    size: np.ndarray
    bbox: np.ndarray
    address: np.ndarray
    address_faces: np.ndarray
    address_node: np.ndarray
    link: np.ndarray
    link_node: np.ndarray
    pass_a: np.ndarray
    pass_b: np.ndarray
    pass_height: np.ndarray
    pass_place: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """The attributes by name, for writing them to a file."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class Contracted:
    """What became of the nodes of a part.

    Attributes
    ----------
    component : ndarray of uint32, (n,)
        Of each node: 1 to c if it is in a finished component; c + 1 + i if it is in node i of
        `rest`; 0 if it has no voxels and nothing depends on it any more.
    peak, voxel, size, bbox : ndarrays, (c,) and (c, 6)
        Of each finished component, see `Basins`.
    rest : Basins
        What is left to be decided.
    """

    component: np.ndarray
    peak: np.ndarray
    voxel: np.ndarray
    size: np.ndarray
    bbox: np.ndarray
    rest: Basins


def contract(parts: list[Basins], outer: list[int], *, persistence: float) -> Contracted:
    """Decide what can be decided in a part of the volume.

    Parameters
    ----------
    parts : list of Basins
        What the part consists of: their nodes count as one list, in the order of the parts.
    outer : list of int
        For each of them, as bits, those of its faces that are faces of the whole part and not of
        the volume.
    persistence : float
        See `stitch.stitch`.

    Returns
    -------
    Contracted
    """

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    first = np.cumsum([0] + [part.voxel.size for part in parts])

    def nodes(name: str) -> np.ndarray:
        numbers = [getattr(part, name) for part in parts]
        return np.concatenate([a + n for a, n in zip(numbers, first[:-1], strict=True)])

    peak, voxel, size, bbox = (joined(name) for name in ("peak", "voxel", "size", "bbox"))
    address, address_node = joined("address"), nodes("address_node")
    link, link_node = joined("link"), nodes("link_node")
    a, b, height, place = (
        nodes("pass_a"),
        nodes("pass_b"),
        joined("pass_height"),
        joined("pass_place"),
    )
    if len(parts) > 1:
        runs = np.cumsum([0] + [part.pass_a.size for part in parts])
        order = _order(height, place, runs)
        a, b, height, place = a[order], b[order], height[order], place[order]
    faces = np.concatenate(
        [part.address_faces & np.uint8(bits) for part, bits in zip(parts, outer, strict=True)]
    )

    root = np.arange(voxel.size)
    leads_out = _unite(address, address_node, link, link_node, root, peak, voxel)
    is_sought = faces > 0
    is_open = np.zeros(voxel.size, np.bool_)
    is_open[address_node[is_sought]] = True
    is_open[link_node[leads_out]] = True
    deferred = _decide(a, b, height, persistence, root, peak, voxel, is_open)
    component, tops, n_finished = _number(root, size, is_open, a, b, deferred)
    all_size, all_bbox = _gather(component, size, bbox, tops.size)

    def renumbered(node: np.ndarray) -> np.ndarray:
        return component[node] - np.uint32(1 + n_finished)

    leads_out &= component[link_node] > 0
    rest = Basins(
        peak=peak[tops[n_finished:]],
        voxel=voxel[tops[n_finished:]],
        size=all_size[n_finished:],
        bbox=all_bbox[n_finished:],
        address=address[is_sought],
        address_faces=faces[is_sought],
        address_node=renumbered(address_node[is_sought]),
        link=link[leads_out],
        link_node=renumbered(link_node[leads_out]),
        pass_a=renumbered(a[deferred]),
        pass_b=renumbered(b[deferred]),
        pass_height=height[deferred],
        pass_place=place[deferred],
    )
    return Contracted(
        component=component,
        peak=peak[tops[:n_finished]],
        voxel=voxel[tops[:n_finished]],
        size=all_size[:n_finished],
        bbox=all_bbox[:n_finished],
        rest=rest,
    )


@njit(nogil=True, cache=True)
def _unite(address, address_node, link, link_node, root, peak, voxel):
    """Step 1: nodes of one basin become one; which links lead out, each of them once.

    An open-addressing hash map has a node for each address and link.
    """
    slots = 16
    while slots < 2 * (address.size + link.size):
        slots *= 2
    keys = np.full(slots, -1, np.int64)
    nodes = np.empty(slots, np.int64)
    for k in range(address.size):
        slot = _slot(keys, address[k])
        keys[slot] = address[k]
        nodes[slot] = address_node[k]
    leads_out = np.zeros(link.size, np.bool_)
    for k in range(link.size):
        slot = _slot(keys, link[k])
        if keys[slot] == -1:
            keys[slot] = link[k]
            nodes[slot] = link_node[k]
            leads_out[k] = True
        else:
            _join(root, peak, voxel, find(root, nodes[slot]), find(root, np.int64(link_node[k])))
    return leads_out


@njit(nogil=True, cache=True, inline="always")
def _slot(keys, key):
    """Where a key is in the hash map, or where it belongs."""
    mask = keys.size - 1
    slot = (key * np.int64(-7046029254386353131) >> 20) & mask  # 2**64 / golden ratio
    while keys[slot] != -1 and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@njit(nogil=True, cache=True, inline="always")
def _join(root, peak, voxel, i, j):
    """Join two components; the representative of a component is the node of its peak."""
    if peak[j] > peak[i] or (peak[j] == peak[i] and voxel[j] < voxel[i]):
        i, j = j, i
    root[j] = i
    return i


@njit(nogil=True, cache=True)
def _order(height, place, runs):
    """Step 2: indices that sort passes which consist of sorted runs (a merge sort, bottom up)."""
    order = np.arange(height.size)
    merged = np.empty_like(order)
    while runs.size > 2:
        for r in range(0, runs.size - 1, 2):
            i, j = runs[r], runs[r + 1]
            middle, end = j, runs[min(r + 2, runs.size - 1)]
            for k in range(i, end):
                p = order[min(i, middle - 1)]
                q = order[min(j, end - 1)]
                is_first = height[p] > height[q] or (height[p] == height[q] and place[p] < place[q])
                if j == end or (i < middle and is_first):
                    merged[k] = p
                    i += 1
                else:
                    merged[k] = q
                    j += 1
        order, merged = merged, order
        runs = np.append(runs[:-1:2], runs[-1])
    return order


@njit(nogil=True, cache=True)
def _decide(a, b, height, persistence, root, peak, voxel, is_open):
    """Step 3: components merge where that is certain; the passes that are deferred, in order.

    Afterwards `is_open` is true for the representatives of all components that are not complete.
    """
    for i in range(root.size):
        if is_open[i]:
            is_open[find(root, i)] = True
    connected = root.copy()
    deferred = np.empty(a.size, np.int64)
    n = 0
    for k in range(a.size):
        i, j = find(connected, a[k]), find(connected, b[k])
        if i == j:
            continue
        connected[j] = i
        i, j = find(root, a[k]), find(root, b[k])
        i_is_weak = peak[i] - height[k] < persistence
        j_is_weak = peak[j] - height[k] < persistence
        if (i_is_weak and not is_open[i]) or (j_is_weak and not is_open[j]):
            any_is_open = is_open[i] or is_open[j]
            is_open[_join(root, peak, voxel, i, j)] = any_is_open
        elif i_is_weak or j_is_weak:
            is_open[i] = is_open[j] = True
            deferred[n] = k
            n += 1
    return deferred[:n].copy()


@njit(nogil=True, cache=True)
def _number(root, size, is_open, a, b, deferred):
    """Step 4: component of each node (see `Contracted`), their peaks' nodes, how many are finished.

    An open component without voxels and without a deferred pass gets no number.
    """
    matters = np.zeros(root.size, np.bool_)
    for k in deferred:
        matters[find(root, a[k])] = True
        matters[find(root, b[k])] = True
    for i in range(root.size):
        root[i] = find(root, i)
        matters[root[i]] |= size[i] > 0
    n_finished = 0
    for i in range(root.size):
        n_finished += root[i] == i and matters[i] and not is_open[i]
    component = np.zeros(root.size, np.uint32)
    tops = np.empty(root.size, np.int64)
    finished, n = 0, n_finished
    for i in range(root.size):
        if root[i] != i or not matters[i]:
            continue
        if is_open[i]:
            tops[n] = i
            n += 1
            component[i] = n
        else:
            tops[finished] = i
            finished += 1
            component[i] = finished
    for i in range(root.size):
        component[i] = component[root[i]]
    return component, tops[:n].copy(), n_finished


@njit(nogil=True, cache=True)
def _gather(component, size, bbox, n):
    """Step 4: number of voxels and bounding box of each component."""
    all_size = np.zeros(n, np.int64)
    all_bbox = np.empty((n, 6), np.int32)
    all_bbox[:, :3] = 2**31 - 1
    all_bbox[:, 3:] = 0
    for i in range(component.size):
        k = np.int64(component[i]) - 1
        if k < 0:
            continue
        all_size[k] += size[i]
        for axis in range(3):
            all_bbox[k, axis] = min(all_bbox[k, axis], bbox[i, axis])
            all_bbox[k, 3 + axis] = max(all_bbox[k, 3 + axis], bbox[i, 3 + axis])
    return all_size, all_bbox


def thin(a: np.ndarray, b: np.ndarray, *, n_nodes: int) -> np.ndarray:
    """Which passes matter: those whose ends no earlier passes connect (Kruskal 1956).

    The others cannot change how basins merge: see (a) above.

    Parameters
    ----------
    a, b : ndarray of integers below `n_nodes`, (m,)
        Nodes of each pass, in the order of passes.
    n_nodes : int

    Returns
    -------
    ndarray of bool, (m,)
        The passes of a spanning forest.
    """
    return _connects(a, b, n_nodes)


@njit(nogil=True, cache=True)
def _connects(a, b, n_nodes):
    root = np.arange(n_nodes)
    keep = np.zeros(a.size, np.bool_)
    for k in range(a.size):
        i, j = find(root, np.int64(a[k])), find(root, np.int64(b[k]))
        if i != j:
            root[i] = j
            keep[k] = True
    return keep


@njit(nogil=True, cache=True)
def find(root, i):
    """Representative of i in a union-find forest, halving the path (Tarjan 1975)."""
    while root[i] != i:
        root[i] = root[root[i]]
        i = root[i]
    return i
