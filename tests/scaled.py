"""Images at another scale, and cells found in memory as the stages find them."""

from functools import partial

import numpy as np
from scipy.ndimage import gaussian_filter

from mosaicell.choice import landscape_of
from mosaicell.dataset import LabelledImage, labelled
from mosaicell.diameter import estimate_diameter
from mosaicell.predict import channel_of_levels
from mosaicell.pyramid import level_factors
from mosaicell.resample import interpolate, positions
from mosaicell.whole.watershed import watershed


def rescaled(image: np.ndarray, labels: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """An image and its labels (z, y, x), as a camera with other pixels would have seen them.

    A smaller image is smoothed first, by half of what a voxel grows; labels take the nearest voxel.
    """
    shape = [n if n == 1 else round(n * factor) for n in image.shape]
    scales = [m / n for m, n in zip(shape, image.shape, strict=True)]
    sigma = [max(0.0, (1 / s - 1) / 2) for s in scales]
    smooth = gaussian_filter(image.astype(np.float32), sigma, mode="mirror")
    at = [positions(0, m, s, n) for m, s, n in zip(shape, scales, image.shape, strict=True)]
    nearest = [
        np.minimum(((np.arange(m) + 0.5) / s).astype(int), n - 1)
        for m, s, n in zip(shape, scales, image.shape, strict=True)
    ]
    new = np.rint(interpolate(smooth, *at)).astype(image.dtype)
    return new, labels[np.ix_(*nearest)]


def estimated(picture: LabelledImage, network, card: dict, *, threads: int, say=None) -> dict:
    """What `estimate_diameter` says of an image in memory; a voxel's size of 1 is a voxel."""
    shape = picture.labels.shape
    of_ingest = picture.levels[: len(level_factors(shape, picture.voxel_size))]
    return estimate_diameter(
        partial(channel_of_levels, of_ingest),
        channel_of_levels(of_ingest, tuple(1 / f for f in of_ingest[-1][0])),
        shape=shape,
        frames=None,
        voxel_size=picture.voxel_size,
        network=network,
        nominal_diameter=card["nominal_diameter"],
        window=card["window"],
        threshold=card["top_models"]["watershed"]["threshold"],
        persistence=card["top_models"]["watershed"]["persistence"],
        device=next(network.parameters()).device,
        threads=threads,
        say=say,
    )


def cells_of(
    image: np.ndarray,
    network,
    card: dict,
    *,
    diameter: float | str | None,
    threads: int,
    voxel_size: tuple[float, float, float] = (1.0, 1.0, 1.0),
    min_size: int = 0,
) -> np.ndarray:
    """Labels of an image (z, y, x): with a diameter in units of the voxel size, "auto", or None."""
    like = partial(
        labelled,
        image,
        np.zeros(image.shape, np.uint8),
        dimensions=network.dimensions,
    )
    if diameter == "auto":
        diameter = estimated(
            like(diameter=1.0, voxel_size=voxel_size), network, card, threads=threads
        )["diameter_um"]
    if diameter is None:
        picture = like(diameter=card["nominal_diameter"])  # of voxels
    else:
        picture = like(diameter=diameter, voxel_size=voxel_size)
    landscape = landscape_of(
        network,
        picture,
        nominal_diameter=card["nominal_diameter"],
        window=card["window"],
        threads=threads,
    )
    return watershed(landscape, **card["top_models"]["watershed"], min_size=min_size)
