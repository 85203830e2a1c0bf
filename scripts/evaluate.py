"""Score a sample's labels against true ones, shard by shard."""

import sys
from pathlib import Path

from mosaicell.evaluate import match_overlaps, overlaps
from mosaicell.metrics import metrics
from mosaicell.progress import logged
from mosaicell.records import reopening
from mosaicell.sources import open_source
from mosaicell.store import open_array, read, shard_grid, write_json

with logged(snakemake.log[0], threads=snakemake.threads):
    sample = snakemake.wildcards.sample
    work = Path(snakemake.input.checked).parent
    truth = open_source(snakemake.input.truth)
    with reopening(work / "labels", work / "stitch.json"):
        labels = open_array(Path(snakemake.input.labels).parent / "0")
        parts = ((read(labels, box), truth.read(0, box)) for box in shard_grid(labels))
        found = overlaps(parts)
    scores = match_overlaps(found, iou=0.5) | metrics(found)
    print(f"evaluate {sample}: F1 {scores['f1']:.3f} at IoU 0.5", file=sys.stderr)
    write_json(Path(snakemake.output[0]), scores)
