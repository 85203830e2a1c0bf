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

Linear interpolation does not smooth. So where cells are much larger than those of the model, the
image is read from the pyramid level that fits, and where the pyramid has none (an image that is
small, or planes to be kept while the pyramid halves them too), means of blocks are made of the
voxels as they are read: the values that such a level would have.

Limits: equality to the last bit holds for one model of CPU or GPU and one version of torch; others
may round differently.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import floor, log2, sqrt
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from .geometry import Box, Triple
from .intensity import BRIGHTEST, limits_and_clip, normalise
from .pyramid import halve, level_shape
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
    clip : tuple of float
        Least and greatest value after that.
    """

    read: Callable[[int, Box], np.ndarray]
    shape: Triple
    factors: Triple
    limits: tuple[float, float]
    clip: tuple[float, float] = (0.0, BRIGHTEST)


class Network(Protocol):
    """What `predict` needs of a network: `unet.UNet`, or one made elsewhere.

    Attributes
    ----------
    dimensions : 2 or 3
    stride : int
        Windows start at multiples of it (voxels) and their edges are multiples of it.
    halo : int
        Voxels that it reads around a core, a multiple of `stride`.
    """

    dimensions: int
    stride: int
    halo: int

    def core(self, x: torch.Tensor) -> torch.Tensor:
        """Windows (b, 1, [z,] y, x) to the landscape of their cores, in [0, 1]."""


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


def scale_of(
    *,
    um: float | None = None,
    voxel: float | None = None,
    voxel_size: tuple[float, float, float] | None,
    nominal_diameter: float,
) -> tuple[float, float, float]:
    """Model voxels per image voxel for a diameter in um, or in voxels along y and x.

    Parameters
    ----------
    um, voxel : float, optional
        Typical diameter of a cell, in one of the two units; neither takes the image as it is.
    voxel_size : tuple of float or None
        (z, y, x) in um, needed for a diameter in um; cubes if not known.
    nominal_diameter : float
        See `ideal_scale`.

    Returns
    -------
    tuple of float
    """
    size = voxel_size or (1.0, 1.0, 1.0)
    if voxel is not None:
        um = voxel * sqrt(size[1] * size[2])
    return ideal_scale(size, um, nominal_diameter)


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
    store: Path,
    summary: dict,
    number: int,
    scale: tuple[float, float, float],
    normalisation: dict | None = None,
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
    normalisation : dict, optional
        That a network made elsewhere wants, see `intensity.limits_and_clip`.

    Returns
    -------
    Channel
    """
    level = choose_level([tuple(level) for level in summary["levels"]], scale)
    return coarsened(channel_at_level(store, summary, number, level, normalisation), scale)


def channel_at_level(
    store: Path, summary: dict, number: int, level: int, normalisation: dict | None = None
) -> Channel:
    """A channel of an ingested image at a level of its pyramid; see `channel_of`."""
    array = open_array(store / str(level))
    limits, clip = limits_and_clip(summary["channels"][number], normalisation)
    return Channel(
        read=lambda frame, box: read(array, box, (frame, number)[5 - array.ndim :]),
        shape=array.shape[-3:],
        factors=tuple(summary["levels"][level]),
        limits=limits,
        clip=clip,
    )


def channel_of_levels(
    levels: list[tuple[Triple, np.ndarray]], scale: tuple[float, float, float]
) -> Channel:
    """A channel whose levels are in memory, at the one that fits a scale.

    Parameters
    ----------
    levels : list of (factors, ndarray, (z, y, x))
        Normalised, finest level first.
    scale : tuple of float
        Model voxels per voxel of the image.

    Returns
    -------
    Channel
    """
    factors, image = levels[choose_level([f for f, _ in levels], scale)]
    in_memory = Channel(
        read=lambda _, box: image[box.slices], shape=image.shape, factors=factors, limits=(0.0, 1.0)
    )
    return coarsened(in_memory, scale)


def coarsened(channel: Channel, scale: tuple[float, float, float]) -> Channel:
    """A channel at the level that fits a scale, made of a finer one as it is read.

    Parameters
    ----------
    channel : Channel
        At the level that `choose_level` names.
    scale : tuple of float
        Model voxels per voxel of the image.

    Returns
    -------
    Channel
        Of the means of blocks, as `pyramid.halve` makes them; the given one where it fits.
    """
    n_halvings = [max(0, floor(-log2(f * s))) for f, s in zip(channel.factors, scale, strict=True)]
    if not any(n_halvings):
        return channel
    blocks = tuple(2**n for n in n_halvings)

    def read_means(frame: int, box: Box) -> np.ndarray:
        # Blocks begin at multiples of their edges, so that a box changes no mean.
        start = tuple(a * b for a, b in zip(box.start, blocks, strict=True))
        ends = zip(box.stop, blocks, channel.shape, strict=True)
        volume = channel.read(frame, Box(start, tuple(min(a * b, n) for a, b, n in ends)))
        for i in range(max(n_halvings)):
            volume = halve(volume, tuple(2 if i < n else 1 for n in n_halvings))
        return volume

    return replace(
        channel,
        read=read_means,
        shape=level_shape(channel.shape, blocks),
        factors=tuple(f * b for f, b in zip(channel.factors, blocks, strict=True)),
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
    landscape = np.empty(shard.shape, np.uint16)
    margins = [MARGIN if axis >= 3 - network.dimensions else 0 for axis in range(3)]

    def do(first: Triple, voxels: Box) -> None:
        core = wide_core(frame, first, channel=channel, grid=grid, network=network, device=device)
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


def wide_core(
    frame: int,
    first: Triple,
    *,
    channel: Channel,
    grid: ModelGrid,
    network: Network,
    device: torch.device,
) -> np.ndarray:
    """The landscape of one window on the model's own grid.

    Parameters
    ----------
    frame : int
    first : tuple of int
        The first voxel of the window's core, in model voxels.
    channel, grid, network, device
        See `predict`.

    Returns
    -------
    ndarray of float32, (z, y, x)
        The core and, along the network's axes, `MARGIN` voxels more on all sides.
    """
    # An algorithm chosen by timing, or with sums in any order, would not give equal windows.
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    pads = tuple(
        network.stride + network.halo if axis >= 3 - network.dimensions else 0 for axis in range(3)
    )
    return _run(network, _window(channel, frame, first, grid, pads), device)


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
    image = normalise(channel.read(frame, box), *channel.limits, channel.clip)
    return interpolate(image, *(p.seen_from(o) for p, o in zip(at, box.start, strict=True)))


def _run(network: Network, window: np.ndarray, device: torch.device) -> np.ndarray:
    """Pass 3: the core and `MARGIN` voxels more on all sides, float32 (z, y, x)."""
    with torch.inference_mode():
        n = network.dimensions
        batch = torch.from_numpy(window).reshape(1, 1, *window.shape[3 - n :]).to(device)
        wide = network.core(batch).cpu().numpy()  # the core and a stride on all sides
    inner = slice(network.stride - MARGIN, MARGIN - network.stride or None)
    core = wide[(0, 0, *[inner] * n)]
    return core.reshape((1,) * (3 - n) + core.shape)
