"""One job's share of the tiles of a sample: landscape to fragments."""

from pathlib import Path

from mosaicell.geometry import Grid
from mosaicell.jobs.segment import segment_tiles
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

with logged(snakemake.log[0], threads=snakemake.threads):
    sample, params = snakemake.wildcards.sample, snakemake.params
    record, work = Path(snakemake.output[0]), Path(snakemake.input.summary).parent
    forget_jobs(record, params.jobs)
    summary = read_job_record(snakemake.input.summary)
    with reopening(Path(snakemake.input.summary)):
        landscape = open_array(Path(snakemake.input.landscape).parent)
    if snakemake.input.predictions:
        origin = read_job_record(snakemake.input.predictions[0])
        predicted = Records(work / "predict" / "shards", origin["content"])
    else:
        origin = summary["landscape"]
        predicted = None
    grid = Grid(landscape.shape[-3:], tuple(params.tile_shape), summary["frames"])
    threshold = params.threshold * origin["one"]
    sigma = sigma_in_voxels(**(params.sigma or {}), voxel_size=summary["voxel_size"])
    versions = origin["versions"] | versions_of("numba", "numpy")
    identity = fingerprint(
        versions=versions,
        landscape=origin["content"],
        tile=grid.tile,
        threshold=threshold,
        sigma=sigma,
        code=fingerprint_of_files(snakemake.input.code),
    )
    with reopening(work / "predict", Path(snakemake.input.summary)):
        segment_tiles(
            landscape,
            work / "tiles",
            grid=grid,
            tiles=grid.share(int(snakemake.wildcards.job), params.jobs),
            threshold=threshold,
            sigma=sigma,
            records=Records(record.parent / "tiles", identity),
            predicted=predicted,
            what=f"segment {sample}",
            threads=snakemake.threads,
        )
    write_job_record(record, content=identity, one=origin["one"], tile=grid.tile, versions=versions)
