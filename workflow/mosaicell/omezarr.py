"""OME-Zarr 0.5 metadata, as dictionaries that become the attributes of zarr groups.

Idea: one physical space, in um, for all levels of an image and of its labels. A level's scale is
its factor times the voxel size, and its translation puts the centres of its voxels where the
centres of the averaged blocks are, so levels lie on each other in every viewer.

A movie has an axis of time before all others, in seconds where the time between frames is known.

Limits: where the voxel size is not known, the space is in voxels and has no unit.

Reference: https://ngff.openmicroscopy.org/0.5
"""

import numpy as np

from .geometry import Triple, VoxelSize

VERSION = "0.5"
COLOURS = ("FFFFFF", "00FF00", "FF00FF", "00FFFF", "FFFF00", "FF0000", "0000FF")


def image_attributes(
    *,
    name: str,
    voxel_size: VoxelSize | None,
    factors: list[Triple],
    dtype: np.dtype,
    limits: list[tuple[float, float]],
    frames: int | None = None,
    frame_interval: float | None = None,
) -> dict:
    """Attributes of the group of an image with the axes (t,) c, z, y, x and the levels 0, 1, ...

    Parameters
    ----------
    name : str
    voxel_size : (z, y, x) in um, or None
    factors : list of (z, y, x)
        Of each level, see `pyramid.level_factors`.
    dtype : numpy.dtype
        Of the image; gives the range of the display's sliders.
    limits : list of (low, high)
        Intensities that a viewer shows as black and as full colour, for each channel.
    frames : int, optional
        Of a movie.
    frame_interval : float, optional
        Seconds from a frame to the next.

    Returns
    -------
    dict
    """
    # One channel is shown in grey; several start with a colour each.
    colours = COLOURS[:1] if len(limits) == 1 else COLOURS[1:]
    channels = [
        {
            "label": f"channel {i}",
            "color": colours[i % len(colours)],
            "active": True,
            "window": _window(dtype, low, high),
        }
        for i, (low, high) in enumerate(limits)
    ]
    axes = "czyx" if frames is None else "tczyx"
    multiscale = _multiscale(name, axes, voxel_size, factors, frame_interval)
    multiscale |= {"type": "mean"}
    return {
        "ome": {"version": VERSION, "multiscales": [multiscale], "omero": {"channels": channels}}
    }


def label_attributes(
    *,
    name: str,
    voxel_size: VoxelSize | None,
    factors: list[Triple],
    frames: int | None = None,
    frame_interval: float | None = None,
) -> dict:
    """Attributes of the group labels/<name> of an image, with the axes (t,) z, y, x.

    Parameters
    ----------
    name : str
    voxel_size : (z, y, x) in um, or None
    factors : list of (z, y, x)
        Of each level.
    frames, frame_interval
        See `image_attributes`.

    Returns
    -------
    dict
    """
    axes = "zyx" if frames is None else "tzyx"
    multiscale = _multiscale(name, axes, voxel_size, factors, frame_interval)
    multiscale |= {"type": "first"}
    return {
        "ome": {
            "version": VERSION,
            "multiscales": [multiscale],
            "image-label": {"source": {"image": "../../"}},
        }
    }


def labels_attributes(names: list[str]) -> dict:
    """Attributes of the group that holds the labels of an image."""
    return {"ome": {"version": VERSION, "labels": list(names)}}


def _multiscale(
    name: str,
    axes: str,
    voxel_size: VoxelSize | None,
    factors: list[Triple],
    frame_interval: float | None,
) -> dict:
    space = {"type": "space"} | ({} if voxel_size is None else {"unit": "micrometer"})
    time = {"type": "time"} | ({} if frame_interval is None else {"unit": "second"})
    kinds = {"t": time, "c": {"type": "channel"}}
    size = voxel_size or (1.0, 1.0, 1.0)
    before = [(frame_interval or 1.0) if a == "t" else 1.0 for a in axes[:-3]]
    return {
        "name": name,
        "axes": [{"name": a} | kinds.get(a, space) for a in axes],
        "datasets": [
            {
                "path": str(level),
                "coordinateTransformations": [
                    {
                        "type": "scale",
                        "scale": before + [f * v for f, v in zip(step, size, strict=True)],
                    },
                    {
                        "type": "translation",
                        "translation": [0.0] * len(before)
                        + [(f - 1) / 2 * v for f, v in zip(step, size, strict=True)],
                    },
                ],
            }
            for level, step in enumerate(factors)
        ],
    }


def _window(dtype: np.dtype, low: float, high: float) -> dict:
    dtype = np.dtype(dtype)
    known = np.iinfo(dtype) if dtype.kind in "ui" else None
    return {
        "start": low,
        "end": high,
        "min": float(known.min) if known else low,
        "max": float(known.max) if known else high,
    }
