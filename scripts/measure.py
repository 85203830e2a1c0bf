"""The rows of all tiles become the sample's table, and the label image gets its metadata."""

import json
from pathlib import Path

from mosaicell.geometry import Grid
from mosaicell.jobs.measure import gather_cells
from mosaicell.measure import units
from mosaicell.movie import frames_bytes
from mosaicell.omezarr import label_attributes, labels_attributes
from mosaicell.progress import logged
from mosaicell.records import Records, read_job_record, reopening
from mosaicell.store import write_file, write_group
from mosaicell.table import table_bytes

with logged(snakemake.log[0], threads=snakemake.threads):
    summary = read_job_record(snakemake.input.summary)
    stitched = read_job_record(snakemake.input.stitched)
    grid = Grid(tuple(stitched["shape"]), tuple(stitched["tile"]), stitched["frames"])
    work = Path(snakemake.input.stitched).parent
    measured = read_job_record(snakemake.input.measured[0])["content"]
    records = Records(work / "measure" / "tiles", measured)
    with reopening(work / "measure"):
        cells = gather_cells(work / "tiles", grid=grid, measured=records)
    metadata = snakemake.params.origin | {
        "input": summary["content"],
        "landscape": summary.get("landscape", {}).get("content", ""),
        "voxel_size": json.dumps(summary["voxel_size"]),
        "versions": json.dumps(stitched["versions"], sort_keys=True),
    }
    table = table_bytes(
        cells,
        sample=snakemake.wildcards.sample,
        units=units(summary["shape"][0]),
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
    frames = frames_bytes(
        stitched["num_cells"],
        stitched["num_voxels"],
        sample=snakemake.wildcards.sample,
        metadata=metadata,
    )
    write_file(Path(snakemake.output.frames), frames)
    write_file(Path(snakemake.output.table), table)
