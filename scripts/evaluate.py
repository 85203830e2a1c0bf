"""Score a sample's labels against true ones, and say of each cell what became of it."""

import sys
from pathlib import Path

from mosaicell.centerlines import centerline_metrics
from mosaicell.columns import KEYS, SCORES, match_columns
from mosaicell.evaluate import joined, match_overlaps
from mosaicell.jobs.evaluate import compare, compare_lines
from mosaicell.matches import by_cldice, by_iou, match_rows
from mosaicell.metrics import known, metrics, score_rows
from mosaicell.progress import logged
from mosaicell.records import reopening
from mosaicell.sources import open_parts
from mosaicell.store import open_array, write_json
from mosaicell.table import Table, write_table

with logged(snakemake.log[0], threads=snakemake.threads):
    sample, shapes = snakemake.wildcards.sample, snakemake.params.shapes
    work = Path(snakemake.input.checked).parent
    truth = open_parts(snakemake.params.truth)
    with reopening(Path(snakemake.input.table)):
        metadata = Table(Path(snakemake.input.table)).metadata | {"shapes": shapes}
    with reopening(work / "labels", work / "stitch.json"):
        labels = open_array(Path(snakemake.input.labels).parent / "0")
        frames = [compare(labels, truth, frame=t) for t in range(truth.shape[0])]
        whole = joined(frames)
        scores = metrics(whole)
        pairs, score = map(by_iou, frames), "iou"
        if shapes == "thin":
            lines = [compare_lines(labels, truth, found, frame=t) for t, found in enumerate(frames)]
            scores |= centerline_metrics(joined(lines))
            pairs, score = map(by_cldice, lines), "cldice"
    write_table(
        Path(snakemake.output.matches),
        (
            match_rows(found, of_frame, frame=t, score=score)
            for t, (found, of_frame) in enumerate(zip(frames, pairs, strict=True))
        ),
        sample=sample,
        columns=match_columns(score),
        metadata=metadata,
    )
    write_table(
        Path(snakemake.output.table),
        [score_rows(scores)],
        sample=sample,
        columns=SCORES,
        metadata=metadata,
        keys=KEYS[:1],
    )
    print(f"evaluate {sample}: F1 {scores['f1_0.5']:.3f} at IoU 0.5", file=sys.stderr)
    write_json(Path(snakemake.output.scores), known(match_overlaps(whole) | scores))
