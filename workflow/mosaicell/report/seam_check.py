"""Whether cells end where tiles meet, in words, in a table and drawn along each axis."""

import numpy as np

from ..charts import Profile, profile
from ..columns import AXES
from ..seams import ENOUGH_BORDERS, KINDS, Seams
from .cells import Tally
from .scene import Scene

PLANES_NAMED = 3


def verdict(seams: Seams) -> str:
    """Whether cells end where tiles meet, in a sentence."""
    if not any(planes.size for planes in seams.planes):
        return "The volume is one tile: there is no tile border to look at."
    if not seams.excess:
        return "The tiles are too thin to compare the planes where they meet with others."
    if not seams.are_there:
        return "No seam is visible where tiles meet."
    most = f", most of all at {_named(seams.on_tiles)}" if seams.on_tiles else ""
    return f"Seams are visible where tiles meet{most}."


def compared(seams: Seams) -> list[dict]:
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


def hints(seams: Seams) -> list[str]:
    said = []
    if seams.are_there:
        said.append(
            f"{verdict(seams)} The watershed cuts no cell there, so look whether the landscape "
            "jumps: one that a sample brings may be put together from blocks that do not fit."
        )
    if seams.elsewhere:
        said.append(
            f"Many cells end in a straight face at {_named(seams.elsewhere)}, where no tiles meet: "
            "look whether the image or the landscape jumps there."
        )
    return said


def profiles(scene: Scene, tally: Tally, borders: list[np.ndarray], seams: Seams) -> list[Profile]:
    """Straight borders along each axis; none without cells."""
    if not tally.n:
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
