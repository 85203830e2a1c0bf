"""The rim of a tile: the fragments of its core's outermost voxels, where other tiles look them up.

A rim is the faces of the core one after the other: first and last plane along z, y and x, each in
raster order. An axis along which the volume has one tile has no faces.
"""

import numpy as np
from numba import njit

from .geometry import Box, Triple


def rim(fragments: np.ndarray, volume: Triple) -> np.ndarray:
    """The rim of a tile.

    Parameters
    ----------
    fragments : ndarray of uint32, (z, y, x)
        Of the tile's core.
    volume : tuple of int
        Shape of the volume.

    Returns
    -------
    ndarray of uint32, (n,)
    """
    faces = [np.empty(0, np.uint32)]
    for axis in _axes(fragments.shape, volume):
        for at in (0, -1):
            faces.append(fragments.take(at, axis).reshape(-1))
    return np.concatenate(faces)


def fragments_at(rim: np.ndarray, core: Box, volume: Triple, voxels: np.ndarray) -> np.ndarray:
    """The fragments (uint32) of some of the outermost voxels of a core.

    Parameters
    ----------
    rim : ndarray of uint32, (n,)
        Of the tile with this core.
    core : Box
    volume : tuple of int
        Shape of the volume.
    voxels : ndarray of int64
        Linear indices in the volume.
    """
    axes = np.array(_axes(core.shape, volume), np.int64)
    return _look_up(rim, np.array(core.start), np.array(core.shape), np.array(volume), axes, voxels)


def _axes(shape: Triple, volume: Triple) -> list[int]:
    return [axis for axis in range(3) if shape[axis] != volume[axis]]


@njit(nogil=True, cache=True)
def _look_up(rim, start, shape, volume, axes, voxels):
    found = np.empty(voxels.size, np.uint32)
    for k in range(voxels.size):
        zy, x = divmod(voxels[k], volume[2])
        z, y = divmod(zy, volume[1])
        position = (z - start[0], y - start[1], x - start[2])
        face = 0  # where the faces of an axis begin
        for axis in axes:
            rows, columns = (1, 2) if axis == 0 else (0, 2) if axis == 1 else (0, 1)
            size = shape[rows] * shape[columns]
            if position[axis] == 0 or position[axis] == shape[axis] - 1:
                at = position[rows] * shape[columns] + position[columns]
                found[k] = rim[face + at if position[axis] == 0 else face + size + at]
                break
            face += 2 * size
    return found
