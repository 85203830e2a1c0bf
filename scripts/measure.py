"""The rows of all tiles become the sample's table, and the label image gets its metadata."""

from pathlib import Path

from mosaicell.geometry import Grid
from mosaicell.jobs.measure import gather_cells
from mosaicell.measure import units
from mosaicell.omezarr import label_attributes, labels_attributes
from mosaicell.progress import logged
from mosaicell.store import read_json, write_file, write_group
from mosaicell.table import table_bytes

with logged(snakemake.log[0]):
    summary = read_json(Path(snakemake.input.summary))
    stitched = read_json(Path(snakemake.input.stitched))
    grid = Grid(tuple(stitched["shape"]), tuple(stitched["tile"]))
    cells = gather_cells(Path(snakemake.input.stitched).parent / "tiles", grid=grid)
    metadata = snakemake.params.origin | {"input": summary["content"]}
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
        )
        | {"mosaicell": metadata},
    )
    write_group(labels.parent, labels_attributes(["cells"]))
    write_file(Path(snakemake.output.table), table)
