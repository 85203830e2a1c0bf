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

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from .brightness import STATISTICS, Ring, background, brightness, ring_of
from .columns import AXES, PAIRS, TEXTURES, cell_columns
from .contacts import Contacts, find_contacts
from .geometry import Box, Triple, VoxelSize
from .hull import hull_voxels
from .moments import covariance, landscape_sums, position_sums, principal_axes
from .plugins import Plugin, load_plugins, measure_by_plugins
from .population import nearest, usual_sizes
from .surface import count_crossings, perimeter, surface_area
from .texture import texture

if TYPE_CHECKING:  # pandas takes half a second to import, and most jobs need none of it
    import pandas as pd


@dataclass(frozen=True)
class Wanted:
    """What is to be measured, and what it takes to know.

    Attributes
    ----------
    volume : tuple of int
        Shape of the volume.
    voxel_size : tuple of float or None
        (z, y, x) in um.
    channels : tuple of int
        Numbers of the channels.
    threshold : float or None
        What the landscape of a cell is above, in units of the landscape that is given.
    one : float
        What stands in that landscape for 1.
    ring : Ring or None
        Around a cell, where its background is.
    size_range : tuple of float
        Fewest and most voxels of a cell that is neither too small nor too large.
    texture_levels : int or None
        Grey levels between the limits of each channel.
    limits : tuple of (float, float)
        Of each channel's values, for its grey levels.
    plugins : dict of Plugin
        By name.
    """

    volume: Triple
    voxel_size: VoxelSize | None
    channels: tuple[int, ...] = ()
    threshold: float | None = None
    one: float = 1.0
    ring: Ring | None = None
    size_range: tuple[float, float] = (0, np.inf)
    texture_levels: int | None = None
    limits: tuple[tuple[float, float], ...] = ()
    plugins: Mapping[str, Plugin] = field(default_factory=dict)

    @property
    def reach(self) -> Triple:
        """What is to be read around bounding boxes, in voxels."""
        return tuple(map(max, (1, 1, 1), self.ring.reach if self.ring else (1, 1, 1)))

    @property
    def plugin_keys(self) -> dict[str, list[str]]:
        """Names of what each plug-in gives."""
        return {name: list(plugin.keys) for name, plugin in self.plugins.items()}

    @property
    def names(self) -> list[str]:
        """The columns that will be measured, in order."""
        texture = self.texture_levels is not None
        columns = cell_columns(self.channels, texture=texture, plugins=self.plugin_keys)
        return [column.name for column in columns]


def measure(
    labels: np.ndarray,
    image: np.ndarray | None = None,
    *,
    voxel_size: tuple[float, float, float] | None = None,
    landscape: np.ndarray | None = None,
    threshold: float | None = None,
    ring: Mapping[str, float] | None = {"voxel": 3},
    texture_levels: int | None = None,
) -> "pd.DataFrame":
    """Measure every cell of a label image.

    Parameters
    ----------
    labels : ndarray of integers, (z, y, x) or (y, x)
        0 is background.
    image : ndarray, (z, y, x) or (c, z, y, x), for 2D labels (y, x) or (c, y, x), optional
        Intensities; without it the table has no columns of intensities.
    voxel_size : tuple of float, optional
        (z, y, x) in um, for 2D labels (y, x) or (z, y, x): a plane is 1 um thick if not said.
        Columns in um are NaN without it.
    landscape : ndarray of the labels' shape, optional
        What the cells were cut from (smoothed, if it was). Without it the columns of the
        landscape are NaN.
    threshold : float, optional
        Above which the landscape of a cell is. Without it the persistence of cells that touch
        no other is NaN.
    ring : dict, optional
        Width of the ring around a cell where its background is, {"voxel": n} or {"um": r}; None
        measures no background.
    texture_levels : int, optional
        Grey levels between the lowest and the highest value of a channel; None measures no
        texture.

    Returns
    -------
    pandas.DataFrame
        A row for each cell, by ascending label. Columns, units and definitions: see
        `mosaicell.columns`, or docs/columns.md.

    Raises
    ------
    ValueError
        If labels are not integers of at least 0, shapes do not fit, or a width or a number of
        levels has no meaning.

    Examples
    --------
    >>> import numpy as np
    >>> table = measure(np.array([[[0, 7, 7, 7]]]), voxel_size=(2, 1, 0.5))
    >>> table[["label", "num_voxels", "centroid_x", "centroid_x_um", "volume_um3"]]
       label  num_voxels  centroid_x  centroid_x_um  volume_um3
    0      7           3         2.0            1.0         3.0
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "biu" or labels.ndim not in (2, 3):
        raise ValueError(
            f"labels are {labels.dtype} with {labels.ndim} axes; allowed are integers with axes "
            "(z, y, x) or (y, x): pass a label image of one frame"
        )
    volume = labels if labels.ndim == 3 else labels[np.newaxis]
    if volume.dtype.kind == "i" and volume.size and volume.min() < 0:
        raise ValueError(
            f"labels go down to {volume.min()}; allowed are 0 for background and positive "
            "numbers for cells: relabel the image"
        )
    channels = _channels(image, labels)
    if landscape is not None and np.shape(landscape) != labels.shape:
        raise ValueError(
            f"the landscape has shape {np.shape(landscape)}, the labels {labels.shape}; allowed is "
            "a landscape of the labels' shape: pass the one that they were cut from"
        )
    if voxel_size is not None:
        if labels.ndim == 2 and len(voxel_size) == 2:
            voxel_size = (1.0, *voxel_size)
        if len(voxel_size) != 3 or not all(0 < size < np.inf for size in voxel_size):
            raise ValueError(
                f"voxel_size is {voxel_size}; allowed are three finite numbers above 0 in um, "
                "(z, y, x), for 2D labels also two (y, x): correct it"
            )
    wanted = Wanted(
        volume=volume.shape,
        voxel_size=voxel_size,
        channels=tuple(range(len(channels))),
        threshold=threshold,
        ring=ring and ring_of(**ring, voxel_size=voxel_size),
        texture_levels=texture_levels,
        limits=tuple((channel.min(), channel.max()) for channel in channels if channel.size),
    )
    ids, boxes = _bounding_boxes(volume)
    cells, _ = measure_cells(
        volume,
        channels,
        None if landscape is None else np.asarray(landscape).reshape(volume.shape),
        ids=ids,
        boxes=boxes,
        origin=(0, 0, 0),
        wanted=wanted,
    )
    low, high = usual_sizes(*np.unique(cells["num_voxels"], return_counts=True))
    cells["outlier"] = ~cells["num_voxels"].between(low, high)
    centres = cells[[f"centroid_{axis}_um" for axis in AXES]].to_numpy()
    squared = np.full(len(cells), np.inf)
    if voxel_size is not None:
        nearest(centres, centres, squared, same=True)
    cells["nearest_distance_um"] = np.where(squared < np.inf, np.sqrt(squared), np.nan)
    return cells[wanted.names]


def wanted_of(
    *,
    channels: list[int] | None,
    ring: dict[str, float] | None,
    size_range: dict[str, list] | None,
    texture: int | None,
    plugins: dict[str, str] | None,
    volume: Triple,
    voxel_size: VoxelSize | None,
    dtype: np.dtype,
    limits: list[tuple[float, float]],
    threshold: float,
    one: float,
) -> Wanted:
    """What is to be measured, from what a user chooses and what is known of the image.

    Parameters
    ----------
    channels : list of int or None
        Numbers of channels; None for all.
    ring, size_range : dict or None
        See `brightness.ring_of` and `sizes_in_voxels`.
    texture : int or None
        Grey levels.
    plugins : dict or None
        See `plugins.load_plugins`.
    dtype : dtype
        Of the image.
    limits : list of (float, float)
        Of the values of each channel of the image.
    volume, voxel_size, threshold, one
        See `Wanted`.

    Raises
    ------
    ValueError
        In one sentence, if it cannot be measured.
    """
    chosen = tuple(range(len(limits)) if channels is None else sorted(channels))
    check_channels(chosen, len(limits))
    voxel_size = voxel_size and tuple(voxel_size)
    return Wanted(
        volume=volume,
        voxel_size=voxel_size,
        channels=chosen,
        threshold=threshold,
        one=one,
        ring=ring and ring_of(**ring, voxel_size=voxel_size),
        size_range=sizes_in_voxels(**(size_range or {}), voxel_size=voxel_size),
        texture_levels=texture,
        limits=tuple(limits[channel] for channel in chosen),
        plugins=load_plugins(
            plugins,
            n_channels=len(chosen),
            dtype=np.dtype(dtype),
            is_2d=volume[0] == 1,
            voxel_size=voxel_size,
        ),
    )


def check_channels(chosen: Iterable[int], n_channels: int) -> None:
    """Refuse numbers of channels that an image does not have (ValueError)."""
    highest = max(chosen, default=0)
    if highest >= n_channels:
        raise ValueError(
            f"measure.channels has {highest}; allowed are 0 to {n_channels - 1}, as the image has "
            f"{n_channels} channels: correct it, or null to measure all"
        )


def sizes_in_voxels(
    *,
    um3: list[float | None] | None = None,
    voxel: list[float | None] | None = None,
    voxel_size: VoxelSize | None = None,
) -> tuple[float, float]:
    """A range of sizes in voxels, from one in um^3 or in voxels; None leaves an end open.

    Raises
    ------
    ValueError
        If the voxel size is needed and not known, or the range is empty.
    """
    if um3 is not None and voxel_size is None:
        raise ValueError(
            "size_range came in um3, but neither the sample sheet nor the image file says how "
            "large a voxel is; allowed is a range in voxels then: give it so, or add "
            "voxel_size_z, voxel_size_y and voxel_size_x to the sample sheet"
        )
    low, high = (voxel or (None, None)) if um3 is None else um3
    low, high = low or 0, np.inf if high is None else high
    if low > high:
        raise ValueError(
            f"size_range is from {low} to {high}; allowed is a range whose first end is the "
            "lower: exchange them"
        )
    one = 1 if um3 is None else float(np.prod(voxel_size))
    return low / one, high / one


def _channels(image: np.ndarray | None, labels: np.ndarray) -> np.ndarray:
    """The image as (c, z, y, x), with no channel if there is no image."""
    volume = labels.shape if labels.ndim == 3 else (1, *labels.shape)
    if image is None:
        return np.empty((0, *volume))
    image = np.asarray(image)
    if image.shape[-labels.ndim :] != labels.shape or image.ndim > labels.ndim + 1:
        raise ValueError(
            f"the image has shape {image.shape}, the labels {labels.shape}; allowed is an image "
            "of the labels' shape, with or without one axis of channels before it"
        )
    return image.reshape(len(image) if image.ndim > labels.ndim else 1, *volume)


def _bounding_boxes(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids that occur, ascending, and the bounding box of each, (n, 6)."""
    if labels.size and labels.max() < labels.size:  # as a rule, and then there is nothing to sort
        ids, index = np.arange(int(labels.max()) + 1, dtype=np.int64), labels
    else:
        ids, index = np.unique(labels, return_inverse=True)
    boxes = _boxes_of_index(index.reshape(labels.shape), ids.size)
    occurs = (ids > 0) & (boxes[:, 3] > 0)
    return ids[occurs], boxes[occurs]


@njit(nogil=True, cache=True)
def _boxes_of_index(index, n):
    boxes = np.empty((n, 6), np.int64)
    boxes[:, :3] = 1 << 62
    boxes[:, 3:] = 0
    for z in range(index.shape[0]):
        for y in range(index.shape[1]):
            for x in range(index.shape[2]):
                box = boxes[index[z, y, x]]
                box[0] = min(box[0], z)
                box[1] = min(box[1], y)
                box[2] = min(box[2], x)
                box[3] = max(box[3], z + 1)
                box[4] = max(box[4], y + 1)
                box[5] = max(box[5], x + 1)
    return boxes


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
