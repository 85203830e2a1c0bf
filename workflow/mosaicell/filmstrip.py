"""What a report shows of a movie: which frames, one frame of an array, and cells by frame.

Limits: three frames are shown, whatever the movie; the chart shows all.
"""

import numpy as np
import zarr

from .charts import Profile, profile


class FrameOf:
    """One frame of a zarr array (t, ..., z, y, x), read like an array (..., z, y, x)."""

    def __init__(self, array: zarr.Array, frame: int):
        self.array, self.frame = array, frame
        self.shape = array.shape[1:]

    def __getitem__(self, key: tuple) -> np.ndarray:
        return self.array[(self.frame, *key)]


def frames_to_show(num_cells: list[int]) -> list[int]:
    """The first, the middle and the last of the frames that have cells; of all, if none has.

    Examples
    --------
    >>> frames_to_show([0, 4, 5, 0, 2, 0])
    [1, 2, 4]
    """
    found = np.flatnonzero(num_cells)
    if not found.size:
        found = np.arange(len(num_cells))
    return np.unique(found[[0, (found.size - 1) // 2, -1]]).tolist()


def cells_by_frame(num_cells: list[int], shown: list[int]) -> Profile:
    """The number of cells in each frame, with marks where a frame is shown."""
    counts = np.array([num_cells, num_cells], np.int64)
    note = f"{min(num_cells):,} to {max(num_cells):,} cells in a frame"
    return profile("Cells by frame", "in each frame", note, counts, marks=np.array(shown))
