"""One job's share of the shards of a sample's landscape."""

from functools import partial
from pathlib import Path

from mosaicell.jobs.shards import fill_shards
from mosaicell.model import load
from mosaicell.predict import ONE, channel_of, device_of_choice, ideal_scale, predict
from mosaicell.progress import logged
from mosaicell.records import (
    Records,
    fingerprint,
    fingerprint_of_files,
    forget_jobs,
    read_job_record,
    reopening,
    versions_of,
    write_job_record,
)
from mosaicell.resample import model_grid
from mosaicell.store import open_array, shard_grid

with logged(snakemake.log[0], threads=snakemake.threads):
    sample, params = snakemake.wildcards.sample, snakemake.params
    record = Path(snakemake.output[0])
    forget_jobs(record, params.jobs)
    summary = read_job_record(snakemake.input.summary)
    with reopening(Path(snakemake.input.summary)):
        landscape = open_array(Path(snakemake.input.landscape).parent, "r+")
    network, about = load(snakemake.input.weights, top_model=params.top_model)
    device = device_of_choice()
    network.to(device)
    scale = ideal_scale(summary["voxel_size"], params.diameter, about["nominal_diameter"])
    grid = model_grid(
        shard=shard_grid(landscape).tile,
        scale=scale,
        window=about["window"],
        stride=network.stride,
        dimensions=network.dimensions,
    )
    store = Path(snakemake.input.group).parent
    with reopening(Path(snakemake.input.summary)):
        channel = channel_of(store, summary, params.channel, grid.scale)
    versions = versions_of("numba", "numpy", "torch")
    identity = fingerprint(
        versions=versions,
        image=summary["content"],
        channel=params.channel,
        levels=summary["levels"],
        scale=grid.scale,
        core=grid.core,
        model=about["sha256"],
        top_model=params.top_model,
        device=device.type,
        code=fingerprint_of_files(snakemake.input.code),
    )
    with reopening(Path(snakemake.input.summary)):
        fill_shards(
            partial(
                predict,
                channel=channel,
                grid=grid,
                network=network,
                device=device,
                threads=snakemake.threads,
            ),
            [(landscape, (1, 1, 1))],
            shards=shard_grid(landscape).share(int(snakemake.wildcards.job), params.jobs),
            records=Records(record.parent / "shards", identity),
            what=f"predict {sample}",
        )
    write_job_record(record, content=identity, one=ONE, versions=versions)
