"""Look at a sample's true cells early, so that what cannot be scored is refused before the work."""

from pathlib import Path

from mosaicell.progress import logged
from mosaicell.records import write_job_record
from mosaicell.sources import check_labels, check_same_shape, open_source
from mosaicell.store import read_json

with logged(snakemake.log[0]):
    summary = read_json(Path(snakemake.input.summary))
    truth = open_source(snakemake.input.truth)
    check_labels(truth)
    check_same_shape(tuple(summary["shape"][1:]), truth, "the truth")
    write_job_record(Path(snakemake.output[0]))
