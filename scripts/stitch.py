"""The fragments of all tiles of a sample become cells; arrays for the labels are laid out."""

from pathlib import Path

from mosaicell.geometry import Grid
from mosaicell.jobs.labels import lay_out_labels
from mosaicell.jobs.stitch import stitch_tiles
from mosaicell.progress import logged
from mosaicell.records import (
    Records,
    fingerprint,
    fingerprint_of_files,
    reopening,
    write_job_record,
)
from mosaicell.store import read_json

with logged(snakemake.log[0]):
    sample, params = snakemake.wildcards.sample, snakemake.params
    summary = read_json(Path(snakemake.input.summary))
    segmented = read_json(Path(snakemake.input.segmented[0]))
    grid = Grid(tuple(summary["shape"][1:]), tuple(segmented["tile"]))
    persistence = params.persistence * segmented["one"]
    work = Path(snakemake.input.summary).parent
    with reopening(work / "segment"):
        stitched = stitch_tiles(
            work / "tiles",
            grid=grid,
            persistence=persistence,
            min_size=params.min_size,
            segmented=Records(work / "segment" / "tiles", segmented["content"]),
            what=f"stitch {sample}",
        )
    # What was made of other labels than those to come would be worse than nothing.
    for product in params.products:
        Path(product).unlink(missing_ok=True)
    lay_out_labels(
        Path(params.store) / "labels" / "cells",
        shape=grid.shape,
        dtype=stitched.dtype,
        factors=[tuple(factors) for factors in summary["levels"]],
    )
    identity = fingerprint(
        fragments=segmented["content"],
        persistence=persistence,
        min_size=params.min_size,
        code=fingerprint_of_files(snakemake.input.code),
    )
    write_job_record(
        Path(snakemake.output[0]),
        content=identity,
        tile=grid.tile,
        shape=grid.shape,
        versions=segmented["versions"],
    )
