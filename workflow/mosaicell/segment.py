"""The exact watershed of one tile: fragments, and the graph that stitching needs of them.

Idea: voxels are totally ordered (higher value first, then lower linear index in the volume), and
every voxel above the threshold points to the highest voxel of its neighbourhood. Where a pointer
leads is a matter of its 26 neighbours (8 in a 2D image), so a tile that reads a halo of one voxel
sets each pointer just as the whole volume would. Following them ends at a *peak* (a voxel that
points to itself) or at an *exit* (a voxel of the halo, whose own pointer another tile knows). All
voxels of the core that end at the same place are a *fragment*. A basin of the whole volume is
the union of the fragments whose exits lead to the same peak.

A *pass* is a pair of adjacent voxels; it is as high as the lower of the two, and the highest pass
between two basins is their saddle. Passes are totally ordered too: higher first, then by their
place (see `TileGraph`). No two are ever equal, so which of them matter is known without knowing
what lies outside of the tile.

Steps:
1. `mosaicell.frame`: the tile gets a frame of one voxel.
2. `mosaicell.pointers`: each voxel's pointer, where it ends, and the numbers of the fragments.
3. `mosaicell.passes`: the passes that may matter.
4. `thin`: of these, those that have an earlier way round in the tile are dropped. A forest is left.
5. `_box`: sizes and bounding boxes.

Limits: a tile with its halo holds fewer than 2**31 voxels. Beside the landscape a tile of uint16
takes 10 bytes a voxel (values, pointers, fragments), and half as much again on mere noise.

The pointer formulation is that of the watershed on steepest ascent by Cousty et al. 2009
(doi 10.1109/TPAMI.2008.173) with a total order instead of plateau rules. That a tile's exits and
spanning forest are all that merging needs follows Lu, Zlateski and Seung 2021 (arXiv 2106.10795).
"""

from dataclasses import dataclass, fields

import numpy as np
from numba import njit

from .frame import CODES, frame_of, lower_to, steps_of
from .geometry import Box, Triple
from .merging import thin
from .passes import find_passes, order_passes
from .pointers import number, point, shorten


@dataclass(frozen=True)
class TileGraph:
    """What stitching needs to know of one tile with n fragments, numbered 1..n.

    A voxel of the halo to which a pass leads, but no pointer, is a fragment without voxels.

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
    bbox : ndarray of int32, (n, 6)
        First z, y, x and last z, y, x plus one, in the volume; without voxels the firsts are
        2**31 - 1 and the lasts 0.
    edge_a, edge_b : ndarray of uint32, (m,)
        Fragments that a pass connects.
    edge_saddle : ndarray of the landscape's dtype, (m,)
        Height of the pass.
    edge_place : ndarray of int64, (m,)
        27 times the linear index in the volume of the pass's lower voxel, plus the code of the
        higher one: (dz + 1) * 9 + (dy + 1) * 3 + dx + 1, seen from the lower.
        Edges stand in the order of passes: height descending, then place ascending.
    """

    end: np.ndarray
    is_exit: np.ndarray
    peak: np.ndarray
    size: np.ndarray
    bbox: np.ndarray
    edge_a: np.ndarray
    edge_b: np.ndarray
    edge_saddle: np.ndarray
    edge_place: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """The attributes by name, for writing them to a file."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def segment(
    landscape: np.ndarray,
    *,
    core: Box,
    volume: Triple,
    threshold: float,
    out: np.ndarray | None = None,
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
    out : ndarray of uint32, of the core's shape, optional
        Where to put the fragments: half of the memory that a tile takes, if it is there already.

    Returns
    -------
    fragments : ndarray of uint32, of the core's shape
        Number of each voxel's fragment; 0 where the landscape is not above the threshold.
    graph : TileGraph
    """
    how = frame_of(landscape.shape, landscape.dtype, core=core, volume=volume, threshold=threshold)
    frame, below = how.shape, how.dtype.type(how.below)
    values = np.full(frame, below)
    values[how.inside] = landscape
    flat = values.reshape(-1)
    lower_to(flat, how.dtype.type(how.limit), below)
    steps = steps_of(frame)
    parent = np.empty(flat.size + 1, np.int32)
    point(flat, frame, below, steps, parent)
    shorten(parent)
    fragments = np.empty(core.shape, np.uint32) if out is None else out
    # As long as it could ever be: memory that is never written to is never taken.
    ends = np.empty(flat.size, np.int32)
    n_pointed = number(parent, frame, fragments, ends)
    n, a, b, lower, code = find_passes(flat, frame, below, steps, parent, ends, n_pointed)
    ends = ends[:n].copy()
    size, bbox = _box(fragments, n)

    height = flat[lower]
    order = order_passes(height)
    order = order[thin(a[order], b[order], n_nodes=n + 1)]
    graph = graph_of(
        core,
        volume,
        ends=ends,
        peak=flat[ends],
        size=size,
        bbox=bbox,
        a=a[order],
        b=b[order],
        height=height[order],
        lower=lower[order],
        code=code[order],
    )
    return fragments, graph


def graph_of(
    core: Box,
    volume: Triple,
    *,
    ends: np.ndarray,
    peak: np.ndarray,
    size: np.ndarray,
    bbox: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    height: np.ndarray,
    lower: np.ndarray,
    code: np.ndarray,
) -> TileGraph:
    """The graph of a tile from what is known of it in the coordinates of its frame.

    Parameters
    ----------
    core, volume
        See `segment`.
    ends, lower : ndarray of integers
        Indices in the frame of fragments' ends, and of the lower voxels of passes.
    bbox : ndarray of int32, (n, 6)
        In voxels of the core.
    peak, size, a, b, height, code : ndarrays
        As in `TileGraph`; `code` is that of the higher voxel of each pass.
    """
    frame = tuple(n + 2 for n in core.shape)

    def in_volume(framed: np.ndarray) -> np.ndarray:
        """Linear index in the volume of a voxel given by its index in the frame."""
        z, y, x = np.unravel_index(framed, frame)
        z, y, x = (i + (start - 1) for i, start in zip((z, y, x), core.start, strict=True))
        return (z * volume[1] + y) * volume[2] + x

    place = np.stack(np.unravel_index(ends, frame), -1)
    return TileGraph(
        end=in_volume(ends),
        is_exit=((place == 0) | (place == np.array(frame) - 1)).any(-1),
        peak=peak,
        size=size,
        bbox=np.where(size[:, np.newaxis] > 0, bbox + np.array(core.start * 2, np.int32), bbox),
        edge_a=a,
        edge_b=b,
        edge_saddle=height,
        edge_place=in_volume(lower) * CODES + code,
    )


@njit(nogil=True, cache=True)
def _box(fragments, n):
    """Step 5: sizes and bounding boxes, by the runs of each row. The background is dropped last.

    Runs are noted without a branch, which no processor could foresee.
    """
    size = np.zeros(n + 1, np.int64)
    bbox = np.zeros((n + 1, 6), np.int32)
    bbox[:, :3] = 2**31 - 1
    nz, ny, nx = fragments.shape
    begins = np.empty(nx + 1, np.int64)
    for z in range(nz):
        for y in range(ny):
            n_runs = 1
            begins[0] = 0
            for x in range(1, nx):
                begins[n_runs] = x
                n_runs += fragments[z, y, x] != fragments[z, y, x - 1]
            begins[n_runs] = nx
            for run in range(n_runs):
                begin, end = begins[run], begins[run + 1]
                k = np.int64(fragments[z, y, begin])
                size[k] += end - begin
                bbox[k, 0] = min(bbox[k, 0], z)
                bbox[k, 1] = min(bbox[k, 1], y)
                bbox[k, 2] = min(bbox[k, 2], begin)
                bbox[k, 3] = z + 1
                bbox[k, 4] = max(bbox[k, 4], y + 1)
                bbox[k, 5] = max(bbox[k, 5], end)
    return size[1:], bbox[1:]
