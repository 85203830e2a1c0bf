"""Look at a sample's true cells early, so that what cannot be scored is refused before the work."""

from pathlib import Path

from mosaicell.progress import logged
from mosaicell.records import read_job_record, write_job_record
from mosaicell.sources import check_labels, check_same_shape, open_parts

with logged(snakemake.log[0], threads=snakemake.threads):
    summary = read_job_record(snakemake.input.summary)
    truth = open_parts(snakemake.params.truth)
    check_labels(truth)
    check_same_shape(tuple(summary["shape"][1:]), truth, "the truth", frames=summary["frames"])
    write_job_record(Path(snakemake.output[0]))
