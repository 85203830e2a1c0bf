"""One job's share of the shards of a sample's label image."""

from pathlib import Path

from mosaicell.geometry import Grid
from mosaicell.jobs.labels import write_labels
from mosaicell.progress import logged
from mosaicell.records import (
    Records,
    fingerprint,
    fingerprint_of_files,
    forget_jobs,
    read_job_record,
    reopening,
    write_job_record,
)
from mosaicell.store import open_array, shard_grid

with logged(snakemake.log[0], threads=snakemake.threads):
    sample, params = snakemake.wildcards.sample, snakemake.params
    stitched = read_job_record(snakemake.input.stitched)
    store = Path(snakemake.input.group).parent
    record, work = Path(snakemake.output[0]), Path(snakemake.input.stitched).parent
    forget_jobs(record, params.jobs)
    factors = read_job_record(snakemake.input.summary)["levels"]
    labels = store / "labels" / "cells"
    with reopening(Path(snakemake.input.stitched)):
        levels = [(open_array(labels / str(k), "r+"), tuple(f)) for k, f in enumerate(factors)]
    identity = fingerprint(
        cells=stitched["content"],
        layouts=[[array.shape, array.shards, array.dtype.name] for array, _ in levels],
        code=fingerprint_of_files(snakemake.input.code),
    )
    with reopening(work / "segment", Path(snakemake.input.stitched)):
        write_labels(
            work / "tiles",
            levels,
            grid=Grid(tuple(stitched["shape"]), tuple(stitched["tile"]), stitched["frames"]),
            shards=shard_grid(levels[0][0]).share(int(snakemake.wildcards.job), params.jobs),
            records=Records(record.parent / "shards", identity),
            what=f"labels {sample}",
            threads=snakemake.threads,
        )
    write_job_record(record, content=identity)
