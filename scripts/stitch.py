"""What is left of all tiles of a sample becomes cells; arrays for the labels are laid out."""

from pathlib import Path

from mosaicell.geometry import Grid
from mosaicell.jobs.labels import lay_out_labels
from mosaicell.jobs.stitch import stitch_volume
from mosaicell.progress import logged
from mosaicell.records import (
    Records,
    fingerprint,
    fingerprint_of_files,
    read_job_record,
    reopening,
    write_job_record,
)

with logged(snakemake.log[0], threads=snakemake.threads):
    sample, params = snakemake.wildcards.sample, snakemake.params
    summary = read_job_record(snakemake.input.summary)
    segmented = read_job_record(snakemake.input.segmented[0])
    contracted = read_job_record(snakemake.input.contracted[0])
    grid = Grid(tuple(summary["shape"][1:]), tuple(segmented["tile"]), summary["frames"])
    work = Path(snakemake.input.summary).parent
    with reopening(work / "stitch_tiles"):
        stitched = stitch_volume(
            work / "tiles",
            grid=grid,
            persistence=params.persistence * segmented["one"],
            min_size=params.min_size,
            min_peak=params.min_peak * segmented["one"],
            min_relative_peak=params.min_relative_peak,
            contracted=Records(work / "stitch_tiles" / "tiles", contracted["content"]),
            what=f"stitch {sample}",
            threads=snakemake.threads,
        )
    # What was made of other labels than those to come would be worse than nothing.
    for product in params.products:
        Path(product).unlink(missing_ok=True)
    lay_out_labels(
        Path(params.store) / "labels" / "cells",
        shape=grid.shape,
        dtype=stitched.dtype,
        factors=[tuple(factors) for factors in summary["levels"]],
        frames=grid.frames,
    )
    identity = fingerprint(
        basins=contracted["content"],
        min_size=params.min_size,
        min_peak=params.min_peak,
        min_relative_peak=params.min_relative_peak,
        code=fingerprint_of_files(snakemake.input.code),
    )
    write_job_record(
        Path(snakemake.output[0]),
        content=identity,
        tile=grid.tile,
        shape=grid.shape,
        frames=grid.frames,
        num_cells=stitched.num_cells,
        num_voxels=stitched.num_voxels,
        versions=segmented["versions"],
    )
