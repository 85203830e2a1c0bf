"""Synthetic volumes of nuclei with their labels, for training without annotated images.

Idea: a network that has seen far more variety than any microscope gives takes a real image for
one more variation. So everything that differs between images is drawn at random and per volume:
shapes, density, texture, background, optics, sampling and noise. No real image is involved.

1. Place: centres and radii of ellipsoids, one after the other, from sparse to overlapping.
2. Draw: each ellipsoid is dented by smooth noise; where several overlap, a voxel belongs to the
   one it lies deepest in, so that neighbours touch in a smooth face.
3. Light: brightness, rim, chromatin and nucleoli of each nucleus; haze, sheets, fibres, specks.
4. Look: shading, blur (stronger along z), a sampling grid coarser or finer than the voxels,
   photon and read noise, interpolation back to the voxels, quantisation.

Limits: voxels are roughly isotropic, and nuclei measure 6 to 26 of them, 12 in the middle. A
seed always gives the same volume with the same versions of numpy and scipy.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.measure import label as connected_components

NOMINAL_DIAMETER = 12.0  # voxels
MIN_RADIUS, MAX_RADIUS = 3.0, 13.0  # voxels
MIN_VOXELS = 20  # smaller pieces of nuclei are not labelled, and not drawn either


@dataclass(frozen=True)
class Nuclei:
    """The ellipsoids of a volume: one row each."""

    centres: np.ndarray  # (n, 3) voxels, may lie outside of the volume
    radii: np.ndarray  # (n,) voxels, of a sphere of the same volume
    to_unit: np.ndarray  # (n, 3, 3) brings voxels from the centre into the unit sphere


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _chance(rng: np.random.Generator, probability: float) -> bool:
    return bool(rng.random() < probability)


def _along_axes(matrices: list[np.ndarray], values: np.ndarray) -> np.ndarray:
    """Multiply each axis of a volume by a matrix of shape (new length, old length)."""
    # einsum, not BLAS: the result must not depend on the number of threads.
    values = np.einsum("xc,abc->abx", matrices[2], values)
    values = np.einsum("yb,abx->ayx", matrices[1], values)
    return np.einsum("za,ayx->zyx", matrices[0], values)


def smooth_noise(rng: np.random.Generator, shape, scale: float) -> np.ndarray:
    """Gaussian noise of mean 0, deviation 1 and correlation length `scale` voxels, float32."""
    matrices = []
    for n in shape:
        knots = np.arange(-3, int(np.ceil(n / scale)) + 4) * scale
        away = (np.arange(n)[:, None] - knots[None, :]) / scale
        weights = np.exp(-0.5 * (away / 0.7) ** 2)
        weights /= np.sqrt((weights**2).sum(1, keepdims=True))
        matrices.append(weights.astype(np.float32))
    coarse = rng.standard_normal([m.shape[1] for m in matrices], dtype=np.float32)
    return _along_axes(matrices, coarse)


def _interpolation(positions: np.ndarray, n: int) -> np.ndarray:
    """The matrix that reads n samples at the given positions linearly, float32."""
    positions = np.clip(positions, 0, n - 1)
    below = np.minimum(positions.astype(int), max(n - 2, 0))
    share = positions - below
    matrix = np.zeros((len(positions), n), np.float32)
    rows = np.arange(len(positions))
    matrix[rows, below] = 1 - share
    matrix[rows, np.minimum(below + 1, n - 1)] += share
    return matrix


def _rotations(rng: np.random.Generator, n: int) -> np.ndarray:
    """Random rotations, (n, 3, 3): from uniform unit quaternions."""
    a, b, c, d = (q := rng.standard_normal((4, n))) / np.sqrt((q**2).sum(0))
    return np.stack(
        [
            [1 - 2 * (c * c + d * d), 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), 1 - 2 * (b * b + d * d), 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), 1 - 2 * (b * b + c * c)],
        ]
    ).transpose(2, 0, 1)


def _place(rng: np.random.Generator, shape) -> Nuclei:
    """Centres, sizes and orientations: ellipsoids are set where the ones before leave room."""
    mean_radius = np.clip(NOMINAL_DIAMETER / 2 * np.exp(rng.normal(0, 0.2)), 4, 8.5)
    spread = rng.uniform(0.03, 0.35)
    stretch = np.array([np.exp(rng.normal(0, 0.2)), 1, 1])  # nuclei often look long along z
    spacing = rng.uniform(0.7, 1.25)  # of two centres, in sums of their radii
    volume = np.prod([n + MAX_RADIUS for n in shape])
    tries = int(_log_uniform(rng, 0.3, 20) * volume / (2 * mean_radius) ** 3) + 3
    # Half of the volumes are clustered: nuclei only where a smooth field is high.
    crowd = smooth_noise(rng, shape, rng.uniform(12, 40))
    crowd_level = rng.uniform(-1, 0.8) if _chance(rng, 0.5) else -np.inf

    radii = mean_radius * np.exp(rng.normal(0, spread, tries))
    radii = np.clip(radii, MIN_RADIUS, MAX_RADIUS)
    low, high = -MAX_RADIUS / 2, np.array(shape) + MAX_RADIUS / 2
    centres = rng.uniform(low, high, (tries, 3))
    nearest = np.clip(centres.astype(int), 0, np.array(shape) - 1)
    wanted = crowd[tuple(nearest.T)] > crowd_level
    kept = np.zeros(tries, bool)
    for i in np.flatnonzero(wanted):
        away = (centres[i] - centres[kept]) / stretch
        kept[i] = ((away**2).sum(1) >= (spacing * (radii[i] + radii[kept])) ** 2).all()
    if not kept.any():
        kept[0] = True
        centres[0] = np.array(shape) / 2
    centres, radii = centres[kept], radii[kept]

    axes = np.exp(rng.normal(0, rng.uniform(0, 0.25), (len(radii), 3)))
    axes *= (radii / np.cbrt(axes.prod(1)))[:, None]
    to_unit = _rotations(rng, len(radii)) / axes[:, :, None] / stretch
    return Nuclei(centres, radii, to_unit)


def _box(centre: np.ndarray, reach: np.ndarray, shape) -> tuple[tuple[slice, ...], list] | None:
    """The voxels within `reach` of a centre: slices, and open-grid coordinates from the centre."""
    start = np.maximum(0, np.floor(centre - reach).astype(int))
    stop = np.minimum(shape, np.ceil(centre + reach).astype(int) + 1)
    if (start >= stop).any():
        return None
    axes = [np.arange(a, b, dtype=np.float32) for a, b in zip(start, stop, strict=True)]
    offsets = [a - np.float32(c) for a, c in zip(axes, centre, strict=True)]
    return tuple(slice(a, b) for a, b in zip(start, stop, strict=True)), np.ix_(*offsets)


def _unit_radius(to_unit: np.ndarray, offsets: list) -> np.ndarray:
    """Distance from the centre after the ellipsoid was made a unit sphere."""
    squares = 0.0
    for row in to_unit.astype(np.float32):
        squares = squares + (row[0] * offsets[0] + row[1] * offsets[1] + row[2] * offsets[2]) ** 2
    return np.sqrt(squares)


def _draw(rng: np.random.Generator, nuclei: Nuclei, shape) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and how deep each voxel lies: 0 at a nucleus's surface, about 1 at its centre."""
    dent = rng.uniform(0, 0.18)
    scale = rng.uniform(0.3, 0.9) * 2 * np.median(nuclei.radii)
    noise = dent * np.clip(smooth_noise(rng, np.array(shape) + 16, scale), -2.2, 2.2)
    labels = np.zeros(shape, np.int32)
    first = np.zeros(shape, np.float32)  # the depth, negative inside, in the deepest nucleus
    second = np.zeros(shape, np.float32)  # and in the next
    for i, (centre, to_unit) in enumerate(zip(nuclei.centres, nuclei.to_unit, strict=True)):
        # The half widths of the ellipsoid's box, with room for its bumps.
        reach = np.linalg.norm(np.linalg.inv(to_unit), axis=1) * (1 + 2.2 * dent)
        if (found := _box(centre, reach, shape)) is None:
            continue
        box, offsets = found
        # Another piece of the noise for each nucleus, or neighbours would dent alike.
        shifts = rng.integers(0, 17, 3)
        dents = tuple(slice(s.start + d, s.stop + d) for s, d in zip(box, shifts, strict=True))
        depth = _unit_radius(to_unit, offsets) - 1 + noise[dents]
        deepest = depth < first[box]
        second[box] = np.where(deepest, first[box], np.minimum(second[box], depth))
        first[box] = np.where(deepest, depth, first[box])
        labels[box] = np.where(deepest, i + 1, labels[box])
    depth = np.minimum(-first, (second - first) / 2)
    # Most touching nuclei touch; in some volumes a dark gap is left between them.
    gap = rng.uniform(0, 0.12) if _chance(rng, 0.4) else 0.0
    labels[depth <= gap] = 0

    # Competition may cut a nucleus in pieces: the largest stays.
    pieces = connected_components(labels, connectivity=1)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    owner = np.zeros(len(sizes), np.int32)
    owner[pieces] = labels
    order = np.lexsort((-sizes, owner))
    largest = order[np.r_[True, np.diff(owner[order]) > 0]]
    largest = largest[sizes[largest] >= MIN_VOXELS]
    new_label = np.zeros(len(sizes), np.int32)
    new_label[largest] = np.arange(1, len(largest) + 1)
    labels = new_label[pieces]
    return labels, np.where(labels > 0, depth, 0)


def _nuclear_light(rng: np.random.Generator, labels: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Light of the nuclei, about 1 in a nucleus of average brightness."""
    n = int(labels.max())
    brightness = np.exp(rng.normal(0, rng.uniform(0, 0.5), n + 1))
    texture = rng.uniform(0, 0.7) * np.exp(rng.normal(0, 0.3, n + 1))
    brightness[0] = texture[0] = 0
    chromatin = smooth_noise(rng, labels.shape, rng.uniform(1.0, 3.5))
    rim = rng.uniform(-0.5, 0.5)  # above 0: bright rim, as of heterochromatin; below: dark rim
    soft = rng.uniform(0.02, 0.4)  # the depth at which full brightness is reached
    light = brightness.astype(np.float32)[labels]
    light *= np.clip(1 + texture.astype(np.float32)[labels] * chromatin, 0.1, 3)
    light *= 1 + np.float32(rim) * (1 - 3 * np.minimum(depth, 0.6))
    light *= np.clip(depth / soft, 0, 1)

    if _chance(rng, 0.6) and n:
        factor = rng.uniform(0, 0.6) if _chance(rng, 0.6) else rng.uniform(1.3, 2.5)
        share = rng.uniform(0.15, 0.4)  # of the nucleus's radius
        places = ndimage.center_of_mass(labels > 0, labels, np.arange(1, n + 1))
        radii = np.cbrt(np.bincount(labels.ravel(), minlength=n + 1)[1:] * 0.75 / np.pi)
        for i, (place, radius) in enumerate(zip(places, radii, strict=True)):
            for _ in range(rng.integers(0, 4)):
                centre = np.array(place) + rng.normal(0, 0.3, 3) * radius
                size = max(1.0, share * radius * rng.uniform(0.7, 1.3))
                if (found := _box(centre, np.full(3, size + 1), labels.shape)) is None:
                    continue
                box, (z, y, x) = found
                ball = np.clip(size + 0.5 - np.sqrt(z * z + y * y + x * x), 0, 1)
                ball *= labels[box] == i + 1
                light[box] *= 1 + (factor - 1) * ball
    return light


def _background(rng: np.random.Generator, inside: np.ndarray) -> np.ndarray:
    """Light that is no nucleus, in units of a nucleus's brightness."""
    shape = inside.shape
    light = np.full(shape, _log_uniform(rng, 0.005, 0.5), np.float32)
    if _chance(rng, 0.6):  # cytoplasm and out-of-focus light around the nuclei
        near = ndimage.gaussian_filter(inside, rng.uniform(3, 9), truncate=2.5)
        light += rng.uniform(0, 0.7) * near
    if _chance(rng, 0.6):  # haze
        haze = smooth_noise(rng, shape, rng.uniform(10, 30))
        light += rng.uniform(0, 0.35) * np.maximum(haze, 0)
    if _chance(rng, 0.4):  # grains, finer than nuclei
        grains = smooth_noise(rng, shape, rng.uniform(1.0, 2.5))
        light += rng.uniform(0, 0.3) * np.maximum(grains, 0)
    if _chance(rng, 0.35):  # sheets, such as walls and membranes, where a field crosses zero
        field = smooth_noise(rng, shape, rng.uniform(8, 16))
        light += rng.uniform(0, 0.5) * np.exp(-((field / rng.uniform(0.08, 0.25)) ** 2))
    if _chance(rng, 0.25):  # the sample ends: darkness beyond a plane
        normal = rng.standard_normal(3)
        normal /= np.linalg.norm(normal)
        offsets = [np.arange(n) - rng.uniform(0, n) for n in shape]
        z, y, x = np.ix_(*offsets)
        distance = normal[0] * z + normal[1] * y + normal[2] * x
        light *= np.clip(distance.astype(np.float32) / 4 + 0.5, rng.uniform(0, 0.3), 1)
    for _ in range(rng.poisson(1.0) if _chance(rng, 0.5) else 0):  # fibres: a line with a width
        point = rng.uniform(0, shape)
        direction = rng.standard_normal(3)
        direction /= np.linalg.norm(direction)
        z, y, x = (
            g.astype(np.float32)
            for g in np.ix_(*(np.arange(n) - p for n, p in zip(shape, point, strict=True)))
        )
        along = direction[0] * z + direction[1] * y + direction[2] * x
        away = np.sqrt(np.maximum(z * z + y * y + x * x - along * along, 0))
        away = away + np.maximum(np.abs(along) - rng.uniform(4, 40), 0)
        brightness = _log_uniform(rng, 0.3, 6)
        light += brightness * np.clip(rng.uniform(0.7, 2.5) + 0.5 - away, 0, 1)
    if _chance(rng, 0.4):  # specks, which may outshine the nuclei by far
        brightness = _log_uniform(rng, 0.5, 12)
        for _ in range(rng.integers(1, 25)):
            size = rng.uniform(0.6, 2.0)
            centre = rng.uniform(0, shape)
            box, (z, y, x) = _box(centre, np.full(3, size + 1), shape)
            ball = np.clip(size + 0.5 - np.sqrt(z * z + y * y + x * x), 0, 1)
            light[box] += brightness * rng.uniform(0.3, 1) * ball
    return light


def _look(rng: np.random.Generator, light: np.ndarray) -> np.ndarray:
    """The image that a microscope takes of the light, brought to the voxels, uint16."""
    shape = light.shape
    depth = np.linspace(0, 1, shape[0], dtype=np.float32)[:: 1 if _chance(rng, 0.5) else -1]
    light = light * np.exp(-rng.uniform(0, 0.8) * depth)[:, None, None]
    light *= np.exp(rng.uniform(0, 0.3) * smooth_noise(rng, shape, rng.uniform(20, 60)))
    blur_yx = rng.uniform(0.2, 1.3)
    blur = np.array([min(blur_yx * rng.uniform(1, 3), 3.0), blur_yx, blur_yx])
    glow = rng.uniform(0, 0.4) if _chance(rng, 0.6) else 0.0  # light in the wide tails
    light = ndimage.gaussian_filter(light, blur, truncate=3)
    if glow:
        light = (1 - glow) * light + glow * ndimage.gaussian_filter(light, 3 * blur, truncate=2)

    step_z = rng.uniform(0.6, 1.2) if _chance(rng, 0.5) else rng.uniform(1.2, 4)
    step_yx = rng.uniform(0.4, 1.0) if _chance(rng, 0.7) else rng.uniform(1, 2)
    # Voxels much finer than the model's are averaged on the way, never simply skipped.
    steps = [max(step_z, 0.6), max(step_yx, 0.6), max(step_yx, 0.6)]
    counts = [max(2, int(np.ceil((n - 1) / s)) + 1) for n, s in zip(shape, steps, strict=True)]
    there = [
        _interpolation(np.arange(m) * s, n) for m, n, s in zip(counts, shape, steps, strict=True)
    ]
    back = [
        _interpolation(np.arange(n) / s, m) for m, n, s in zip(counts, shape, steps, strict=True)
    ]
    sampled = _along_axes(there, light)

    photons = _log_uniform(rng, 8, 400)
    counted = rng.poisson(sampled * photons).astype(np.float32) / np.float32(photons)
    read_noise = rng.uniform(0, 0.15) if _chance(rng, 0.5) else 0.0
    counted += np.float32(read_noise) * rng.standard_normal(counted.shape, dtype=np.float32)
    if _chance(rng, 0.3):  # images are often smoothed, or read from a pyramid
        counted = ndimage.gaussian_filter(counted, rng.uniform(0.3, 0.9), truncate=3)

    top = float(np.quantile(counted, rng.uniform(0.98, 1)))
    n_levels = 255 if _chance(rng, 0.6) else 4000
    offset = rng.uniform(0, 0.1) * n_levels
    gain = _log_uniform(rng, 0.15, 1.2) * n_levels / max(top, 1e-3)
    digital = np.round(np.clip(counted * gain + offset, 0, n_levels))
    return np.round(_along_axes(back, digital.astype(np.float32)) * 16).astype(np.uint16)


def synthesise(seed, shape: tuple[int, int, int] = (64, 64, 64)) -> tuple[np.ndarray, np.ndarray]:
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
    labels, depth = _draw(rng, _place(rng, shape), shape)
    light = _nuclear_light(rng, labels, depth)
    light += _background(rng, (labels > 0).astype(np.float32)) * (1 - 0.5 * (labels > 0))
    return _look(rng, light), labels
