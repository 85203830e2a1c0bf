"""Pictures of a sample: whole planes, a close-up, projections and channels, with outlines.

Limits: outlines lie over one channel; the others are shown on one plane only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..columns import AXES
from ..geometry import Box, Triple
from ..intensity import HIGH_QUANTILE, LOW_QUANTILE
from ..pictures import cut, cut_box, grey, inline, outlines, project
from ..words import length, nice_below
from .cells import Tally, nearest
from .scene import Scene

# A close-up is about this many cells wide, within bounds in voxels.
CLOSE_UP_CELLS = 8
CLOSE_UP_VOXELS = (48, 320)
CHANNELS_SHOWN = 12
CHANNEL_PIXELS = 320


@dataclass(frozen=True)
class Figure:
    """One view: the image, and a layer of outlines if there are any, as data URIs.

    The scale bar is given as a share of the width, None if sizes are not known.
    """

    name: str
    title: str
    raw: str
    lines: str | None
    aspect: float
    bar_share: float | None
    bar_text: str


def planes(scene: Scene, tally: Tally) -> Triple:
    """Along each axis, the plane that most cells cross; of equal ones the most central.

    Only the middle half of the volume is considered, because an image is about its centre.
    """
    chosen = []
    for n, crossing in zip(scene.shape, tally.crossing, strict=True):
        middle = np.arange(n // 4, max(n // 4 + 1, n - n // 4))
        distance = np.abs(middle - n // 2)
        chosen.append(int(middle[np.lexsort((distance, -crossing[middle]))[0]]))
    return tuple(chosen)


def cuts(scene: Scene, tally: Tally, planes: Triple) -> list[Figure]:
    """The whole planes; for an image of one plane, this plane."""
    return [
        _figure(
            scene,
            tally,
            name=f"cut-{AXES[axis]}",
            title=cut_title(scene, axis, planes[axis]),
            **_read(scene, partial(cut, factors=scene.factors, axis=axis, index=planes[axis])),
            size=true_size(scene, axis, scene.shape),
            limits=scene.limits[scene.channel],
        )
        for axis in ((0,) if scene.is_2d else (0, 1, 2))
    ]


def close_ups(scene: Scene, tally: Tally, planes: Triple) -> list[Figure]:
    """Around the cell next to where the planes meet, at full resolution.

    None if there is no cell, or if the whole planes show as much.
    """
    if not tally.n or max(scene.shape) <= 2 * CLOSE_UP_VOXELS[1]:
        return []
    centre = nearest(scene.cells, planes, scene.spacing).round().astype(int)
    start, stop = [], []
    for at, edge, n in zip(centre, close_up_edges(scene.shape, tally), scene.shape, strict=True):
        start.append(max(0, min(int(at) - edge // 2, n - edge)))
        stop.append(start[-1] + edge)
    box = Box(tuple(start), tuple(stop))
    return [
        _figure(
            scene,
            tally,
            name=f"close-{AXES[axis]}",
            title=f"Around y, x = {centre[1]}, {centre[2]}"
            if scene.is_2d
            else f"Plane {AXES[axis]} = {centre[axis]}",
            **_read(scene, partial(cut_box, box=box, axis=axis, index=int(centre[axis]))),
            size=true_size(scene, axis, box.shape),
            limits=scene.limits[scene.channel],
        )
        for axis in ((0,) if scene.is_2d else (0, 1, 2))
    ]


def close_up_edges(shape: Triple, tally: Tally) -> Triple:
    """Edges of a close-up, in voxels; of the largest if there is no cell to go by."""
    extent = CLOSE_UP_CELLS * np.nan_to_num(tally.extent, nan=CLOSE_UP_VOXELS[1])
    edges = np.clip(extent, *CLOSE_UP_VOXELS).astype(int).tolist()
    return tuple(map(min, edges, shape))


def projections(scene: Scene, tally: Tally) -> list[Figure]:
    """Maximum projections along z and y; none for an image of one plane."""
    if scene.is_2d:
        return []
    seen = _read(scene, project)
    values, labels = seen["values"], seen["labels"]
    return [
        _figure(
            scene,
            tally,
            name=f"projection-{AXES[axis]}",
            title=f"All {scene.shape[axis]} planes along {AXES[axis]}",
            values=values[axis],
            labels=labels[axis],
            size=true_size(scene, axis, scene.shape),
            limits=_contrast(values[axis]),
        )
        for axis in values
    ]


def _contrast(values: np.ndarray) -> tuple[float, float]:
    """Limits of a picture's own: a maximum of many planes is brighter than each of them."""
    low, high = np.quantile(values, [LOW_QUANTILE, HIGH_QUANTILE])
    return (low, high) if high > low else (low, low + 1.0)


def channels(scene: Scene, tally: Tally, plane: int) -> list[Figure]:
    """One plane in every channel, if there are several."""
    if len(scene.limits) == 1:
        return []
    shown = range(min(len(scene.limits), CHANNELS_SHOWN))
    with scene.reading_image():
        values = [
            cut(
                scene.image,
                scene.factors,
                axis=0,
                index=plane,
                leading=(*scene.leading, channel),
                pixels=CHANNEL_PIXELS,
            )
            for channel in shown
        ]
    return [
        _figure(
            scene,
            tally,
            name=f"channel-{channel}",
            title=f"Channel {channel}" + (", segmented" if channel == scene.channel else ""),
            values=values[channel],
            labels=None,
            size=true_size(scene, 0, scene.shape),
            limits=scene.limits[channel],
        )
        for channel in shown
    ]


def _read(scene: Scene, how: Callable[..., object]) -> dict[str, object]:
    """What is read in the same way of the image and of the labels."""
    with scene.reading_image():
        values = how(scene.image, leading=(*scene.leading, scene.channel))
    with scene.reading_labels():
        labels = how(scene.labels, leading=scene.leading)
    return {"values": values, "labels": labels}


def _figure(
    scene: Scene,
    tally: Tally,
    *,
    name: str,
    title: str,
    values: np.ndarray,
    labels: np.ndarray | None,
    size: tuple[float, float],
    limits: tuple[float, float],
) -> Figure:
    """Draw one view of true height and width `size`; black and white are at the limits."""
    bar = nice_below(size[1] / 4)
    is_outlined = labels is not None and tally.n > 0
    return Figure(
        name=name if scene.frame is None else f"{name}-of-{scene.frame}",
        title=title if scene.frame is None else f"Frame {scene.frame}: {title}",
        raw=inline(grey(values, *limits)),
        lines=inline(outlines(labels, size=size)) if is_outlined else None,
        aspect=size[1] / size[0],
        bar_share=None if scene.voxel_size is None else bar / size[1],
        bar_text=length(bar),
    )


def true_size(scene: Scene, axis: int, shape: Triple) -> tuple[float, float]:
    """True height and width of a plane of a box, perpendicular to an axis."""
    edges = [n * edge for n, edge in zip(shape, scene.spacing, strict=True)]
    del edges[axis]
    return tuple(edges)


def cut_title(scene: Scene, axis: int, index: int) -> str:
    if scene.is_2d:
        return "The image"
    depth = "" if scene.voxel_size is None else f" ({length(index * scene.voxel_size[axis])})"
    return f"Plane {AXES[axis]} = {index}{depth} of {scene.shape[axis]}"
