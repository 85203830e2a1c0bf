"""One page per sample that shows whether the cells are right: pictures, numbers, distributions.

Idea: people judge a segmentation by looking. So the page leads with the image and the outlines
side by side, on the planes that hold most cells and, for a large image, in a close-up at full
resolution; numbers and hints stand above, details below. The page is a single file that needs
nothing else: pictures are packed into it, charts are drawn as SVG in the colours of the page.

Passes:
1. `tally` sums the table of cells up, part by part, and `planes` chooses where to cut.
2. The sections are made (see `mosaicell.report`), and `page.html.j2` lays them out.

Of a movie the pictures are those of one frame, the middle one of those that have cells; two more
follow, and a chart of the cells by frame, see `mosaicell.report.filmstrip`. Numbers are those of
all.

Limits: the table is read several times, a column or a few at a time; in memory is one part of it.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import jinja2
import numpy as np
import zarr

from ..geometry import Triple
from ..pictures import packed
from ..seams import find_seams
from ..version import __version__
from ..words import number
from . import distributions, headline, history, seam_check, views
from . import truth as truth_section
from .cells import Cells, tally
from .filmstrip import cells_by_frame, frames_to_show
from .scene import Scene
from .truth import Truth


def report(
    *,
    sample: str,
    image: list[zarr.Array],
    labels: list[zarr.Array],
    factors: list[Triple],
    channel: int,
    limits: list[tuple[float, float]],
    voxel_size: tuple[float, float, float] | None,
    cells: Cells,
    borders: list[np.ndarray],
    tile: Triple,
    facts: dict[str, dict[str, str]],
    timings: list[dict],
    attempts: dict[str, list[dict]],
    num_cells: list[int] | None = None,
    truth: Truth | None = None,
    curves: bytes | None = None,
    reading_image: Callable[[], AbstractContextManager] = nullcontext,
    reading_labels: Callable[[], AbstractContextManager] = nullcontext,
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
    cells : callable
        Gives those columns of the table of cells of which it is given the names, part by part as
        pandas.DataFrame; it is called many times.
    borders : list of three ndarray of int64, (2, n)
        Straight borders on each plane, see `seams.straight_borders`.
    tile : tuple of int
        Shape of the tiles, in voxels.
    facts : dict of str to dict of str to str
        Sections of names and values, shown as tables.
    timings : list of dict
        For each stage: stage, jobs, seconds, max_rss_mb (NaN if unknown).
    attempts : dict of str to list of dict
        For each job, by its stage and number, what `attempts.read_attempts` gives; jobs of which
        nothing is told may be left out.
    num_cells : list of int, optional
        Of each frame of a movie.
    truth : Truth, optional
        The true cells, where they are known.
    curves : bytes, optional
        PNG with the course of the training of the model that predicted.
    reading_image, reading_labels : callable, optional
        Gives a context in which the image, or the labels, are read: who is to mend what is found
        damaged there.

    Returns
    -------
    str
        One HTML page that needs no other file. The same input gives the same page.

    Raises
    ------
    DamagedError
        If a part of the image, the labels or the table is missing or damaged.
    """
    whole = Scene(
        image=image,
        labels=labels,
        reading_image=reading_image,
        reading_labels=reading_labels,
        factors=factors,
        channel=channel,
        limits=limits,
        voxel_size=voxel_size,
        cells=cells,
    )
    counted = tally(cells, whole.shape)
    shown = frames_to_show(num_cells) if num_cells else []
    scene = whole.of_frame(shown[len(shown) // 2]) if shown else whole
    in_view = tally(scene.cells, scene.shape) if shown else counted
    planes = views.planes(scene, in_view)
    seams = find_seams(borders, tile=tile)
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = Path(__file__).with_name("page.html.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        sample=sample,
        summary=headline.summary(whole),
        headline=headline.headline(whole, counted),
        hints=headline.hints(whole, counted) + seam_check.hints(seams),
        cuts=views.cuts(scene, in_view, planes),
        close_ups=views.close_ups(scene, in_view, planes),
        projections=views.projections(scene, in_view),
        channels=views.channels(scene, in_view, planes[0]),
        channel=channel,
        n_channels=len(limits),
        contrast=" to ".join(number(limit) for limit in limits[channel]),
        has_size=voxel_size is not None,
        voxel=scene.voxel,
        truth=truth and truth_section.section(scene, in_view, planes, truth),
        frames=[
            views.cuts(of_frame, tally(of_frame.cells, of_frame.shape), planes)[0]
            for of_frame in map(whole.of_frame, shown)
            if of_frame.frame != scene.frame
        ],
        by_frame=cells_by_frame(num_cells, shown) if shown else None,
        charts=distributions.charts(whole, counted),
        verdict=seam_check.verdict(seams),
        compared=seam_check.compared(seams),
        profiles=seam_check.profiles(whole, counted, borders, seams),
        facts=facts,
        curves=curves and packed(curves, "png"),
        timings=history.times(timings),
        tried=history.verdict(attempts),
        retried=history.retried(attempts),
        version=__version__,
    )
