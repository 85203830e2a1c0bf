"""Score a sample's labels against true ones, shard by shard."""

import sys
from pathlib import Path

from mosaicell.evaluate import match_parts
from mosaicell.progress import logged
from mosaicell.sources import open_source
from mosaicell.store import open_array, shard_grid, write_json

with logged(snakemake.log[0]):
    sample = snakemake.wildcards.sample
    labels = open_array(Path(snakemake.input.labels).parent / "0")
    truth = open_source(snakemake.input.truth)
    parts = ((labels[box.slices], truth.read(0, box)) for box in shard_grid(labels))
    scores = match_parts(parts, iou=0.5)
    print(f"evaluate {sample}: F1 {scores['f1']:.3f} at IoU 0.5", file=sys.stderr)
    write_json(Path(snakemake.output[0]), scores)
