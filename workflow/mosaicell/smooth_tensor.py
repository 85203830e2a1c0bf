"""`mosaicell.smooth` on tensors, to the last bit, for landscapes that are on a GPU already.

Idea: the sequence of roundings that defines the result (see `smooth`), as whole-array operations.
A product and the sum after it are two operations, never `add(alpha=...)` or `addcmul`, which may
round once.

Limits: four arrays of the size of what is read are held.
"""

import torch

from .geometry import Box, Triple
from .sigma import Sigma
from .smooth import taps


def smooth_tensor(
    landscape: torch.Tensor, *, sigma: Sigma, box: Box, volume: Triple
) -> torch.Tensor:
    """Smooth the voxels of a box; see `smooth`, from which nothing differs but the type of array.

    Finite values are taken for granted.
    """
    kernels = taps(landscape.shape, sigma=sigma, box=box, volume=volume)
    if not any(weights.size for weights, _ in kernels):
        return landscape
    fits = landscape.dtype.itemsize <= 2 or landscape.dtype == torch.float32
    values = landscape.to(torch.float32 if fits else torch.float64)
    for axis, (weights, at) in enumerate(kernels):
        radius, n = weights.size, box.shape[axis]
        mirrored = values.index_select(axis, torch.from_numpy(at).to(values.device))
        centre = mirrored.narrow(axis, radius, n)
        twice = centre + centre
        total = torch.zeros_like(centre)
        for k, weight in enumerate(weights.tolist(), start=1):
            around = mirrored.narrow(axis, radius - k, n) + mirrored.narrow(axis, radius + k, n)
            around -= twice
            around *= weight
            total += around
        values = centre + total
    return values
