"""The typical diameter of the cells of an image, found by the network that is to predict it.

Idea: a network that knows cells of one diameter finds those of half to twice that too, and gets
their size about right. If cells are taken for too small, it breaks them into parts, which are
still larger than was thought; if for too large, it finds clumps, which are smaller than was
thought. So the size that it finds, taken as the next guess, leads to the one that is confirmed.

1. Choose a few places with much signal on the coarsest level of the image.
2. Look: predict a window at each place, with cells of the guessed diameter brought to the model's;
   cut it; take the median diameter of the cells that no border cuts, and how high their peaks are.
3. Look again with the diameter that was found, until one is confirmed. Do so from two first
   guesses, or from a third, of small cells, if these lead nowhere.
4. Of the diameters that were confirmed take the one whose cells have the highest peaks, weighted by
   their size: of cells at another scale, or of noise, the network is less sure.

Guesses are rungs of a ladder, eighths of an octave, so that a search ends, and the last digit of a
number on some other machine does not matter. Places depend on the image alone, and there are
never more than `N_PLACES`, so that a teravoxel costs no more than a gigavoxel.

Limits: one diameter for all cells, frames and regions, between that of the smallest cells in
which a network sees a shape and that of the image. Cells that are no disc or ball count as the one
that is as large.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from math import ceil, log2, sqrt

import numpy as np
import torch
from scipy.ndimage import maximum, uniform_filter

from .dataset import diameter_of, sizes_of_cells
from .geometry import Box, Triple, VoxelSize
from .intensity import normalise
from .memory import LOOK_WINDOW
from .predict import MARGIN, Channel, Network, ideal_scale, wide_core
from .resample import ModelGrid
from .whole.watershed import watershed

RUNGS = 8  # an octave
NEAR = 2  # rungs: a fifth more or less is no other diameter for a network
SMALLEST = 3.0  # voxels: smaller cells have no shape
# Voxels. From large guesses a search comes down to small cells, unless it finds none on its way.
FIRST_GUESSES, LAST_GUESS = (128.0, 32.0), 8.0
N_PLACES = 4
# Cells of less than this share of the diameter are specks: many, and not what is looked for.
SPECK = 0.4


@dataclass(frozen=True)
class Look:
    """What was found when cells were taken to have some diameter.

    Attributes
    ----------
    diameter : float
        That was found, in voxels along y and x; 0 if there was no cell.
    n_cells : int
    confidence : float
        Mean height of the peaks of cells, in units of the landscape, weighted by their voxels.
    """

    diameter: float
    n_cells: int
    confidence: float


def estimate_diameter(
    channel_at: Callable[[tuple[float, float, float]], Channel],
    coarsest: Channel,
    *,
    shape: Triple,
    frames: int | None,
    voxel_size: VoxelSize | None,
    network: Network,
    nominal_diameter: float,
    window: int,
    threshold: float,
    persistence: float,
    device: torch.device,
    threads: int = 1,
    say: Callable[[str], None] | None = None,
) -> dict:
    """Estimate the typical diameter of the cells of an image.

    Parameters
    ----------
    channel_at : callable
        Gives the channel at the level that fits a scale (model voxels per image voxel, z, y, x).
    coarsest : Channel
        The same at the coarsest level of the pyramid.
    shape : tuple of int
        Of the image, (z, y, x).
    frames : int or None
        None for an image without time.
    voxel_size : tuple of float or None
        (z, y, x) in um; cubes if not known.
    network : Network
        On `device`, in evaluation mode.
    nominal_diameter : float
        Of the cells that it knows, in model voxels.
    window : int
        Largest edge of a window's core that it takes.
    threshold, persistence : float
        That are recommended for its landscape.
    device : torch.device
    threads : int, optional
        Windows in work at a time. It never changes the result.
    say : callable, optional
        Is told each look, in a line.

    Returns
    -------
    dict
        `diameter` in voxels along y and x, None if none was confirmed; `diameter_um`, None if the
        size of a voxel is not known; `n_cells` on which it rests; their `confidence`, see `Look`.
    """
    size = voxel_size or (1.0, 1.0, 1.0)
    edge = sqrt(size[1] * size[2])
    looks: dict[int, Look] = {}
    sites = _places(
        coarsest,
        frames=frames,
        edges=[LOOK_WINDOW[network.dimensions] / 4 * edge / s for s in size],
        dimensions=network.dimensions,
    )

    def look(rung: int) -> Look:
        if rung not in looks:
            guess = 2 ** (rung / RUNGS)
            looks[rung] = _look(
                channel_at,
                sites,
                shape=shape,
                scale=ideal_scale(size, guess * edge, nominal_diameter),
                nominal_diameter=nominal_diameter,
                window=window,
                guess=guess,
                network=network,
                threshold=threshold,
                persistence=persistence,
                device=device,
                threads=threads,
            )
            if say:
                say(_sentence(guess, looks[rung]))
        return looks[rung]

    confirmed: dict[int, Look] = {}
    largest = max(shape[1:])
    for guess in FIRST_GUESSES:
        if guess <= largest:
            confirmed |= _follow(look, _rung(guess), most=_rung(largest))
    if not confirmed:
        confirmed = _follow(look, _rung(LAST_GUESS), most=_rung(largest))
    if not confirmed:
        return {"diameter": None, "diameter_um": None, "n_cells": 0, "confidence": 0.0}
    best = max(confirmed, key=lambda rung: (confirmed[rung].confidence, rung))
    diameter = 2 ** (best / RUNGS)
    return {
        "diameter": diameter,
        "diameter_um": diameter * edge if voxel_size else None,
        "n_cells": confirmed[best].n_cells,
        "confidence": confirmed[best].confidence,
    }


def _sentence(guess: float, found: Look) -> str:
    said = f"if cells had {guess:.1f} voxels, {found.n_cells} are found"
    if not found.n_cells:
        return said
    return f"{said}; of {found.diameter:.1f} voxels, with peaks of {found.confidence:.2f}"


def _rung(diameter: float) -> int:
    return round(RUNGS * log2(diameter))


def _follow(look: Callable[[int], Look], rung: int, *, most: int) -> dict[int, Look]:
    """Pass 3 from one rung: the rung that was confirmed, if one was, with what was found there."""
    visited: dict[int, Look] = {}
    while rung not in visited:
        found = visited[rung] = look(rung)
        if found.diameter < SMALLEST:
            return {}
        before, rung = rung, min(_rung(found.diameter), most)
        if abs(rung - before) <= NEAR:
            return {rung: found}
    # Round in a circle: what lies on it is all as good.
    circle = list(visited)[list(visited).index(rung) :]
    best = max(circle, key=lambda rung: visited[rung].confidence)
    return {best: visited[best]}


def _places(
    coarsest: Channel, *, frames: int | None, edges: list[float], dimensions: int
) -> list[tuple[int, tuple[float, float, float]]]:
    """Pass 1: frames and centres (z, y, x), in voxels of the image.

    The brightest box, of the given edges, of each quarter of the image (along y and x); of a movie
    the quarters are taken from four frames.
    """
    box_edges = [max(1, round(n / f)) for n, f in zip(edges, coarsest.factors, strict=True)]
    if dimensions == 2:
        box_edges[0] = 1
    found = []
    for i, sides in enumerate(product((0, 1), repeat=2)):
        frame = round(i * ((frames or 1) - 1) / (N_PLACES - 1))
        start, stop = [0, 0, 0], list(coarsest.shape)
        for axis, side in zip((1, 2), sides, strict=True):
            middle = stop[axis] // 2
            if side:
                start[axis] = middle
            else:
                stop[axis] = max(1, middle)
        quarter = normalise(coarsest.read(frame, Box(tuple(start), tuple(stop))), *coarsest.limits)
        mean = uniform_filter(quarter, box_edges, mode="nearest")
        at = np.unravel_index(int(mean.argmax()), mean.shape)
        centre = tuple(
            (a + int(k) + 0.5) * f for a, k, f in zip(start, at, coarsest.factors, strict=True)
        )
        found.append((frame, centre))
    return found


def _look(
    channel_at: Callable,
    sites: list[tuple[int, tuple[float, float, float]]],
    *,
    shape: Triple,
    scale: tuple[float, float, float],
    nominal_diameter: float,
    window: int,
    guess: float,
    network: Network,
    threshold: float,
    persistence: float,
    device: torch.device,
    threads: int,
) -> Look:
    """Pass 2: windows at all places, with the scale that belongs to a guessed diameter."""
    dimensions, stride = network.dimensions, network.stride
    if dimensions == 2:
        scale = (1.0, *scale[1:])
    # The image in model voxels; a window is no larger.
    extent = [max(1, round(n * s)) for n, s in zip(shape, scale, strict=True)]
    core = [min(LOOK_WINDOW[dimensions], window, stride * ceil(n / stride)) for n in extent]
    if dimensions == 2:
        core[0] = 1
    channel, grid = channel_at(scale), ModelGrid(scale, tuple(core))
    windows = _windows(sites, scale=scale, extent=extent, core=core, stride=stride)

    def cells_of(window: tuple[int, Triple]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        frame, first = window
        wide = wide_core(frame, first, channel=channel, grid=grid, network=network, device=device)
        margins = [MARGIN if axis >= 3 - dimensions else 0 for axis in range(3)]
        inside = tuple(
            slice(m, m + min(c, n - f))
            for m, c, n, f in zip(margins, core, extent, first, strict=True)
        )
        landscape = np.ascontiguousarray(wide[inside])
        labels = watershed(landscape, threshold=threshold, persistence=persistence)
        numbers = np.arange(1, int(labels.max()) + 1)
        peaks = np.asarray(maximum(landscape, labels, numbers)) if len(numbers) else np.empty(0)
        return *sizes_of_cells(labels), peaks

    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        of_windows = list(pool.map(cells_of, windows))
    sizes, is_cut, peaks = (np.concatenate(parts) for parts in zip(*of_windows, strict=True))
    if not len(sizes):
        return Look(0.0, 0, 0.0)
    in_model = diameter_of(_typical(sizes, is_cut, dimensions), dimensions=dimensions)
    return Look(
        diameter=in_model / nominal_diameter * guess,
        n_cells=len(sizes),
        confidence=float((sizes * peaks).sum() / sizes.sum()),
    )


def _windows(
    sites: list[tuple[int, tuple[float, float, float]]],
    *,
    scale: tuple[float, float, float],
    extent: list[int],
    core: list[int],
    stride: int,
) -> list[tuple[int, Triple]]:
    """Frames and first model voxels of the windows around all places, as far as the image goes.

    Places that are near each other, or in a small image, share a window.
    """
    windows = {}
    for frame, centre in sites:
        first = []
        for at, s, n, c in zip(centre, scale, extent, core, strict=True):
            step = 1 if c == 1 else stride  # planes are not pooled
            first.append(step * round(min(max(at * s - c / 2, 0), max(n - c, 0)) / step))
        windows[frame, tuple(first)] = None
    return list(windows)


def _typical(sizes: np.ndarray, is_cut: np.ndarray, dimensions: int) -> float:
    """The median size (voxels) of cells that are no specks, and are whole if there are such."""
    ascending = np.sort(sizes)
    half = np.searchsorted(np.cumsum(ascending), ascending.sum() / 2)  # of all that is cells
    is_cell = sizes >= SPECK**dimensions * ascending[half]
    is_whole = is_cell & ~is_cut
    return float(np.median(sizes[is_whole if is_whole.any() else is_cell]))
