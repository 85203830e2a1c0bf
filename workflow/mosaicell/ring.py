"""The ring around a cell in which its background is measured, as a user gives its width."""

from dataclasses import dataclass

from .geometry import Triple, VoxelSize

MAX_REACH = 64  # voxels; the ring is read for each cell


@dataclass(frozen=True)
class Ring:
    """Voxels around a cell.

    Attributes
    ----------
    reach : tuple of int
        How many voxels it is wide along each axis.
    voxel_size : tuple of float
        In the unit of the distance.
    limit : float
        Largest distance from the cell, squared.
    """

    reach: Triple
    voxel_size: VoxelSize
    limit: float


def ring_of(
    *, um: float | None = None, voxel: float | None = None, voxel_size: VoxelSize | None = None
) -> Ring:
    """The ring of a width in um or in voxels.

    Raises
    ------
    ValueError
        If it is wider than `MAX_REACH` voxels, or in um where the voxel size is not known.
    """
    if um is not None and voxel_size is None:
        raise ValueError(
            "the ring came in um, but neither the sample sheet nor the image file says how large "
            "a voxel is; allowed is a ring in voxels then: give it so, or add voxel_size_z, "
            "voxel_size_y and voxel_size_x to the sample sheet"
        )
    width, size = (voxel, (1.0, 1.0, 1.0)) if um is None else (um, tuple(voxel_size))
    reach = tuple(int(width / s) for s in size)
    if not 0 <= max(reach) <= MAX_REACH:
        raise ValueError(
            f"the ring is {max(reach)} voxels wide; allowed are up to {MAX_REACH}: make it narrower"
        )
    return Ring(reach, size, float(width) ** 2)
