"""Score a sample's labels against true ones."""

from pathlib import Path

from mosaicell.evaluate import score
from mosaicell.progress import logged
from mosaicell.sources import open_source
from mosaicell.store import open_array, write_json

with logged(snakemake.log[0]):
    labels = open_array(Path(snakemake.input.labels).parent / "0")
    truth = open_source(snakemake.input.truth)
    write_json(Path(snakemake.output[0]), score(labels, truth))
