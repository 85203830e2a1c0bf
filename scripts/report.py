"""Write the report of one sample: what it holds, what was found, how long it took."""

from pathlib import Path

import pandas as pd

from mosaicell.jobs.labels import gather_borders
from mosaicell.progress import logged
from mosaicell.provenance import code_state
from mosaicell.records import Records, read_job_record, reopening
from mosaicell.report import columns, report
from mosaicell.store import open_array, read_json, write_file
from mosaicell.table import read_table

with logged(snakemake.log[0], threads=snakemake.threads):
    summary = read_job_record(snakemake.input.summary)
    store, levels = Path(snakemake.input.labels).parents[2], range(len(summary["levels"]))
    limits = [tuple(channel["limits"]) for channel in summary["channels"]]
    stages, stitched = Path(snakemake.input.written[0]).parent, Path(snakemake.input.stitched)
    written = read_job_record(snakemake.input.written[0])["content"]
    result = read_job_record(stitched)
    with reopening(Path(snakemake.input.summary)):
        image = [open_array(store / str(k)) for k in levels]
    with reopening(stages, stitched):
        labels = [open_array(store / "labels" / "cells" / str(k)) for k in levels]
        borders = gather_borders(labels[0], written=Records(stages / "shards", written))
    facts = snakemake.params.facts
    facts["Hashes"]["input"] = summary["content"]
    facts["Hashes"]["landscape"] = summary.get("landscape", {}).get("content", "predicted")
    facts["Versions"]["git commit"] = code_state() or "none: not a git checkout"
    if snakemake.input.scores:
        with reopening(Path(snakemake.input.scores)):
            found = read_json(Path(snakemake.input.scores))
        facts["Scores against the truth"] = {
            name: f"{value:.3f}" if isinstance(value, float) else str(value)
            for name, value in found.items()
        }
    with reopening(Path(snakemake.input.cells)):
        cells = read_table(Path(snakemake.input.cells), ["frame", *columns(len(limits))])
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
        image=image,
        labels=labels,
        factors=[tuple(factor) for factor in summary["levels"]],
        channel=snakemake.params.channel,
        limits=limits,
        voxel_size=summary["voxel_size"] and tuple(summary["voxel_size"]),
        cells=cells,
        borders=borders,
        tile=tuple(result["tile"]),
        facts=facts,
        timings=timings,
        num_cells=result["num_cells"] if summary["frames"] else None,
    )
    write_file(Path(snakemake.output.report), page.encode())
