"""The measure stage on disk: each tile's own cells become files of rows, then these become tables.

Ids ascend from frame to frame and from layer to layer of tiles (same range of z), so rows are
gathered a layer at a time.

Limits: gathering holds the rows of one layer of tiles, and the centres of the cells of a few.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import zarr

from ..columns import AXES
from ..features import batches, measure_cells
from ..geometry import Box, Grid
from ..population import SLACK, nearest, usual_sizes
from ..records import Records
from ..sigma import Sigma
from ..smooth import halo, smooth
from ..stitch import TileCells
from ..store import DamagedError, checksum_of_files, read, read_arrays, write_arrays
from ..wanted import Wanted
from .shards import check_shards
from .tiles import fill_tiles, tile_file

# Cells of a tile are measured on one crop, unless it would have many times the tile's voxels.
CROP_VOXELS = 4 * 256**3
KINDS = ("table", "neighbours")
LAYERS_IN_MEMORY = 3


def measure_tiles(
    labels: zarr.Array,
    image: zarr.Array,
    landscape: zarr.Array,
    folder: Path,
    *,
    grid: Grid,
    tiles: Iterable[int],
    wanted: Wanted,
    sigma: Sigma = (0, 0, 0),
    records: Records,
    written: Records,
    predicted: Records | None,
    what: str,
    threads: int = 1,
) -> int:
    """Measure the cells that tiles own, each on its complete crop.

    Parameters
    ----------
    labels : zarr.Array, (z, y, x) or (t, z, y, x)
        The final labels of the whole volume.
    image : zarr.Array, (c, z, y, x) or (t, c, z, y, x)
    landscape : zarr.Array, (z, y, x) or (t, z, y, x)
    folder, grid, tiles, sigma, records, predicted, what, threads
        As for `segment_tiles`.
    wanted : Wanted
    written : Records
        Of the shards of the labels, which are compared with them.

    Returns
    -------
    int
        How many tiles were measured; the others were there.
    """

    def measure_box(cells: TileCells, run: slice, box: Box, frame: int) -> tuple:
        leading = grid.leading(frame)
        box = box.grown(wanted.reach, grid.shape)
        around = box.grown(halo(sigma), grid.shape)
        check_shards(labels, written, box, frame)
        if predicted is not None:
            check_shards(landscape, predicted, around, frame)
        channels = np.empty((len(wanted.channels), *box.shape), image.dtype)
        for values, channel in zip(channels, wanted.channels, strict=True):
            values[:] = read(image, box, (*leading, channel))
        return measure_cells(
            read(labels, box, leading),
            channels,
            smooth(read(landscape, around, leading), sigma=sigma, box=box, volume=grid.shape),
            ids=cells.label[run],
            boxes=cells.bbox[run],
            origin=box.start,
            wanted=wanted,
        )

    def compute(tile: int) -> None:
        cells = TileCells(**read_arrays(tile_file(folder, tile, "cells")))
        parts = [_no_cells(image.dtype, wanted)]
        for run, box in batches(cells.bbox, max_voxels=CROP_VOXELS):
            parts.append(measure_box(cells, run, box, grid.frame_of(tile)))
        for kind, tables in zip(KINDS, zip(*parts, strict=True), strict=True):
            rows = [{name: c.to_numpy() for name, c in table.items()} for table in tables]
            write_arrays(tile_file(folder, tile, kind), _joined(rows))

    return fill_tiles(
        compute, folder, KINDS, tiles=tiles, records=records, what=what, threads=threads
    )


def _no_cells(dtype: np.dtype, wanted: Wanted) -> tuple:
    """Tables without rows, with all columns in their types."""
    return measure_cells(
        np.empty((0, 0, 0), np.uint32),
        np.empty((len(wanted.channels), 0, 0, 0), dtype),
        None,
        ids=np.empty(0, np.uint32),
        boxes=np.empty((0, 6), np.int64),
        origin=(0, 0, 0),
        wanted=wanted,
    )


def _joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def read_layer(
    folder: Path, layer: int, kind: str, *, grid: Grid, measured: Records
) -> dict[str, np.ndarray]:
    """The rows of one kind (see `KINDS`) of a layer of tiles, by ascending label.

    Raises
    ------
    DamagedError
        If the rows of a tile are not those that `measured` speaks of.
    """
    n = grid.counts[1] * grid.counts[2]
    parts = []
    for tile in range(layer * n, (layer + 1) * n):
        files = [tile_file(folder, tile, one) for one in KINDS]
        payload = measured.payload(tile)
        if payload is None or payload["stored"] != checksum_of_files(files):
            raise DamagedError(f"{files[0]} or {files[1].name} is damaged or missing")
        parts.append(read_arrays(tile_file(folder, tile, kind)))
    rows = _joined(parts)
    order = np.argsort(rows["label"], kind="stable")
    frame = np.full(len(order), layer // grid.counts[0], np.int64)
    return {"frame": frame} | {name: column[order] for name, column in rows.items()}


def gather_cells(folder: Path, *, grid: Grid, measured: Records) -> Iterator[dict[str, np.ndarray]]:
    """The rows of all cells, layer by layer of tiles, with what takes all cells to say.

    Raises
    ------
    DamagedError
        As `read_layer`.
    """
    read_rows = partial(read_layer, folder, kind="table", grid=grid, measured=measured)
    layers = range(_n_layers(grid))
    counted: dict[int, int] = {}
    spans = []
    for layer in layers:
        rows = read_rows(layer)
        for size, count in zip(*np.unique(rows["num_voxels"], return_counts=True), strict=True):
            counted[int(size)] = counted.get(int(size), 0) + int(count)
        z = rows["centroid_z_um"]
        # Without a voxel size, and in a layer without cells, there is nothing near.
        spans.append((z.min(), z.max()) if np.isfinite(z).any() else (np.inf, -np.inf))
    sizes = np.array(sorted(counted), np.int64)
    lowest, highest = usual_sizes(sizes, np.array([counted[int(size)] for size in sizes]))

    @lru_cache(LAYERS_IN_MEMORY)
    def centres_of(layer: int) -> np.ndarray:
        return _centres(read_rows(layer))

    for layer in layers:
        rows = read_rows(layer)
        n = rows["num_voxels"]
        rows["outlier"] = (n < lowest) | (n > highest)
        first = layer - layer % grid.counts[0]
        of_frame = range(first, first + grid.counts[0])
        rows["nearest_distance_um"] = _nearest(_centres(rows), layer, of_frame, spans, centres_of)
        yield rows


def _n_layers(grid: Grid) -> int:
    """Layers of tiles of all frames."""
    return len(grid) // (grid.counts[1] * grid.counts[2])


def _centres(rows: dict[str, np.ndarray]) -> np.ndarray:
    return np.stack([rows[f"centroid_{axis}_um"] for axis in AXES], -1)


def _nearest(
    own: np.ndarray,
    layer: int,
    of_frame: range,
    spans: list[tuple[float, float]],
    centres_of: Callable[[int], np.ndarray],
) -> np.ndarray:
    """Distance from each of a layer's centres to the nearest other of the frame's layers.

    `spans` are the ranges of z of all layers.
    """
    squared = np.full(len(own), np.inf)
    z = own[:, 0]
    if len(own) and np.isfinite(z).all():
        nearest(own, own, squared, same=True)
        low, high = spans[layer]
        gaps = [max(a - high, low - b, 0) for a, b in (spans[other] for other in of_frame)]
        for other in np.array(of_frame)[np.argsort(gaps, kind="stable")]:
            first, last = spans[other]
            away = np.maximum(np.maximum(first - z, z - last), 0)
            asking = away**2 * SLACK <= squared
            if other == layer or first > last or not asking.any():
                continue
            found = squared[asking]
            nearest(own[asking], centres_of(int(other)), found)
            squared[asking] = found
    return np.where(squared < np.inf, np.sqrt(squared), np.nan)


def gather_neighbours(
    folder: Path, *, grid: Grid, measured: Records
) -> Iterator[dict[str, np.ndarray]]:
    """The rows of all contacts, layer by layer of tiles.

    Raises
    ------
    DamagedError
        As `read_layer`.
    """
    for layer in range(_n_layers(grid)):
        yield read_layer(folder, layer, "neighbours", grid=grid, measured=measured)
