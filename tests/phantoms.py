"""Volumes whose cells are known: shared by the tests and the benchmarks.

Idea: a cell is a ball, cut where the next ball lies deeper. A voxel belongs to the ball in which
its power (squared distance from the centre less squared radius) is lowest, if that is below 0. So
cells are convex, differ in size, touch in flat faces, and leave background where balls are missing.
The landscape of such labels is their normalised distance, as the network learns it, with the
blur and the noise of a prediction.

Limits: a seed gives the same volume with the same versions of numpy, scipy and edt.
"""

import numpy as np
from scipy import ndimage

from mosaicell.distance import normalised_distance

ONE = 65535  # the stored value that means 1, as in predictions
JITTER = 0.3  # of the spacing, in each direction
RADII = 0.42, 0.72  # of the spacing, lowest and highest: most neighbours touch


def packed_cells(
    shape: tuple[int, int, int], *, spacing: float, seed, share: float = 0.9
) -> np.ndarray:
    """Draw touching cells of different sizes.

    Parameters
    ----------
    shape : tuple of int
        (z, y, x) voxels; one plane gives discs.
    spacing : float
        Mean distance of the cells' centres, in voxels.
    seed : int or sequence of int
        Anything that `numpy.random.default_rng` takes.
    share : float, in [0, 1]
        Of the places for cells, how many are taken: 0.9 fills about 60 % of a volume.

    Returns
    -------
    ndarray of uint32, shape (z, y, x)
        0 is background, cells are 1..n. Slivers, most of them at the border, are background.
    """
    rng = np.random.default_rng(seed)
    places = [
        spacing * np.arange(-1.0, np.ceil(n / spacing) + 2) if n > 1 else [0.0] for n in shape
    ]
    centres = np.stack(np.meshgrid(*places, indexing="ij"), -1).reshape(-1, 3)
    is_thick = np.array(shape) > 1
    centres += is_thick * rng.uniform(-JITTER, JITTER, centres.shape) * spacing
    radii = rng.uniform(*RADII, len(centres)) * spacing
    taken = rng.random(len(centres)) < share

    labels = np.zeros(shape, np.uint32)
    lowest = np.zeros(shape, np.float32)
    for cell, (centre, radius) in enumerate(
        zip(centres[taken], radii[taken], strict=True), start=1
    ):
        first = np.maximum(0, np.ceil(centre - radius)).astype(int)
        stop = np.minimum(shape, np.floor(centre + radius).astype(int) + 1)
        if (first >= stop).any():
            continue
        box = tuple(slice(a, b) for a, b in zip(first, stop, strict=True))
        away = np.ix_(*(np.arange(a, b) - c for a, b, c in zip(first, stop, centre, strict=True)))
        power = sum(a.astype(np.float32) ** 2 for a in away) - np.float32(radius**2)
        deeper = power < lowest[box]
        lowest[box][deeper] = power[deeper]
        labels[box][deeper] = cell

    sizes = np.bincount(labels.ravel())
    kept = sizes >= 0.1 * spacing ** is_thick.sum()
    kept[0] = False
    return (np.cumsum(kept, dtype=np.uint32) * kept)[labels]


def thin_cells(shape: tuple[int, int, int], *, spacing: float, seed: int) -> np.ndarray:
    """Draw flat cells of 2 to 5 planes, side by side in layers that are stacked along z.

    A cell of two planes has no plane that is deeper than the other, so no landscape could tell
    it from one of two planes right above it: a plane of background is left between layers.

    Parameters
    ----------
    shape : tuple of int
        (z, y, x) voxels.
    spacing : float
        Mean distance of the cells' centres in a layer, in voxels.
    seed : int

    Returns
    -------
    ndarray of uint32, shape (z, y, x)
        0 is background, cells are 1..n.
    """
    labels = np.zeros(shape, np.uint32)
    start, layer = 0, 0
    while (stop := start + 2 + layer % 4) <= shape[0]:
        plane = packed_cells((1, *shape[1:]), spacing=spacing, seed=(seed, layer))
        labels[start:stop] = np.where(plane > 0, plane + labels.max(), 0)
        start, layer = stop + 1, layer + 1
    return labels


def landscape_of(
    labels: np.ndarray,
    *,
    seed: int,
    voxel_size: tuple[float, float, float] = (1.0, 1.0, 1.0),
    blur: float = 0.0,
    noise: float = 0.0,
) -> np.ndarray:
    """The normalised distance of cells as a network predicts it.

    Parameters
    ----------
    labels : ndarray of any integer dtype, shape (z, y, x)
    seed : int
    voxel_size : tuple of float
        (z, y, x), in any unit of length.
    blur : float
        Sigma in voxels: a network is not sure to the voxel where a cell ends.
    noise : float
        Deviation of white noise and, once more, of noise that is smooth over some voxels, as
        shares of the deepest value; a fifth of it in the background, of which a network is surer.

    Returns
    -------
    ndarray of uint16, shape (z, y, x)
        On the scale of predictions, where `ONE` is the deepest value.
    """
    rng = np.random.default_rng(seed)
    distance = normalised_distance(labels, voxel_size=voxel_size)
    if blur:
        distance = ndimage.gaussian_filter(distance, blur)
    if noise:
        white = rng.standard_normal(labels.shape, dtype=np.float32)
        smooth = ndimage.gaussian_filter(rng.standard_normal(labels.shape, dtype=np.float32), 2)
        distance += noise * (0.2 + distance) * (white + smooth / smooth.std())
    return np.round(np.clip(distance, 0, 1) * ONE).astype(np.uint16)


def ellipsoid(
    half_axes: tuple[float, float, float], voxel_size: tuple[float, float, float]
) -> np.ndarray:
    """A filled ellipsoid in the middle of a volume that it just does not touch the border of.

    Parameters
    ----------
    half_axes, voxel_size : tuple of float
        (z, y, x), in the same unit.

    Returns
    -------
    ndarray of uint8, shape (z, y, x)
        1 in the ellipsoid, else 0.
    """
    half = [
        int(a / size) + 2 if a >= size else 0 for a, size in zip(half_axes, voxel_size, strict=True)
    ]
    axes = [np.arange(-n, n + 1) * size for n, size in zip(half, voxel_size, strict=True)]
    grids = np.meshgrid(*axes, indexing="ij")
    inside = sum((g / a) ** 2 for g, a in zip(grids, half_axes, strict=True)) <= 1
    return inside.astype(np.uint8)
