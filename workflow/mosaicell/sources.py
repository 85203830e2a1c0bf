"""Images as they come: opening any supported file format, and what the stages demand of an image.

Idea: what lies at a path decides which reader opens it; all give a `Source`. What a stage needs
of an image is checked as soon as it is open, before a voxel is read.

1. A file is a TIFF file (`tiff`).
2. A folder with zarr metadata is an OME-Zarr image or a zarr array (`zarr_source`).
3. Any other folder holds TIFF planes, or folders of them (`tiff`).
4. Several files, each a frame or a channel or both, are one image (`composed`).

Limits: those of `source` and of the readers.
"""

from collections.abc import Sequence
from pathlib import Path

from .composed import Part, compose
from .geometry import Triple
from .source import Source
from .tiff import TIFF_SUFFIXES, open_tiff, open_tiff_folder
from .zarr_source import open_zarr


def open_source(path: str | Path) -> Source:
    """Open an image of any supported format without reading its voxels.

    Parameters
    ----------
    path : str or Path
        TIFF file, folder of TIFF planes, folder of such folders (channels), OME-Zarr image, or
        zarr array.

    Returns
    -------
    Source

    Raises
    ------
    ValueError
        If there is nothing at `path`, or if it is damaged, or is of no supported format or
        dtype.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"there is nothing at {path}: correct the path of the image")
    if path.is_file():
        if path.suffix.lower() not in TIFF_SUFFIXES:
            raise ValueError(
                f"{path} is not an image that can be read; allowed are TIFF files "
                f"({', '.join(sorted(TIFF_SUFFIXES))}), folders of them, and OME-Zarr: "
                "convert it to one of these"
            )
        return open_tiff(path)
    if any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zarray")):
        return open_zarr(path)
    return open_tiff_folder(path)


def open_parts(parts: Sequence[Part]) -> Source:
    """Open an image that is one file or folder, or several with the places that they have in it.

    Parameters
    ----------
    parts : sequence of (path, frame, channel)
        Frame and channel are None where the file holds all of them; see `composed.compose`.

    Raises
    ------
    ValueError
        See `open_source` and `composed.compose`.
    """
    parts = [Part(*part) for part in parts]
    sources = [open_source(part.path) for part in parts]
    return compose(parts, sources)


def check_channel(image: Source, channel: int) -> None:
    """Refuse to segment a channel that an image does not have (ValueError)."""
    if channel >= image.shape[1]:
        raise ValueError(
            f"channel {channel} is to be segmented, but the image has {image.shape[1]}; allowed "
            f"are 0 to {image.shape[1] - 1}: correct the column `channel` of the sample sheet, or "
            "predict.channel"
        )


def check_voxel_size(image: Source, given: Sequence[float] | None) -> None:
    """Refuse an image of unknown voxel size (ValueError), where a length in um is given."""
    if given is None and image.voxel_size is None:
        raise ValueError(
            "a diameter or a sigma in um came, but neither the sample sheet nor the image file "
            "says how large a voxel is; needed are voxel_size_z, voxel_size_y and voxel_size_x: "
            "add them to the sample sheet, or give sigma in voxels"
        )


def check_labels(truth: Source) -> None:
    """Refuse an image that cannot name cells by whole numbers (ValueError)."""
    if truth.dtype.kind not in "iu" or truth.shape[1] != 1:
        raise ValueError(
            f"the truth has {truth.shape[1]} channels of {truth.dtype}; allowed is one channel of "
            "integers, 0 for background and a number for each cell: save it as such"
        )


def check_same_shape(shape: Triple, other: Source, what: str, *, frames: int | None = None) -> None:
    """Refuse an image that is to lie voxel on voxel on one of another shape (ValueError)."""
    if other.volume != shape:
        raise ValueError(
            f"{what} has the shape {other.volume} and the image {shape} (z, y, x); allowed is "
            "one voxel for each voxel of the image: resample or crop it"
        )
    if other.frames != frames:
        raise ValueError(
            f"{what} has {other.frames or 1} frames and the image {frames or 1}; allowed is one "
            "frame for each frame of the image: add what is missing or remove what is too much"
        )
