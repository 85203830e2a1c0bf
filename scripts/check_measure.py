"""Whether a sample can be measured as the configuration says, known before the work on it."""

from pathlib import Path

from mosaicell.progress import logged
from mosaicell.records import write_job_record
from mosaicell.sources import open_parts
from mosaicell.wanted import wanted_of

with logged(snakemake.log[0], threads=snakemake.threads):
    image = open_parts(snakemake.params.image)
    wanted = wanted_of(
        **snakemake.params.measure,
        volume=image.volume,
        voxel_size=snakemake.params.voxel_size or image.voxel_size,
        dtype=image.dtype,
        limits=[(0, 1)] * image.shape[1],
        threshold=0,
        one=1,
    )
    write_job_record(Path(snakemake.output[0]), columns=wanted.names)
