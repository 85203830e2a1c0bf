"""Rows of a table in Parquet, read one row group at a time, and what its schema says of them.

Idea: cells lie in the table by ascending label, and labels go on from frame to frame, so the rows
of a frame follow each other. A frame is put together while the table is read once, and no more
than a frame and a row group are in memory.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ..store import DamagedError

AXES = ("z", "y", "x")


class Table:
    """A table of cells or of tracks, opened and not read yet.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    path : Path
    num_rows : int
    schema : pyarrow.Schema
    units : dict of str
        Of each column, in their order; empty where there is none.
    metadata : dict of str
        What the rows were computed from.

    Raises
    ------
    DamagedError
        If the file is not there or damaged, now or when it is read.
    """

    def __init__(self, path: Path):
        self.path = path
        with self._reading():
            self._file = pq.ParquetFile(path, page_checksum_verification=True)
        self.schema = self._file.schema_arrow
        self.num_rows = self._file.metadata.num_rows
        self.units = {f.name: (f.metadata or {}).get(b"unit", b"").decode() for f in self.schema}
        self.metadata = {
            key.decode().removeprefix("mosaicell."): value.decode()
            for key, value in (self.schema.metadata or {}).items()
            if key.startswith(b"mosaicell.")
        }

    @property
    def voxel_size(self) -> list[float] | None:
        """(z, y, x) in um, or None if it is not known."""
        return json.loads(self.metadata["voxel_size"])

    @property
    def positions(self) -> list[str]:
        """The columns of a cell's position: in um if the voxel size is known, else in voxels."""
        return [f"centroid_{axis}{'_um' if self.voxel_size else ''}" for axis in AXES]

    def groups(self, columns: list[str]) -> Iterator[pa.Table]:
        """The rows of some columns, one row group after the other."""
        for number in range(self._file.num_row_groups):
            with self._reading():
                group = self._file.read_row_group(number, columns=columns)
            yield group

    def read(self, columns: list[str]) -> pd.DataFrame:
        """All rows of some columns."""
        with self._reading():
            return self._file.read(columns=columns).to_pandas()

    def frames(self, n_frames: int, columns: list[str]) -> Iterator[pd.DataFrame]:
        """The rows of each frame in turn; a frame without cells has none.

        Parameters
        ----------
        n_frames : int
        columns : list of str
            One of them is `frame`.
        """
        none = self.schema.empty_table().select(columns).to_pandas()
        pieces = (
            piece for group in self.groups(columns) for piece in group.to_pandas().groupby("frame")
        )
        number, rows = next(pieces, (n_frames, none))
        for frame in range(n_frames):
            parts = []
            while number == frame:
                parts.append(rows)
                number, rows = next(pieces, (n_frames, none))
            yield pd.concat(parts, ignore_index=True) if parts else none

    def cells_by_frame(self, n_frames: int) -> np.ndarray:
        """Number of rows of each frame, int64."""
        counts = np.zeros(n_frames, np.int64)
        for group in self.groups(["frame"]):
            counts += np.bincount(group["frame"].to_numpy(), minlength=n_frames)
        return counts

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            raise DamagedError(f"{self.path} is damaged or missing ({error})") from error
