"""The table of cells in Parquet, with its units and origin in the schema.

Idea: what a column means travels with the file: each field's metadata holds its unit, the file's
metadata says what the rows were computed from. Nothing that does not determine the result (tile
shape, times, hosts) is written, so equal results are equal files.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .store import DamagedError

ROWS_PER_GROUP = 65536


def table_bytes(
    cells: pd.DataFrame, *, sample: str, units: dict[str, str], metadata: dict[str, str]
) -> bytes:
    """A Parquet file of one sample's cells.

    Parameters
    ----------
    cells : pandas.DataFrame
        The columns of `measure.measure`, and `frame`.
    sample : str
        Becomes the first column; the second is `frame`.
    units : dict
        Unit of each column, by its name.
    metadata : dict
        Of the file: versions, hashes.

    Returns
    -------
    bytes
    """
    columns = {
        "sample": pa.repeat(sample, len(cells)),
        "frame": pa.array(cells["frame"].to_numpy()),
        **{name: pa.array(cells[name].to_numpy()) for name in units},
    }
    fields = [
        pa.field(name, column.type, metadata={"unit": units.get(name, "")})
        for name, column in columns.items()
    ]
    schema = pa.schema(fields, metadata={f"mosaicell.{key}": metadata[key] for key in metadata})
    buffer = io.BytesIO()
    pq.write_table(
        pa.table(columns, schema=schema),
        buffer,
        row_group_size=ROWS_PER_GROUP,
        compression="zstd",
        write_page_checksum=True,
    )
    return buffer.getvalue()


def read_parts(path: Path, columns: list[str]) -> Iterator[pd.DataFrame]:
    """Read columns of a file that `table_bytes` made, one row group after the other.

    Raises
    ------
    DamagedError
        If the file is not there or damaged.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for group in range(file.num_row_groups):
                yield file.read_row_group(group, columns=columns).to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise DamagedError(f"{path} is damaged or missing ({error})") from error
