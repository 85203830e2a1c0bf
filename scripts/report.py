"""Write the report of one sample: what it holds, what was found, how long it took."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd

from mosaicell import words
from mosaicell.attempts import read_attempts
from mosaicell.jobs.labels import gather_borders
from mosaicell.progress import logged
from mosaicell.provenance import code_state
from mosaicell.records import Records, read_job_record, reopening
from mosaicell.report.page import report
from mosaicell.report.truth import Truth
from mosaicell.sources import open_parts
from mosaicell.store import open_array, read_json, write_file
from mosaicell.table import Table

with logged(snakemake.log[0], threads=snakemake.threads):
    summary = read_job_record(snakemake.input.summary)
    store, levels = Path(snakemake.input.labels).parents[2], range(len(summary["levels"]))
    stages, stitched = Path(snakemake.input.written[0]).parent, Path(snakemake.input.stitched)
    written = read_job_record(snakemake.input.written[0])["content"]
    result = read_job_record(stitched)
    reading_image = partial(reopening, Path(snakemake.input.summary))
    reading_labels = partial(reopening, stages)
    with reading_image():
        image = [open_array(store / str(k)) for k in levels]
    with reopening(stages, stitched):
        labels = [open_array(store / "labels" / "cells" / str(k)) for k in levels]
    with reading_labels():
        borders = gather_borders(labels[0], written=Records(stages / "shards", written))

    def cells(columns: list[str]) -> Iterator[pd.DataFrame]:
        with reopening(Path(snakemake.input.cells)):
            for group in Table(Path(snakemake.input.cells)).groups(columns):
                yield group.to_pandas()

    facts = snakemake.params.facts
    facts["Hashes"]["input"] = summary["content"]
    facts["Hashes"]["landscape"] = summary.get("landscape", {}).get("content", "predicted")
    if snakemake.input.estimate:
        estimate = read_job_record(snakemake.input.estimate)
        facts["Parameters"]["diameter"] = f"auto: {words.estimate(estimate)}"
    facts["Versions"]["git commit"] = code_state() or "none: not a git checkout"
    truth = None
    if snakemake.input.scores:
        true, scored = open_parts(snakemake.params.truth), Path(snakemake.input.scores)

        def matches(columns: list[str]) -> Iterator[pd.DataFrame]:
            with reopening(scored):
                for group in Table(Path(snakemake.input.matches)).groups(columns):
                    yield group.to_pandas()

        with reopening(scored):
            scores = read_json(scored)
        truth = Truth(lambda frame, box: true.read(frame, 0, box), matches, scores)
    timings, names = [], ["evaluate_truth", "evaluate", "report"]
    for stage, paths in snakemake.params.benchmarks.items():
        names += [Path(path).stem for path in paths]
        jobs = [pd.read_csv(p, sep="\t", na_values="-") for p in paths if Path(p).exists()]
        if jobs:
            of_stage = pd.concat(jobs)
            seconds, memory = of_stage["s"].sum(), of_stage["max_rss"].max()
            timings.append(
                {"stage": stage, "jobs": len(jobs), "seconds": seconds, "max_rss_mb": memory}
            )
    logs = Path(snakemake.log[0]).parent
    curves = Path(snakemake.input.curves[0]).read_bytes() if snakemake.input.curves else None
    page = report(
        sample=snakemake.params.sample,
        image=image,
        labels=labels,
        factors=[tuple(factor) for factor in summary["levels"]],
        channel=snakemake.params.channel,
        limits=[tuple(channel["limits"]) for channel in summary["channels"]],
        voxel_size=summary["voxel_size"] and tuple(summary["voxel_size"]),
        cells=cells,
        borders=borders,
        tile=tuple(result["tile"]),
        facts=facts,
        timings=timings,
        attempts={name: read_attempts(logs / f"{name}.log") for name in names},
        num_cells=result["num_cells"] if summary["frames"] else None,
        truth=truth,
        curves=curves,
        reading_image=reading_image,
        reading_labels=reading_labels,
    )
    write_file(Path(snakemake.output.report), page.encode())
