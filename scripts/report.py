"""Write the report of one sample: what it holds, what was found, how long it took."""

from pathlib import Path

import pandas as pd

from mosaicell.jobs.labels import gather_borders
from mosaicell.progress import logged
from mosaicell.records import Records, reopening
from mosaicell.report import columns, report
from mosaicell.store import open_array, read_json, write_file

with logged(snakemake.log[0]):
    summary = read_json(Path(snakemake.input.summary))
    store, levels = Path(snakemake.input.labels).parents[2], range(len(summary["levels"]))
    limits = [tuple(channel["limits"]) for channel in summary["channels"]]
    labels = [open_array(store / "labels" / "cells" / str(k)) for k in levels]
    stages = Path(snakemake.input.written[0]).parent
    with reopening(stages):
        written = read_json(Path(snakemake.input.written[0]))["content"]
        borders = gather_borders(labels[0], written=Records(stages / "shards", written))
    facts = snakemake.params.facts
    facts["Hashes"]["input"] = summary["content"]
    if snakemake.input.scores:
        found = read_json(Path(snakemake.input.scores))
        facts["Scores against the truth"] = {
            name: f"{value:.3f}" if isinstance(value, float) else str(value)
            for name, value in found.items()
        }
    timings = []
    for stage, paths in snakemake.params.benchmarks.items():
        jobs = [pd.read_csv(p, sep="\t", na_values="-") for p in paths if Path(p).exists()]
        if jobs:
            of_stage = pd.concat(jobs)
            seconds, memory = of_stage["s"].sum(), of_stage["max_rss"].max()
            timings.append(
                {"stage": stage, "jobs": len(jobs), "seconds": seconds, "max_rss_mb": memory}
            )
    page = report(
        sample=snakemake.params.sample,
        image=[open_array(store / str(k)) for k in levels],
        labels=labels,
        factors=[tuple(factor) for factor in summary["levels"]],
        channel=snakemake.params.channel,
        limits=limits,
        voxel_size=summary["voxel_size"] and tuple(summary["voxel_size"]),
        cells=pd.read_parquet(snakemake.input.cells, columns=columns(len(limits))),
        borders=borders,
        tile=tuple(read_json(Path(snakemake.input.stitched))["tile"]),
        facts=facts,
        timings=timings,
    )
    write_file(Path(snakemake.output.report), page.encode())
