"""What a run would take, said before anything runs: work, jobs, memory, disk and time by stage.

Idea: headers of the images tell shapes and dtypes, `resources` tells the rest. Samples of which the
same is known are one table.

Limits: disk and time are first guesses. The image and the landscape are counted as they are before
compression; what depends on cells, with one cell in 2,000 voxels. Where the diameter of cells is
still to be estimated, the image is taken as it is. Times are those of 4 cores of an AMD EPYC; how
fast a GPU predicts is assumed (see `resources`).
"""

from dataclasses import replace
from math import prod

import resources
import sheets
from mosaicell.sources import open_parts
from resources import GPU_SPEED, SHARED, SPEEDS, THREADS, Load

STAGES = (
    "ingest",
    "estimate_diameter",
    "predict",
    "segment",
    "stitch_tiles",
    "stitch",
    "measure_labels",
    "measure_cells",
    "measure",
    "report",
)
# Bytes on disk for each cell, rounded up from 2,433 synthetic nuclei in 33.5 * 10^6 voxels.
BYTES_PER_CELL = {
    "segment": 450,
    "stitch_tiles": 20,
    "stitch": 20,
    "measure_labels": 800,
    "measure_cells": 350,
    "measure": 400,
}
PYRAMID = 8 / 7  # a level has an eighth of the voxels of the one before
LONG_HOURS = 24
GOOD_HOURS = 4
MOST_JOBS = 1000  # what the configuration allows
HEAD = ("stage", "work", "jobs", "memory a job", "disk", "time a job", "GPU hours")


def look(config: dict, sample: sheets.Sample, card: dict) -> Load:
    """What the headers of a sample's files add to what the configuration says of it.

    Raises
    ------
    ValueError
        If a file cannot be opened, see `mosaicell.sources.open_parts`.
    """
    image = open_parts(sample.image)
    brought = open_parts(sample.landscape).dtype.itemsize if sample.landscape else 2
    return replace(
        resources.load(config, sample, card),
        shape=image.shape[1:],
        frames=image.frames,
        itemsize=min(4, image.dtype.itemsize),
        landscape_itemsize=brought,
        voxel_size=sample.voxel_size or image.voxel_size,
    )


def disk(stage: str, load: Load) -> int:
    """Bytes that a stage leaves on disk."""
    if stage == "ingest":
        image = load.shape[0] * load.voxels * load.itemsize * PYRAMID
        return int(image) + (load.voxels * load.landscape_itemsize if load.brought else 0)
    if stage == "predict":
        return load.voxels * load.landscape_itemsize
    return BYTES_PER_CELL.get(stage, 0) * load.voxels // resources.VOXELS_PER_CELL


def plan(loads: dict[str, Load], *, predict_threads: int) -> str:
    """A table for each kind of sample, and what all of them take.

    Parameters
    ----------
    loads : dict of Load
        By sample, with their shapes.
    predict_threads : int
        Threads of a job of `predict`.

    Returns
    -------
    str
    """
    kinds: list[tuple[Load, list[str]]] = []
    for name, load in loads.items():
        alike = next((names for known, names in kinds if known == load), None)
        if alike is None:
            kinds.append((load, [name]))
        else:
            alike.append(name)
    threads = THREADS | dict.fromkeys(("estimate_diameter", "predict"), predict_threads)
    parts = [_table(load, names, threads) for load, names in kinds]
    n_jobs = sum(_jobs(stage, load) for load in loads.values() for stage in stages(load))
    n_bytes = sum(disk(stage, load) for load in loads.values() for stage in stages(load))
    to_predict = sum(_to_predict(load) for load in loads.values() if not load.brought)
    gpu, core = (to_predict / speed / 3600 for speed in (GPU_SPEED, SPEEDS["predict"]))
    parts.append(
        f"In all: {len(loads):,} samples, {n_jobs:,} jobs, {_size(n_bytes)} on disk (images before "
        f"compression).\nPredicting: about {gpu:,.1f} GPU hours (at {GPU_SPEED / 1e6:g} Mvoxel/s, "
        f"assumed), or {core:,.1f} core hours without a GPU (at {SPEEDS['predict'] / 1e6:g} "
        "Mvoxel/s, measured on an AMD EPYC).\nTimes are first guesses; nothing was run."
    )
    return "\n\n".join(parts)


def stages(load: Load) -> list[str]:
    """The stages that a sample goes through."""
    left_out = {"predict"} if load.brought else set()
    left_out |= {"estimate_diameter"} if load.diameter != "auto" else set()
    return [stage for stage in STAGES if stage not in left_out]


def _to_predict(load: Load) -> float:
    """Voxels of the model."""
    return load.voxels * prod(load.scale)


def _jobs(stage: str, load: Load) -> int:
    return load.jobs if stage in SHARED else 1


def _table(load: Load, names: list[str], threads: dict[str, int]) -> str:
    """What one sample takes, and which samples take the same."""
    who = names[0] if len(names) == 1 else f"each of {len(names)} samples ({names[0]}, ...)"
    rows, longest = [HEAD], 0.0
    for stage in stages(load):
        count, unit = resources.units(stage, load)
        n_threads = threads.get(stage, 1)
        seconds = resources.seconds(stage, load, threads=n_threads, gpu=True)
        if stage in SHARED:
            longest = max(longest, seconds / 3600)
        megabytes = resources.memory(stage, load, threads=n_threads)
        gpu = (
            f"{load.voxels * prod(load.scale) / GPU_SPEED / 3600:,.1f}"
            if stage == "predict"
            else ""
        )
        rows.append(
            (
                stage,
                f"{count:,} {unit}",
                f"{_jobs(stage, load):,}",
                _size(megabytes * resources.MB),
                _size(disk(stage, load)),
                _time(seconds),
                gpu,
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    shape = " x ".join(f"{n:,}" for n in load.shape[1:])
    plural = "s" if load.shape[0] > 1 else ""
    head = f"{who}: {shape} voxels (z, y, x), {load.shape[0]} channel{plural}"
    head += f", {load.frames:,} frames" if load.frames else ""
    text = "\n".join([head, *lines])
    return text + _advice(load, longest)


def _advice(load: Load, hours: float) -> str:
    """What to set where jobs would be very long."""
    if hours <= LONG_HOURS:
        return ""
    most = max(resources.units(stage, load)[0] for stage in SHARED)
    better = min(-(-int(load.jobs * hours) // GOOD_HOURS), MOST_JOBS, most)
    if better <= load.jobs:
        return ""
    return (
        f"\nThe longest jobs take {_time(hours * 3600)}: with tile.jobs: {better} instead of "
        f"{load.jobs} they would take {_time(hours * 3600 * load.jobs / better)}."
    )


def _size(n_bytes: float) -> str:
    n, unit = n_bytes / 1e6, "MB"
    for larger in ("GB", "TB"):
        if n >= 1000:
            n, unit = n / 1000, larger
    return f"{n:,.1f} {unit}"


def _time(seconds: float) -> str:
    if seconds < 3600:
        return f"{max(1, round(seconds / 60))} min"
    return f"{seconds / 3600:,.1f} h"
