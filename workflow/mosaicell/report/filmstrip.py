"""What a report shows of a movie: which frames, and how many cells each frame has.

Limits: three frames are shown, whatever the movie; the chart shows all.
"""

import numpy as np

from ..charts import Profile, profile


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
