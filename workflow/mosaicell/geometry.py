"""Boxes of voxels, and the grid of tiles that covers a volume.

Idea: a volume is cut into *tiles* by a regular grid that starts at the origin; the last tile of
an axis may be smaller. The voxels that a tile answers for are its *core*; what it reads around
them is its *halo*. Cores cover the volume once; halos overlap and end at the volume's border.

       halo      core      halo
    |rrrrrrrr|wwwwwwwwwwww|rrrrrrrr|

A stage's tiles are dealt to its jobs in contiguous runs, so that a job's tiles are neighbours.
Everything is in voxels, (z, y, x); a 2D image is a volume of one plane. In a movie each frame is
such a volume of its own: no tile and no halo reaches into another frame.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

Triple = tuple[int, int, int]
VoxelSize = tuple[float, float, float]  # um


def cube(shape: Triple, voxels: int) -> Triple:
    """A box of about `voxels` voxels, as near to a cube as the volume allows; edges: powers of 2.

    A thin volume gets flat boxes: (1, 512, 512) for a 2D image and 64**3 voxels.
    """
    edges = [1, 1, 1]
    while prod(edges) * 2 <= voxels:
        growing = [axis for axis in (2, 1, 0) if edges[axis] < shape[axis]]
        if not growing:
            break
        edges[min(growing, key=lambda axis: edges[axis])] *= 2
    return tuple(edges)


@dataclass(frozen=True)
class Box:
    """The voxels from `start` up to, not including, `stop`."""

    start: Triple
    stop: Triple

    @property
    def shape(self) -> Triple:
        return tuple(b - a for a, b in zip(self.start, self.stop, strict=True))

    @property
    def size(self) -> int:
        return prod(max(0, n) for n in self.shape)

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        return tuple(slice(a, b) for a, b in zip(self.start, self.stop, strict=True))

    def grown(self, halo: Triple, within: Triple) -> "Box":
        """This box with a halo on all sides, cut at the borders of a volume of shape `within`."""
        return Box(
            tuple(max(0, a - h) for a, h in zip(self.start, halo, strict=True)),
            tuple(min(n, b + h) for b, h, n in zip(self.stop, halo, within, strict=True)),
        )

    def intersection(self, other: "Box") -> "Box":
        """The voxels in both; its size is 0 if there are none."""
        return Box(
            tuple(map(max, self.start, other.start)),
            tuple(map(min, self.stop, other.stop)),
        )

    def seen_from(self, origin: Triple) -> "Box":
        """The same voxels in the coordinates of an array whose first voxel is `origin`."""
        return Box(
            tuple(a - o for a, o in zip(self.start, origin, strict=True)),
            tuple(b - o for b, o in zip(self.stop, origin, strict=True)),
        )


@dataclass(frozen=True)
class Grid:
    """The tiles that cover a volume, or each frame of a movie, numbered in raster order.

    A movie's tiles are numbered frame after frame; those of a movie of one frame, and of an image
    without a time axis, have the same numbers.

    Attributes
    ----------
    shape : tuple of int
        Of the volume, or of one frame.
    tile : tuple of int
    frames : int or None
        None for arrays without a time axis.
    """

    shape: Triple
    tile: Triple
    frames: int | None = None

    @property
    def counts(self) -> Triple:
        """Number of tiles along each axis of a frame."""
        return tuple(-(-n // t) for n, t in zip(self.shape, self.tile, strict=True))

    @property
    def of_frame(self) -> "Grid":
        """The tiles of one frame."""
        return Grid(self.shape, self.tile)

    def __len__(self) -> int:
        return prod(self.counts) * (1 if self.frames is None else self.frames)

    def __getitem__(self, index: int) -> Box:
        """The core of tile number `index`, in its frame."""
        if not 0 <= index < len(self):
            raise IndexError(f"tile {index} of {len(self)}")
        nz, ny, nx = self.counts
        position = (index // (ny * nx) % nz, index // nx % ny, index % nx)
        start = tuple(p * t for p, t in zip(position, self.tile, strict=True))
        stop = tuple(min(a + t, n) for a, t, n in zip(start, self.tile, self.shape, strict=True))
        return Box(start, stop)

    def __iter__(self) -> Iterator[Box]:
        return (self[i] for i in range(len(self)))

    def frame_of(self, index: int) -> int:
        """The frame of tile number `index`; 0 without a time axis."""
        return index // prod(self.counts)

    def leading(self, frame: int) -> tuple[int, ...]:
        """What stands before z, y, x in the index of an array: the frame, if there is time."""
        return () if self.frames is None else (frame,)

    def overlapping(self, box: Box, frame: int = 0) -> list[int]:
        """Numbers of a frame's tiles whose core shares a voxel with `box`, ascending."""
        nz, ny, nx = self.counts
        ranges = [
            range(a // t, -(-b // t))
            for a, b, t in zip(box.start, box.stop, self.tile, strict=True)
        ]
        return [((frame * nz + z) * ny + y) * nx + x for z, y, x in product(*ranges)]

    def share(self, job: int, jobs: int) -> range:
        """The tiles of job number `job` of `jobs`: a contiguous run, at most one tile uneven."""
        return range(len(self) * job // jobs, len(self) * (job + 1) // jobs)
