"""How much a landscape is smoothed, as a user gives it: in um or voxels, one number or three."""

from numbers import Real

import numpy as np

from .geometry import VoxelSize

Sigma = tuple[float, float, float]  # voxels
MAX_SIGMA = 32  # voxels; the halo, four times as wide, is read for each tile


def check_sigma(sigma: float | Sigma) -> Sigma:
    """A sigma along each axis, in voxels, from one for all or three; others are refused.

    Raises
    ------
    ValueError
        In one sentence.
    """
    given = tuple(sigma) if np.iterable(sigma) else (sigma,) * 3
    if len(given) != 3 or not all(isinstance(s, Real) and 0 <= s <= MAX_SIGMA for s in given):
        raise ValueError(
            f"sigma is {sigma} in voxels; allowed is a number from 0 to {MAX_SIGMA}, or three "
            "(z, y, x): correct it, or coarsen the landscape first"
        )
    return tuple(map(float, given))


def sigma_in_voxels(
    *,
    um: float | Sigma | None = None,
    voxel: float | Sigma | None = None,
    voxel_size: VoxelSize | None = None,
) -> Sigma:
    """A sigma along each axis, in voxels, from one in um or in voxels.

    Parameters
    ----------
    um, voxel : float or (z, y, x), optional
        One of the two; with neither, nothing is smoothed.
    voxel_size : (z, y, x) in um, optional
        Needed if sigma is in um.

    Returns
    -------
    tuple of float

    Raises
    ------
    ValueError
        If the voxel size is needed and not known, or if sigma is not allowed (`check_sigma`).
    """
    if um is None:
        return check_sigma(0 if voxel is None else voxel)
    if voxel_size is None:
        raise ValueError(
            "sigma came in um, but neither the sample sheet nor the image file says how large a "
            "voxel is; allowed is sigma in voxels then: give it so, or add voxel_size_z, "
            "voxel_size_y and voxel_size_x to the sample sheet"
        )
    given = um if np.iterable(um) else (um,) * 3
    return check_sigma(tuple(s / size for s, size in zip(given, voxel_size, strict=True)))
