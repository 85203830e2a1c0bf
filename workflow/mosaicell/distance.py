"""What the network learns to predict: the normalised distance transform of labelled instances.

Idea: a voxel's value is its distance to the nearest voxel of something else, divided by the
largest such distance in its instance. So every instance peaks at 1 whatever its size, valleys
separate instances that touch, and a watershed of the prediction finds them.

Limits: an instance cut by the volume's border is taken to go on there: the border dents no
distance. Memory grows with the largest label, so labels should not be much larger than their
number.
"""

import edt
import numpy as np


def normalised_distance(
    labels: np.ndarray,
    *,
    voxel_size: tuple[float, float, float] = (1.0, 1.0, 1.0),
    threads: int = 1,
) -> np.ndarray:
    """Distance to the border of each instance, divided by its maximum in the instance.

    Parameters
    ----------
    labels : ndarray of any integer dtype, shape (z, y, x)
        0 is background; touching instances are kept apart by their labels.
    voxel_size : tuple of float
        (z, y, x), in any unit of length: only the ratios matter.
    threads : int
        The result does not depend on it.

    Returns
    -------
    ndarray of float32, shape (z, y, x), in [0, 1]
        0 in the background; in each instance above 0, and 1 where it is deepest.

    Notes
    -----
    The exact Euclidean distance transform of P. Felzenszwalb and D. Huttenlocher (2012), DOI
    10.4086/toc.2012.v008a019, for many labels in one pass (package `edt`). Networks that learn
    it: P. Naylor et al. (2019), DOI 10.1109/TMI.2018.2865709.
    """
    labels = np.ascontiguousarray(labels)
    if not labels.size:
        return np.zeros(labels.shape, np.float32)
    distance = edt.edt(labels, anisotropy=voxel_size, black_border=False, parallel=threads)
    # An instance that fills the volume has no border: all of it is deepest.
    distance[np.isinf(distance)] = 1
    peak = np.zeros(int(labels.max()) + 1, np.float32)
    np.maximum.at(peak, labels.ravel(), distance.ravel())
    peak[0] = 1
    return distance / peak[labels]
