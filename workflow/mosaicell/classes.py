"""What a three-class network learns to tell: background, cell, border.

Idea: the interior of a cell is to be in one piece, apart from that of every other cell, and as
large as the cell. So a voxel is border if it is background and touches a cell, or is of a cell and
touches another one. A cell that stands alone keeps all of its voxels; of two that touch, each gives
one layer. (With the layer inside of all cells even faultless classes would lose the rim.)

Classes are taken from labels on the voxels that the network sees, since a layer of one voxel does
not survive being scaled.

Limits: what lies beyond the border of the volume is taken to be as the voxel at the border.
"""

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter

BACKGROUND, CELL, BORDER = range(3)


def classes_of(labels: np.ndarray) -> np.ndarray:
    """The class of each voxel.

    Parameters
    ----------
    labels : ndarray of int32, (z, y, x)
        0 is background.

    Returns
    -------
    ndarray of uint8, same shape
        `BACKGROUND`, `CELL` or `BORDER`.

    Notes
    -----
    Voxels touch by faces, edges and corners, as in the watershed. A class that keeps cells apart
    is after O. Ronneberger et al. (2015), arXiv 1505.04597, and F. A. Guerrero-Pena et al. (2018),
    arXiv 1802.07465.
    """
    highest = maximum_filter(labels, 3)
    lowest = minimum_filter(np.where(labels, labels, np.iinfo(labels.dtype).max), 3)
    is_cell = labels > 0
    touches_other = np.where(is_cell, lowest != highest, highest > 0)
    return np.select([touches_other, is_cell], [BORDER, CELL], BACKGROUND).astype(np.uint8)
