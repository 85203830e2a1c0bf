"""The typical diameter of a sample's cells, to which its image is scaled before it is predicted."""

import sys
from functools import partial
from pathlib import Path

from mosaicell import words
from mosaicell.diameter import estimate_diameter
from mosaicell.model import load
from mosaicell.predict import channel_at_level, channel_of, device_of_choice
from mosaicell.progress import logged
from mosaicell.records import read_job_record, reopening, write_job_record

with logged(snakemake.log[0], threads=snakemake.threads):
    say = partial(print, f"estimate_diameter {snakemake.wildcards.sample}:", file=sys.stderr)
    store, params = Path(snakemake.input.group).parent, snakemake.params
    summary = read_job_record(snakemake.input.summary)
    network, about = load(snakemake.input.weights, top_model=params.top_model)
    heights = about["top_models"][params.top_model]
    device = device_of_choice()
    network.to(device)
    channel = {"number": params.channel, "normalisation": about.get("normalisation")}
    with reopening(Path(snakemake.input.summary)):
        found = estimate_diameter(
            lambda scale: channel_of(store, summary, scale=scale, **channel),
            channel_at_level(store, summary, level=len(summary["levels"]) - 1, **channel),
            shape=tuple(summary["shape"][1:]),
            frames=summary["frames"],
            voxel_size=summary["voxel_size"],
            network=network,
            nominal_diameter=about["nominal_diameter"],
            window=about["window"],
            threshold=heights["threshold"],
            persistence=heights["persistence"],
            device=device,
            threads=snakemake.threads,
            say=say,
        )
    say(words.estimate(found))
    write_job_record(Path(snakemake.output[0]), **found)
