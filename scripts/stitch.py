"""The fragments of all tiles of a sample become cells; arrays for the labels are laid out."""

from pathlib import Path

from mosaicell.geometry import Grid
from mosaicell.jobs.labels import lay_out_labels
from mosaicell.jobs.stitch import stitch_tiles
from mosaicell.progress import logged
from mosaicell.records import fingerprint, fingerprint_of_files
from mosaicell.store import read_json, write_json

with logged(snakemake.log[0]):
    sample, params = snakemake.wildcards.sample, snakemake.params
    summary = read_json(Path(snakemake.input.summary))
    segmented = read_json(Path(snakemake.input.segmented[0]))
    grid = Grid(tuple(summary["shape"][1:]), tuple(segmented["tile"]))
    persistence = params.persistence * segmented["one"]
    stitched = stitch_tiles(
        Path(snakemake.input.summary).parent / "tiles",
        grid=grid,
        persistence=persistence,
        min_size=params.min_size,
        what=f"stitch {sample}",
    )
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
    write_json(
        Path(snakemake.output[0]),
        {"content": identity, "tile": grid.tile, "shape": grid.shape, "n_cells": stitched.n_cells},
    )
