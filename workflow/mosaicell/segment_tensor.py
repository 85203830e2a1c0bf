"""`mosaicell.segment` on tensors, to the last bit, for a GPU and for landscapes that are on one.

Idea: the same definitions, each step as operations on whole arrays: pointers double their length at
once, numbers are given by sorting, sizes and boxes are scattered sums and extremes, and the parts
of all split neighbourhoods are spread at the same time. Only the spanning forest, which is no work
for a GPU, is left to the CPU, after all but the first pass between two fragments are dropped.

Steps: those of `segment`, under the same names.

Limits: some 64 bytes a voxel of the tile are held on the device.
"""

import numpy as np
import torch

from .frame import CODES, frame_of, steps_of
from .geometry import Box, Triple
from .merging import thin
from .segment import TileGraph, graph_of

# Torch stores unsigned 16 bits, but hardly computes with them.
WORKING = {"uint16": torch.int32}
FIRST_X, LAST_X, FIRST_Y, LAST_Y = (
    sum(1 << code for code in range(CODES) if code // width % 3 == at)
    for width in (1, 3)
    for at in (0, 2)
)


def segment_tensor(
    landscape: torch.Tensor,
    *,
    core: Box,
    volume: Triple,
    threshold: float,
    out: np.ndarray | None = None,
) -> tuple[np.ndarray, TileGraph]:
    """Cut one tile of a landscape into fragments of basins, on the device where it is.

    Parameters and results are those of `segment`, and every array of the result is equal.
    """
    device = landscape.device
    dtype = np.dtype(str(landscape.dtype).removeprefix("torch."))
    how = frame_of(landscape.shape, dtype, core=core, volume=volume, threshold=threshold)
    working = WORKING.get(how.dtype.name) or getattr(torch, how.dtype.name)
    values = torch.full(how.shape, how.below, dtype=working, device=device)
    values[how.inside] = landscape.to(working)
    values[values <= how.limit] = how.below
    steps = torch.from_numpy(steps_of(how.shape)).to(device)
    index = torch.arange(values.numel(), device=device).reshape(how.shape)
    inner = (slice(1, -1),) * 3
    is_in = values[inner] > how.below

    parent = index.clone()
    parent[inner] = torch.where(is_in, index[inner] + steps[_point(values)], index[inner])
    parent = _shorten(parent.reshape(-1))
    ends, fragments = _number(parent, index[inner], is_in)
    flat = values.reshape(-1)
    a, b, lower, code, ends = _passes(values, is_in, index[inner], parent, steps, ends)
    size, bbox = _box(fragments, ends.numel())

    height = flat[lower] + 0  # no negative zero
    order = torch.sort(height, descending=True, stable=True).indices
    order = order[_first_of_pairs(a[order], b[order], ends.numel() + 1)]
    a, b, height, lower, code = (
        column[order].cpu().numpy() for column in (a, b, flat[lower], lower, code)
    )
    forest = thin(a, b, n_nodes=ends.numel() + 1)
    graph = graph_of(
        core,
        volume,
        ends=ends.cpu().numpy(),
        peak=flat[ends].cpu().numpy().astype(how.dtype),
        size=size.cpu().numpy(),
        bbox=bbox.cpu().numpy(),
        a=a[forest].astype(np.uint32),
        b=b[forest].astype(np.uint32),
        height=height[forest].astype(how.dtype),
        lower=lower[forest],
        code=code[forest],
    )
    found = np.empty(core.shape, np.uint32) if out is None else out
    found[...] = fragments.cpu().numpy()
    return found, graph


def _point(values: torch.Tensor) -> torch.Tensor:
    """Code of the highest voxel of each neighbourhood in the core; of equal ones the first."""
    highest, code = values, torch.zeros(values.shape, dtype=torch.int32, device=values.device)
    for axis, weight in ((2, 1), (1, 3), (0, 9)):
        n = values.shape[axis] - 2
        best, best_code = highest.narrow(axis, 0, n), code.narrow(axis, 0, n)
        for k in (1, 2):
            other, other_code = highest.narrow(axis, k, n), code.narrow(axis, k, n)
            is_higher = other > best
            best = torch.where(is_higher, other, best)
            best_code = torch.where(is_higher, other_code + k * weight, best_code)
        highest, code = best, best_code
    return code


def _shorten(parent: torch.Tensor) -> torch.Tensor:
    """Each voxel's end: pointers take the pointer of their target until none changes."""
    while True:
        further = parent[parent]
        if torch.equal(further, parent):
            return parent
        parent = further


def _number(
    parent: torch.Tensor, index: torch.Tensor, is_in: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ends in the order in which they come first, and the number from 1 of each voxel's end."""
    ends = _in_order_of_first(parent[index[is_in]], parent.numel())
    number = torch.zeros(parent.numel(), dtype=torch.int32, device=parent.device)
    number[ends] = torch.arange(1, ends.numel() + 1, dtype=torch.int32, device=parent.device)
    return ends, torch.where(is_in, number[parent[index]], 0)


def _in_order_of_first(voxels: torch.Tensor, n: int) -> torch.Tensor:
    """The different ones of voxels below n, in the order in which they come first."""
    first = torch.full((n,), voxels.numel(), device=voxels.device)
    place = torch.arange(voxels.numel(), device=voxels.device)
    first.scatter_reduce_(0, voxels, place, "amin")
    found = torch.nonzero(first < voxels.numel()).reshape(-1)
    return found[torch.sort(first[found]).indices]


def _passes(
    values: torch.Tensor,
    is_in: torch.Tensor,
    index: torch.Tensor,
    parent: torch.Tensor,
    steps: torch.Tensor,
    ends: torch.Tensor,
) -> tuple[torch.Tensor, ...]:
    """The two fragments, lower voxels and codes of passes, and ends with those without voxels."""
    higher = torch.zeros(is_in.shape, dtype=torch.int32, device=values.device)
    own = values[1:-1, 1:-1, 1:-1]
    for code in range(CODES):
        z, y, x = code // 9, code // 3 % 3, code % 3
        near = values[z : z + own.shape[0], y : y + own.shape[1], x : x + own.shape[2]]
        if code < CODES // 2:
            higher |= (near >= own).int() << code
        elif code > CODES // 2:
            higher |= (near > own).int() << code
    part = higher & -higher
    for _ in range(3):
        part = _spread(part) & higher
    is_split = (part != higher) & is_in
    lower, left = index[is_split], higher[is_split]

    found = []
    while lower.numel():
        part = left & -left
        code = torch.frexp(part.double()).exponent.long() - 1
        found.append((lower, code))
        wider = _spread(part) & left
        while not torch.equal(wider, part):
            part = wider
            wider = _spread(part) & left
        left = left ^ part
        lower, left = lower[left != 0], left[left != 0]
    if not found:
        nothing = torch.empty(0, dtype=torch.int64, device=values.device)
        return nothing, nothing, nothing, nothing, ends
    lower, code = (torch.cat(column) for column in zip(*found, strict=True))
    order = torch.sort(lower * CODES + code).indices
    lower, code = lower[order], code[order]
    end, other = parent[lower], parent[lower + steps[code]]
    differ = end != other
    lower, code, end, other = lower[differ], code[differ], end[differ], other[differ]

    number = torch.zeros(parent.numel(), dtype=torch.int64, device=values.device)
    number[ends] = torch.arange(1, ends.numel() + 1, device=values.device)
    ends = torch.cat((ends, _in_order_of_first(other[number[other] == 0], parent.numel())))
    number[ends] = torch.arange(1, ends.numel() + 1, device=values.device)
    return number[end], number[other], lower, code, ends


def _spread(mask: torch.Tensor) -> torch.Tensor:
    """The neighbours in masks and all that are adjacent to them."""
    mask = mask | (mask & ~LAST_X) << 1 | (mask & ~FIRST_X) >> 1
    mask = mask | (mask & ~LAST_Y) << 3 | (mask & ~FIRST_Y) >> 3
    return mask | mask << 9 | mask >> 9


def _first_of_pairs(a: torch.Tensor, b: torch.Tensor, n_nodes: int) -> torch.Tensor:
    """Where each pair of fragments comes first, in ascending order."""
    pair = torch.minimum(a, b) * n_nodes + torch.maximum(a, b)
    pair, place = torch.sort(pair, stable=True)
    is_first = torch.ones_like(pair, dtype=torch.bool)
    is_first[1:] = pair[1:] != pair[:-1]
    return torch.sort(place[is_first]).values


def _box(fragments: torch.Tensor, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Sizes and bounding boxes of n fragments, of which the last may be without voxels."""
    device = fragments.device
    voxels = fragments.reshape(-1).long()
    size = torch.bincount(voxels, minlength=n + 1)[1:]
    bbox = torch.zeros((6, n + 1), dtype=torch.int32, device=device)
    bbox[:3] = 2**31 - 1
    for axis, width in enumerate(fragments.shape):
        shape = [1] * 3
        shape[axis] = width
        place = torch.arange(width, dtype=torch.int32, device=device).reshape(shape)
        place = place.expand(fragments.shape).reshape(-1)
        bbox[axis].scatter_reduce_(0, voxels, place, "amin")
        bbox[axis + 3].scatter_reduce_(0, voxels, place + 1, "amax")
    return size, bbox[:, 1:].T.contiguous()
