"""A graph in the Graph Exchange File Format: a node for each cell, an edge for each link.

Idea: the format is a zarr group with an array for each property of the nodes, so a row group of
the table becomes a chunk of each array. A node's id is the label of its cell; its position is said
by the properties t, z, y, x; every other column of the table is a property of the same name.

Limits: text columns are left out; `sample` is the same in all rows.

Reference: Graph Exchange File Format 1.1, https://liveimagetrackingtools.org/geff
"""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import zarr

from ..columns import AXES
from ..store import CODECS, write_group
from ..table import Table

VERSION = "1.1"
CHUNK_ROWS = 65536


def write_graph(
    folder: Path, *, cells: Table, labels: zarr.Array, tracks: Table | None = None
) -> None:
    """Write the cells, and the links between them if they are tracked.

    Parameters
    ----------
    folder : Path
        Gets `cells.geff`, or `tracks.geff` if they are tracked.
    cells : Table
    labels : zarr.Array
        Level 0 of the label image, to which the graph refers.
    tracks : Table, optional
        What `track.track` found, of the same cells.
    """
    folder = folder / ("cells.geff" if tracks is None else "tracks.geff")
    sources = {"t": "frame"} | dict(zip(AXES, cells.positions, strict=True))
    sources |= {
        field.name: field.name
        for field in cells.schema
        if _is_number(field.type) and field.name not in sources.values()
    }
    units = {name: cells.units[source] for name, source in sources.items()}
    arrays = _write_nodes(folder, cells, sources)
    edges = np.empty((0, 2), np.int64)
    if tracks is not None:
        arrays |= (tracked := _lay_out_tracks(folder, tracks.num_rows))
        units |= dict.fromkeys(tracked, "")
        edges = _write_tracks(tracked, tracks)
    _array(folder / "edges/ids", np.uint64, edges.shape)[:] = edges
    groups = ("nodes", "edges", "nodes/props", "edges/props")
    for name in (*groups, *(f"nodes/props/{name}" for name in arrays)):
        write_group(folder / name, {})
    image = Path(labels.store_path.store.root, labels.store_path.path).parent
    related = [{"type": "labels", "path": os.path.relpath(image, folder), "label_prop": "label"}]
    properties = {
        name: {"identifier": name, "dtype": array.dtype.name, "unit": units[name] or None}
        for name, array in arrays.items()
    }
    write_group(folder, {"geff": _metadata(cells, properties, related, tracks is not None)})


def _write_nodes(folder: Path, cells: Table, sources: dict[str, str]) -> dict[str, zarr.Array]:
    """Ids and properties of the nodes; `sources` says from which column a property comes."""
    shape = (cells.num_rows,)
    ids = _array(folder / "nodes/ids", np.uint64, shape)
    arrays, missing = {}, {}
    for name, source in sources.items():
        dtype = cells.schema.field(source).type.to_pandas_dtype()
        arrays[name] = _array(folder / "nodes/props" / name / "values", dtype, shape)
    start = 0
    for group in cells.groups(list(sources.values())):
        rows = slice(start, start := start + len(group))
        ids[rows] = group["label"].to_numpy()
        for name, source in sources.items():
            column = group[source]
            if column.null_count:
                if name not in missing:
                    missing[name] = _array(folder / "nodes/props" / name / "missing", bool, shape)
                missing[name][rows] = column.is_null().to_numpy()
                column = column.fill_null(pa.scalar(0).cast(column.type))
            arrays[name][rows] = column.to_numpy()
    return arrays


def _lay_out_tracks(folder: Path, n_rows: int) -> dict[str, zarr.Array]:
    names = ("track_id", "tree_id")
    return {n: _array(folder / "nodes/props" / n / "values", np.int64, (n_rows,)) for n in names}


def _write_tracks(arrays: dict[str, zarr.Array], tracks: Table) -> np.ndarray:
    """Fill in track and tree of each node, and give the edges; rows are in the cells' order."""
    edges, start = [np.empty((0, 2), np.int64)], 0
    for group in tracks.groups(["label", "previous_label", *arrays]):
        rows = slice(start, start := start + len(group))
        for name, array in arrays.items():
            array[rows] = group[name].to_numpy()
        pairs = np.stack([group["previous_label"].to_numpy(), group["label"].to_numpy()], -1)
        edges.append(pairs[pairs[:, 0] > 0])
    return np.concatenate(edges)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _array(path: Path, dtype: type, shape: tuple[int, ...]) -> zarr.Array:
    return zarr.create_array(
        path,
        shape=shape,
        dtype=dtype,
        chunks=(CHUNK_ROWS, *shape[1:]),
        compressors=CODECS,
        config={"write_empty_chunks": True},
    )


def _metadata(cells: Table, properties: dict, related: list, is_tracked: bool) -> dict:
    """The group's attribute `geff`; `properties` and `related` are parts of it."""
    space = "micrometer" if cells.voxel_size else "pixel"
    axes = [{"name": "t", "type": "time", "unit": "frame"}]
    axes += [{"name": axis, "type": "space", "unit": space} for axis in AXES]
    for axis in axes:
        properties[axis["name"]]["unit"] = axis["unit"]
    metadata = {
        "geff_version": VERSION,
        "directed": True,
        "axes": axes,
        "node_props_metadata": properties,
        "edge_props_metadata": {},
        "related_objects": related,
        "extra": {"mosaicell": cells.metadata},
    }
    if is_tracked:
        metadata["track_node_props"] = {"tracklet": "track_id", "lineage": "tree_id"}
    return metadata
