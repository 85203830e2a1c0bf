"""Movies whose cells, tracks and divisions are known: for the tests of tracking and of exports.

Idea: balls lie on a coarse lattice, wander a little from frame to frame, and some divide into two
smaller ones side by side. The label of a cell goes on over the movie and says nothing of its
track, as in a run of the workflow.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import tifffile
import zarr

import mosaicell
from mosaicell.columns import TRACKS
from mosaicell.exports.ctc import write_tracks
from mosaicell.exports.folder import replacing_folder
from mosaicell.exports.formats import FORMATS
from mosaicell.exports.geff import write_graph
from mosaicell.geometry import cube
from mosaicell.store import lay_out
from mosaicell.table import Table, write_table
from mosaicell.track import COLUMNS, track

VOXEL_SIZE = (2.0, 1.0, 0.5)
SPACING, RADIUS, APART, STEP = 20.0, 5.0, 7.0, 1.0  # um


@dataclass(frozen=True)
class Movie:
    """A movie with its truth.

    Attributes
    ----------
    labels : ndarray of uint32, (t, z, y, x)
        Cells 1, 2, ... over the movie.
    image : ndarray of uint16, (t, z, y, x)
    tracks : ndarray of uint16, (t, z, y, x)
        The same cells, numbered by track.
    lines : ndarray of int, (n, 4)
        Track, first frame, last frame and parent (0: none), as in `man_track.txt`.
    """

    labels: np.ndarray
    image: np.ndarray
    tracks: np.ndarray
    lines: np.ndarray

    @property
    def divisions(self) -> int:
        return len(np.unique(self.lines[self.lines[:, 3] > 0, 3]))


def dividing_cells(*, n_frames: int = 6, flat: bool = False, seed: int = 0) -> Movie:
    """Draw twelve cells, of which every third divides once; `flat` gives images of one plane."""
    rng = np.random.default_rng(seed)
    size = np.array(VOXEL_SIZE)
    depth = 1 if flat else 12
    shape = (depth, int(3 * SPACING / size[1]), int(4 * SPACING / size[2]))
    middle = 0.0 if flat else (depth - 1) / 2 * size[0]
    grid = np.indices(shape).reshape(3, *shape) * size[:, None, None, None]
    tracks = np.zeros((n_frames, *shape), np.uint16)
    lines: list[list[int]] = []

    def live(position, radius, first, parent, divides_at):
        number = len(lines) + 1
        lines.append([number, first, n_frames - 1, parent])
        for frame in range(first, n_frames):
            if frame == divides_at:
                lines[number - 1][2] = frame - 1
                for side in (-1, 1):
                    aside = position + np.array([0, 0, side * APART / 2])
                    live(aside, radius * 0.6, frame, number, None)
                return
            distance = ((grid - position[:, None, None, None]) ** 2).sum(0)
            tracks[frame][distance <= radius**2] = number
            position = position + rng.uniform(-STEP, STEP, 3) * (0 if flat else 1, 1, 0.5)

    for cell in range(12):
        place = np.array([middle, (cell // 4 + 0.5) * SPACING, (cell % 4 + 0.5) * SPACING])
        live(place, RADIUS, 0, 0, 2 + cell % 2 if cell % 3 == 0 else None)

    labels = np.zeros(tracks.shape, np.uint32)
    for frame, masks in enumerate(tracks):
        there = rng.permutation(np.unique(masks[masks > 0]))
        numbers = np.zeros(len(lines) + 1, np.uint32)
        numbers[there] = labels.max() + 1 + np.arange(len(there))
        labels[frame] = numbers[masks]
    image = (1000 * (labels > 0) + rng.integers(0, 100, labels.shape)).astype(np.uint16)
    return Movie(labels, image, tracks, np.array(lines))


def stored(folder: Path, labels: np.ndarray, *, voxel_size=VOXEL_SIZE) -> tuple[Table, zarr.Array]:
    """The table of cells and the label image of a movie or a still, as a run leaves them."""
    frames = labels if labels.ndim == 4 else labels[np.newaxis]
    parts = [
        mosaicell.measure(frame, voxel_size=voxel_size).assign(frame=number)
        for number, frame in enumerate(frames)
    ]
    cells = pd.concat(parts, ignore_index=True)
    cells.insert(0, "sample", "movie")
    fields = [
        pa.field(name, pa.Array.from_pandas(values).type, metadata={"unit": name.split("_")[-1]})
        for name, values in cells.items()
    ]
    metadata = {"mosaicell.voxel_size": json.dumps(voxel_size), "mosaicell.input": "x"}
    schema = pa.schema(fields, metadata=metadata)
    folder.mkdir(parents=True, exist_ok=True)
    rows = pa.Table.from_pandas(cells, schema=schema, preserve_index=False)
    # Row groups end within frames, as they do in large tables.
    size = max(7, len(rows) // 7)
    path = folder / "cells.parquet"
    pq.write_table(rows, path, row_group_size=size, write_page_checksum=True)
    return Table(path), _array(folder / "movie.ome.zarr/labels/cells/0", labels)


def _array(path: Path, values: np.ndarray) -> zarr.Array:
    leading = (1,) * (values.ndim - 3)
    chunks = (*leading, *cube(values.shape[-3:], 16**3))
    array = lay_out(
        path,
        shape=values.shape,
        dtype=values.dtype,
        chunks=chunks,
        shards=(*leading, *(2 * n for n in chunks[-3:])),
        dimension_names=("t", "c", "z", "y", "x")[-values.ndim :],
    )
    array[:] = values
    return array


def tracked(folder: Path, movie: Movie) -> None:
    """A movie in `results/movie` as a run with exports and tracks leaves it, and its truth."""
    results = folder / "results/movie"
    cells, labels = stored(results, movie.labels)
    _array(results / "movie.ome.zarr/0", movie.image[:, np.newaxis])
    found = track(cells.read(COLUMNS), max_distance=5, division_distance=8)
    write_table(
        results / "tracks.parquet",
        [found],
        sample="movie",
        columns=TRACKS,
        metadata=cells.metadata,
    )
    for name, write in FORMATS.items():
        with replacing_folder(results / "export" / name, about={}) as inside:
            write(inside, cells=cells, labels=labels)
    tracks = Table(results / "tracks.parquet")
    with replacing_folder(results / "tracks/ctc", about={}) as inside:
        write_tracks(inside, tracks=tracks, labels=labels)
    with replacing_folder(results / "tracks/geff", about={}) as inside:
        write_graph(inside, cells=cells, labels=labels, tracks=tracks)
    write_truth(folder / "truth/01_GT", movie)


def write_truth(folder: Path, movie: Movie) -> Path:
    """The truth of a movie as the Cell Tracking Challenge has it."""
    for kind, name in (("TRA", "man_track"), ("SEG", "man_seg")):
        (folder / kind).mkdir(parents=True)
        for frame, masks in enumerate(movie.tracks):
            tifffile.imwrite(folder / kind / f"{name}{frame:03d}.tif", masks)
    np.savetxt(folder / "TRA/man_track.txt", movie.lines, fmt="%d")
    return folder
