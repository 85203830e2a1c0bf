"""The light that synthetic nuclei, and what else is in a sample, give off.

1. Nuclei: brightness that may rise or fall towards the rim, chromatin, nucleoli or bright spots.
2. Background: a level, cytoplasm around nuclei, haze, grains, sheets, fibres, specks; and the end
   of the sample.

Limits: units are arbitrary; a nucleus of average brightness is about 1.
"""

import numpy as np
from numba import njit
from scipy import ndimage

from ..fields import smooth_noise
from .shapes import chance, log_uniform


def nuclear_light(
    rng: np.random.Generator, labels: np.ndarray, depth: np.ndarray, brightness: np.ndarray
) -> np.ndarray:
    """Light of the nuclei.

    Parameters
    ----------
    rng : Generator
    labels, depth : ndarray, (z, y, x)
        See `shapes.draw`.
    brightness : ndarray of float, (n,)
        Of the labels 1..n.

    Returns
    -------
    ndarray of float32, (z, y, x)
    """
    n = len(brightness)
    brightness = np.concatenate([[0], brightness]).astype(np.float32)
    texture = rng.uniform(0, 0.7) * np.exp(rng.normal(0, 0.3, n + 1)).astype(np.float32)
    chromatin = smooth_noise(rng, labels.shape, rng.uniform(1.0, 3.5))
    rim = np.float32(rng.uniform(-0.5, 0.5))  # above 0: bright rim, as of heterochromatin
    soft = np.float32(rng.uniform(0.02, 0.4))  # the depth at which full brightness is reached
    light = _light(labels, depth, brightness, texture, chromatin, rim, soft)
    if chance(rng, 0.6) and n:
        factor = rng.uniform(0, 0.6) if chance(rng, 0.6) else rng.uniform(1.3, 2.5)
        _add_nucleoli(rng, light, labels, factor=factor)
    return light


@njit(nogil=True, cache=True)
def _light(labels, depth, brightness, texture, chromatin, rim, soft):
    one = np.float32(1)
    light = np.zeros(labels.shape, np.float32)
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                i, d = labels[z, y, x], depth[z, y, x]
                if i:
                    grain = one + texture[i] * chromatin[z, y, x]
                    grain = min(max(grain, np.float32(0.1)), np.float32(3))
                    shell = one + rim * (one - np.float32(3) * min(d, np.float32(0.6)))
                    light[z, y, x] = brightness[i] * grain * shell * min(d / soft, one)
    return light


def _add_nucleoli(rng: np.random.Generator, light: np.ndarray, labels: np.ndarray, *, factor):
    """Up to three balls in each nucleus, darker or brighter by a factor."""
    where = np.nonzero(labels)
    owner = labels[where]
    sizes = np.bincount(owner)[1:]
    centres = np.stack([np.bincount(owner, at)[1:] for at in where], -1) / sizes[:, None]
    nucleus = np.repeat(np.arange(len(sizes)), rng.integers(0, 4, len(sizes)))
    radii = np.cbrt(sizes * 0.75 / np.pi)[nucleus]
    places = centres[nucleus] + rng.normal(0, 0.3, (len(nucleus), 3)) * radii[:, None]
    share = rng.uniform(0.15, 0.4)  # of the nucleus's radius
    balls = np.maximum(1.0, share * radii * rng.uniform(0.7, 1.3, len(nucleus)))
    _multiply_balls(light, labels, places, balls, nucleus + 1, factor - 1)


@njit(nogil=True, cache=True)
def _multiply_balls(light, labels, places, radii, owners, excess):
    for i in range(len(radii)):
        for z in _within(places[i, 0], radii[i], light.shape[0]):
            for y in _within(places[i, 1], radii[i], light.shape[1]):
                for x in _within(places[i, 2], radii[i], light.shape[2]):
                    if labels[z, y, x] == owners[i]:
                        inside = _inside(places[i], radii[i], z, y, x)
                        light[z, y, x] *= np.float32(1 + excess * inside)


@njit(nogil=True, cache=True)
def _add_balls(light, places, radii, brightness):
    for i in range(len(radii)):
        for z in _within(places[i, 0], radii[i], light.shape[0]):
            for y in _within(places[i, 1], radii[i], light.shape[1]):
                for x in _within(places[i, 2], radii[i], light.shape[2]):
                    inside = _inside(places[i], radii[i], z, y, x)
                    light[z, y, x] += np.float32(brightness[i] * inside)


@njit(nogil=True, cache=True, inline="always")
def _within(place, radius, length):
    return range(max(0, int(place - radius)), min(length, int(place + radius) + 2))


@njit(nogil=True, cache=True, inline="always")
def _inside(place, radius, z, y, x):
    away = np.sqrt((z - place[0]) ** 2 + (y - place[1]) ** 2 + (x - place[2]) ** 2)
    return min(max(radius + 0.5 - away, 0.0), 1.0)


def background(rng: np.random.Generator, inside: np.ndarray) -> np.ndarray:
    """Light that is no nucleus.

    Parameters
    ----------
    rng : Generator
    inside : ndarray of float32, (z, y, x)
        1 in nuclei, 0 elsewhere.

    Returns
    -------
    ndarray of float32, (z, y, x)
    """
    shape = inside.shape
    light = np.full(shape, log_uniform(rng, 0.005, 0.6), np.float32)
    if chance(rng, 0.6):  # cytoplasm and out-of-focus light around the nuclei
        near = ndimage.gaussian_filter(inside, rng.uniform(3, 9), truncate=2)
        light += np.float32(rng.uniform(0, 0.7)) * near
    if chance(rng, 0.6):  # haze
        haze = smooth_noise(rng, shape, rng.uniform(10, 30))
        light += np.float32(rng.uniform(0, 0.35)) * np.maximum(haze, 0)
    if chance(rng, 0.4):  # grains, finer than nuclei
        grains = smooth_noise(rng, shape, rng.uniform(1.0, 2.5))
        light += np.float32(rng.uniform(0, 0.3)) * np.maximum(grains, 0)
    if chance(rng, 0.35):  # sheets, such as walls and membranes, where a field crosses zero
        field = smooth_noise(rng, shape, rng.uniform(8, 16)) / np.float32(rng.uniform(0.08, 0.25))
        light += np.float32(rng.uniform(0, 0.5)) * np.exp(-(field**2))
    if chance(rng, 0.25):  # the sample ends: darkness beyond a plane
        z, y, x = _open_grid(shape, rng.uniform(0, shape))
        normal = _direction(rng)
        distance = normal[0] * z + normal[1] * y + normal[2] * x
        light *= np.clip(distance / 4 + np.float32(0.5), np.float32(rng.uniform(0, 0.3)), 1)
    for _ in range(rng.poisson(1.0) if chance(rng, 0.5) else 0):
        _add_fibre(rng, light)
    if chance(rng, 0.4):  # specks, which may outshine the nuclei by far
        n = int(rng.integers(1, 25))
        brightness = log_uniform(rng, 0.5, 12) * rng.uniform(0.3, 1, n)
        _add_balls(light, rng.uniform(0, shape, (n, 3)), rng.uniform(0.6, 2.0, n), brightness)
    return light


def _open_grid(shape, origin: np.ndarray) -> tuple[np.ndarray, ...]:
    """Coordinates along each axis from an origin, float32."""
    axes = zip(shape, origin, strict=True)
    return np.ix_(*(np.arange(n, dtype=np.float32) - np.float32(p) for n, p in axes))


def _direction(rng: np.random.Generator) -> np.ndarray:
    direction = rng.standard_normal(3).astype(np.float32)
    return direction / np.linalg.norm(direction)


def _add_fibre(rng: np.random.Generator, light: np.ndarray) -> None:
    """A line with a width and two ends."""
    z, y, x = _open_grid(light.shape, rng.uniform(0, light.shape))
    direction = _direction(rng)
    along = direction[0] * z + direction[1] * y + direction[2] * x
    away = np.sqrt(np.maximum(z * z + y * y + x * x - along * along, 0))
    away += np.maximum(np.abs(along) - np.float32(rng.uniform(4, 40)), 0)
    width = np.float32(rng.uniform(0.7, 2.5) + 0.5)
    light += np.float32(log_uniform(rng, 0.3, 6)) * np.clip(width - away, 0, 1)
