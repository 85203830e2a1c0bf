"""Cutting one tile of a landscape, smoothed if wished, where that is fastest.

Where there is a GPU the tile is smoothed and segmented on it, else on the CPU; the result is the
same to the last bit. The GPU works on one tile at a time, while other threads read and write
theirs; a tile that is too large for its memory is cut on the CPU.
"""

from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from .frame import HALO
from .geometry import Box, Triple
from .segment import TileGraph, segment
from .sigma import Sigma
from .smooth import halo, smooth

if TYPE_CHECKING:
    import torch

# Devices of an NVIDIA GPU on Linux and in its Windows subsystem.
DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/dxg"))
GPU_IN_USE = Lock()


def box_to_read(core: Box, *, sigma: Sigma, volume: Triple) -> Box:
    """The voxels that a tile is cut from: its core, and what the Gaussian needs around it."""
    return core.grown(HALO, volume).grown(halo(sigma), volume)


def cut_tile(
    landscape: np.ndarray,
    *,
    core: Box,
    volume: Triple,
    threshold: float,
    sigma: Sigma,
    out: np.ndarray | None = None,
) -> tuple[np.ndarray, TileGraph]:
    """Smooth one tile of a landscape and cut it into fragments of basins.

    Parameters
    ----------
    landscape : ndarray, (z, y, x)
        Values of `box_to_read`.
    core, volume, threshold, out
        See `segment.segment`.
    sigma : tuple of float
        See `smooth.smooth`.

    Returns
    -------
    fragments, graph
        See `segment.segment`.
    """
    box = core.grown(HALO, volume)
    how = {"core": core, "volume": volume, "threshold": threshold, "out": out}
    gpu = find_gpu()
    if gpu is not None:
        import torch

        from .segment_tensor import segment_tensor
        from .smooth_tensor import smooth_tensor

        try:
            with GPU_IN_USE:
                values = torch.tensor(landscape, device=gpu)
                values = smooth_tensor(values, sigma=sigma, box=box, volume=volume)
                return segment_tensor(values, **how)
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
    values = smooth(landscape, sigma=sigma, box=box, volume=volume)
    return segment(values, **how)


@cache
def find_gpu() -> "torch.device | None":
    """The GPU if there is one; torch takes seconds to import, so it is asked only if it may be."""
    if not any(driver.exists() for driver in DRIVERS):
        return None
    import torch

    return torch.device("cuda") if torch.cuda.is_available() else None
