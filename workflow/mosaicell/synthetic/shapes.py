"""Where synthetic nuclei lie and what shape they have: from sparse to so dense that no gap is left.

1. Place: centres and radii of ellipsoids, one after the other, each where those before leave room.
2. Outline: people outline what is brighter than some level. So an outline is its nucleus, grown
   along each axis by the microscope's blur, and more if it is bright; the faintest have none.
3. Draw: each outline is dented by smooth noise; where several overlap, a voxel belongs to the
   one it lies deepest in, so that neighbours touch in a smooth face.
4. Tidy: competition may cut a nucleus in pieces, of which the largest stays.

Limits: voxels are roughly isotropic; most nuclei measure about 12 of them, the smallest 5 and the
largest 30.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy.special import ndtri
from skimage.measure import label as connected_components

from ..fields import smooth_noise
from ..geometry import Triple

NOMINAL_DIAMETER = 12.0  # voxels
SMALLEST, LARGEST = 0.4, 2.5  # typical nucleus of a volume, in nominal diameters
MIN_RADIUS, MAX_RADIUS = 2.2, 16.0  # voxels
FAINTEST = 0.3  # nucleus that has an outline; a usual one has brightness 1
MOST_GROWTH = 2.5  # of an outline along an axis
MIN_VOXELS = 20  # smaller pieces of nuclei are not labelled, and not drawn either
DEEPEST_DENT = 2.2  # deviations of the noise


@dataclass(frozen=True)
class Nuclei:
    """The ellipsoids of a volume: one row each."""

    centres: np.ndarray  # (n, 3) voxels, may lie outside of the volume
    radii: np.ndarray  # (n,) voxels, of a sphere of the same volume
    to_unit: np.ndarray  # (n, 3, 3) brings voxels from the centre into the outline's unit sphere
    growth: np.ndarray  # (n, 3) outline over nucleus, along z, y, x
    brightness: np.ndarray  # (n,) a usual nucleus has 1


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def chance(rng: np.random.Generator, probability: float) -> bool:
    """True with this probability."""
    return bool(rng.random() < probability)


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


def place(rng: np.random.Generator, shape: Triple, *, blur: np.ndarray) -> Nuclei:
    """Centres, sizes and orientations.

    Parameters
    ----------
    rng : Generator
    shape : tuple of int
        (z, y, x) voxels.
    blur : ndarray of float, (3,)
        Deviation of the microscope's blur along z, y, x, voxels.
    """
    if chance(rng, 0.65):
        mean_radius = NOMINAL_DIAMETER / 2 * np.exp(rng.normal(0, 0.2))
    else:
        mean_radius = NOMINAL_DIAMETER / 2 * log_uniform(rng, SMALLEST, LARGEST)
    spread = rng.uniform(0.03, 0.35)
    stretch = np.array([np.exp(rng.normal(0, 0.15)), 1, 1])
    level = log_uniform(rng, 0.08, 0.45)  # of what is outlined
    usual_growth = _growth(level, blur, np.ones(1), np.array([mean_radius]))[0]
    spacing = rng.uniform(0.7, 1.25)  # of two centres, in sums of their radii
    volume = np.prod([n + 2 * mean_radius for n in shape])
    tries = int(log_uniform(rng, 0.3, 20) * volume / (2 * mean_radius) ** 3) + 3
    # Half of the volumes are clustered: nuclei only where a smooth field is high.
    crowd = smooth_noise(rng, shape, rng.uniform(12, 40))
    crowd_level = rng.uniform(-1, 0.8) if chance(rng, 0.5) else -np.inf

    radii = mean_radius * np.exp(rng.normal(0, spread, tries))
    radii = np.clip(radii, MIN_RADIUS, MAX_RADIUS)
    centres = rng.uniform(-mean_radius, np.array(shape) + mean_radius, (tries, 3))
    nearest = np.clip(centres.astype(int), 0, np.array(shape) - 1)
    wanted = crowd[tuple(nearest.T)] > crowd_level
    kept = _with_room(centres / (stretch * usual_growth), radii, wanted, spacing)
    if not kept.any():
        kept[0] = True
        centres[0] = np.array(shape) / 2
    centres, radii = centres[kept], radii[kept]
    if chance(rng, 0.15):  # grown until they fill the volume, as cells of a tissue do
        radii *= rng.uniform(1.2, 1.6)

    brightness = np.exp(rng.normal(0, rng.uniform(0, 0.7), len(radii)))
    if chance(rng, 0.6):  # remains of cells, polar bodies, what a stain hardly reached
        is_faint = rng.random(len(radii)) < rng.uniform(0, 0.25)
        brightness[is_faint] = rng.uniform(0.05, FAINTEST, is_faint.sum())

    axes = np.exp(rng.normal(0, rng.uniform(0, 0.25), (len(radii), 3)))
    axes *= (radii / np.cbrt(axes.prod(1)))[:, None]
    growth = _growth(level, blur, brightness, radii)
    to_unit = _rotations(rng, len(radii)) / axes[:, :, None] / (stretch * growth)[:, None, :]
    return Nuclei(centres, radii, to_unit, growth, brightness)


def _growth(
    level: float, blur: np.ndarray, brightness: np.ndarray, radii: np.ndarray
) -> np.ndarray:
    """How much larger than a nucleus that is which is brighter than a level, (n, 3).

    Blurred, the light of a nucleus falls at its surface as the integral of a Gaussian.
    """
    beyond = -ndtri(np.minimum(level / brightness, 0.5))  # deviations
    return np.minimum(1 + beyond[:, None] * blur / radii[:, None], MOST_GROWTH)


@njit(nogil=True, cache=True)
def _with_room(centres, radii, wanted, spacing):
    kept = np.zeros(len(radii), np.bool_)
    chosen = np.empty(len(radii), np.int64)
    n = 0
    for i in range(len(radii)):
        free = wanted[i]
        for k in range(n):
            j = chosen[k]
            nearest = spacing * (radii[i] + radii[j])
            away = 0.0
            for axis in range(3):
                away += (centres[i, axis] - centres[j, axis]) ** 2
            if away < nearest * nearest:
                free = False
                break
        if free:
            kept[i] = True
            chosen[n] = i
            n += 1
    return kept


def draw(
    rng: np.random.Generator, nuclei: Nuclei, shape: Triple
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, and how deep each voxel lies in its nucleus: 1 at the centre, 0 at its surface.

    Parameters
    ----------
    rng : Generator
    nuclei : Nuclei
    shape : tuple of int
        (z, y, x) voxels.

    Returns
    -------
    labels : ndarray of int32, (z, y, x)
    depth : ndarray of float32, (z, y, x)
        0 also where only an outline goes.
    rows : ndarray of int, (n,)
        Of the nuclei that the labels 1..n belong to.
    """
    dent = rng.uniform(0, 0.18)
    scale = rng.uniform(0.3, 0.9) * 2 * np.median(nuclei.radii)
    noise = smooth_noise(rng, tuple(n + 16 for n in shape), max(scale, 2.0))
    noise = dent * np.clip(noise, -DEEPEST_DENT, DEEPEST_DENT)
    # Another piece of the noise for each nucleus, or neighbours would dent alike.
    shifts = rng.integers(0, 17, (len(nuclei.radii), 3))
    # The half widths of the ellipsoids' boxes, with room for their bumps.
    reach = np.linalg.norm(np.linalg.inv(nuclei.to_unit), axis=2) * (1 + DEEPEST_DENT * dent)
    start = np.maximum(0, np.floor(nuclei.centres - reach)).astype(np.int64)
    stop = np.minimum(shape, np.ceil(nuclei.centres + reach) + 1).astype(np.int64)
    labels, first, second, surface = _deepest(
        nuclei.centres.astype(np.float32),
        nuclei.to_unit.astype(np.float32),
        nuclei.growth.astype(np.float32),
        noise.astype(np.float32),
        start,
        stop,
        shifts,
        shape,
    )
    to_neighbour = (second - first) / 2
    # Most touching nuclei touch; in some volumes a dark gap is left between them.
    gap = rng.uniform(0, 0.12) if chance(rng, 0.4) else 0.0
    labels[np.minimum(-first, to_neighbour) <= gap] = 0
    labels, rows = _largest_pieces(labels)
    depth = np.maximum(np.minimum(-surface, to_neighbour), np.float32(0))
    return labels, np.where(labels > 0, depth, np.float32(0)), rows


@njit(nogil=True, cache=True)
def _deepest(centres, to_unit, growth, noise, start, stop, shifts, shape):
    """Labels, depth (negative inside) in the deepest outline of a voxel and in the next, and in
    the nucleus of the deepest.
    """
    labels = np.zeros(shape, np.int32)
    first = np.zeros(shape, np.float32)
    second = np.zeros(shape, np.float32)
    surface = np.zeros(shape, np.float32)
    for i in range(len(centres)):
        m = to_unit[i]
        for z in range(start[i, 0], stop[i, 0]):
            for y in range(start[i, 1], stop[i, 1]):
                for x in range(start[i, 2], stop[i, 2]):
                    away = z - centres[i, 0], y - centres[i, 1], x - centres[i, 2]
                    outline = nucleus = np.float32(0)
                    for row in range(3):
                        u = m[row, 0] * away[0], m[row, 1] * away[1], m[row, 2] * away[2]
                        outline += np.float32((u[0] + u[1] + u[2]) ** 2)
                        u = u[0] * growth[i, 0], u[1] * growth[i, 1], u[2] * growth[i, 2]
                        nucleus += np.float32((u[0] + u[1] + u[2]) ** 2)
                    dent = noise[z + shifts[i, 0], y + shifts[i, 1], x + shifts[i, 2]]
                    depth = np.sqrt(outline) - np.float32(1) + dent
                    if depth < first[z, y, x]:
                        second[z, y, x] = first[z, y, x]
                        first[z, y, x] = depth
                        surface[z, y, x] = np.sqrt(nucleus) - np.float32(1) + dent
                        labels[z, y, x] = i + 1
                    elif depth < second[z, y, x]:
                        second[z, y, x] = depth
    return labels, first, second, surface


def _largest_pieces(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest piece of each label, if it is large enough, numbered from 1 on, int32.

    And of each the label that it had, less 1.
    """
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
    return new_label[pieces], owner[largest] - 1
