"""One page per sample that shows whether the cells are right: pictures, numbers, distributions.

Idea: people judge a segmentation by looking. So the page leads with the image and the outlines
side by side, on the planes that hold most cells and, for a large image, in a close-up at full
resolution; numbers and hints stand above, details below. The page is a single file that needs
nothing else: pictures are packed into it, charts are drawn as SVG in the colours of the page.

Passes:
1. `_planes` chooses where to cut, from the table of cells.
2. `_cuts`, `_close_ups`, `_projections` and `_channels` read and draw the pictures, see
   `mosaicell.pictures`.
3. `_headline`, `_hints` and `_charts` sum the table up.
4. `_verdict`, `_compared` and `_profiles` tell whether cells end where tiles meet, see
   `mosaicell.seams`.
5. The template `report.html.j2` lays it all out.

Of a movie the pictures are those of one frame, the middle one of those that have cells; two more
follow, and a chart of the cells by frame, see `mosaicell.filmstrip`. Numbers are those of all.

Limits: the pictures show one channel with outlines, and the other ones on one plane only.
"""

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
import zarr

from .charts import Chart, Profile, chart, profile
from .filmstrip import FrameOf, cells_by_frame, frames_to_show
from .geometry import Box, Triple
from .intensity import HIGH_QUANTILE, LOW_QUANTILE
from .measure import AXES
from .pictures import cut, cut_box, grey, inline, outlines, project
from .seams import ENOUGH_BORDERS, KINDS, Seams, find_seams
from .version import __version__
from .words import TIMES, duration, length, memory, nice_below, number

# A close-up is about this many cells wide, within bounds in voxels.
CLOSE_UP_CELLS = 8
CLOSE_UP_VOXELS = (48, 320)
CHANNELS_SHOWN = 12
CHANNEL_PIXELS = 320
ENOUGH_CELLS = 10  # for shares and medians to mean something
PLANES_NAMED = 3


def columns(n_channels: int) -> list[str]:
    """The columns of the table of cells that a report looks at."""
    return [
        "label",
        "num_voxels",
        *(f"centroid_{axis}" for axis in AXES),
        *(f"bbox_min_{axis}" for axis in AXES),
        *(f"bbox_max_{axis}" for axis in AXES),
        "touches_border",
        "equivalent_diameter_um",
        *(f"intensity_mean_{channel}" for channel in range(n_channels)),
    ]


@dataclass(frozen=True)
class Scene:
    """What a report is about.

    Attributes
    ----------
    image : list of zarr.Array, (c, z, y, x), or of a movie (t, c, z, y, x)
    labels : list of zarr.Array, (z, y, x), or of a movie (t, z, y, x)
    factors : list of tuple of int
        Voxels of level 0 in a voxel of each level.
    channel : int
    limits : list of tuple of float
    voxel_size : tuple of float or None
        In um.
    cells : pandas.DataFrame
    frame : int or None
        The one frame of a movie that this is.
    """

    image: list[zarr.Array] | list[FrameOf]
    labels: list[zarr.Array] | list[FrameOf]
    factors: list[Triple]
    channel: int
    limits: list[tuple[float, float]]
    voxel_size: tuple[float, float, float] | None
    cells: pd.DataFrame
    frame: int | None = None

    @property
    def shape(self) -> Triple:
        return self.labels[0].shape[-3:]

    @property
    def n_frames(self) -> int:
        return prod(self.labels[0].shape[:-3])

    def of_frame(self, frame: int) -> "Scene":
        """One frame of a movie."""
        return replace(
            self,
            image=[FrameOf(level, frame) for level in self.image],
            labels=[FrameOf(level, frame) for level in self.labels],
            cells=self.cells[self.cells["frame"] == frame],
            frame=frame,
        )

    @property
    def is_2d(self) -> bool:
        return self.shape[0] == 1

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Edges of a voxel, in um if they are known."""
        return self.voxel_size or (1.0, 1.0, 1.0)

    @property
    def voxel(self) -> str:
        return "pixel" if self.is_2d else "voxel"


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


def report(
    *,
    sample: str,
    image: list[zarr.Array],
    labels: list[zarr.Array],
    factors: list[Triple],
    channel: int,
    limits: list[tuple[float, float]],
    voxel_size: tuple[float, float, float] | None,
    cells: pd.DataFrame,
    borders: list[np.ndarray],
    tile: Triple,
    facts: dict[str, dict[str, str]],
    timings: list[dict],
    num_cells: list[int] | None = None,
) -> str:
    """Write the report of one sample.

    Parameters
    ----------
    sample : str
    image : list of zarr.Array, (c, z, y, x), or of a movie (t, c, z, y, x)
        Pyramid, finest first.
    labels : list of zarr.Array of unsigned integers, (z, y, x) or (t, z, y, x)
        Pyramid of the same shapes.
    factors : list of tuple of int
        (z, y, x) voxels of level 0 in a voxel of each level.
    channel : int
        The channel that was segmented.
    limits : list of tuple of float
        (black, white) for each channel.
    voxel_size : tuple of float or None
        (z, y, x) in um.
    cells : pandas.DataFrame
        The table of cells, at least its `columns`.
    borders : list of three ndarray of int64, (2, n)
        Straight borders on each plane, see `seams.straight_borders`.
    tile : tuple of int
        Shape of the tiles, in voxels.
    facts : dict of str to dict of str to str
        Sections of names and values, shown as tables.
    timings : list of dict
        For each stage: stage, jobs, seconds, max_rss_mb (NaN if unknown).
    num_cells : list of int, optional
        Of each frame of a movie.

    Returns
    -------
    str
        One HTML page that needs no other file. The same input gives the same page.
    """
    whole = Scene(image, labels, factors, channel, limits, voxel_size, cells)
    shown = frames_to_show(num_cells) if num_cells else []
    scene = whole.of_frame(shown[len(shown) // 2]) if shown else whole
    planes = _planes(scene)
    seams = find_seams(borders, tile=tile)
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        sample=sample,
        summary=_summary(whole),
        headline=_headline(whole),
        hints=_hints(whole) + _seam_hints(seams),
        cuts=_cuts(scene, planes),
        close_ups=_close_ups(scene, planes),
        projections=_projections(scene),
        channels=_channels(scene, planes[0]),
        channel=channel,
        n_channels=len(limits),
        contrast=" to ".join(number(limit) for limit in limits[channel]),
        has_size=voxel_size is not None,
        voxel=scene.voxel,
        frames=[_cuts(whole.of_frame(frame), planes)[0] for frame in shown if frame != scene.frame],
        by_frame=cells_by_frame(num_cells, shown) if shown else None,
        charts=_charts(whole),
        verdict=_verdict(seams),
        compared=_compared(seams),
        profiles=_profiles(whole, borders, seams),
        facts=facts,
        timings=_timings(timings),
        version=__version__,
    )


# Pictures


def _planes(scene: Scene) -> Triple:
    """Along each axis, the plane that most cells cross; of equal ones the most central.

    Only the middle half of the volume is considered, because an image is about its centre.
    """
    planes = []
    for axis, n in zip(AXES, scene.shape, strict=True):
        begins, ends = (
            np.bincount(scene.cells[f"bbox_{end}_{axis}"].to_numpy(np.int64), minlength=n + 1)
            for end in ("min", "max")
        )
        crossing = np.cumsum(begins - ends)
        middle = np.arange(n // 4, max(n // 4 + 1, n - n // 4))
        distance = np.abs(middle - n // 2)
        planes.append(int(middle[np.lexsort((distance, -crossing[middle]))[0]]))
    return tuple(planes)


def _figure(
    scene: Scene,
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
    is_outlined = labels is not None and not scene.cells.empty
    return Figure(
        name=name if scene.frame is None else f"{name}-of-{scene.frame}",
        title=title if scene.frame is None else f"Frame {scene.frame}: {title}",
        raw=inline(grey(values, *limits)),
        lines=inline(outlines(labels, size=size)) if is_outlined else None,
        aspect=size[1] / size[0],
        bar_share=None if scene.voxel_size is None else bar / size[1],
        bar_text=length(bar),
    )


def _size(scene: Scene, axis: int, shape: Triple) -> tuple[float, float]:
    """True height and width of a plane of a box, perpendicular to an axis."""
    edges = [n * edge for n, edge in zip(shape, scene.spacing, strict=True)]
    del edges[axis]
    return tuple(edges)


def _cut_title(scene: Scene, axis: int, index: int) -> str:
    if scene.is_2d:
        return "The image"
    depth = "" if scene.voxel_size is None else f" ({length(index * scene.voxel_size[axis])})"
    return f"Plane {AXES[axis]} = {index}{depth} of {scene.shape[axis]}"


def _cuts(scene: Scene, planes: Triple) -> list[Figure]:
    """The whole planes; for an image of one plane, this plane."""
    return [
        _figure(
            scene,
            name=f"cut-{AXES[axis]}",
            title=_cut_title(scene, axis, planes[axis]),
            values=cut(
                scene.image, scene.factors, axis=axis, index=planes[axis], channel=scene.channel
            ),
            labels=cut(scene.labels, scene.factors, axis=axis, index=planes[axis]),
            size=_size(scene, axis, scene.shape),
            limits=scene.limits[scene.channel],
        )
        for axis in ((0,) if scene.is_2d else (0, 1, 2))
    ]


def _close_ups(scene: Scene, planes: Triple) -> list[Figure]:
    """Around the cell next to where the planes meet, at full resolution.

    None if there is no cell, or if the whole planes show as much.
    """
    if scene.cells.empty or max(scene.shape) <= 2 * CLOSE_UP_VOXELS[1]:
        return []
    centroids = scene.cells[[f"centroid_{axis}" for axis in AXES]].to_numpy()
    distance = ((centroids - planes) * scene.spacing) ** 2
    centre = centroids[distance.sum(axis=1).argmin()].round().astype(int)
    start, stop = [], []
    for axis, name in enumerate(AXES):
        extent = scene.cells[f"bbox_max_{name}"] - scene.cells[f"bbox_min_{name}"]
        edge = int(np.clip(CLOSE_UP_CELLS * extent.median(), *CLOSE_UP_VOXELS))
        first = max(0, min(int(centre[axis]) - edge // 2, scene.shape[axis] - edge))
        start.append(first)
        stop.append(min(first + edge, scene.shape[axis]))
    box = Box(tuple(start), tuple(stop))
    image, labels = scene.image[0], scene.labels[0]
    return [
        _figure(
            scene,
            name=f"close-{AXES[axis]}",
            title=f"Around y, x = {centre[1]}, {centre[2]}"
            if scene.is_2d
            else f"Plane {AXES[axis]} = {centre[axis]}",
            values=cut_box(image, box, axis=axis, index=centre[axis], channel=scene.channel),
            labels=cut_box(labels, box, axis=axis, index=centre[axis]),
            size=_size(scene, axis, box.shape),
            limits=scene.limits[scene.channel],
        )
        for axis in ((0,) if scene.is_2d else (0, 1, 2))
    ]


def _projections(scene: Scene) -> list[Figure]:
    """Maximum projections along z and y; none for an image of one plane."""
    if scene.is_2d:
        return []
    values, labels = project(scene.image, channel=scene.channel), project(scene.labels)
    return [
        _figure(
            scene,
            name=f"projection-{AXES[axis]}",
            title=f"All {scene.shape[axis]} planes along {AXES[axis]}",
            values=values[axis],
            labels=labels[axis],
            size=_size(scene, axis, scene.shape),
            limits=_contrast(values[axis]),
        )
        for axis in values
    ]


def _contrast(values: np.ndarray) -> tuple[float, float]:
    """Limits of a picture's own: a maximum of many planes is brighter than each of them."""
    low, high = np.quantile(values, [LOW_QUANTILE, HIGH_QUANTILE])
    return (low, high) if high > low else (low, low + 1.0)


def _channels(scene: Scene, plane: int) -> list[Figure]:
    """One plane in every channel, if there are several."""
    if len(scene.limits) == 1:
        return []
    return [
        _figure(
            scene,
            name=f"channel-{channel}",
            title=f"Channel {channel}" + (", segmented" if channel == scene.channel else ""),
            values=cut(
                scene.image,
                scene.factors,
                axis=0,
                index=plane,
                channel=channel,
                pixels=CHANNEL_PIXELS,
            ),
            labels=None,
            size=_size(scene, 0, scene.shape),
            limits=scene.limits[channel],
        )
        for channel in range(min(len(scene.limits), CHANNELS_SHOWN))
    ]


# Numbers


def _summary(scene: Scene) -> str:
    """What the image is, in a line."""
    edges = scene.shape[1:] if scene.is_2d else scene.shape
    axes = ", ".join(AXES[scene.is_2d :])
    parts = [f"{TIMES.join(f'{n:,}' for n in edges)} {scene.voxel}s ({axes})"]
    if scene.voxel_size is not None:
        sizes = scene.voxel_size[1:] if scene.is_2d else scene.voxel_size
        parts.append(f"{TIMES.join(f'{edge:.4g}' for edge in sizes)} µm each")
    if len(scene.limits) > 1:
        parts.append(f"{len(scene.limits)} channels")
    if scene.n_frames > 1:
        parts.append(f"{scene.n_frames:,} frames")
    return " · ".join(parts)


def _headline(scene: Scene) -> list[tuple[str, str]]:
    """Numbers to read first, each with what it counts."""
    cells, n = scene.cells, len(scene.cells)
    voxels = prod(scene.shape) * scene.n_frames
    share = cells["num_voxels"].sum() / voxels
    strip = [(f"{n:,}", "cell" if n == 1 else "cells")]
    if n and scene.voxel_size is not None:
        diameter = cells["equivalent_diameter_um"].median()
        strip.append((f"{number(diameter)} µm", "median diameter"))
    elif n:
        strip.append((number(cells["num_voxels"].median()), f"{scene.voxel}s in the median cell"))
    if n:
        strip.append((f"{100 * cells['touches_border'].mean():.0f} %", "touch the border"))
        strip.append((f"{number(100 * share)} %", f"of the {_space_name(scene)} is cells"))
    if scene.voxel_size is None:
        strip.append((number(voxels), f"{scene.voxel}s in all"))
        return strip
    voxels //= scene.n_frames
    power = 2 if scene.is_2d else 3
    sign = "²" if scene.is_2d else "³"
    space = voxels * prod(scene.voxel_size[-power:])
    mm = space / 1000**power
    if n:
        strip.append((number(n / scene.n_frames / mm), f"cells per mm{sign}"))
    text = f"{number(mm)} mm{sign}" if mm >= 0.001 else f"{number(space)} µm{sign}"
    strip.append((text, "imaged"))
    return strip


def _space_name(scene: Scene) -> str:
    return "area" if scene.is_2d else "volume"


def _hints(scene: Scene) -> list[str]:
    """What deserves a look, and what to do about it."""
    cells, voxel, hints = scene.cells, scene.voxel, []
    if cells.empty:
        hints.append(
            "No cells were found. If the pictures below show cells, lower segment.threshold, or "
            "segment.min_size if they are small; if the pictures are empty, check the sample's "
            "channel."
        )
    if scene.voxel_size is None:
        hints.append(
            f"The {voxel} size is not known: sizes are in {voxel}s, and pictures are drawn as if "
            f"{voxel}s had equal edges. Fill in the columns voxel_size_z, voxel_size_y and "
            "voxel_size_x of the sample sheet."
        )
    if len(cells) < ENOUGH_CELLS:
        return hints
    sizes = cells["num_voxels"]
    median = sizes.median()
    largest = int(sizes.argmax())
    if sizes.iloc[largest] > 10 * median:
        axes = AXES[scene.is_2d :]
        place = ", ".join(f"{cells[f'centroid_{axis}'].iloc[largest]:.0f}" for axis in axes)
        if scene.n_frames > 1:
            place += f" of frame {cells['frame'].iloc[largest]}"
        hints.append(
            f"Cell {cells['label'].iloc[largest]} at {', '.join(axes)} = {place} is "
            f"{number(sizes.iloc[largest] / median)} times as large as the median cell. If it "
            "is several cells in one, lower segment.persistence or raise segment.threshold."
        )
    small = (sizes < median / 10).mean()
    if small > 0.1:
        hints.append(
            f"{100 * small:.0f} % of the cells have less than a tenth of the median size. If "
            f"they are debris, raise segment.min_size (the median is {number(median)} {voxel}s)."
        )
    touching = cells["touches_border"].mean()
    if touching > 0.5:
        hints.append(
            f"{100 * touching:.0f} % of the cells touch the border of the image and may be cut "
            "off there: leave them out (touches_border) when sizes and shapes matter."
        )
    return hints


# Charts


def _charts(scene: Scene) -> list[Chart]:
    """Distributions over the cells; none without cells."""
    cells = scene.cells
    if cells.empty:
        return []
    sizes = cells["num_voxels"].to_numpy(np.float64)
    what = "Area" if scene.is_2d else "Volume"
    if scene.voxel_size is None:
        charts = [chart(f"{what} of a cell", f"{scene.voxel}s", sizes)]
    else:
        power, sign = (2, "²") if scene.is_2d else (3, "³")
        voxel = prod(scene.voxel_size[-power:])
        diameters = cells["equivalent_diameter_um"].to_numpy()
        shape = "circle" if scene.is_2d else "sphere"
        charts = [
            chart(f"{what} of a cell", f"µm{sign}", sizes * voxel),
            chart("Diameter", f"µm, of a {shape} as large", diameters),
        ]
    if not scene.is_2d:
        known = scene.voxel_size is not None
        charts.append(
            chart(
                "Cells along z",
                "µm" if known else "plane",
                (cells["centroid_z"].to_numpy() + 0.5) * scene.spacing[0],
                bounds=(0.0, np.nextafter(scene.shape[0] * scene.spacing[0], 0.0)),
            )
        )
    for channel in range(len(scene.limits)):
        name = "Mean intensity" if len(scene.limits) == 1 else f"Mean intensity, channel {channel}"
        values = cells[f"intensity_mean_{channel}"].to_numpy()
        charts.append(chart(name, "as in the image", values))
    return charts


def _timings(timings: list[dict]) -> list[dict]:
    """Rows of the table of timings as text, and the length of each bar in percent."""
    longest = max((row["seconds"] for row in timings), default=0.0) or 1.0
    return [
        {
            "stage": row["stage"],
            "jobs": row["jobs"],
            "time": duration(row["seconds"]),
            "memory": "unknown" if np.isnan(row["max_rss_mb"]) else memory(row["max_rss_mb"]),
            "share": 100 * row["seconds"] / longest,
        }
        for row in timings
    ]


# Seams


def _verdict(seams: Seams) -> str:
    """Whether cells end where tiles meet, in a sentence."""
    if not any(planes.size for planes in seams.planes):
        return "The volume is one tile: there is no tile border to look at."
    if not seams.excess:
        return "The tiles are too thin to compare the planes where they meet with others."
    if not seams.are_there:
        return "No seam is visible where tiles meet."
    most = f", most of all at {_named(seams.on_tiles)}" if seams.on_tiles else ""
    return f"Seams are visible where tiles meet{most}."


def _compared(seams: Seams) -> list[dict]:
    """Rows of the table of straight borders where tiles meet and elsewhere, as text."""
    rows = []
    for kind, excess in zip(KINDS, seams.excess, strict=False):  # there may be nothing to compare
        times = "too few to tell"
        if max(excess.found, excess.expected) >= ENOUGH_BORDERS:
            per = 1 / max(1, excess.expected)  # where none are expected, times one
            times = f"{excess.found * per:,.2f} ± {excess.error * per:,.2f}"
        rows.append(
            {
                "kind": kind,
                "found": f"{excess.found:,}",
                "expected": f"{excess.expected:,.0f} ± {excess.error:,.0f}",
                "times": times,
            }
        )
    return rows


def _named(planes: list[tuple[int, int]]) -> str:
    """Some planes, and how many there are beside."""
    names = [f"{AXES[axis]} = {plane}" for axis, plane in planes[:PLANES_NAMED]]
    beside = len(planes) - len(names)
    return ", ".join(names) + (f" and {beside} more" if beside else "")


def _seam_hints(seams: Seams) -> list[str]:
    hints = []
    if seams.are_there:
        hints.append(
            f"{_verdict(seams)} The watershed cuts no cell there, so look whether the landscape "
            "jumps: one that a sample brings may be put together from blocks that do not fit."
        )
    if seams.elsewhere:
        hints.append(
            f"Many cells end in a straight face at {_named(seams.elsewhere)}, where no tiles meet: "
            "look whether the image or the landscape jumps there."
        )
    return hints


def _profiles(scene: Scene, borders: list[np.ndarray], seams: Seams) -> list[Profile]:
    """Straight borders along each axis; none without cells."""
    if scene.cells.empty:
        return []
    return [
        profile(
            f"Straight borders along {AXES[axis]}",
            "on each line" if scene.is_2d else "on each plane",
            _meeting(planes),
            borders[axis],
            marks=planes,
        )
        for axis, planes in enumerate(seams.planes)
        if scene.shape[axis] > 1
    ]


def _meeting(planes: np.ndarray) -> str:
    if not planes.size:
        return "one tile"
    named = ", ".join(f"{plane:,}" for plane in planes[: 2 * PLANES_NAMED])
    return f"tiles meet at {named}" + (", …" if planes.size > 2 * PLANES_NAMED else "")
