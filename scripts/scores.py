"""Scores of all samples with true cells in one table: their means, and of all cells together."""

from pathlib import Path

from mosaicell.columns import SCORES, SUMMARY
from mosaicell.metrics import summary_rows
from mosaicell.progress import logged
from mosaicell.records import reopening
from mosaicell.table import Table, write_table

with logged(snakemake.log[0], threads=snakemake.threads):
    samples = []
    for path in map(Path, snakemake.input.scores):
        with reopening(path):
            samples.append(Table(path).read([column.name for column in SCORES]))
    if not samples:
        raise ValueError(
            "no sample has scores; needed are true cells: fill in the column `truth` of the sample "
            "sheet for at least one sample"
        )
    write_table(
        Path(snakemake.output[0]),
        [summary_rows(samples)],
        sample=None,
        columns=SUMMARY,
        metadata={},
        keys=[],
    )
