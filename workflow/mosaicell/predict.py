"""The landscape of an image: a U-Net on windows of one global grid.

Idea: what the network says of a voxel depends on nothing farther away than its receptive field,
and every voxel is always taken from the same window: the windows' grid belongs to the model and
the volume (see `resample`), not to the run. So tiles, jobs and restarts cannot change a value.

Each window of a shard of the landscape, several at a time:
1. read the part of the image under the window with its halo, mirrored at the volume's border;
2. normalise it by the channel's limits and bring it to the model's grid;
3. run the network and keep the core and one voxel more on all sides, for the interpolation;
4. bring it back to the image's grid and round it to a multiple of 1 / `ONE`.

On a CPU a window is computed by one thread, because torch splits sums in other ways among other
numbers of threads; with several windows at a time all cores are busy, and on a GPU reading and
computing overlap.

A network of 2D takes a volume plane by plane: along z a window is one plane without halo.

Limits: a 2D network reads a level of the pyramid that keeps all planes, so of an isotropic volume
the finest, and then cells much larger than its own are sampled without smoothing. Equality to the
last bit holds for one model of CPU or GPU and one version of torch; others may round differently.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .geometry import Box, Triple
from .intensity import normalise
from .networks import Network
from .resample import ModelGrid, interpolate, positions
from .store import open_array, read

ONE = 65535  # the stored value that means 1
MARGIN = 1  # voxels around a core that linear interpolation reaches, along the network's axes


@dataclass(frozen=True)
class Channel:
    """A channel of an image, at the pyramid level that fits the model.

    Attributes
    ----------
    read : callable
        Gives the voxels of a frame and a `Box` of the level, (z, y, x).
    shape : tuple of int
        Shape of the level.
    factors : tuple of int
        Voxels of the image per voxel of the level.
    limits : tuple of float
        Intensities that become 0 and 1.
    """

    read: Callable[[int, Box], np.ndarray]
    shape: Triple
    factors: Triple
    limits: tuple[float, float]


def ideal_scale(
    voxel_size: tuple[float, float, float] | None,
    diameter: float | None,
    nominal_diameter: float,
) -> tuple[float, float, float]:
    """Model voxels per image voxel, (z, y, x), that bring cells to the size the model knows.

    Parameters
    ----------
    voxel_size : tuple of float or None
        (z, y, x) in um; needed if there is a diameter.
    diameter : float or None
        Typical diameter of a cell in um; None takes the image as it is.
    nominal_diameter : float
        Diameter of the cells that the model knows, in model voxels.

    Returns
    -------
    tuple of float
    """
    if diameter is None:
        return (1.0, 1.0, 1.0)
    return tuple(size * nominal_diameter / diameter for size in voxel_size)


def choose_level(factors: list[Triple], scale: tuple[float, float, float]) -> int:
    """The coarsest pyramid level that is nowhere coarser than the model's grid.

    Parameters
    ----------
    factors : list of tuple of int
        Voxels of the image per voxel of each level, finest level first.
    scale : tuple of float
        Model voxels per voxel of the image.

    Returns
    -------
    int
    """
    fitting = [
        level
        for level, factor in enumerate(factors)
        if all(f == 1 or f * s <= 1 for f, s in zip(factor, scale, strict=True))
    ]
    return fitting[-1]


def channel_of(
    store: Path, summary: dict, number: int, scale: tuple[float, float, float]
) -> Channel:
    """A channel of an ingested image, at the pyramid level that fits a scale.

    Parameters
    ----------
    store : Path
        The OME-Zarr image.
    summary : dict
        What `ingest.ingest` gave.
    number : int
        Of the channel.
    scale : tuple of float
        Model voxels per voxel of the image.

    Returns
    -------
    Channel
    """
    factors = [tuple(level) for level in summary["levels"]]
    level = choose_level(factors, scale)
    array = open_array(store / str(level))
    return Channel(
        read=lambda frame, box: read(array, box, (frame, number)[5 - array.ndim :]),
        shape=array.shape[-3:],
        factors=factors[level],
        limits=tuple(summary["channels"][number]["limits"]),
    )


def device_of_choice() -> torch.device:
    """The first CUDA device if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def predict(
    frame: int,
    shard: Box,
    *,
    channel: Channel,
    grid: ModelGrid,
    network: Network,
    device: torch.device,
    threads: int = 1,
) -> np.ndarray:
    """Predict the landscape of one shard.

    Parameters
    ----------
    frame : int
        0 for an image without time.
    shard : Box
        In voxels of the image.
    channel : Channel
    grid : ModelGrid
    network : Network
        On `device`, in evaluation mode.
    device : torch.device
    threads : int, optional
        Windows in work at a time. It never changes the result.

    Returns
    -------
    ndarray of uint16, of the shard's shape
        The landscape; `ONE` means 1.
    """
    # An algorithm chosen by timing, or with sums in any order, would not give equal windows.
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    landscape = np.empty(shard.shape, np.uint16)
    axes = np.array([axis >= 3 - network.dimensions for axis in range(3)], int)
    margins, pads = MARGIN * axes, (network.stride + network.halo) * axes

    def do(first: Triple, voxels: Box) -> None:
        window = _window(channel, frame, first, grid, pads)
        core = _run(network, window, device)
        at = [
            positions(a, b, 1 / s).seen_from(f - margin)
            for a, b, s, f, margin in zip(
                voxels.start, voxels.stop, grid.scale, first, margins, strict=True
            )
        ]
        values = np.clip(interpolate(core, *at), 0, 1) * np.float32(ONE)
        landscape[voxels.seen_from(shard.start).slices] = np.rint(values)

    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for done in [pool.submit(do, *window) for window in grid.window_boxes(shard)]:
            done.result()
    return landscape


def _window(
    channel: Channel, frame: int, first: Triple, grid: ModelGrid, pads: Triple
) -> np.ndarray:
    """Passes 1 and 2: the input of the window whose core begins at `first`, float32 (z, y, x)."""
    at = [
        positions(f - pad, f + core + pad, scale * factor, length)
        for f, core, pad, scale, factor, length in zip(
            first, grid.core, pads, grid.scale, channel.factors, channel.shape, strict=True
        )
    ]
    box = Box(*zip(*(p.reach for p in at), strict=True))
    image = normalise(channel.read(frame, box), *channel.limits)
    return interpolate(image, *(p.seen_from(o) for p, o in zip(at, box.start, strict=True)))


def _run(network: Network, window: np.ndarray, device: torch.device) -> np.ndarray:
    """Pass 3: the core and `MARGIN` voxels more on all sides, float32 (z, y, x)."""
    with torch.inference_mode():
        n = network.dimensions
        batch = torch.from_numpy(window).reshape(1, 1, *window.shape[3 - n :]).to(device)
        wide = network.core(batch).cpu().numpy()  # the core and a stride on all sides
    inner = slice(network.stride - MARGIN, MARGIN - network.stride)
    core = wide[(0, 0, *[inner] * n)]
    return core.reshape((1,) * (3 - n) + core.shape)
