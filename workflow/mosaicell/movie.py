"""The table of frames: how many cells each frame of a sample has, also where it has none.

Idea: the table of cells says nothing of a frame without cells; a tracker has to know that it is
there. An image without time is one frame.
"""

import io

import pyarrow as pa
import pyarrow.parquet as pq

UNITS = {"sample": "", "frame": "", "num_cells": "", "num_voxels": "voxel"}


def frames_bytes(
    num_cells: list[int], num_voxels: list[int], *, sample: str, metadata: dict[str, str]
) -> bytes:
    """A Parquet file with a row for each frame.

    Parameters
    ----------
    num_cells, num_voxels : list of int
        Of each frame: its cells, and the voxels of all of them.
    sample : str
    metadata : dict
        Of the file: versions, hashes.

    Returns
    -------
    bytes
        Columns and units: see `UNITS`.
    """
    columns = {
        "sample": pa.repeat(sample, len(num_cells)),
        "frame": pa.array(range(len(num_cells)), pa.int64()),
        "num_cells": pa.array(num_cells, pa.int64()),
        "num_voxels": pa.array(num_voxels, pa.int64()),
    }
    fields = [
        pa.field(name, columns[name].type, metadata={"unit": unit}) for name, unit in UNITS.items()
    ]
    schema = pa.schema(fields, metadata={f"mosaicell.{key}": metadata[key] for key in metadata})
    buffer = io.BytesIO()
    table = pa.table(columns, schema=schema)
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()
