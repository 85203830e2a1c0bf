"""The tables in Parquet, with units, definitions and origin in the schema.

Idea: what a column means travels with the file: each field's metadata hold its unit and what it
means (see `mosaicell.columns`), the file's metadata say what the rows were computed from. Nothing
that does not determine the result (tile shape, times, hosts) is written, so equal results are
equal files: rows come in parts of any size, and leave in groups of `ROWS_PER_GROUP`.

Numbers that are not known (NaN) are null in the file.

Rows lie by ascending frame, so when they are read, a frame is put together while the file is read
once.

Limits: in memory are one part and one group of rows, or a frame and a group.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .columns import AXES, KEYS, Column
from .store import DamagedError, replacing

ROWS_PER_GROUP = 65536


def write_table(
    path: Path,
    parts: Iterable[Mapping[str, np.ndarray] | pd.DataFrame],
    *,
    sample: str | None,
    columns: list[Column],
    metadata: dict[str, str],
    keys: list[Column] = KEYS,
) -> None:
    """Write a Parquet file in one step.

    Parameters
    ----------
    path : Path
    parts : iterable of dict of ndarray, or of DataFrame
        The rows in their order, part by part, at least one (of no rows if there are none). Each
        has all columns, but for `sample` if that is given.
    sample : str or None
        Becomes the first column; None for a table of several samples.
    columns : list of Column
        Those after `keys`, in order.
    metadata : dict
        Of the file: versions, hashes.
    keys : list of Column, optional
        The first columns: `sample` and `frame`, or fewer.
    """
    columns = [*keys, *columns]
    names = [column.name for column in columns]
    given = names if sample is None else names[1:]
    said = {f"mosaicell.{key}": metadata[key] for key in metadata}
    with replacing(path) as file:
        writer = None
        for rows in _groups(parts, given):
            values = [pa.array(rows[name], from_pandas=True) for name in given]
            if sample is not None:
                values.insert(0, pa.repeat(sample, len(values[0])))
            if writer is None:
                fields = [
                    pa.field(c.name, v.type, metadata={"unit": c.unit, "means": c.means})
                    for c, v in zip(columns, values, strict=True)
                ]
                schema = pa.schema(fields, metadata=said)
                options = {"compression": "zstd", "write_page_checksum": True}
                writer = pq.ParquetWriter(file, schema, **options)
            writer.write_table(pa.table(values, schema=schema), row_group_size=ROWS_PER_GROUP)
        writer.close()


def _groups(
    parts: Iterable[Mapping[str, np.ndarray] | pd.DataFrame], names: list[str]
) -> Iterator[dict[str, np.ndarray]]:
    """The same rows in groups of `ROWS_PER_GROUP`, the last one smaller."""
    rest: dict[str, np.ndarray] = {}
    for part in parts:
        new = {name: np.asarray(part[name]) for name in names}
        rest = {n: np.concatenate((rest[n], new[n])) if rest else new[n] for n in names}
        while len(rest[names[0]]) > ROWS_PER_GROUP:
            yield {name: rest[name][:ROWS_PER_GROUP] for name in names}
            rest = {name: rest[name][ROWS_PER_GROUP:] for name in names}
    yield rest


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
