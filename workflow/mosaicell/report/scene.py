"""What a report is about, and how the parts of it are read."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from math import prod

import pandas as pd
import zarr

from ..geometry import Triple
from .cells import Cells


@dataclass(frozen=True)
class Scene:
    """A sample as a report sees it.

    Attributes
    ----------
    image : list of zarr.Array, (c, z, y, x), or of a movie (t, c, z, y, x)
    labels : list of zarr.Array, (z, y, x), or of a movie (t, z, y, x)
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
    frame : int or None
        The one frame of a movie that is looked at.
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
    frame: int | None = None

    @property
    def shape(self) -> Triple:
        return self.labels[0].shape[-3:]

    @property
    def n_frames(self) -> int:
        return prod(self.labels[0].shape[:-3])

    def of_frame(self, frame: int) -> "Scene":
        """One frame of a movie."""

        def cells(columns: list[str]) -> Iterator[pd.DataFrame]:
            for part in self.cells(sorted({"frame", *columns})):
                yield part.loc[part["frame"] == frame, columns]

        return replace(self, cells=cells, frame=frame)

    @property
    def leading(self) -> tuple[int, ...]:
        """What stands before channel, z, y, x in the index of an array."""
        return () if self.frame is None else (self.frame,)

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
