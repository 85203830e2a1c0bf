"""The tables in Parquet, with units, definitions and origin in the schema.

Idea: what a column means travels with the file: each field's metadata hold its unit and what it
means (see `mosaicell.columns`), the file's metadata say what the rows were computed from. Nothing
that does not determine the result (tile shape, times, hosts) is written, so equal results are
equal files: rows come in parts of any size, and leave in groups of `ROWS_PER_GROUP`.

Numbers that are not known (NaN) are null in the file.

Limits: in memory are one part and one group of rows.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .columns import KEYS, Column
from .store import DamagedError, replacing

ROWS_PER_GROUP = 65536

Columns = dict[str, np.ndarray]


def write_table(
    path: Path,
    parts: Iterable[Columns],
    *,
    sample: str,
    columns: list[Column],
    metadata: dict[str, str],
) -> None:
    """Write a Parquet file in one step.

    Parameters
    ----------
    path : Path
    parts : iterable of dict of ndarray
        The rows in their order, part by part, at least one (of no rows if there are none). Each
        has all of `columns`.
    sample : str
        Becomes the first column; the second is `frame`, which is 0.
    columns : list of Column
        The others, in order.
    metadata : dict
        Of the file: versions, hashes.
    """
    said = {f"mosaicell.{key}": metadata[key] for key in metadata}
    with replacing(path) as file:
        writer = None
        for rows in _groups(parts, [column.name for column in columns]):
            n = len(rows[columns[0].name])
            values = [pa.repeat(sample, n), pa.repeat(0, n)]
            values += [pa.array(rows[column.name], from_pandas=True) for column in columns]
            if writer is None:
                fields = [
                    pa.field(c.name, v.type, metadata={"unit": c.unit, "means": c.means})
                    for c, v in zip([*KEYS, *columns], values, strict=True)
                ]
                schema = pa.schema(fields, metadata=said)
                options = {"compression": "zstd", "write_page_checksum": True}
                writer = pq.ParquetWriter(file, schema, **options)
            writer.write_table(pa.table(values, schema=schema), row_group_size=ROWS_PER_GROUP)
        writer.close()


def _groups(parts: Iterable[Columns], names: list[str]) -> Iterator[Columns]:
    """The same rows in groups of `ROWS_PER_GROUP`, the last one smaller."""
    rest: Columns = {}
    for part in parts:
        rest = {n: np.concatenate((rest[n], part[n])) if rest else part[n] for n in names}
        while len(rest[names[0]]) > ROWS_PER_GROUP:
            yield {name: rest[name][:ROWS_PER_GROUP] for name in names}
            rest = {name: rest[name][ROWS_PER_GROUP:] for name in names}
    yield rest


def read_table(path: Path, columns: list[str]) -> pd.DataFrame:
    """Read columns of a file that `write_table` made.

    Raises
    ------
    DamagedError
        If the file is not there or damaged.
    """
    try:
        table = pq.read_table(path, columns=columns, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise DamagedError(f"{path} is damaged or missing ({error})") from error
    return table.to_pandas()
