"""Score a sample's labels against true ones, shard by shard."""

import sys
from pathlib import Path

from mosaicell.evaluate import joined, match_overlaps, overlaps
from mosaicell.metrics import metrics
from mosaicell.progress import logged
from mosaicell.records import reopening
from mosaicell.sources import open_parts
from mosaicell.store import open_array, read, shard_grid, write_json

with logged(snakemake.log[0], threads=snakemake.threads):
    sample = snakemake.wildcards.sample
    work = Path(snakemake.input.checked).parent
    truth = open_parts(snakemake.params.truth)
    with reopening(work / "labels", work / "stitch.json"):
        labels = open_array(Path(snakemake.input.labels).parent / "0")
        grid = shard_grid(labels)
        frames = (
            ((read(labels, box, grid.leading(t)), truth.read(t, 0, box)) for box in grid.of_frame)
            for t in range(truth.shape[0])
        )
        found = joined(map(overlaps, frames))
    scores = match_overlaps(found, iou=0.5) | metrics(found)
    print(f"evaluate {sample}: F1 {scores['f1']:.3f} at IoU 0.5", file=sys.stderr)
    write_json(Path(snakemake.output[0]), scores)
