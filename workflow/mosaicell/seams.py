"""Seams: straight borders of cells on the planes where tiles meet, if there were any.

Idea: a cell that was cut at the border of a tile ends there in a straight face, while its own
border is curved and hardly ever stays in one plane. So straight borders are counted on every
plane of the volume, along each axis, and the planes where tiles meet are compared with others.

A border is straight in a cube of 2 x 2 x 2 voxels (a square of 2 x 2 in an image) if it parts the
cube into two halves of one label each. Plane p lies between the voxels p - 1 and p:

    | a   a | b   b |
    | a   a | b   b |
            p

Borders between two cells and borders of a cell against the background are counted apart. A cell
cut in two shows in the first. A cell of which a part was dropped, and a landscape that is brighter
in one tile than in the next, show in the second, which would hide the first if they were added:
cells have many more straight borders against the background than with each other.

Passes:
1. `straight_borders` counts in a part of the volume. A cube belongs to its last voxel, so parts
   that see one voxel before them add up to the whole volume, whatever the parts.
2. `find_seams` compares. What is found on the planes where tiles meet is held against what is
   found on as many planes at the same distances from each other, shifted by up to half a tile to
   either side: their mean is what is to be expected, and how much they differ says how unusual it
   is. So neither slow changes along an axis nor planes that interpolation favours mislead it. A
   seam is one plane, while the flat border of a large cell goes on beside it; so a seam must have
   more than the planes next to it, too.
3. Single planes that stand out from those around them are named, also where no tiles meet: an
   image or a landscape may jump there.

Limits: along an axis whose tiles are thinner than about ten voxels there are not enough other
planes to compare with. A seam that cuts only a handful of cells does not show, and among few cells
one flat border may look like a seam. Where windows of the network meet is looked at only as single
planes. Borders in the wrong place do not show, only straight ones.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from .geometry import Box, Triple

KINDS = ("between cells", "against the background")

ENOUGH_BORDERS = 100  # on all planes where tiles meet, or on a single plane
ENOUGH_SHIFTS = 8
UNUSUAL = 5  # standard errors
# A single plane stands out if it has several times as many as the planes near by, leaving out some
# of those, which may stand out themselves.
STANDING_OUT = 5
NEAR = 32  # planes to either side
SOME = 4


@dataclass(frozen=True)
class Excess:
    """Straight borders of one kind on all planes where tiles meet, along all axes together.

    Attributes
    ----------
    found : int
    expected, error : float
        Mean and standard deviation of what is found on as many other planes.
    beside : int
        What is found on the planes next to them, on the side where it is more.
    """

    found: int
    expected: float
    error: float
    beside: int

    @property
    def is_seam(self) -> bool:
        above = self.found - max(self.expected, self.beside)
        return self.found >= ENOUGH_BORDERS and above > UNUSUAL * self.error


@dataclass(frozen=True)
class Seams:
    """What the counts say of a volume.

    Attributes
    ----------
    planes : list of ndarray of int64
        Along each axis, the planes where tiles meet.
    excess : list of Excess
        For each of `KINDS`; empty if tiles meet nowhere or are too thin to compare.
    on_tiles, elsewhere : list of (axis, plane)
        Single planes that stand out, where tiles meet and where none do.
    """

    planes: list[np.ndarray]
    excess: list[Excess]
    on_tiles: list[tuple[int, int]]
    elsewhere: list[tuple[int, int]]

    @property
    def are_there(self) -> bool:
        """Whether there are seams where tiles meet."""
        return any(excess.is_seam for excess in self.excess)


def straight_borders(labels: np.ndarray, *, core: Box, volume: Triple) -> list[np.ndarray]:
    """Count straight borders in a part of a volume, plane by plane.

    Parameters
    ----------
    labels : ndarray of unsigned integers, (z, y, x)
        Of the core, and of one voxel before it along each axis where the volume has one.
    core : Box
        The part, in voxels of the volume.
    volume : tuple of int
        Shape of the volume.

    Returns
    -------
    list of three ndarray of int64, (2, n)
        Along each axis and for each of `KINDS`, the number of cubes whose border lies on the plane
        before each of the core's n voxels.

    Raises
    ------
    ValueError
        If the labels are not those of the core and one voxel before it.
    """
    read = Box(core.grown((1, 1, 1), volume).start, core.stop)
    if labels.shape != read.shape:
        raise ValueError(
            f"the labels of {core} have the shape {labels.shape}; with one voxel before it the "
            f"part needs {read.shape}"
        )
    # A volume of one plane is taken for two that are alike, so that squares become cubes.
    for axis in range(3):
        if volume[axis] == 1:
            labels = np.repeat(labels, 2, axis)
    counts = [np.zeros((2, n), np.int64) for n in labels.shape]
    _count(np.ascontiguousarray(labels), *counts)
    return [count[:, -n:] for count, n in zip(counts, core.shape, strict=True)]


@njit(nogil=True, cache=True)
def _count(labels, along_z, along_y, along_x):
    """Add the cubes that are halved by a straight border to the counts of their planes."""
    nz, ny, nx = labels.shape
    for z in range(1, nz):
        for y in range(1, ny):
            # The four rows of the cubes: lower and upper along z, then along y.
            ll, lu = labels[z - 1, y - 1], labels[z - 1, y]
            ul, uu = labels[z, y - 1], labels[z, y]
            for x in range(1, nx):
                a, b = ll[x - 1], uu[x]
                if a == b:  # opposite corners lie in different halves
                    continue
                kind = 1 if a == 0 or b == 0 else 0
                if lu[x] == a:
                    below = ll[x] == a and lu[x - 1] == a
                    if below and ul[x] == b and ul[x - 1] == b and uu[x - 1] == b:
                        along_z[kind, z] += 1
                elif lu[x] == b and ll[x] == a:
                    below = ul[x] == a and ul[x - 1] == a
                    if below and lu[x - 1] == b and uu[x - 1] == b:
                        along_y[kind, y] += 1
                elif lu[x] == b and ll[x] == b:
                    below = lu[x - 1] == a and ul[x - 1] == a
                    if below and ul[x] == b and uu[x - 1] == a:
                        along_x[kind, x] += 1


def find_seams(borders: list[np.ndarray], *, tile: Triple) -> Seams:
    """Compare the planes where tiles meet with the others.

    Parameters
    ----------
    borders : list of three ndarray of int64, (2, n)
        Of the whole volume, see `straight_borders`.
    tile : tuple of int
        Shape of the tiles, in voxels.

    Returns
    -------
    Seams
    """
    planes = [np.arange(t, counts.shape[1], t) for counts, t in zip(borders, tile, strict=True)]
    on_tiles, elsewhere = [], []
    for axis, counts in enumerate(borders):
        meeting = set(planes[axis].tolist())
        for plane in _standing_out(counts, planes[axis]):
            (on_tiles if plane in meeting else elsewhere).append((axis, plane))
    return Seams(planes, _excess(borders, planes), on_tiles, elsewhere)


def _excess(borders: list[np.ndarray], planes: list[np.ndarray]) -> list[Excess]:
    """Compare all planes where tiles meet with as many at the same distances from each other."""
    compared = []
    for counts, meeting in zip(borders, planes, strict=True):
        if not meeting.size:
            continue
        reach = (meeting[0] - 1) // 2
        ahead = min(reach, counts.shape[1] - 1 - meeting[-1])
        shifts = [s for s in range(-reach, ahead + 1) if s]
        if len(shifts) >= ENOUGH_SHIFTS:
            others = np.stack([counts[:, meeting + s].sum(1) for s in shifts])
            beside = others[np.abs(shifts) == 1].max(0)
            found = counts[:, meeting].sum(1)
            compared.append((found, others.mean(0), others.var(0, ddof=1), beside))
    if not compared:
        return []
    found, expected, variance, beside = map(sum, zip(*compared, strict=True))
    return [
        Excess(int(found[k]), float(expected[k]), float(np.sqrt(variance[k])), int(beside[k]))
        for k in range(len(KINDS))
    ]


def _standing_out(counts: np.ndarray, meeting: np.ndarray) -> list[int]:
    """Planes that have far more straight borders of a kind than the planes around them.

    Those where tiles meet are compared with others only, since they may all be seams.
    """
    is_other = np.ones(counts.shape[1], bool)
    is_other[meeting] = False
    found = []
    for plane in np.flatnonzero((counts >= ENOUGH_BORDERS).any(0)).tolist():
        near = np.arange(max(1, plane - NEAR), min(plane + NEAR + 1, counts.shape[1]))
        near = near[is_other[near] & (near != plane)]
        if near.size >= ENOUGH_SHIFTS:
            usual = np.sort(counts[:, near], axis=1)[:, -1 - SOME]
            many = counts[:, plane] > np.maximum(ENOUGH_BORDERS - 1, STANDING_OUT * usual)
            if many.any():
                found.append(plane)
    return found
