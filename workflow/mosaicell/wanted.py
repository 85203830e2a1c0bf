"""What is to be measured of cells, checked before anything is."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from .columns import cell_columns
from .geometry import Triple, VoxelSize
from .plugins import Plugin, load_plugins
from .ring import Ring, ring_of


@dataclass(frozen=True)
class Wanted:
    """What is to be measured, and what it takes to know.

    Attributes
    ----------
    volume : tuple of int
        Shape of the volume.
    voxel_size : tuple of float or None
        (z, y, x) in um.
    channels : tuple of int
        Numbers of the channels.
    threshold : float or None
        What the landscape of a cell is above, in units of the landscape that is given.
    one : float
        What stands in that landscape for 1.
    ring : Ring or None
        Around a cell, where its background is.
    size_range : tuple of float
        Fewest and most voxels of a cell that is neither too small nor too large.
    texture_levels : int or None
        Grey levels between the limits of each channel.
    limits : tuple of (float, float)
        Of each channel's values, for its grey levels.
    plugins : dict of Plugin
        By name.
    """

    volume: Triple
    voxel_size: VoxelSize | None
    channels: tuple[int, ...] = ()
    threshold: float | None = None
    one: float = 1.0
    ring: Ring | None = None
    size_range: tuple[float, float] = (0, np.inf)
    texture_levels: int | None = None
    limits: tuple[tuple[float, float], ...] = ()
    plugins: Mapping[str, Plugin] = field(default_factory=dict)

    @property
    def reach(self) -> Triple:
        """What is to be read around bounding boxes, in voxels."""
        return tuple(map(max, (1, 1, 1), self.ring.reach if self.ring else (1, 1, 1)))

    @property
    def plugin_keys(self) -> dict[str, list[str]]:
        """Names of what each plug-in gives."""
        return {name: list(plugin.keys) for name, plugin in self.plugins.items()}

    @property
    def names(self) -> list[str]:
        """The columns that will be measured, in order."""
        texture = self.texture_levels is not None
        columns = cell_columns(self.channels, texture=texture, plugins=self.plugin_keys)
        return [column.name for column in columns]


def wanted_of(
    *,
    channels: list[int] | None,
    ring: dict[str, float] | None,
    size_range: dict[str, list] | None,
    texture: int | None,
    plugins: dict[str, str] | None,
    volume: Triple,
    voxel_size: VoxelSize | None,
    dtype: np.dtype,
    limits: list[tuple[float, float]],
    threshold: float,
    one: float,
) -> Wanted:
    """What is to be measured, from what a user chooses and what is known of the image.

    Parameters
    ----------
    channels : list of int or None
        Numbers of channels; None for all.
    ring, size_range : dict or None
        See `ring.ring_of` and `sizes_in_voxels`.
    texture : int or None
        Grey levels.
    plugins : dict or None
        See `plugins.load_plugins`.
    dtype : dtype
        Of the image.
    limits : list of (float, float)
        Of the values of each channel of the image.
    volume, voxel_size, threshold, one
        See `Wanted`.

    Raises
    ------
    ValueError
        In one sentence, if it cannot be measured.
    """
    chosen = tuple(range(len(limits)) if channels is None else sorted(channels))
    check_channels(chosen, len(limits))
    voxel_size = voxel_size and tuple(voxel_size)
    return Wanted(
        volume=volume,
        voxel_size=voxel_size,
        channels=chosen,
        threshold=threshold,
        one=one,
        ring=ring and ring_of(**ring, voxel_size=voxel_size),
        size_range=sizes_in_voxels(**(size_range or {}), voxel_size=voxel_size),
        texture_levels=texture,
        limits=tuple(limits[channel] for channel in chosen),
        plugins=load_plugins(
            plugins,
            n_channels=len(chosen),
            dtype=np.dtype(dtype),
            is_2d=volume[0] == 1,
            voxel_size=voxel_size,
        ),
    )


def check_channels(chosen: Iterable[int], n_channels: int) -> None:
    """Refuse numbers of channels that an image does not have (ValueError)."""
    highest = max(chosen, default=0)
    if highest >= n_channels:
        raise ValueError(
            f"measure.channels has {highest}; allowed are 0 to {n_channels - 1}, as the image has "
            f"{n_channels} channels: correct it, or null to measure all"
        )


def sizes_in_voxels(
    *,
    um3: list[float | None] | None = None,
    voxel: list[float | None] | None = None,
    voxel_size: VoxelSize | None = None,
) -> tuple[float, float]:
    """A range of sizes in voxels, from one in um^3 or in voxels; None leaves an end open.

    Raises
    ------
    ValueError
        If the voxel size is needed and not known, or the range is empty.
    """
    if um3 is not None and voxel_size is None:
        raise ValueError(
            "size_range came in um3, but neither the sample sheet nor the image file says how "
            "large a voxel is; allowed is a range in voxels then: give it so, or add "
            "voxel_size_z, voxel_size_y and voxel_size_x to the sample sheet"
        )
    low, high = (voxel or (None, None)) if um3 is None else um3
    low, high = low or 0, np.inf if high is None else high
    if low > high:
        raise ValueError(
            f"size_range is from {low} to {high}; allowed is a range whose first end is the "
            "lower: exchange them"
        )
    one = 1 if um3 is None else float(np.prod(voxel_size))
    return low / one, high / one
