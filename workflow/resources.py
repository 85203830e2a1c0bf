"""What the jobs of each stage ask for: memory and run time, and the units of work they share.

Idea: a job holds a known number of bytes for each voxel of the tiles, shards or bands that it has
in work, and its run time follows from its share of the sample. So both are computed from what is
known of the sample (see `Load`): the configuration always, and the image once it is ingested.
Nothing here opens an image.

1. Memory: `FLOOR` for the programs, and bytes per voxel for each thread. A second attempt asks for
   twice as much, a third for four times: a job that was killed for its memory may get through.
2. Run time: the voxels of the job's share by the stage's speed, four times as long as was
   measured, since file systems and processors differ; then doubled for each attempt, too.

How the figures were found: 4 cores of an AMD EPYC, 512 x 256 x 256 voxels in two tiles of 256^3,
`ru_maxrss` of each job's process less that of its imports. Synthetic nuclei gave the lower end
(segment: 22 bytes a voxel), uncorrelated noise with 27 voxels a cell the upper one (39 for uint16,
54 for float32).

Limits: whoever has more cells than one in `VOXELS_PER_CELL`, or planes wider than 30,000 pixels,
may need the second attempt, and so may a training on many labelled images, which are not opened
here. The speed of a GPU is assumed, not measured.
"""

from dataclasses import dataclass
from math import ceil, prod, sqrt
from pathlib import Path

import numpy as np

import settings
import sheets
from mosaicell.geometry import Grid, Triple, VoxelSize, cube
from mosaicell.memory import BAND_BYTES, BLOCK_VOXELS, LOOK_WINDOW, NEIGHBOURS_IN_MEMORY
from mosaicell.store import CHUNK_VOXELS, SHARD_VOXELS, DamagedError, read_sealed

MB = 10**6
# Two Snakemakes around a script on a cluster (220 MB each), and imports (110 to 180 MB).
FLOOR = 700 * MB
TORCH = 600 * MB  # importing it and loading a model takes 290 MB; the rest is for CUDA's host side
# Dense nuclei of 12 voxels in diameter. Most samples have fewer.
VOXELS_PER_CELL = 2000
# A single tile may have cells as small as they come.
VOXELS_PER_SMALL_CELL = 100
# Bytes a cell: 69 in 10^8 cells of a made-up volume (tests/benchmarks/stitch_simulation.md).
BYTES_PER_CELL = {
    "stitch": 100,
    "evaluate": 1500,  # true ones and found ones, with their rows in the table of matches
    "export": 500,
    "track": 15000,  # with some thousand cells a frame; laptrack's distances grow with their square
    "track_export": 500,
}
# Of rows in memory, counted: a cell's with its five contacts, and what each channel adds. Gathering
# holds those of a layer of tiles about five times: as read, joined, sorted, in groups, as written.
BYTES_PER_ROW, BYTES_PER_ROW_AND_CHANNEL, COPIES_OF_ROWS = 540, 210, 5
# Voxels per second and thread, start-up included, rounded down. predict: of the model's grid, on
# a CPU; stitch: 10^10 voxels of the made-up volume; the others: of the noise, as above.
SPEEDS = {
    "ingest": 15e6,
    "estimate_diameter": 0.18e6,
    "predict": 0.18e6,
    "segment": 6e6,
    "stitch_tiles": 10e6,
    "stitch": 500e6,
    "measure_labels": 8e6,
    "measure_cells": 5e6,
    "measure": 500e6,
    "report": 500e6,
    "evaluate": 8e6,
    "export": 5e6,
    "track": 5e6,
    "track_export": 5e6,
}
N_WINDOWS_LOOKED_AT = 80  # four for each guess; most searches end after six guesses
GPU_SPEED = 5e6  # voxels of the model per second and GPU: assumed, not measured
# Of the others a job has one thread: many small jobs find a place sooner than few large ones.
THREADS = {"ingest": 4, "stitch": 4}
SHARED = ("predict", "segment", "stitch_tiles", "measure_labels", "measure_cells")
LEAST_MINUTES = 30
UNKNOWN_MINUTES = 12 * 60  # nothing is known of an image before it is ingested
CAUTION = 4
GPU_JOB_THREADS = 4  # on a cluster: they read, normalise and write while the GPU computes


@dataclass(frozen=True)
class Load:
    """What is known of the work on a sample.

    Attributes
    ----------
    tile : tuple of int
    jobs : int
        Of each stage that has several.
    model : dict
        Card of the model.
    brought : bool
        Whether the sample brings its landscape.
    smooth : bool
        Whether the landscape is smoothed.
    diameter : dict, str or None
        To which the image is scaled, see `settings.diameter`; "auto" if it is not estimated yet.
    train : dict
        The section of the configuration.
    shape : tuple of int or None
        (c, z, y, x); None if it is not known yet, like the dtypes and the voxel size.
    frames : int or None
        None for an image without time.
    itemsize, landscape_itemsize : int
        Bytes of a voxel; four if not known.
    voxel_size : tuple of float or None
    """

    tile: Triple
    jobs: int
    model: dict
    brought: bool
    smooth: bool
    diameter: sheets.Diameter | None
    train: dict
    shape: tuple[int, int, int, int] | None = None
    frames: int | None = None
    itemsize: int = 4
    landscape_itemsize: int = 4
    voxel_size: VoxelSize | None = None

    @property
    def voxels(self) -> int:
        """Voxels of one channel, in all frames."""
        return self.frame_voxels * (self.frames or 1)

    @property
    def frame_voxels(self) -> int:
        """Voxels of one channel in a frame."""
        return prod(self.shape[1:])

    @property
    def tile_voxels(self) -> int:
        """Voxels of a tile with a halo of one voxel; a small volume has small tiles."""
        edges = self.tile if self.shape is None else map(min, self.tile, self.shape[1:])
        return prod(edge + 2 for edge in edges)

    @property
    def scale(self) -> tuple[float, float, float]:
        """Voxels of the model per voxel of the image along each axis."""
        if not isinstance(self.diameter, dict):
            return (1.0, 1.0, 1.0)
        ((unit, diameter),) = self.diameter.items()
        if unit == "um" and self.voxel_size is None:
            return (1.0, 1.0, 1.0)
        size = self.voxel_size or (1.0, 1.0, 1.0)
        diameter *= sqrt(size[1] * size[2]) if unit == "voxel" else 1.0
        z, y, x = (edge * self.model["nominal_diameter"] / diameter for edge in size)
        return (1.0 if self.model["architecture"]["dimensions"] == 2 else z, y, x)


def load(
    config: dict,
    sample: sheets.Sample | None,
    card: dict,
    summary: Path | None = None,
    estimate: Path | None = None,
) -> Load:
    """What is known of a sample from the configuration and, once it is ingested, its summary.

    Parameters
    ----------
    config : dict
        Complete, see `settings.read_config`.
    sample : Sample or None
        None for what belongs to no sample.
    card : dict
        Of the model.
    summary : Path, optional
        What `ingest` leaves, there or not.
    estimate : Path, optional
        What `estimate_diameter` leaves, there or not.
    """
    said, known = _read(summary), {}
    diameter = sample and settings.diameter(config, sample)
    if diameter == "auto" and (estimated := _read(estimate)):
        diameter = {"voxel": estimated["diameter"]} if estimated["diameter"] else None
    if said:
        landscape = said.get("landscape", {"dtype": "uint16"})
        known = {
            "shape": tuple(said["shape"]),
            "frames": said["frames"],
            "itemsize": np.dtype(said["dtype"]).itemsize,
            "landscape_itemsize": np.dtype(landscape["dtype"]).itemsize,
            "voxel_size": said["voxel_size"],
        }
    return Load(
        tile=tuple(config["tile"]["shape"]),
        jobs=config["tile"]["jobs"],
        model=card,
        brought=bool(sample and sample.landscape),
        smooth=config["segment"]["sigma"] is not None,
        diameter=diameter,
        train=config["train"],
        **known,
    )


def _read(record: Path | None) -> dict:
    try:
        return read_sealed(record) if record else {}
    except DamagedError:  # not there yet, or to be made again
        return {}


def units(stage: str, load: Load) -> tuple[int, str]:
    """How many units of work a stage has in a sample, and what they are."""
    volume = load.shape[1:]
    if stage == "ingest":
        slabs = -(-volume[0] // cube(volume, CHUNK_VOXELS)[0])
        return (load.frames or 1) * load.shape[0] * slabs, "slabs"
    if stage in ("predict", "measure_labels"):
        return len(Grid(volume, cube(volume, SHARD_VOXELS), load.frames)), "shards"
    if stage in SHARED:
        return len(Grid(volume, load.tile, load.frames)), "tiles"
    return 1, "sample"


def memory(stage: str, load: Load, *, threads: int, attempt: int = 1) -> int:
    """Memory of a job in MB (10^6 bytes).

    Parameters
    ----------
    stage : str
        Name of the rule.
    load : Load
    threads : int
        Of the job.
    attempt : int
        1 for the first.
    """
    if stage == "predict":
        threads = min(threads, _windows(load))
    held = _per_thread(stage, load) * threads
    if stage in ("estimate_diameter", "predict", "train"):
        held += TORCH
    if stage == "train":
        # 850 MB for 4 volumes of 48^3 voxels and 16 channels; a worker imports what training does.
        train = load.train
        voxels = train["batch"] * train["edge"] ** train["dimensions"]
        channels = train["channels"][0] * (1.5 if train["task"] == "distance_three_class" else 1)
        held += 140 * voxels * channels + train["workers"] * 300 * MB
    if stage == "stitch_tiles":
        z, y, x = load.tile
        held += NEIGHBOURS_IN_MEMORY * 4 * 2 * (z * y + z * x + y * x)  # rims
    if stage in BYTES_PER_CELL and load.shape:
        # Frames are stitched one after the other.
        voxels = load.frame_voxels if stage == "stitch" else load.voxels
        held += BYTES_PER_CELL[stage] * voxels // VOXELS_PER_CELL
    if stage == "measure" and load.shape:
        layer = prod(load.shape[2:]) * min(load.tile[0], load.shape[1])
        n_cells = max(layer // VOXELS_PER_CELL, load.tile_voxels // VOXELS_PER_SMALL_CELL)
        held += _bytes_of_rows(load, n_cells)
    return ceil((FLOOR + held) / MB) * 2 ** (attempt - 1)


def _bytes_of_rows(load: Load, n_cells: int) -> int:
    """Bytes that the rows of cells take while a table is made of them."""
    channels = load.shape[0] if load.shape else 1
    return COPIES_OF_ROWS * n_cells * (BYTES_PER_ROW + BYTES_PER_ROW_AND_CHANNEL * channels)


def _per_thread(stage: str, load: Load) -> int:
    """Bytes that each thread of a job holds."""
    channels, tile = load.shape[0] if load.shape else 1, load.tile_voxels
    shard = min(SHARD_VOXELS, load.frame_voxels) if load.shape else SHARD_VOXELS
    if stage == "ingest":
        return 4 * BAND_BYTES
    if stage in ("estimate_diameter", "predict"):
        # 13 bytes a voxel and channel of the finest level: three arrays and a part of a fourth.
        window = _looked_at(load) if stage == "estimate_diameter" else _window_voxels(load)
        return 16 * window * load.model["architecture"]["channels"][0]
    if stage == "segment":
        smoothed = 12 if load.smooth else 0
        return tile * (36 + 6 * load.landscape_itemsize + smoothed)
    if stage == "stitch_tiles":
        return 16 * tile
    if stage == "measure_labels":
        return 16 * shard + 12 * tile
    if stage == "measure_cells":
        # A crop is larger than its tile by what cells stick out; labels, image, landscape, and
        # their copies.
        smoothed = 12 if load.smooth else 0
        crop = 3 * tile * (8 + channels * load.itemsize + load.landscape_itemsize + smoothed)
        return crop + _bytes_of_rows(load, tile // VOXELS_PER_SMALL_CELL)
    if stage == "evaluate":
        return 55 * shard
    if stage in ("export", "track_export"):
        return 16 * BLOCK_VOXELS
    return 0


def _window_voxels(load: Load) -> int:
    """Voxels of a window of the model with its halo; in a small volume a window is smaller."""
    core, dimensions = [load.model["window"]] * 3, load.model["architecture"]["dimensions"]
    if load.shape:
        shard = cube(load.shape[1:], SHARD_VOXELS)
        core = [min(c, ceil(n * s)) for c, n, s in zip(core, shard, load.scale, strict=True)]
    # A 2D network has one plane in work at a time.
    return prod(c + 2 * load.model["halo"] + 16 for c in core[-dimensions:])


def _windows(load: Load) -> int:
    """How many windows there are at least, each of which one thread has in work."""
    if not load.shape:
        return SHARD_VOXELS
    window = load.model["window"]
    edges = [1 if load.model["architecture"]["dimensions"] == 2 else window, window, window]
    return prod(
        ceil(n * s / edge) for n, s, edge in zip(load.shape[1:], load.scale, edges, strict=True)
    )


def _looked_at(load: Load) -> int:
    """Voxels of a window, with its halo, in which the diameter of cells is looked for."""
    dimensions = load.model["architecture"]["dimensions"]
    return (LOOK_WINDOW[dimensions] + 2 * load.model["halo"] + 16) ** dimensions


def seconds(stage: str, load: Load, *, threads: int, gpu: bool = False) -> float:
    """How long a job of a stage takes, as a first guess.

    Parameters
    ----------
    stage, load, threads
        See `memory`.
    gpu : bool
        Whether predicting has a GPU.
    """
    count, _ = units(stage, load)
    share = -(-count // load.jobs) / count if stage in SHARED else 1.0
    voxels = load.voxels * share
    if stage == "estimate_diameter":
        voxels = N_WINDOWS_LOOKED_AT * _looked_at(load)
    if stage in ("ingest", "measure_cells"):
        voxels *= load.shape[0]
    if stage == "predict":
        voxels *= prod(load.scale)
    speed = (
        GPU_SPEED if gpu and stage in ("estimate_diameter", "predict") else SPEEDS[stage] * threads
    )
    return voxels / speed


def runtime(stage: str, load: Load, *, threads: int, attempt: int = 1) -> int:
    """Minutes that a job may take: generous, and more for each attempt; see `memory`.

    Predicting is given what a slow GPU needs. Without one it may need the second attempt or the
    third, which go on where the one before has ended.
    """
    minutes = UNKNOWN_MINUTES
    if stage in SPEEDS and load.shape:
        needed = seconds(stage, load, threads=threads, gpu=True)
        minutes = LEAST_MINUTES + ceil(CAUTION * needed / 60)
    elif stage in ("evaluate_truth", "check_measure", "scores"):
        minutes = LEAST_MINUTES
    return minutes * 2 ** (attempt - 1)
