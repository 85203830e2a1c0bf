"""Labelled images for training: read, checked, and brought to what a network is given.

Idea: a network is to learn from what `predict` will give it. So brightness is normalised by the
histogram of the whole channel, cells are brought to the diameter that the model knows, and what
is finer than the model's grid by half is taken from a coarser level.

1. Refuse what cannot be learned from, before hours are spent.
2. Number the cells from 1 on; take their diameter from the user, else from the labels: the median
   of the diameters of circles or balls as large as they are.
3. Normalise the image and halve it, level by level.
4. Compute the target, the normalised distance, on the labels' own voxels with their size: a cell
   is measured whole, wherever a crop may cut it later.

Limits: all images are held in memory, at 15 bytes a voxel. Labels are taken as complete: what has
none is background.
"""

from dataclasses import dataclass

import numpy as np

from . import intensity
from .distance import normalised_distance
from .geometry import Box, Triple, VoxelSize
from .predict import ideal_scale
from .pyramid import halve, level_factors
from .source import Source
from .sources import check_channel, check_labels, check_same_shape, check_voxel_size

SMALLEST_LEVEL = 16  # voxels, of its longest axis


@dataclass(frozen=True)
class LabelledImage:
    """An image whose cells are known.

    Attributes
    ----------
    levels : list of (factors, ndarray of float32, (z, y, x))
        Normalised brightness, finest level first.
    labels : ndarray of int32, (z, y, x)
        0 is background, 1..n the cells.
    target : ndarray of float32, (z, y, x)
        See `distance.normalised_distance`.
    voxel_size : tuple of float
        (z, y, x) in um, or (1, 1, 1) where it is not known.
    diameter : float
        Typical diameter of a cell in the unit of the voxel size.
    centres : ndarray of float64, (n, 3)
        Centre of each cell in voxels.
    """

    levels: list[tuple[Triple, np.ndarray]]
    labels: np.ndarray
    target: np.ndarray
    voxel_size: VoxelSize
    diameter: float
    centres: np.ndarray

    def scale(self, nominal_diameter: float) -> tuple[float, float, float]:
        """Voxels of the model per voxel of the image along each axis."""
        return ideal_scale(self.voxel_size, self.diameter, nominal_diameter)


def open_labelled(
    image: Source,
    labels: Source,
    *,
    dimensions: int,
    channel: int = 0,
    voxel_size: VoxelSize | None = None,
    diameter: float | None = None,
) -> LabelledImage:
    """Read and check an image and its labels.

    Parameters
    ----------
    image, labels : Source
    dimensions : 2 or 3
        Of the network: 2 for single planes.
    channel : int, optional
        Of the image.
    voxel_size : tuple of float, optional
        (z, y, x) in um; without it, what the image says.
    diameter : float, optional
        Typical diameter of a cell in um; without it, it is measured.

    Returns
    -------
    LabelledImage

    Raises
    ------
    ValueError
        If image and labels do not fit each other or the network, or cannot be read; if the
        diameter is neither given nor to be measured.
    """
    check_channel(image, channel)
    check_labels(labels)
    check_same_shape(image.volume, labels, "the label image", frames=image.frames)
    if image.frames:
        raise ValueError(
            f"the image has {image.frames} frames; allowed is one: save frames on their own and "
            "give each its own row of the sheet"
        )
    if diameter is not None:
        check_voxel_size(image, voxel_size)
    return labelled(
        _read(image, channel),
        _read(labels, 0),
        dimensions=dimensions,
        voxel_size=voxel_size or image.voxel_size,
        diameter=diameter,
    )


def _read(source: Source, channel: int) -> np.ndarray:
    return source.read(0, channel, Box((0, 0, 0), source.volume))


def labelled(
    image: np.ndarray,
    labels: np.ndarray,
    *,
    dimensions: int,
    voxel_size: VoxelSize | None = None,
    diameter: float | None = None,
) -> LabelledImage:
    """What training needs of an image and its labels in memory; see `open_labelled`.

    Parameters
    ----------
    image : ndarray (z, y, x) of integers or floats
    labels : ndarray of any integer dtype, same shape
        0 is background.
    dimensions, voxel_size, diameter
        See `open_labelled`; without a voxel size, the diameter is in voxels.
    """
    if (image.shape[0] == 1) != (dimensions == 2):
        kind = "a single plane" if dimensions == 2 else "a volume of several planes"
        raise ValueError(
            f"the image has {image.shape[0]} planes, and train.dimensions is {dimensions}; allowed "
            f"is {kind}: change train.dimensions or take the image out of the sheet"
        )
    if int(labels.min()) < 0:
        raise ValueError(
            f"the label image holds {int(labels.min())}; allowed are 0 for background and numbers "
            "above it for cells: save it as such"
        )
    ids, numbers = np.unique(np.concatenate([[0], labels.ravel()]), return_inverse=True)
    labels, n_cells = numbers[1:].reshape(labels.shape).astype(np.int32), len(ids) - 1
    voxel_size = voxel_size or (1.0, 1.0, 1.0)
    if diameter is None:
        if n_cells == 0:
            raise ValueError(
                "the label image names no cell, so that no diameter can be measured; allowed is "
                "at least one cell or a given diameter: fill in the column `diameter`"
            )
        diameter = median_diameter(labels, voxel_size=voxel_size)
    low, high = intensity.limits(intensity.histogram(image), image.dtype)
    levels = [((1, 1, 1), intensity.normalise(image, low, high))]
    for factors in level_factors(image.shape, voxel_size, largest_top=SMALLEST_LEVEL)[1:]:
        before, finer = levels[-1]
        step = tuple(f // b for f, b in zip(factors, before, strict=True))
        levels.append((factors, halve(finer, step)))
    return LabelledImage(
        levels=levels,
        labels=labels,
        target=normalised_distance(labels, voxel_size=voxel_size),
        voxel_size=voxel_size,
        diameter=diameter,
        centres=_centres(labels, n_cells),
    )


def median_diameter(labels: np.ndarray, *, voxel_size: VoxelSize = (1.0, 1.0, 1.0)) -> float:
    """The median diameter of the circles (one plane) or balls that are as large as the cells.

    Cells at the border are left out if there are others.

    Parameters
    ----------
    labels : ndarray of int32, (z, y, x)
        With at least one cell.
    voxel_size : tuple of float, optional
        (z, y, x)

    Returns
    -------
    float
        In the unit of the voxel size.
    """
    sizes, is_cut = sizes_of_cells(labels)
    size = float(np.median(sizes if is_cut.all() else sizes[~is_cut]))
    return diameter_of(size, voxel_size=voxel_size, dimensions=2 if labels.shape[0] == 1 else 3)


def sizes_of_cells(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The voxels (int64) of each cell, and whether (bool) the border of a volume may cut it.

    Parameters
    ----------
    labels : ndarray of integers, (z, y, x)
        0 is background; numbers that no voxel has are passed over.
    """
    sizes = np.bincount(labels.ravel())
    is_cut = np.zeros(len(sizes), bool)
    for axis in range(3):
        if labels.shape[axis] > 1:
            for end in (0, -1):
                is_cut[np.unique(np.take(labels, end, axis))] = True
    is_cell = sizes > 0
    is_cell[0] = False
    return sizes[is_cell], is_cut[is_cell]


def diameter_of(size: float, *, dimensions: int, voxel_size: VoxelSize = (1.0, 1.0, 1.0)) -> float:
    """The diameter of the disc (2 dimensions) or ball (3) of so many voxels."""
    z, y, x = voxel_size
    if dimensions == 2:
        return float(np.sqrt(size * y * x * 4 / np.pi))
    return float(np.cbrt(size * z * y * x * 6 / np.pi))


def _centres(labels: np.ndarray, n_cells: int) -> np.ndarray:
    inside = np.nonzero(labels)
    owner = labels[inside]
    sizes = np.bincount(owner, minlength=n_cells + 1)[1:]
    sums = [np.bincount(owner, at, minlength=n_cells + 1)[1:] for at in inside]
    return np.stack(sums, -1) / sizes[:, None]
