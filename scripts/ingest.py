"""A sample's image becomes an OME-Zarr pyramid; the array of its landscape is laid out."""

from pathlib import Path

from mosaicell.ingest import ingest, ingest_landscape, lay_out_landscape
from mosaicell.progress import logged
from mosaicell.records import fingerprint_of_files, write_job_record
from mosaicell.sources import check_channel, check_same_shape, check_voxel_size, open_parts

with logged(snakemake.log[0], threads=snakemake.threads):
    sample, params = snakemake.wildcards.sample, snakemake.params
    store = Path(snakemake.output.group).parent
    array = Path(snakemake.output.landscape).parent
    work = Path(snakemake.output.summary).parent
    job = {"code": fingerprint_of_files(snakemake.input.code), "threads": snakemake.threads}
    image = open_parts(params.image)
    landscape = open_parts(params.landscape) if params.landscape else None
    check_channel(image, params.channel)
    if params.needs_voxel_size:
        check_voxel_size(image, params.voxel_size)
    if landscape:
        check_same_shape(image.volume, landscape, "the landscape", frames=image.frames)

    summary = ingest(
        image,
        store,
        name=sample,
        voxel_size=params.voxel_size,
        records_folder=work / "ingest",
        what=f"ingest {sample}",
        **job,
    )
    if landscape:
        copied = ingest_landscape(
            landscape,
            array,
            records_folder=work / "ingest" / "landscape",
            what=f"ingest {sample}, landscape",
            **job,
        )
        summary["landscape"] = copied | {"one": 1, "versions": {}}  # in units of its own
    else:
        lay_out_landscape(array, image.volume, image.frames)
    write_job_record(Path(snakemake.output.summary), **summary)
