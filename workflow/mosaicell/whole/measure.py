"""Measuring the cells of a whole array."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from ..columns import AXES
from ..features import measure_cells
from ..population import nearest, usual_sizes
from ..ring import ring_of
from ..wanted import Wanted

if TYPE_CHECKING:  # pandas takes half a second to import, and most jobs need none of it
    import pandas as pd


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
