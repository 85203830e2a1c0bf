"""Train a model on labelled images, synthetic nuclei, or both: weights, card and curves."""

from pathlib import Path

from mosaicell.dataset import open_labelled
from mosaicell.progress import logged
from mosaicell.sources import open_source
from mosaicell.train import train

with logged(snakemake.log[0], threads=snakemake.threads):
    section = dict(snakemake.params)
    pictures = {"train": [], "validation": []}
    for row in section.pop("labelled"):
        try:
            picture = open_labelled(
                open_source(row["image"]),
                open_source(row["labels"]),
                dimensions=section["dimensions"],
                channel=row["channel"],
                voxel_size=row["voxel_size"],
                diameter=row.get("diameter"),
            )
        except ValueError as error:
            raise ValueError(f"{row['image']}, {row['labels']}: {error}") from error
        pictures[row["split"]].append(picture)
    train(
        out=Path(snakemake.output.weights),
        curves=Path(snakemake.output.curves),
        training=pictures["train"],
        validation=pictures["validation"],
        threads=snakemake.threads,
        command=f"snakemake --cores all {snakemake.output.weights}",
        **section,
    )
