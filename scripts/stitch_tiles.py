"""One job's share of the tiles of a sample: what can be decided of its cells in each tile alone."""

from pathlib import Path

from mosaicell.geometry import Grid
from mosaicell.jobs.stitch import stitch_tiles
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

with logged(snakemake.log[0], threads=snakemake.threads):
    sample, params = snakemake.wildcards.sample, snakemake.params
    summary = read_job_record(snakemake.input.summary)
    segmented = read_job_record(snakemake.input.segmented[0])
    record, work = Path(snakemake.output[0]), Path(snakemake.input.summary).parent
    forget_jobs(record, params.jobs)
    grid = Grid(tuple(summary["shape"][1:]), tuple(segmented["tile"]), summary["frames"])
    persistence = params.persistence * segmented["one"]
    identity = fingerprint(
        fragments=segmented["content"],
        persistence=persistence,
        code=fingerprint_of_files(snakemake.input.code),
    )
    with reopening(work / "segment"):
        stitch_tiles(
            work / "tiles",
            grid=grid,
            tiles=grid.share(int(snakemake.wildcards.job), params.jobs),
            persistence=persistence,
            records=Records(record.parent / "tiles", identity),
            segmented=Records(work / "segment" / "tiles", segmented["content"]),
            what=f"stitch tiles of {sample}",
            threads=snakemake.threads,
        )
    write_job_record(record, content=identity)
