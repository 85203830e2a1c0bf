"""How much of an image the parts of the library hold at a time.

Memory and time that the workflow asks for follow from the same numbers, and to ask for them it
need not import what computes.
"""

BAND_BYTES = 128 * 2**20  # `ingest`: of planes, or parts of them, in one piece
# `jobs.stitch`: a tile needs rims and exits of its neighbours, most of which the next needs again.
NEIGHBOURS_IN_MEMORY = 128
BLOCK_VOXELS = 64 * 1024**2  # `exports.ctc`: of planes that are written
# `diameter`: edges of a window by the network's dimensions, in voxels of the model: some cells
# wide. A volume has as many cells in a smaller one.
LOOK_WINDOW = {2: 256, 3: 64}
