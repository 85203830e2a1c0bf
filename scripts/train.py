"""Train a model on synthetic nuclei: weights and card."""

from pathlib import Path

from mosaicell.progress import logged
from mosaicell.train import train

with logged(snakemake.log[0], threads=snakemake.threads):
    train(
        out=Path(snakemake.output.weights),
        threads=snakemake.threads,
        command=f"snakemake --cores all {snakemake.output.weights}",
        **snakemake.params,
    )
