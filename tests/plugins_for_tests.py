"""Plug-ins as a user would write them, good ones and bad ones."""

import numpy as np


def extremes(mask, intensities, voxel_size):
    """Numbers of the kinds that come from numpy and Python."""
    values = intensities[0][mask]
    size = np.prod(voxel_size) if voxel_size else float("nan")
    return {"range": values.max() - values.min(), "voxels": int(mask.sum()), "size": size}


def zernike(mask, intensities, voxel_size):  # noqa: ARG001
    """From cp_measure, of the plane with most of the cell."""
    from cp_measure.core.measureobjectsizeshape import get_zernike

    plane = mask[np.argmax(mask.sum((1, 2)))].astype(np.int32)
    return {
        name: float(values[0]) for name, values in get_zernike(plane, intensities[0][0]).items()
    }


def texts(mask, intensities, voxel_size):  # noqa: ARG001
    return {"name": "round"}


def several(mask, intensities, voxel_size):  # noqa: ARG001
    return {"shape": mask.shape}


def spaced(mask, intensities, voxel_size):  # noqa: ARG001
    return {"my key": 1}


def number(mask, intensities, voxel_size):  # noqa: ARG001
    return 1.0


def too_few(mask):
    return {"n": mask.sum()}


def changing(mask, intensities, voxel_size):  # noqa: ARG001
    return {"even" if mask.sum() % 2 else "odd": 1}


NO_FUNCTION = 1
