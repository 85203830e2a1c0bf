"""Points for napari: a CSV file that it opens by itself, dropped on the window.

Idea: napari takes columns `axis-0`, `axis-1`, ... for coordinates, and any other for a property of
the points. The axes are t, z, y, x for a movie and z, y, x for a single image, in the space of the
OME-Zarr image (um, or voxels where the voxel size is not known), so points lie on the cells.
"""

from pathlib import Path

import numpy as np
import zarr

from ..table import Table

PROPERTIES = ("label", "num_voxels")


def write_points(folder: Path, *, cells: Table, labels: zarr.Array) -> None:
    """Write a point for each cell.

    Parameters
    ----------
    folder : Path
        Gets `points.csv`.
    cells : Table
    labels : zarr.Array, (z, y, x) or (t, z, y, x)
        Tells whether there is a time axis.
    """
    axes = (["frame"] if labels.ndim == 4 else []) + cells.positions
    header = ["index", *(f"axis-{number}" for number in range(len(axes))), *PROPERTIES]
    start = 0
    with (folder / "points.csv").open("w", encoding="ascii", newline="\n") as file:
        file.write(",".join(header) + "\n")
        for group in cells.groups([*axes, *PROPERTIES]):
            rows = group.to_pandas()
            rows.insert(0, "index", np.arange(start, start := start + len(rows)))
            columns = ["index", *axes, *PROPERTIES]
            rows.to_csv(file, columns=columns, header=False, index=False, lineterminator="\n")
