"""One image from several files, each of which is a frame, a channel, or a channel of a frame.

Idea: microscopes like to write one file a frame, or one a channel. The files are opened as they
are, and a table says which of them holds a frame and channel; what is read is passed on to it.

1. All files have the same shape and dtype, and no more than the frame or channel they stand for.
2. Each frame has each channel once.

Limits: the voxel size is known if all files say the same. Channels are those of a file, or else
each file is one.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from .geometry import Box
from .source import Source


class Part(NamedTuple):
    """A file of an image, and the frame and the channel that it is; None: it holds all of them."""

    path: str
    frame: int | None = None
    channel: int | None = None


def check_places(parts: Sequence[Part], what: str) -> None:
    """Refuse files that leave a gap in an image or claim the same place (ValueError).

    Parameters
    ----------
    parts : sequence of Part
    what : str
        Begins the sentence: what the parts are of.
    """
    for axis in ("frame", "channel"):
        numbers = [getattr(part, axis) for part in parts]
        column = "frame" if axis == "frame" else "as_channel"
        if None in numbers and any(number is not None for number in numbers):
            raise ValueError(
                f"{what} has files with a number of the {axis} and files without; allowed is a "
                f"number for all of them or for none: complete the column `{column}`"
            )
        found = sorted({number for number in numbers if number is not None})
        missing = sorted(set(range(len(found))) - set(found))
        if missing:
            raise ValueError(
                f"{what} has the {axis}s {_listed(found)} but no {axis} {missing[0]}; allowed are "
                f"all from 0 on: add what is missing or correct the column `{column}`"
            )
    places = Counter(part[1:] for part in parts)
    twice = next((place for place, n in places.items() if n > 1), None)
    if twice is not None:
        raise ValueError(
            f"{what} has {places[twice]} files for {_words(twice)}; allowed is one: tell them "
            "apart by the columns `frame` and `as_channel`, or remove one"
        )
    every = product(*({place[k] for place in places} for k in (0, 1)))
    gap = next((place for place in every if place not in places), None)
    if gap is not None:
        raise ValueError(
            f"{what} has no file for {_words(gap)}; allowed is each channel in each frame: add it"
        )


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")


def _words(place: tuple[int | None, int | None]) -> str:
    named = zip(("frame", "channel"), place, strict=True)
    return ", ".join(f"{name} {n}" for name, n in named if n is not None) or "the same image"


def compose(parts: Sequence[Part], sources: Sequence[Source]) -> Source:
    """Put the sources of several files together.

    Parameters
    ----------
    parts : sequence of Part
        Where each of them belongs; together they are complete, see `check_places`.
    sources : sequence of Source

    Returns
    -------
    Source
        A source that is alone and has no place stays as it is.

    Raises
    ------
    ValueError
        If shapes or dtypes differ, or a file holds several frames or channels but stands for one.
    """
    first = sources[0]
    if len(parts) == 1 and parts[0][1:] == (None, None):
        return first
    for part, source in zip(parts, sources, strict=True):
        if (source.shape, source.dtype) != (first.shape, first.dtype):
            raise ValueError(
                f"{part.path} has the shape {source.shape} (t, c, z, y, x) of {source.dtype}, but "
                f"{parts[0].path} {first.shape} of {first.dtype}; allowed is one shape and dtype "
                "for all frames and channels: crop, resample or convert the odd one"
            )
        for axis, number in enumerate(part[1:]):
            if number is not None and source.shape[axis] > 1:
                what = ("frame", "channel")[axis]
                raise ValueError(
                    f"{part.path} is to be {what} {number}, but holds {source.shape[axis]} "
                    f"{what}s; allowed is one: save each on its own, or name the file in one row "
                    f"without a number of the {what}"
                )
    by_place = {part[1:]: source for part, source in zip(parts, sources, strict=True)}
    has_frames, has_channels = parts[0].frame is not None, parts[0].channel is not None
    frames = len({part.frame for part in parts}) if has_frames else first.shape[0]
    channels = len({part.channel for part in parts}) if has_channels else first.shape[1]

    def fill(frame: int, channel: int, box: Box, out: np.ndarray) -> None:
        place = frame if has_frames else None, channel if has_channels else None
        inner = 0 if has_frames else frame, 0 if has_channels else channel
        by_place[place].fill(*inner, box, out)

    sizes = {source.voxel_size for source in sources}
    intervals = {source.frame_interval for source in sources}
    known = [[*place, by_place[place].identity] for place in sorted(by_place, key=str)]
    return Source(
        shape=(frames, channels, *first.volume),
        dtype=first.dtype,
        voxel_size=first.voxel_size if len(sizes) == 1 else None,
        frame_interval=first.frame_interval if len(intervals) == 1 else None,
        identity=hashlib.sha256(json.dumps(known).encode()).hexdigest(),
        whole_planes=any(source.whole_planes for source in sources),
        fill=fill,
    )
