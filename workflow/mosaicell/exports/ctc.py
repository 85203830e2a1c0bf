"""Masks in the format of the Cell Tracking Challenge: a TIFF file a frame, 16 bits a voxel.

Idea: a mask holds a number for each cell, and our labels go on over the movie, past what 16 bits
hold. So cells get new numbers: without tracks 1..n in each frame, with tracks that of the track,
whose births, ends and parents are a line each of `res_track.txt`. `cells.csv` says which cell a
number is.

1. What 16 bits cannot hold is refused, before anything is written.
2. Each frame is read a block of planes at a time; a table by label gives the new numbers.

Limits: a track of this format is seen in each frame from its birth to its end, so one of ours
that misses frames becomes several, each the only child of the one before it.

Reference: M. Maska et al. (2023), The Cell Tracking Challenge: 10 years of objective
benchmarking, DOI 10.1038/s41592-023-01879-y; https://celltrackingchallenge.net/datasets.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
import zarr

from ..geometry import Box
from ..memory import BLOCK_VOXELS
from ..store import read
from ..table import Table

MOST = 2**16 - 1
CELLS_FILE, TRACKS_FILE = "cells.csv", "res_track.txt"


def write_cells(folder: Path, *, cells: Table, labels: zarr.Array) -> None:
    """Write masks of cells without tracks, numbered 1..n in each frame by ascending label.

    Parameters
    ----------
    folder : Path
        Gets `mask000.tif`, ... and `cells.csv` (frame, mask, label).
    cells : Table
    labels : zarr.Array, (z, y, x) or (t, z, y, x)

    Raises
    ------
    ValueError
        If a frame has more than 65,535 cells.
    """
    n_frames = labels.shape[0] if labels.ndim == 4 else 1
    counts = cells.cells_by_frame(n_frames)
    if counts.max() > MOST:
        raise ValueError(
            f"frame {counts.argmax()} has {counts.max():,} cells; allowed are {MOST:,} a frame, as "
            "masks of the Cell Tracking Challenge have 16 bits: export geff, which holds any number"
        )
    frames = (
        frame.assign(mask=np.arange(1, len(frame) + 1))
        for frame in cells.frames(n_frames, ["frame", "label"])
    )
    _write_masks(folder, labels, n_frames, frames)


def write_tracks(folder: Path, *, tracks: Table, labels: zarr.Array) -> None:
    """Write masks numbered by track, and the lines of the tracks.

    Parameters
    ----------
    folder : Path
        Gets `mask000.tif`, ..., `res_track.txt` and `cells.csv` (frame, mask, label).
    tracks : Table
        What `track.track` found.
    labels : zarr.Array, (z, y, x) or (t, z, y, x)

    Raises
    ------
    ValueError
        If there are more than 65,535 tracks.
    """
    n_frames = labels.shape[0] if labels.ndim == 4 else 1
    rows, lines = unbroken(tracks.read(["frame", "label", "track_id", "parent_track_id"]))
    if len(lines) > MOST:
        raise ValueError(
            f"there are {len(lines):,} tracks, counted anew after each gap; allowed are {MOST:,}, "
            "as masks of the Cell Tracking Challenge have 16 bits: take ctc out of track.formats; "
            "geff holds any number"
        )
    by_frame = dict(iter(rows.groupby("frame")))
    frames = (by_frame.get(frame, rows.iloc[:0]) for frame in range(n_frames))
    _write_masks(folder, labels, n_frames, frames)
    text = "".join(f"{' '.join(map(str, line))}\n" for line in lines.to_numpy())
    (folder / TRACKS_FILE).write_text(text, encoding="ascii")


def unbroken(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tracks without gaps: at each gap a new one begins, whose parent is the one before.

    Parameters
    ----------
    rows : DataFrame
        With `frame`, `label`, `track_id` and `parent_track_id` (0: none) of each cell.

    Returns
    -------
    cells : DataFrame
        `frame`, `label` and `mask`, the number of the new track, by label.
    lines : DataFrame
        `mask`, `birth`, `end`, `parent` of each new track, in the order of the numbers 1, 2, ...
    """
    rows = rows.sort_values(["track_id", "frame"], ignore_index=True)
    track, frame = rows["track_id"].to_numpy(), rows["frame"].to_numpy()
    new_track = np.diff(track, prepend=0) != 0
    begins = new_track | (np.diff(frame, prepend=0) > 1)
    mask = np.cumsum(begins)
    ends = np.append(begins[1:], True)[: len(rows)]
    # What a track ends as is the parent of its children, and each part but the first follows one.
    last = dict(zip(track, mask, strict=True)) | {0: 0}
    parents = rows["parent_track_id"].to_numpy()
    parent = [last[parents[i]] if new_track[i] else mask[i] - 1 for i in np.flatnonzero(begins)]
    lines = pd.DataFrame(
        {"mask": mask[begins], "birth": frame[begins], "end": frame[ends], "parent": parent},
        dtype=np.int64,
    )
    cells = rows[["frame", "label"]].assign(mask=mask).sort_values("label", ignore_index=True)
    return cells, lines


def _write_masks(
    folder: Path, labels: zarr.Array, n_frames: int, frames: Iterable[pd.DataFrame]
) -> None:
    """Write each frame with the numbers `mask` in place of `label`, and the list of both."""
    digits = max(3, len(str(n_frames - 1)))
    with (folder / CELLS_FILE).open("w", encoding="ascii", newline="\n") as listed:
        listed.write("frame,mask,label\n")
        for number, cells in enumerate(frames):
            leading = (number,) if labels.ndim == 4 else ()
            cells.to_csv(listed, columns=["frame", "mask", "label"], header=False, index=False)
            shape = labels.shape[-3:] if labels.shape[-3] > 1 else labels.shape[-2:]
            tifffile.imwrite(
                folder / f"mask{number:0{digits}d}.tif",
                _planes(labels, leading, cells["label"].to_numpy(), cells["mask"].to_numpy()),
                shape=shape,
                dtype=np.uint16,
                bigtiff=2 * np.prod(shape, dtype=np.int64) > 2**31,
                compression="zlib",
                metadata=None,
                photometric="minisblack",
            )


def _planes(
    labels: zarr.Array, leading: tuple[int, ...], known: np.ndarray, mask: np.ndarray
) -> Iterator[np.ndarray]:
    """The planes of a frame, uint16, in which `mask` stands for the labels `known`."""
    first = known.min(initial=1)
    # Labels of a frame are near each other, so a table from the first to the last is short.
    numbers = np.zeros(known.max(initial=0) - first + 2, np.uint16)
    numbers[known - first + 1] = mask
    depth, *plane = labels.shape[-3:]
    step = max(1, min(labels.chunks[-3], BLOCK_VOXELS // max(1, np.prod(plane))))
    for z in range(0, depth, step):
        box = Box((z, 0, 0), (min(z + step, depth), *plane))
        for values in read(labels, box, leading):
            yield numbers[np.where(values > 0, values.astype(np.int64) - first + 1, 0)]
