"""What the jobs of a stage do with the stores: read tiles, call the stage, write tiles.

Idea: all jobs of a stage do the same to different shares of its tiles. A tile that an earlier
run finished, from the same input by the same code, is left as it is (see `mosaicell.records`).
What a tile leaves on disk stands in one folder for the sample, named by the tile's number; those of
a movie are numbered frame after frame, and none of them lies in two:

    NNNNNN.fragments   segment: fragment of each voxel of the core
    NNNNNN.graph       segment: what stitching needs of the tile (`segment.TileGraph`)
    NNNNNN.rim         segment: what its neighbours need of it (`mosaicell.rim`, and its exits)
    NNNNNN.basins      stitch: what can be decided in the tile alone (`stitch.TileBasins`)
    NNNNNN.cells       stitch: what the tile needs of the result (`stitch.TileCells`)
    NNNNNN.table       measure: the rows of the cells that the tile owns
    NNNNNN.neighbours  measure: of these cells, which they touch

Predicting and writing labels work on shards of a zarr array instead, since a shard must have one
writer; tiles and shards need not fit each other.

Limits: a job holds `threads` tiles, or shards, and what is read for them.
"""
