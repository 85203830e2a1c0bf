"""The cells of one sample in one format of another program."""

from pathlib import Path

from mosaicell.exports.folder import replacing_folder
from mosaicell.exports.formats import FORMATS
from mosaicell.progress import logged
from mosaicell.records import reopening
from mosaicell.store import open_array
from mosaicell.table import Table

with logged(snakemake.log[0], threads=snakemake.threads):
    kind, table = snakemake.wildcards.format, Path(snakemake.input.table)
    work = Path(snakemake.log[0]).parents[1]
    with reopening(work / "labels", work / "stitch.json", table):
        cells = Table(table)
        labels = open_array(Path(snakemake.input.labels).parent / "0")
        about = {"format": kind, "cells": cells.metadata}
        with replacing_folder(Path(snakemake.output[0]).parent, about=about) as folder:
            FORMATS[kind](folder, cells=cells, labels=labels)
