"""What a report is about, and how the parts of it are read."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import zarr

from ..geometry import Triple
from .cells import Cells


@dataclass(frozen=True)
class Scene:
    """A sample as a report sees it.

    Attributes
    ----------
    image : list of zarr.Array, (c, z, y, x)
    labels : list of zarr.Array, (z, y, x)
    reading_image, reading_labels : callable
        Gives a context for each time that one of them is read.
    factors : list of tuple of int
        Voxels of level 0 in a voxel of each level.
    channel : int
    limits : list of tuple of float
    voxel_size : tuple of float or None
        In um.
    cells : callable
        Gives some columns of the table of cells, part by part.
    """

    image: list[zarr.Array]
    labels: list[zarr.Array]
    reading_image: Callable[[], AbstractContextManager]
    reading_labels: Callable[[], AbstractContextManager]
    factors: list[Triple]
    channel: int
    limits: list[tuple[float, float]]
    voxel_size: tuple[float, float, float] | None
    cells: Cells

    @property
    def shape(self) -> Triple:
        return self.labels[0].shape

    @property
    def is_2d(self) -> bool:
        return self.shape[0] == 1

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Edges of a voxel, in um if they are known."""
        return self.voxel_size or (1.0, 1.0, 1.0)

    @property
    def voxel(self) -> str:
        return "pixel" if self.is_2d else "voxel"
