"""Link the cells of one sample over time."""

import json
import sys
from pathlib import Path

from mosaicell.columns import TRACKS
from mosaicell.progress import logged
from mosaicell.records import reopening, versions_of
from mosaicell.table import Table, write_table
from mosaicell.track import COLUMNS, track

with logged(snakemake.log[0], threads=snakemake.threads):
    sample, params, table = (
        snakemake.wildcards.sample,
        snakemake.params,
        Path(snakemake.input.table),
    )
    chosen = {
        "max_distance": params.max_distance,
        "division_distance": params.division_distance,
        "gap_distance": params.gap_distance,
        "gap_frames": params.gap_frames,
    }
    with reopening(table):
        table = Table(table)
        cells = table.read(COLUMNS)
    tracks = track(cells, **chosen)
    metadata = table.metadata | {
        "track": json.dumps(chosen, sort_keys=True),
        "track_versions": json.dumps(versions_of("laptrack", "numpy", "scipy")),
    }
    write_table(
        Path(snakemake.output[0]),
        [tracks],
        sample=sample,
        columns=TRACKS,
        metadata=metadata,
    )
    print(
        f"track {sample}: {len(cells)} cells, {tracks.track_id.nunique()} tracks", file=sys.stderr
    )
