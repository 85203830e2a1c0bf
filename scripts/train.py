"""Train a model on synthetic nuclei: weights and card."""

import sys
from pathlib import Path

from mosaicell.train import train

with Path(snakemake.log[0]).open("a", buffering=1) as sys.stderr:
    train(
        out=Path(snakemake.output.weights),
        threads=snakemake.threads,
        command="snakemake --cores all train",
        **snakemake.params,
    )
