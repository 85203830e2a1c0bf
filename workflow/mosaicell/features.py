"""Measuring cells: each one once, on its complete crop.

Idea: a cell is measured on its whole bounding box, wherever tiles end, and only by whole numbers or
by sums that run over its own voxels in raster order. Hence a cell's numbers are the same to the
last bit for any tiling, and in a crop as in the whole volume. What each column means:
`mosaicell.columns`.

Passes:
1. Counts and sums over the voxels of each cell: `moments` (positions), `surface`, `hull`,
   `contacts`, `brightness`, and if wished `texture` and `plugins`, all in `mosaicell`. A crop holds
   the bounding boxes, and around them what contacts and background need (`Wanted.reach`).
2. `measure_cells`: counts and sums become columns, with units.
3. `mosaicell.population`: what can be said of a cell only when all are known.

Limits: those of the modules of pass 1; what is read for a cell must fit into memory.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from .brightness import STATISTICS, background, brightness
from .columns import AXES, PAIRS, TEXTURES
from .contacts import Contacts, find_contacts
from .geometry import Box, Triple
from .hull import hull_voxels
from .moments import covariance, landscape_sums, position_sums, principal_axes
from .plugins import measure_by_plugins
from .surface import count_crossings, perimeter, surface_area
from .texture import texture
from .wanted import Wanted

if TYPE_CHECKING:  # pandas takes half a second to import, and most jobs need none of it
    import pandas as pd


def measure_cells(
    labels: np.ndarray,
    channels: np.ndarray,
    landscape: np.ndarray | None,
    *,
    ids: np.ndarray,
    boxes: np.ndarray,
    origin: Triple,
    wanted: Wanted,
) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """Measure some cells on a crop that holds them, with `wanted.reach` around them.

    Parameters
    ----------
    labels : ndarray of integers, (z, y, x)
        A crop of the label image.
    channels : ndarray, (c, z, y, x)
        The same crop of `wanted.channels`.
    landscape : ndarray, (z, y, x), or None
        The same crop of what the cells were cut from.
    ids : ndarray of integers, (n,)
    boxes : ndarray of int64, (n, 6)
        Bounding boxes of these cells in the volume.
    origin : tuple of int
        Position in the volume of the crop's first voxel.
    wanted : Wanted

    Returns
    -------
    cells : pandas.DataFrame
        Columns of `columns.cell_columns`, in the order of `ids`, but for `outlier` and
        `nearest_distance_um`.
    neighbours : pandas.DataFrame
        Columns of `columns.NEIGHBOURS`, in the order of `ids`.
    """
    import pandas as pd

    crop = {"ids": ids, "boxes": boxes - np.tile(np.array(origin, np.int64), 2)}
    size = np.array(wanted.voxel_size or (np.nan,) * 3, np.float64)
    contacts = find_contacts(labels, landscape, **crop)
    touching = np.zeros((ids.size, 3), np.int64)
    np.add.at(touching, contacts.cell, contacts.faces)
    columns = {
        **_geometry(labels, crop, boxes, wanted, size),
        "num_neighbours": np.bincount(contacts.cell, minlength=ids.size),
        "touching_area_um2": _area(touching, size),
        **_confidence(labels, landscape, contacts, wanted, crop),
    }
    columns |= _intensities(labels, channels, columns, wanted, crop)
    if wanted.texture_levels is not None:
        for channel, values, limits in zip(wanted.channels, channels, wanted.limits, strict=True):
            found = texture(labels, values, levels=wanted.texture_levels, limits=limits, **crop)
            columns |= {
                f"texture_{name}_{channel}": column
                for name, column in zip(TEXTURES, found.T, strict=True)
            }
    columns |= measure_by_plugins(labels, channels, wanted.plugins, wanted.voxel_size, **crop)
    neighbours = {
        "label": ids.astype(np.int64)[contacts.cell],
        "neighbour": contacts.neighbour,
        "num_faces": contacts.faces.sum(1),
        "touching_area_um2": _area(contacts.faces, size),
        "landscape_saddle": _or_nan(contacts.saddle / wanted.one),
    }
    return pd.DataFrame(columns), pd.DataFrame(neighbours)


def _geometry(
    labels: np.ndarray, crop: dict, boxes: np.ndarray, wanted: Wanted, size: np.ndarray
) -> dict[str, np.ndarray]:
    """Columns of `columns.GEOMETRY`, and of `measure.size_range`."""
    is_2d = wanted.volume[0] == 1
    sums = position_sums(labels, **crop)
    n = sums[:, 0]
    centroid = boxes[:, :3] + sums[:, 1:4] / sums[:, :1]
    touching = (boxes[:, :3] == 0) | (boxes[:, 3:] == np.array(wanted.volume))
    volume = n * size.prod()
    # As wide as a sphere of the same volume; in an image of one plane, a circle of the same area.
    diameter = np.sqrt(4 / np.pi * n * size[1] * size[2]) if is_2d else np.cbrt(6 / np.pi * volume)
    moments = covariance(sums, size)
    lengths, direction = principal_axes(moments, is_2d=is_2d)
    crossings = count_crossings(labels, **crop)
    missing = np.full(n.size, np.nan)
    surface, outline, sphericity = missing, missing, missing
    if wanted.voxel_size is not None and is_2d:
        outline = perimeter(crossings, size)
        sphericity = 4 * np.pi * (n * size[1] * size[2]) / outline**2
    elif wanted.voxel_size is not None:
        surface = surface_area(crossings, size)
        sphericity = np.pi * diameter**2 / surface
    hull = hull_voxels(labels, **crop)
    return {
        "label": crop["ids"].astype(np.int64),
        "num_voxels": n,
        **_of_axes("centroid", centroid),
        **_of_axes("centroid", centroid * size, "_um"),
        **_of_axes("bbox_min", boxes[:, :3]),
        **_of_axes("bbox_max", boxes[:, 3:]),
        "touches_border": touching[:, is_2d:].any(-1),
        "volume_um3": volume,
        "equivalent_diameter_um": diameter,
        "axis_major_um": lengths[:, 0],
        "axis_middle_um": lengths[:, 1],
        "axis_minor_um": lengths[:, 2],
        **_of_axes("axis_major_direction", direction),
        **{f"inertia_tensor_{pair}_um2": _inertia(moments, pair) for pair in PAIRS},
        "surface_area_um2": surface,
        "perimeter_um": outline,
        "sphericity": sphericity,
        "volume_convex_um3": hull * size.prod(),
        "solidity": n / hull,
        "extent": n / (boxes[:, 3:] - boxes[:, :3]).prod(-1),
        "euler_number": crossings[:, -1],
        "too_small": n < wanted.size_range[0],
        "too_large": n > wanted.size_range[1],
    }


def _inertia(covariance: np.ndarray, pair: str) -> np.ndarray:
    i, j = (AXES.index(axis) for axis in pair)
    if i != j:
        return 0.0 - covariance[:, i, j]
    one, other = (k for k in range(3) if k != i)
    return covariance[:, one, one] + covariance[:, other, other]


def _area(faces: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Area of faces across z, y and x."""
    across_z, across_y, across_x = faces.T
    return (across_z * (size[1] * size[2]) + across_y * (size[0] * size[2])) + across_x * (
        size[0] * size[1]
    )


def _confidence(
    labels: np.ndarray,
    landscape: np.ndarray | None,
    contacts: Contacts,
    wanted: Wanted,
    crop: dict,
) -> dict[str, np.ndarray]:
    """Columns of the landscape."""
    n = crop["ids"].size
    names = ("landscape_peak", "landscape_mean", "persistence")
    if landscape is None:
        return {name: np.full(n, np.nan) for name in names}
    peak, total = landscape_sums(landscape, labels, **crop).T
    saddle = np.full(n, -np.inf)
    np.maximum.at(saddle, contacts.cell, contacts.saddle)
    alone = np.nan if wanted.threshold is None else wanted.threshold
    saddle = np.where(saddle == -np.inf, alone, saddle)
    n_voxels = position_sums(labels, **crop)[:, 0]
    values = peak / wanted.one, total / n_voxels / wanted.one, (peak - saddle) / wanted.one
    return dict(zip(names, values, strict=True))


def _intensities(
    labels: np.ndarray, channels: np.ndarray, known: dict, wanted: Wanted, crop: dict
) -> dict[str, np.ndarray]:
    """Columns of each channel."""
    n_ring = np.zeros(crop["ids"].size, np.int64)
    levels = np.full((crop["ids"].size, len(channels)), np.nan)
    if wanted.ring is not None:
        n_ring, levels = background(channels, labels, ring=wanted.ring, **crop)
    columns = {"num_background_voxels": n_ring}
    size = np.array(wanted.voxel_size or (np.nan,) * 3, np.float64)
    first = np.stack([known[f"bbox_min_{axis}"] for axis in AXES], -1)
    found = brightness(channels, labels, background=levels, **crop)
    for channel, values, level in zip(wanted.channels, found, levels.T, strict=True):
        statistics = dict(zip(STATISTICS, values.T, strict=False))
        columns |= {f"intensity_{name}_{channel}": column for name, column in statistics.items()}
        columns[f"intensity_background_{channel}"] = level
        columns |= {
            f"intensity_{name}_corrected_{channel}": column - level
            for name, column in statistics.items()
            if name != "std"
        }
        places = {
            "centroid_weighted": values[:, -6:-3],
            "centroid_weighted_corrected": values[:, -3:],
        }
        for name, place in places.items():
            columns |= _of_axes(name, first + place, f"_{channel}")
            columns |= _of_axes(name, (first + place) * size, f"_um_{channel}")
    return columns


def _of_axes(name: str, values: np.ndarray, end: str = "") -> dict[str, np.ndarray]:
    return {f"{name}_{axis}{end}": column for axis, column in zip(AXES, values.T, strict=True)}


def _or_nan(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.nan)


def batches(boxes: np.ndarray, *, max_voxels: int) -> Iterator[tuple[slice, Box]]:
    """Cut a list of cells into runs, each with the box that holds all its cells.

    A box has at most `max_voxels` voxels, unless a single cell's bounding box has more.

    Parameters
    ----------
    boxes : ndarray of int64, (n, 6)
        Bounding boxes.
    max_voxels : int

    Yields
    ------
    run : slice
        Into `boxes`.
    box : Box
        To be read for this run.
    """
    begin = 0
    while begin < len(boxes):
        starts = np.minimum.accumulate(boxes[begin:, :3])
        stops = np.maximum.accumulate(boxes[begin:, 3:])
        fitting = (stops - starts).prod(-1) <= max_voxels
        n = len(fitting) if fitting.all() else max(1, int(np.argmin(fitting)))
        yield (
            slice(begin, begin + n),
            Box(tuple(map(int, starts[n - 1])), tuple(map(int, stops[n - 1]))),
        )
        begin += n
