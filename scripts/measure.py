"""The rows of all tiles become the sample's tables, and the label image gets its metadata."""

import json
from pathlib import Path

import numpy as np

from mosaicell.columns import FRAMES, NEIGHBOURS, cell_columns
from mosaicell.geometry import Grid
from mosaicell.jobs.measure import gather_cells, gather_neighbours
from mosaicell.omezarr import label_attributes, labels_attributes
from mosaicell.progress import logged
from mosaicell.records import Records, read_job_record, reopening
from mosaicell.store import write_group
from mosaicell.table import write_table

with logged(snakemake.log[0], threads=snakemake.threads):
    summary = read_job_record(snakemake.input.summary)
    stitched = read_job_record(snakemake.input.stitched)
    grid = Grid(tuple(stitched["shape"]), tuple(stitched["tile"]), stitched["frames"])
    work = Path(snakemake.input.stitched).parent
    measured = read_job_record(snakemake.input.measured[0])
    records = Records(work / "measure" / "tiles", measured["content"])
    metadata = snakemake.params.origin | {
        "input": summary["content"],
        "landscape": summary.get("landscape", {}).get("content", ""),
        "voxel_size": json.dumps(summary["voxel_size"]),
        "versions": json.dumps(stitched["versions"], sort_keys=True),
    }
    tables = [
        (snakemake.output.table, cell_columns(**measured["columns"]), gather_cells),
        (snakemake.output.neighbours, NEIGHBOURS, gather_neighbours),
    ]
    for path, columns, gather in tables:
        with reopening(work / "measure"):
            write_table(
                Path(path),
                gather(work / "tiles", grid=grid, measured=records),
                sample=snakemake.wildcards.sample,
                columns=columns,
                metadata=metadata,
            )
    counts = {name: np.array(stitched[name], np.int64) for name in ("num_cells", "num_voxels")}
    write_table(
        Path(snakemake.output.frames),
        [{"frame": np.arange(len(counts["num_cells"])), **counts}],
        sample=snakemake.wildcards.sample,
        columns=FRAMES,
        metadata=metadata,
    )
    labels = Path(snakemake.output.labels).parent
    write_group(
        labels,
        label_attributes(
            name="cells",
            voxel_size=summary["voxel_size"],
            factors=[tuple(factors) for factors in summary["levels"]],
            frames=summary["frames"],
            frame_interval=summary["frame_interval"],
        )
        | {"mosaicell": metadata},
    )
    write_group(labels.parent, labels_attributes(["cells"]))
