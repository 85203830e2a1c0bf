"""Measuring cells: each one once, on its complete crop.

Idea: a cell is measured on its whole bounding box, wherever tiles end, and only by sums that run
over its own voxels in raster order. Positions are summed as integers relative to the bounding
box, so they are exact; intensities are summed in float64, always in the same order. Hence a
cell's numbers are the same to the last bit for any tiling, and in a crop as in the whole volume.

Passes:
1. `measure_cells`: sums over the voxels of each cell: positions, their products, intensities;
   then, around the mean, the squares of the intensities.
2. `_table`: sums become columns, with units.

Limits: int64 sums of products hold for bounding boxes of up to 2**20 voxels along an axis and
2**23 voxels in a cell, or smaller boxes and more voxels.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from .geometry import Box, Triple

if TYPE_CHECKING:  # pandas takes half a second to import, and most jobs need none of it
    import pandas as pd

AXES = ("z", "y", "x")


def units(n_channels: int) -> dict[str, str]:
    """The columns that `measure` gives, in order, and the unit of each."""
    return {
        "label": "",
        "num_voxels": "voxel",
        **{f"centroid_{axis}": "voxel" for axis in AXES},
        **{f"centroid_{axis}_um": "um" for axis in AXES},
        **{f"bbox_min_{axis}": "voxel" for axis in AXES},
        **{f"bbox_max_{axis}": "voxel" for axis in AXES},
        "touches_border": "",
        "volume_um3": "um^3",
        "equivalent_diameter_um": "um",
        "axis_major_um": "um",
        "axis_middle_um": "um",
        "axis_minor_um": "um",
        **{f"axis_major_direction_{axis}": "" for axis in AXES},
        **{
            f"intensity_{statistic}_{channel}": "intensity"
            for channel in range(n_channels)
            for statistic in ("mean", "std", "min", "max")
        },
    }


def measure(
    labels: np.ndarray,
    image: np.ndarray | None = None,
    *,
    voxel_size: tuple[float, float, float] | None = None,
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

    Returns
    -------
    pandas.DataFrame
        A row for each cell, by ascending label. Columns and units: see `units`. Centroids are
        those of the voxels' centres, voxel (0, 0, 0) being centred at 0. Upper ends of bounding
        boxes are exclusive. The principal axes are the full lengths of those of the ellipsoid
        (2D: ellipse, without `axis_middle_um`) with the same second moments.

    Raises
    ------
    ValueError
        If labels are not integers of at least 0, or shapes do not fit.

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
    if voxel_size is not None:
        if labels.ndim == 2 and len(voxel_size) == 2:
            voxel_size = (1.0, *voxel_size)
        if len(voxel_size) != 3 or not all(0 < size < np.inf for size in voxel_size):
            raise ValueError(
                f"voxel_size is {voxel_size}; allowed are three finite numbers above 0 in um, "
                "(z, y, x), for 2D labels also two (y, x): correct it"
            )
    ids, boxes = _bounding_boxes(volume)
    return measure_cells(
        volume,
        channels,
        ids=ids,
        boxes=boxes,
        origin=(0, 0, 0),
        volume=volume.shape,
        voxel_size=voxel_size,
    )


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
    ids, index = np.unique(labels, return_inverse=True)
    boxes = _boxes_of_index(index.reshape(labels.shape), ids.size)
    return ids[ids > 0], boxes[ids > 0]


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
    *,
    ids: np.ndarray,
    boxes: np.ndarray,
    origin: Triple,
    volume: Triple,
    voxel_size: tuple[float, float, float] | None,
) -> "pd.DataFrame":
    """Measure some cells on a crop that holds them completely.

    Parameters
    ----------
    labels : ndarray of integers, (z, y, x)
        A crop of the label image.
    channels : ndarray, (c, z, y, x)
        The same crop of the image.
    ids : ndarray of integers, (n,)
    boxes : ndarray of int64, (n, 6)
        Bounding boxes of these cells in the volume.
    origin : tuple of int
        Position in the volume of the crop's first voxel.
    volume : tuple of int
        Shape of the volume.
    voxel_size : tuple of float or None
        (z, y, x) in um.

    Returns
    -------
    pandas.DataFrame
        See `measure`; in the order of `ids`.
    """
    in_crop = boxes - np.tile(np.array(origin, np.int64), 2)
    moments = np.zeros((ids.size, 10), np.int64)
    _sum_positions(labels, ids, in_crop, moments)
    intensities = np.zeros((len(channels), ids.size, 4))
    for channel, out in zip(channels, intensities, strict=True):
        _sum_intensities(labels, channel, ids, in_crop, out)
    return _table(ids, boxes, moments, intensities, volume, voxel_size)


@njit(nogil=True, cache=True)
def _sum_positions(labels, ids, boxes, out):
    """Pass 1: number of voxels, sums of z, y, x and of zz, yy, xx, zy, zx, yx from the box on."""
    for i in range(ids.size):
        z0, y0, x0, z1, y1, x1 = boxes[i]
        for z in range(z1 - z0):
            for y in range(y1 - y0):
                n = 0
                sx = 0
                sxx = 0
                for x in range(x1 - x0):
                    if labels[z0 + z, y0 + y, x0 + x] == ids[i]:
                        n += 1
                        sx += x
                        sxx += x * x
                row = out[i]
                row[0] += n
                row[1] += n * z
                row[2] += n * y
                row[3] += sx
                row[4] += n * z * z
                row[5] += n * y * y
                row[6] += sxx
                row[7] += n * z * y
                row[8] += z * sx
                row[9] += y * sx


@njit(nogil=True, cache=True)
def _sum_intensities(labels, image, ids, boxes, out):
    """Pass 1 for one channel: mean, standard deviation, minimum, maximum."""
    for i in range(ids.size):
        z0, y0, x0, z1, y1, x1 = boxes[i]
        n = 0
        total = 0.0
        lowest = np.inf
        highest = -np.inf
        for z in range(z0, z1):
            for y in range(y0, y1):
                for x in range(x0, x1):
                    if labels[z, y, x] == ids[i]:
                        value = np.float64(image[z, y, x])
                        n += 1
                        total += value
                        lowest = min(lowest, value)
                        highest = max(highest, value)
        mean = total / n
        squares = 0.0
        for z in range(z0, z1):
            for y in range(y0, y1):
                for x in range(x0, x1):
                    if labels[z, y, x] == ids[i]:
                        squares += (np.float64(image[z, y, x]) - mean) ** 2
        out[i, 0] = mean
        out[i, 1] = np.sqrt(squares / n)
        out[i, 2] = lowest
        out[i, 3] = highest


def _table(
    ids: np.ndarray,
    boxes: np.ndarray,
    moments: np.ndarray,
    intensities: np.ndarray,
    volume: Triple,
    voxel_size: tuple[float, float, float] | None,
) -> "pd.DataFrame":
    """Pass 2: from sums to columns."""
    import pandas as pd

    is_2d = volume[0] == 1
    size = np.array((np.nan,) * 3 if voxel_size is None else voxel_size, np.float64)
    n = moments[:, 0]
    offset = moments[:, 1:4] / n[:, np.newaxis]
    centroid = boxes[:, :3] + offset
    touching = (boxes[:, :3] == 0) | (boxes[:, 3:] == np.array(volume))
    lengths, direction = _principal_axes(moments, offset, size, is_2d)
    volume_um3 = n * size.prod()
    # As wide as a sphere of the same volume; in an image of one plane, a circle of the same area.
    diameter = (
        np.sqrt(4 / np.pi * n * size[1] * size[2]) if is_2d else np.cbrt(6 / np.pi * volume_um3)
    )
    columns = [ids.astype(np.int64), n]
    columns += [*centroid.T, *(centroid * size).T, *boxes.T, touching[:, is_2d:].any(-1)]
    columns += [volume_um3, diameter, *lengths.T, *direction.T]
    columns += [column for channel in intensities for column in channel.T]
    return pd.DataFrame(dict(zip(units(len(intensities)), columns, strict=True)))


def _principal_axes(
    moments: np.ndarray, offset: np.ndarray, voxel_size: np.ndarray, is_2d: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Lengths (n, 3) in um, longest first, and direction (n, 3) of the longest, z, y, x >= 0 first.

    A solid ellipsoid of half-axis a has the variance a**2 / 5 along it, an ellipse a**2 / 4.
    """
    n_cells = len(moments)
    if n_cells == 0 or np.isnan(voxel_size).any():
        return np.full((n_cells, 3), np.nan), np.full((n_cells, 3), np.nan)
    products = (moments[:, 4:] / moments[:, :1])[:, [0, 3, 4, 3, 1, 5, 4, 5, 2]].reshape(-1, 3, 3)
    covariance = products - offset[:, :, np.newaxis] * offset[:, np.newaxis, :]
    covariance *= voxel_size[:, np.newaxis] * voxel_size
    variances, vectors = np.linalg.eigh(covariance)
    lengths = 2 * np.sqrt((4 if is_2d else 5) * np.maximum(variances[:, ::-1], 0))
    if is_2d:
        lengths = np.stack((lengths[:, 0], np.full(n_cells, np.nan), lengths[:, 1]), -1)
    direction = vectors[:, :, -1]
    first = np.argmax(np.abs(direction) > 1e-9, axis=-1)
    sign = np.sign(np.take_along_axis(direction, first[:, np.newaxis], -1))
    return lengths, direction * sign


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
