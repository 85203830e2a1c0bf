"""How a microscope shows the light of a volume: optics, planes, noise, numbers.

1. Optics: shading, light lost on the way through the sample, blur that is stronger along z, glow.
2. Planes: a sampling grid coarser or finer than the voxels; bleaching from plane to plane, a lamp
   that flickers, planes that are missing or dim.
3. Counts: photon noise, read noise, sometimes a filter after it.
4. Numbers: offset, saturation, quantisation; interpolation back to the voxels.

Limits: the point spread function is a sum of two Gaussians, and photon noise the square of a
Gaussian, which has the mean and nearly the deviation of a Poisson distribution, much faster.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..fields import along_axes, interpolation, smooth_noise
from .shapes import chance, log_uniform


@dataclass(frozen=True)
class Optics:
    """What is drawn before the sample, as it decides how long along z things look."""

    blur: np.ndarray  # (3,) deviation of the point spread function along z, y, x, voxels
    glow: float  # share of the light in its wide tails


def draw_optics(rng: np.random.Generator) -> Optics:
    """A random microscope."""
    blur_yx = rng.uniform(0.2, 1.3)
    longer = rng.uniform(1, 3) if chance(rng, 0.7) else rng.uniform(3, 6)
    glow = rng.uniform(0, 0.4) if chance(rng, 0.6) else 0.0
    return Optics(np.array([min(blur_yx * longer, 5.0), blur_yx, blur_yx]), glow)


def image_of(rng: np.random.Generator, light: np.ndarray, optics: Optics) -> np.ndarray:
    """The image that a microscope takes of a volume, brought to its voxels.

    Parameters
    ----------
    rng : Generator
    light : ndarray of float32, (z, y, x)
    optics : Optics

    Returns
    -------
    ndarray of uint16, (z, y, x)
        In arbitrary units.
    """
    shape = light.shape
    seen = _through_optics(rng, light, optics)
    step_z = rng.uniform(0.6, 1.2) if chance(rng, 0.5) else rng.uniform(1.2, 4)
    step_yx = rng.uniform(0.6, 1.0) if chance(rng, 0.7) else rng.uniform(1, 2)
    steps = step_z, step_yx, step_yx
    counts = [max(2, int(np.ceil((n - 1) / s)) + 1) for n, s in zip(shape, steps, strict=True)]
    there = [
        interpolation(np.arange(m) * s, n) for m, n, s in zip(counts, shape, steps, strict=True)
    ]
    back = [
        interpolation(np.arange(n) / s, m) for m, n, s in zip(counts, shape, steps, strict=True)
    ]
    planes = along_axes(seen, *there)
    planes *= _brightness_of_planes(rng, len(planes))[:, None, None]
    digital = _numbers(rng, _counted(rng, planes))
    return np.round(along_axes(digital, *back) * 16).astype(np.uint16)


def _through_optics(rng: np.random.Generator, light: np.ndarray, optics: Optics) -> np.ndarray:
    depth = np.linspace(0, 1, light.shape[0], dtype=np.float32)[:: 1 if chance(rng, 0.5) else -1]
    light = light * np.exp(np.float32(-rng.uniform(0, 1.0)) * depth)[:, None, None]
    shading = smooth_noise(rng, light.shape, rng.uniform(20, 60))
    light *= np.exp(np.float32(rng.uniform(0, 0.3)) * shading)
    light = ndimage.gaussian_filter(light, optics.blur, truncate=2.5)
    if optics.glow:
        tails = ndimage.gaussian_filter(light, 3 * optics.blur, truncate=2)
        light = np.float32(1 - optics.glow) * light + np.float32(optics.glow) * tails
    return light


def _brightness_of_planes(rng: np.random.Generator, n: int) -> np.ndarray:
    """What is left of the light in each plane, float32 (n,)."""
    left = np.ones(n, np.float32)
    if chance(rng, 0.3):  # bleached by the planes taken before, which may be from either end
        left *= np.exp(-rng.uniform(0, 1.2) * np.linspace(0, 1, n))[
            :: 1 if chance(rng, 0.5) else -1
        ]
    if chance(rng, 0.25):  # the lamp flickers
        left *= np.exp(rng.uniform(0, 0.15) * rng.standard_normal(n))
    if chance(rng, 0.06):  # the camera lost some
        left[rng.integers(0, n, rng.integers(1, 3))] *= rng.uniform(0, 0.4)
    return left


def _counted(rng: np.random.Generator, planes: np.ndarray) -> np.ndarray:
    photons = np.float32(log_uniform(rng, 8, 400))  # of a nucleus of average brightness
    noise = rng.standard_normal(planes.shape, dtype=np.float32)
    noise *= np.float32(0.5)
    noise += np.sqrt(photons * planes)  # the root of a count deviates by 1/2
    counted = (noise * noise - np.float32(0.25)) / photons
    if chance(rng, 0.5):  # read noise
        noise = rng.standard_normal(planes.shape, dtype=np.float32)
        counted += np.float32(rng.uniform(0, 0.15)) * noise
    if chance(rng, 0.3):  # images are often smoothed, or read from a pyramid
        counted = ndimage.gaussian_filter(counted, rng.uniform(0.3, 0.9), truncate=2.5)
    return counted


def _numbers(rng: np.random.Generator, counted: np.ndarray) -> np.ndarray:
    """What the camera says: whole numbers, from 0 to saturation."""
    top = float(np.quantile(counted[::2, ::2, ::2], rng.uniform(0.98, 1)))
    largest = 255 if chance(rng, 0.6) else 4000
    offset = rng.uniform(0, 0.1) * largest
    exposure = log_uniform(rng, 0.15, 1.2) if chance(rng, 0.85) else log_uniform(rng, 1.2, 3)
    gain = exposure * largest / max(top, 1e-3)
    return np.round(np.clip(counted * np.float32(gain) + np.float32(offset), 0, largest))
