"""The tracks of one sample in one format of another program."""

from pathlib import Path

from mosaicell.exports.ctc import write_tracks
from mosaicell.exports.folder import replacing_folder
from mosaicell.exports.geff import write_graph
from mosaicell.progress import logged
from mosaicell.records import reopening
from mosaicell.store import open_array
from mosaicell.table import Table

with logged(snakemake.log[0], threads=snakemake.threads):
    kind, table = snakemake.wildcards.format, Path(snakemake.input.table)
    work, found = Path(snakemake.log[0]).parents[1], Path(snakemake.input.tracks)
    with reopening(work / "labels", work / "stitch.json", table, found):
        cells, tracks = Table(table), Table(found)
        labels = open_array(Path(snakemake.input.labels).parent / "0")
        about = {"format": kind, "tracks": tracks.metadata}
        with replacing_folder(Path(snakemake.output[0]).parent, about=about) as folder:
            if kind == "ctc":
                write_tracks(folder, tracks=tracks, labels=labels)
            else:
                write_graph(folder, cells=cells, labels=labels, tracks=tracks)
