"""One job's share of the tiles of a sample: landscape to fragments."""

from pathlib import Path

from mosaicell.geometry import Grid
from mosaicell.jobs.segment import segment_tiles
from mosaicell.progress import logged
from mosaicell.records import Records, fingerprint, fingerprint_of_files
from mosaicell.store import open_array, read_json, write_json

with logged(snakemake.log[0]):
    sample, params = snakemake.wildcards.sample, snakemake.params
    landscape = open_array(Path(snakemake.input.landscape).parent)
    if snakemake.input.predictions:
        origin = read_json(Path(snakemake.input.predictions[0]))
    else:
        origin = read_json(Path(snakemake.input.summary))["landscape"]
    grid = Grid(landscape.shape, tuple(params.tile_shape))
    threshold = params.threshold * origin["one"]
    identity = fingerprint(
        landscape=origin["content"],
        tile=grid.tile,
        threshold=threshold,
        code=fingerprint_of_files(snakemake.input.code),
    )
    work = Path(snakemake.input.summary).parent
    segment_tiles(
        landscape,
        work / "tiles",
        grid=grid,
        tiles=grid.share(int(snakemake.wildcards.job), params.jobs),
        threshold=threshold,
        records=Records(work / "segment" / "tiles", identity),
        what=f"segment {sample}",
        threads=snakemake.threads,
    )
    write_json(
        Path(snakemake.output[0]), {"content": identity, "one": origin["one"], "tile": grid.tile}
    )
