"""One lazily read (t, c, z, y, x) image, and what the readers of all file formats have in common.

Idea: opening an image reads headers only, checks them, and turns them into a `Source`; from then
on nobody needs to know the format. A format adds how its headers are read and how a box is filled.

1. The dtype is one that voxels can have, in native byte order.
2. The voxel size is in um, and known along all axes or not at all. The time between frames is in s.
3. The identity changes whenever a file's name, size or time of change does.

Limits: no complex numbers, 8 to 64 bits. A change of a file that keeps its size and its time goes
unnoticed.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .geometry import Box, Triple, VoxelSize

MICROMETERS = {
    **dict.fromkeys(("micrometer", "micron", "microns", "um", "\u00b5m", "\u03bcm"), 1.0),
    **dict.fromkeys(("nanometer", "nm"), 1e-3),
    **dict.fromkeys(("angstrom", "\u212b", "\u00c5"), 1e-4),
    **dict.fromkeys(("millimeter", "mm"), 1e3),
    **dict.fromkeys(("centimeter", "cm"), 1e4),
    **dict.fromkeys(("meter", "m"), 1e6),
}
SECONDS = {
    **dict.fromkeys(("second", "seconds", "sec", "s"), 1.0),
    **dict.fromkeys(("millisecond", "ms"), 1e-3),
    **dict.fromkeys(("minute", "minutes", "min"), 60.0),
    **dict.fromkeys(("hour", "hours", "h"), 3600.0),
    **dict.fromkeys(("day", "days", "d"), 86400.0),
}


@dataclass(frozen=True)
class Source:
    """An image that is read box by box.

    Attributes
    ----------
    shape : tuple of int
        (t, c, z, y, x); an image without time has one frame, a 2D image one plane.
    dtype : numpy.dtype
        In native byte order; truth values come as uint8.
    voxel_size : tuple of float or None
        (z, y, x) in um; None where the file does not say it for all three axes. For a single
        plane z is 1 if the file does not say it.
    frame_interval : float or None
        Seconds from a frame to the next; None where the file does not say it.
    identity : str
        SHA-256 (hex) of the names, sizes and times of change of all files: cheap, and different
        after any ordinary change.
    whole_planes : bool
        Whether getting at one row means unpacking its whole plane, so that reading a plane in
        bands unpacks it once per band.
    fill : callable
        Reads the box of a frame and a channel into an array of the box's shape.
    """

    shape: tuple[int, int, int, int, int]
    dtype: np.dtype
    voxel_size: VoxelSize | None
    frame_interval: float | None
    identity: str
    whole_planes: bool
    fill: Callable[[int, int, Box, np.ndarray], None]

    @property
    def frames(self) -> int | None:
        """Number of frames of a movie; None for a single one."""
        return self.shape[0] if self.shape[0] > 1 else None

    @property
    def volume(self) -> Triple:
        """Shape of a frame, (z, y, x)."""
        return self.shape[2:]

    def read(self, frame: int, channel: int, box: Box) -> np.ndarray:
        """Read a box of one channel of one frame.

        Parameters
        ----------
        frame, channel : int
        box : Box
            Inside the image.

        Returns
        -------
        ndarray, shape `box.shape`, dtype `self.dtype`

        Raises
        ------
        ValueError
            If the data in the file cannot be read or unpacked.
        """
        values = np.empty(box.shape, self.dtype)
        self.fill(frame, channel, box, values)
        return values


def native_dtype(dtype: np.dtype, path: Path) -> np.dtype:
    """The dtype in native byte order in which values are handed out."""
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind not in "uif" or dtype.itemsize > 8:
        raise ValueError(
            f"{path} holds values of dtype {dtype}; allowed are integers and floats of 8 to 64 "
            "bits: convert it, for example to its absolute value"
        )
    return dtype.newbyteorder("=")


def identity_of(base: Path, files: list[Path]) -> str:
    """Fingerprint of the names, sizes and times of change of files."""
    listing = []
    for file in files:
        known = file.stat()
        name = file.relative_to(base) if file.is_relative_to(base) else file
        listing.append([str(name), known.st_size, known.st_mtime_ns])
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()


def in_um(value: object, unit: str | None) -> float | None:
    """A length in um; None where there is none above zero or its unit is unknown."""
    return _converted(value, MICROMETERS.get(unit or ""))


def in_seconds(value: object, unit: str | None) -> float | None:
    """A time in s; None where there is none above zero or its unit is unknown."""
    return _converted(value, SECONDS.get(unit or ""))


def _converted(value: object, factor: float | None) -> float | None:
    if value is None or factor is None or not float(value) > 0:
        return None
    return float(value) * factor


def complete_voxel_size(sizes: list[float | None], planes: int) -> VoxelSize | None:
    """The voxel size if it is known along all axes; a single plane may lack z and gets 1."""
    z, y, x = sizes
    if z is None and planes == 1:
        z = 1.0
    return None if None in (z, y, x) else (z, y, x)
