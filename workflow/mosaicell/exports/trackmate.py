"""Spots for TrackMate: a CSV file whose header its CSV importer recognises.

Idea: the importer guesses what a column is by its name, so the names are those that it takes
without a choice by hand: `frame`, `x`, `y`, `z`, `id`, `name`. `radius` is that of a sphere of the
cell's volume. Lines that begin with # are comments to it.

Limits: ids are 32 bits with a sign in TrackMate. It reads no outlines from this file: a cell is a
sphere.
"""

from pathlib import Path

import numpy as np
import zarr

from ..table import Table

MOST = 2**31 - 1
COLUMNS = ("id", "name", "frame", "x", "y", "z", "radius")


def write_spots(folder: Path, *, cells: Table, labels: zarr.Array) -> None:
    """Write a line for each cell.

    Parameters
    ----------
    folder : Path
        Gets `spots.csv`. Lengths are in um, or in voxels where the voxel size is not known.
    cells : Table
    labels : zarr.Array, (z, y, x) or (t, z, y, x)
        Tells whether a cell is a sphere or, in an image of one plane, a disc.

    Raises
    ------
    ValueError
        If there are more cells than TrackMate has ids.
    """
    most = max((g["label"].to_numpy().max(initial=0) for g in cells.groups(["label"])), default=0)
    if most > MOST:
        raise ValueError(
            f"labels go up to {most:,}; allowed are {MOST:,}, as ids of TrackMate have 31 bits: "
            "export geff, which holds any number"
        )
    columns = ["frame", "label", *cells.positions, "num_voxels"]
    with (folder / "spots.csv").open("w", encoding="ascii", newline="\n") as file:
        file.write(f"# lengths in {'um' if cells.voxel_size else 'voxel'}; frames from 0\n")
        file.write(",".join(COLUMNS) + "\n")
        for group in cells.groups(columns):
            rows = group.to_pandas()
            z, y, x = (rows[name] for name in cells.positions)
            size = np.array(cells.voxel_size or (1.0, 1.0, 1.0))
            if labels.shape[-3] == 1:
                radius = np.sqrt(rows["num_voxels"] * size[1:].prod() / np.pi)
            else:
                radius = np.cbrt(rows["num_voxels"] * size.prod() * 3 / (4 * np.pi))
            spots = rows.assign(x=x, y=y, z=z, radius=radius, id=rows["label"], name=rows["label"])
            spots.to_csv(file, columns=COLUMNS, header=False, index=False, lineterminator="\n")
