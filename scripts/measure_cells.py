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
from mosaicell.store import open_array

with logged(snakemake.log[0], threads=snakemake.threads):
    sample, params = snakemake.wildcards.sample, snakemake.params
    summary = read_job_record(snakemake.input.summary)
    stitched = read_job_record(snakemake.input.stitched)
    store = Path(snakemake.input.group).parent
    record, work = Path(snakemake.output[0]), Path(snakemake.input.stitched).parent
    forget_jobs(record, params.jobs)
    labels = read_job_record(snakemake.input.labels[0])
    grid = Grid(tuple(stitched["shape"]), tuple(stitched["tile"]), stitched["frames"])
    identity = fingerprint(
        versions=versions_of("numba", "numpy"),
        cells=stitched["content"],
        image=summary["content"],
        voxel_size=summary["voxel_size"],
        code=fingerprint_of_files(snakemake.input.code),
    )
    with reopening(work / "labels", Path(snakemake.input.stitched), Path(snakemake.input.summary)):
        measure_tiles(
            open_array(store / "labels" / "cells" / "0"),
            open_array(store / "0"),
            work / "tiles",
            grid=grid,
            tiles=grid.share(int(snakemake.wildcards.job), params.jobs),
            voxel_size=summary["voxel_size"],
            records=Records(record.parent / "tiles", identity),
            written=Records(work / "labels" / "shards", labels["content"]),
            what=f"measure {sample}",
            threads=snakemake.threads,
        )
    write_job_record(record, content=identity)
