"""The levels of an image pyramid: by which factors, and how a level follows from the one before.

Idea: every step doubles the voxel size along the axes that are finer than the rest, so levels
become isotropic first and keep their proportions from then on. An image level holds the means
of blocks, so nothing flickers and intensities stay comparable. (A label level holds the first voxel
of each block, see `jobs.labels`: the mean of two ids is the id of a third cell.)

Voxel j of a level with factor f covers the full-resolution voxels f*j .. f*j + f - 1 (fewer at
the far border), so its centre is at the full-resolution coordinate (j + 0.5) * f - 0.5.
"""

from math import prod

import numpy as np

from .geometry import Triple

LARGEST_TOP = 256


def level_factors(
    shape: Triple,
    voxel_size: tuple[float, float, float] | None = None,
    *,
    largest_top: int = LARGEST_TOP,
) -> list[Triple]:
    """Cumulative factors of all levels, beginning with (1, 1, 1) for the image itself.

    A step halves the axes whose voxels are less than sqrt(2) times as long as the shortest: of
    halving such an axis and leaving it, that is the choice which ends nearer to isotropy. So
    voxel sizes come within a factor of two of each other (sqrt(2) if two of them are equal) and
    stay there. Axes of one voxel are left alone. Levels end when no axis is longer than
    `largest_top`.

    Parameters
    ----------
    shape : (z, y, x) in voxels
    voxel_size : (z, y, x) in um, optional
        Cubes if not known.
    largest_top : int, optional
        Voxels.

    Returns
    -------
    list of (z, y, x)
        Powers of two.

    Examples
    --------
    >>> level_factors((100, 1024, 1024), (2.0, 0.5, 0.5))
    [(1, 1, 1), (1, 2, 2), (1, 4, 4)]
    >>> level_factors((512, 512, 512))
    [(1, 1, 1), (2, 2, 2)]
    """
    size = voxel_size or (1.0, 1.0, 1.0)
    levels = [(1, 1, 1)]
    while max(level_shape(shape, levels[-1])) > largest_top:
        factors = levels[-1]
        lengths = level_shape(shape, factors)
        current = [v * f for v, f in zip(size, factors, strict=True)]
        finest = min(v for v, n in zip(current, lengths, strict=True) if n > 1)
        levels.append(
            tuple(
                f * 2 if n > 1 and v < 2**0.5 * finest else f
                for f, v, n in zip(factors, current, lengths, strict=True)
            )
        )
    return levels


def level_shape(shape: Triple, factors: Triple) -> Triple:
    """Shape of the level with the given factors: a block that is cut by the border counts."""
    return tuple(-(-n // f) for n, f in zip(shape, factors, strict=True))


def halve(volume: np.ndarray, factors: Triple) -> np.ndarray:
    """Means of blocks: the next level of an image.

    Integers are averaged exactly and rounded half up; floats are averaged in float64. At an odd
    end the mean is that of the voxels that are there.

    Parameters
    ----------
    volume : ndarray (z, y, x) of integers of up to 32 bits or floats
    factors : (z, y, x), each 1 or 2

    Returns
    -------
    ndarray of the same dtype, shape `level_shape(volume.shape, factors)`

    Raises
    ------
    ValueError
        If a factor is neither 1 nor 2.

    Examples
    --------
    >>> halve(np.array([[[1, 2, 5]]], np.uint8), (1, 1, 2))
    array([[[2, 5]]], dtype=uint8)
    """
    if set(factors) - {1, 2}:
        raise ValueError(f"the factors of one step are {factors}; allowed are 1 and 2 for each")
    if volume.dtype.kind == "f":
        wide = np.float64
    else:
        wide = np.int32 if volume.dtype.itemsize <= 2 else np.int64
    total = volume
    for axis, factor in enumerate(factors):
        if factor == 2:
            total = _pair_sums(total, axis, wide)
    count = prod(factors)
    if count == 1:
        return volume.copy()
    if volume.dtype.kind == "f":
        return (total / count).astype(volume.dtype)
    total += count // 2
    total >>= count.bit_length() - 1
    return total.astype(volume.dtype)


def _pair_sums(volume: np.ndarray, axis: int, dtype: type) -> np.ndarray:
    """Sums of voxel pairs along an axis; a last voxel without partner counts twice.

    Counting it twice makes every block as heavy as the others and leaves its mean as it is.
    """
    index = [slice(None)] * 3
    index[axis] = slice(0, None, 2)
    even = volume[tuple(index)]
    index[axis] = slice(1, None, 2)
    odd = volume[tuple(index)]
    sums = even.astype(dtype)
    index[axis] = slice(0, odd.shape[axis])
    sums[tuple(index)] += odd
    if odd.shape[axis] < even.shape[axis]:
        index[axis] = slice(-1, None)
        sums[tuple(index)] *= 2
    return sums
