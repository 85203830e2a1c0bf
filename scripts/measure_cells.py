"""One job's share of the tiles of a sample: rows of the cells that they own."""

from pathlib import Path

from mosaicell.geometry import Grid
from mosaicell.jobs.measure import measure_tiles
from mosaicell.progress import logged
from mosaicell.records import (
    Records,
    fingerprint,
    fingerprint_of_files,
    forget_jobs,
    read_job_record,
    reopening,
    versions_of,
    write_job_record,
)
from mosaicell.sigma import sigma_in_voxels
from mosaicell.store import open_array
from mosaicell.wanted import wanted_of

with logged(snakemake.log[0], threads=snakemake.threads):
    sample, params = snakemake.wildcards.sample, snakemake.params
    summary = read_job_record(snakemake.input.summary)
    stitched = read_job_record(snakemake.input.stitched)
    store = Path(snakemake.input.group).parent
    record, work = Path(snakemake.output[0]), Path(snakemake.input.stitched).parent
    forget_jobs(record, params.jobs)
    labels = read_job_record(snakemake.input.labels[0])
    if snakemake.input.predictions:
        origin = read_job_record(snakemake.input.predictions[0])
        predicted = Records(work / "predict" / "shards", origin["content"])
    else:
        origin, predicted = summary["landscape"], None
    grid = Grid(tuple(stitched["shape"]), tuple(stitched["tile"]), stitched["frames"])
    wanted = wanted_of(
        **params.measure,
        volume=grid.shape,
        voxel_size=summary["voxel_size"],
        dtype=summary["dtype"],
        limits=[tuple(channel["limits"]) for channel in summary["channels"]],
        threshold=params.threshold * origin["one"],
        one=origin["one"],
    )
    identity = fingerprint(
        versions=versions_of("numba", "numpy"),
        cells=stitched["content"],
        image=summary["content"],
        voxel_size=summary["voxel_size"],
        measure=params.measure,
        plugins=[plugin.origin for plugin in wanted.plugins.values()],
        code=fingerprint_of_files(snakemake.input.code),
    )
    damage = [Path(snakemake.input.stitched), Path(snakemake.input.summary)]
    with reopening(work / "labels", work / "predict", *damage):
        measure_tiles(
            open_array(store / "labels" / "cells" / "0"),
            open_array(store / "0"),
            open_array(Path(snakemake.input.landscape).parent),
            work / "tiles",
            grid=grid,
            tiles=grid.share(int(snakemake.wildcards.job), params.jobs),
            wanted=wanted,
            sigma=sigma_in_voxels(**(params.sigma or {}), voxel_size=summary["voxel_size"]),
            records=Records(record.parent / "tiles", identity),
            written=Records(work / "labels" / "shards", labels["content"]),
            predicted=predicted,
            what=f"measure {sample}",
            threads=snakemake.threads,
        )
    columns = {
        "channels": wanted.channels,
        "texture": wanted.texture_levels is not None,
        "plugins": wanted.plugin_keys,
    }
    write_job_record(record, content=identity, columns=columns)
