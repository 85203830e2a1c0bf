"""Synthetic volumes of nuclei with their labels, for training without annotated images.

Idea: a network that has seen far more variety than any microscope gives takes a real image for
one more variation. So everything that differs between images is drawn at random and per volume.
No real image is involved.

1. `shapes`: where nuclei lie, what shape they have, and their labels.
2. `light`: how they shine, and what shines beside them.
3. `microscope`: optics, planes, noise, numbers.

docs/synthetic.md shows them beside real images.

Limits: voxels are roughly isotropic. A seed always gives the same volume with the same versions of
numpy, scipy and numba on one kind of machine.
"""

import numpy as np

from ..geometry import Triple
from .light import background, nuclear_light
from .microscope import draw_optics, image_of
from .shapes import FAINTEST, draw, place


def synthesise(seed, shape: Triple = (64, 64, 64)) -> tuple[np.ndarray, np.ndarray]:
    """Make a volume of synthetic nuclei and its labels.

    Parameters
    ----------
    seed : int or sequence of int
        Anything that `numpy.random.default_rng` takes: names the volume.
    shape : tuple of int
        (z, y, x) voxels.

    Returns
    -------
    image : ndarray of uint16, shape (z, y, x)
        Brightness in arbitrary units, with a range that differs between volumes.
    labels : ndarray of int32, shape (z, y, x)
        0 is background, 1..n the nuclei, each connected through voxel faces.

    Notes
    -----
    In the spirit of N. Dey et al.: AnyStar: Domain randomized universal star-convex 3D instance
    segmentation (2023), arXiv 2307.07044.
    """
    rng = np.random.default_rng(seed)
    optics = draw_optics(rng)
    nuclei = place(rng, shape, blur=optics.blur)
    labels, depth, rows = draw(rng, nuclei, shape)
    inside, brightness = depth > 0, nuclei.brightness[rows]
    light = nuclear_light(rng, labels, depth, brightness)
    light += background(rng, inside.astype(np.float32)) * np.where(inside, np.float32(0.5), 1)
    return image_of(rng, light, optics), _without_faint(labels, brightness)


def _without_faint(labels: np.ndarray, brightness: np.ndarray) -> np.ndarray:
    """The labels of what people outline, numbered from 1 on, int32."""
    is_seen = np.concatenate([[False], brightness >= FAINTEST])
    return np.where(is_seen, np.cumsum(is_seen), 0).astype(np.int32)[labels]
