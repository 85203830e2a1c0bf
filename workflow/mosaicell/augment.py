"""A labelled image as another microscope might have seen it: one crop, changed at random.

Idea: what is changed is drawn first, as a `Change`, and then applied: so any change can be
repeated, and each kind tested alone. Everything follows from one seed.

1. Draw a place, half of the time on a cell, and a change.
2. Space: each voxel of the crop is asked where in the image it comes from (bent, mirrored, turned
   in the plane, scaled), and image and distance are read there by linear interpolation; classes are
   made of the labels that are nearest there. Blur is strongest along z, so z stays z.
3. Brightness: gamma, gain and offset, blur, noise, and the limits of normalised brightness.

Limits: beyond the image's border it is mirrored, as in `predict`.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from .classes import classes_of
from .dataset import LabelledImage
from .fields import smooth_noise
from .geometry import Triple
from .intensity import BRIGHTEST
from .predict import choose_level

SCALES = (0.4, 2.5)  # all that a model is to stand
# Half of the crops: `predict.diameter` brings cells near to their scale, but never quite.
USUAL_SCALES = (0.7, 1.4)
BEND_LENGTH = 16.0  # voxels of the model over which a bend changes
# Share of the crops, for each kind of change of brightness and for bends. How sharp and how bright
# a cell's edge is tells where people draw its outline: if each kind changes in half of the crops, a
# network loses what it could learn of that.
CHANGED = 0.2
ON_A_CELL = 0.5  # share of the crops: else sparse images would teach background alone


@dataclass(frozen=True)
class Change:
    """What is done to an image. The defaults do nothing."""

    flip: tuple[bool, bool, bool] = (False, False, False)
    angle: float = 0.0  # in the plane, radians
    scale: float = 1.0
    bend: float = 0.0  # deviation of the displacement, voxels of the model
    gamma: float = 1.0
    gain: float = 1.0
    offset: float = 0.0
    blur: float = 0.0  # standard deviation, voxels of the model
    noise: float = 0.0  # standard deviation
    seed: int = 0  # of the fields of displacement and noise


def draw(rng: np.random.Generator, *, dimensions: int) -> Change:
    """A random change."""

    def sometimes(low: float, high: float, otherwise: float) -> float:
        value, taken = float(rng.uniform(low, high)), rng.random() < CHANGED
        return value if taken else otherwise

    quarter = int(rng.integers(4)) * np.pi / 2
    scales = USUAL_SCALES if rng.random() < 0.5 else SCALES
    flips = rng.random(3) < 0.5
    return Change(
        flip=(bool(flips[0]) and dimensions == 3, bool(flips[1]), bool(flips[2])),
        angle=float(rng.uniform(0, 2 * np.pi)) if rng.random() < 0.5 else quarter,
        scale=float(np.exp(rng.uniform(*np.log(scales)))),
        bend=sometimes(0, 2, 0),
        gamma=np.exp(sometimes(-0.7, 0.7, 0)),
        gain=np.exp(sometimes(-0.4, 0.4, 0)),
        offset=sometimes(-0.1, 0.2, 0),
        blur=sometimes(0, 1.5, 0),
        noise=sometimes(0, 0.15, 0),
        seed=int(rng.integers(2**31)),
    )


def source_positions(
    change: Change,
    *,
    shape: Triple,
    centre: tuple[float, float, float],
    scale: tuple[float, float, float],
) -> np.ndarray:
    """Where in an image the voxels of a crop come from.

    Parameters
    ----------
    change : Change
    shape : tuple of int
        Of the crop, in voxels of the model.
    centre : tuple of float
        Of the crop, in voxels of the image.
    scale : tuple of float
        Voxels of the model per voxel of the image, before the change.

    Returns
    -------
    ndarray of float32, (3, z, y, x)
    """
    rng = np.random.default_rng((change.seed, 0))
    axes = [np.arange(n, dtype=np.float32) - np.float32((n - 1) / 2) for n in shape]
    at = np.stack(np.meshgrid(*axes, indexing="ij"))
    for axis in range(3):
        if change.bend and shape[axis] > 1:
            at[axis] += np.float32(change.bend) * smooth_noise(rng, shape, BEND_LENGTH)
        if change.flip[axis]:
            at[axis] *= -1
    cos, sin = np.float32(np.cos(change.angle)), np.float32(np.sin(change.angle))
    _, y, x = at
    at[1], at[2] = cos * y - sin * x, sin * y + cos * x
    for axis in range(3):
        if shape[axis] > 1:
            at[axis] /= scale[axis] * change.scale
        at[axis] += centre[axis]
    return at


def read_at(values: np.ndarray, positions: np.ndarray, *, order: int = 1) -> np.ndarray:
    """Values at positions, by linear interpolation (order 1) or of the nearest voxel (0)."""
    return map_coordinates(values, positions, order=order, mode="mirror")


def brightness(change: Change, image: np.ndarray) -> np.ndarray:
    """Change the brightness of a crop, float32 (z, y, x); space is left as it is."""
    rng = np.random.default_rng((change.seed, 1))
    top = np.float32(BRIGHTEST)
    image = top * (image / top) ** np.float32(change.gamma)
    image = np.float32(change.gain) * image + np.float32(change.offset)
    if change.blur:
        sigma = [change.blur if n > 1 else 0.0 for n in image.shape]
        image = gaussian_filter(image, sigma, truncate=3, mode="mirror")
    if change.noise:
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        image = image + np.float32(change.noise) * noise
    return np.clip(image, 0, top)


def crop(
    picture: LabelledImage,
    change: Change,
    *,
    shape: Triple,
    centre: tuple[float, float, float],
    nominal_diameter: float,
    targets: tuple[str, ...] = ("distance",),
) -> tuple[np.ndarray, ...]:
    """A changed crop at the scale of the model.

    Parameters
    ----------
    picture : LabelledImage
    change : Change
    shape : tuple of int
        Of the crop, in voxels of the model.
    centre : tuple of float
        Of the crop, in voxels of the image.
    nominal_diameter : float
        Of the cells that the model knows, in its voxels.
    targets : tuple of str, optional
        What is to be learned, of `distance` and `classes`.

    Returns
    -------
    image, *targets : ndarray of float32, of the given shape
    """
    scale = picture.scale(nominal_diameter)
    positions = source_positions(change, shape=shape, centre=centre, scale=scale)
    factors, image = picture.levels[
        choose_level([f for f, _ in picture.levels], tuple(s * change.scale for s in scale))
    ]
    per_axis = np.array(factors, np.float32)[:, None, None, None]
    image = read_at(image, (positions + np.float32(0.5)) / per_axis - np.float32(0.5))
    read = {
        "distance": lambda: _distance_at(picture, positions),
        "classes": lambda: _classes_at(picture.labels, positions),
    }
    return brightness(change, image), *(read[target]() for target in targets)


def _distance_at(picture: LabelledImage, positions: np.ndarray) -> np.ndarray:
    """The distance, and 0 wherever the nearest voxel is no cell's: interpolation goes beyond."""
    inside = read_at(picture.labels, positions, order=0) > 0
    return np.where(inside, read_at(picture.target, positions), np.float32(0))


def _classes_at(labels: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """The classes of the voxels of a crop, float32: of labels read in it and one voxel around."""
    around = [(0, 0), *((int(n > 1),) * 2 for n in positions.shape[1:])]
    # Reflected so, a grid goes on as it was going.
    wide = np.pad(positions, around, mode="reflect", reflect_type="odd")
    classes = classes_of(read_at(labels, wide, order=0))
    inner = tuple(
        slice(before, before + n)
        for (before, _), n in zip(around[1:], positions.shape[1:], strict=True)
    )
    return classes[inner].astype(np.float32)


def augmented(
    picture: LabelledImage,
    *,
    seed,
    shape: Triple,
    nominal_diameter: float,
    targets: tuple[str, ...] = ("distance",),
) -> tuple[np.ndarray, ...]:
    """A crop at a random place, changed at random: a pure function of its arguments.

    Parameters
    ----------
    picture : LabelledImage
    seed : int or sequence of int
        Anything that `numpy.random.default_rng` takes.
    shape, nominal_diameter, targets
        See `crop`.

    Returns
    -------
    image, *targets : ndarray of float32, of the given shape
    """
    rng = np.random.default_rng(seed)
    dimensions = 2 if picture.labels.shape[0] == 1 else 3
    if len(picture.centres) and rng.random() < ON_A_CELL:
        centre = rng.choice(picture.centres)
    else:
        centre = rng.uniform(0, np.array(picture.labels.shape) - 1)
    change = draw(rng, dimensions=dimensions)
    return crop(
        picture,
        change,
        shape=shape,
        centre=tuple(centre),
        nominal_diameter=nominal_diameter,
        targets=targets,
    )
