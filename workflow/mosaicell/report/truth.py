"""What became of the true cells: counts, scores, and pictures of where it went wrong.

Idea: a score does not say what to do, a picture of the mistakes does. So true cells and found
cells are drawn side by side in the colours of what became of them (see `mosaicell.matches`): on
whole planes, and where most cells are wrong, at full resolution.

1. `count` goes over the table of matches once: how many cells there are of each kind, and how
   many are wrong in each part of the volume.
2. `places` looks at the cells of the worst parts and chooses a plane and a window for each.
3. `figures` reads these planes, asks the table for the kinds of the cells in them, and draws.

Limits: in memory are one group of rows of the table, the wrong cells of the worst parts, and the
pictures, whatever the volume. A truth in compressed TIFF planes is unpacked as far as it is seen.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..columns import AXES, KINDS, SIDES
from ..geometry import Box, Triple
from ..pictures import cut, cut_alike, cut_box, grey, inline, tinted
from ..words import length, nice_below, number
from .cells import Tally
from .scene import Scene
from .views import CLOSE_UP_CELLS, close_up_edges, cut_title, true_size

# Of the colours that differ most, also to those who do not see red, green or blue.
PALETTE = np.array(
    [(195, 255, 243), (72, 153, 136), (233, 245, 79), (195, 84, 12), (173, 87, 255)], np.uint8
)
MEANINGS = (
    "a true and a found cell fit each other",
    "several found cells lie in one true one; one of them may match it",
    "several true cells lie in one found one, which may match one of them",
    "a true cell that nothing fits",
    "a found cell that fits nothing",
)
MATCHED = KINDS[0]
PLACES = 3
BOX = [f"bbox_{end}_{axis}" for end in ("min", "max") for axis in AXES]


@dataclass(frozen=True)
class Truth:
    """The true cells of a sample, and what is known of them.

    Attributes
    ----------
    read : callable
        Gives the true labels (z, y, x) of a frame and a box.
    matches : callable
        Gives some columns of the table of matches, part by part.
    scores : dict
        By names, see `metrics.known`.
    """

    read: Callable[[int, Box], np.ndarray]
    matches: Callable[[list[str]], Iterable[pd.DataFrame]]
    scores: dict[str, float | None]


@dataclass(frozen=True)
class Place:
    """A plane of a frame, and the part of it that is shown; None shows all of it."""

    frame: int
    axis: int
    index: int
    box: Box | None
    title: str


@dataclass(frozen=True)
class Comparison:
    """One view: the image, and over it the true and the found cells, as data URIs."""

    name: str
    title: str
    raw: str
    true: str
    found: str
    aspect: float
    bar_share: float | None
    bar_text: str


def section(scene: Scene, tally: Tally, planes: Triple, truth: Truth) -> dict:
    """All that the page shows of the truth.

    Parameters
    ----------
    scene : Scene
        Of a movie, one frame.
    tally : Tally
        Of this scene.
    planes : tuple of int
        Along each axis, the plane to be shown.
    truth : Truth

    Returns
    -------
    dict
        `fits`, in words; `legend`, `rates` and `scores`, rows of tables as text; `figures`, of
        whole planes, and `worst`, of the places where most cells are wrong.
    """
    edges = close_up_edges(scene.shape, tally)
    slab = (max(1, edges[0] // CLOSE_UP_CELLS), *edges[1:])  # as deep as a cell
    counts, wrong = count(truth, slab)
    whole = [
        Place(scene.frame or 0, axis, planes[axis], None, cut_title(scene, axis, planes[axis]))
        for axis in ((0,) if scene.is_2d else (0, 1, 2))
    ]
    shows_all = scene.is_2d and np.array_equal(edges, scene.shape) and scene.n_frames == 1
    worst = [] if shows_all else places(scene, truth, slab, edges, wrong)
    drawn = figures(scene, truth, [*whole, *worst])
    return {
        "fits": "a clDice above 0.5" if "cldice_f1" in truth.scores else "an IoU of at least 0.5",
        "legend": _legend(counts),
        "rates": _rates(truth.scores),
        "scores": _others(truth.scores),
        "figures": drawn[: len(whole)],
        "worst": drawn[len(whole) :],
    }


def count(truth: Truth, slab: Triple) -> tuple[Counter, Counter]:
    """Cells by side and kind, and wrong cells by frame and part of the volume.

    Parameters
    ----------
    truth : Truth
    slab : tuple of int
        Edges of a part, in voxels.

    Returns
    -------
    counts : Counter of (side, kind)
    wrong : Counter of (frame, z, y, x)
    """
    counts, wrong = Counter(), Counter()
    for rows in truth.matches(["frame", "side", "kind", *BOX]):
        counts.update(zip(rows["side"], rows["kind"], strict=True))
        rows = rows[rows["kind"] != MATCHED]
        wrong.update(map(tuple, _parts(rows, slab).tolist()))
    return counts, wrong


def _centres(rows: pd.DataFrame) -> np.ndarray:
    """The voxel in the middle of each cell's bounding box, (n, 3)."""
    box = rows[BOX].to_numpy(np.int64)
    return (box[:, :3] + box[:, 3:] - 1) // 2


def _parts(rows: pd.DataFrame, slab: Triple) -> np.ndarray:
    """Frame and part (z, y, x) in which each cell has its centre, (n, 4)."""
    frame = rows["frame"].to_numpy(np.int64)[:, None]
    return np.concatenate((frame, _centres(rows) // slab), axis=1)


def places(scene: Scene, truth: Truth, slab: Triple, edges: Triple, wrong: Counter) -> list[Place]:
    """The parts of the volume with most wrong cells, each by the plane that most of them cross."""
    chosen = sorted(wrong, key=lambda part: (-wrong[part], part))[:PLACES]
    rows: dict[tuple, list] = {part: [] for part in chosen}
    for some in truth.matches(["frame", "kind", *BOX]):
        some = some[some["kind"] != MATCHED]
        parts = _parts(some, slab)
        for part in chosen:
            rows[part].append(some[(parts == part).all(axis=1)])
    return [_place(scene, part[0], pd.concat(rows[part]), edges) for part in chosen]


def _place(scene: Scene, frame: int, rows: pd.DataFrame, edges: Triple) -> Place:
    """The window around wrong cells, on the plane that most cross; of several the middle one."""
    first, last = rows["bbox_min_z"].to_numpy(), rows["bbox_max_z"].to_numpy()
    begin_or_end = np.bincount(first, minlength=scene.shape[0] + 1)
    begin_or_end -= np.bincount(last, minlength=scene.shape[0] + 1)
    crossing = np.cumsum(begin_or_end)
    best = np.flatnonzero(crossing == crossing.max())
    plane = int(best[(len(best) - 1) // 2])
    centre = _centres(rows[(first <= plane) & (plane < last)]).mean(axis=0).round().astype(int)
    start = [
        max(0, min(int(c) - edge // 2, n - edge))
        for c, edge, n in zip(centre, edges, scene.shape, strict=True)
    ]
    box = Box(tuple(start), tuple(a + edge for a, edge in zip(start, edges, strict=True)))
    position = f"y, x = {centre[1]}, {centre[2]}"
    if not scene.is_2d:
        position = f"z, y, x = {plane}, {centre[1]}, {centre[2]}"
    return Place(frame, 0, plane, box, f"Around {position}")


def figures(scene: Scene, truth: Truth, places: list[Place]) -> list[Comparison]:
    """Draw places, each with its true and its found cells."""
    seen = [_read(scene, truth, place) for place in places]
    labels_in: dict[tuple[int, str], list] = {}
    for place, pictures in zip(places, seen, strict=True):
        for side in SIDES:
            labels_in.setdefault((place.frame, side), []).append(np.unique(pictures[side]))
    wanted = {key: np.unique(np.concatenate(labels)) for key, labels in labels_in.items()}
    kinds = _kinds(truth, wanted)
    drawn = []
    for k, (place, pictures) in enumerate(zip(places, seen, strict=True)):
        shape = scene.shape if place.box is None else place.box.shape
        size = true_size(scene, place.axis, shape)
        bar = nice_below(size[1] / 4)
        layers = {}
        for side in SIDES:
            labels, key = pictures[side], (place.frame, side)
            classes = kinds[key][np.searchsorted(wanted[key], labels)]
            layers[side] = inline(tinted(labels, classes, PALETTE, size=size))
        drawn.append(
            Comparison(
                name=f"truth-{k}",
                title=place.title if scene.frame is None else f"Frame {place.frame}: {place.title}",
                raw=inline(grey(pictures["image"], *scene.limits[scene.channel])),
                **layers,
                aspect=size[1] / size[0],
                bar_share=None if scene.voxel_size is None else bar / size[1],
                bar_text=length(bar),
            )
        )
    return drawn


def _read(scene: Scene, truth: Truth, place: Place) -> dict[str, np.ndarray]:
    """The image, and the labels of both sides, on a place."""
    at = {"axis": place.axis, "index": place.index}
    leading = () if scene.frame is None else (place.frame,)

    def read_truth(box: Box) -> np.ndarray:
        return truth.read(place.frame, box)

    if place.box is None:
        with scene.reading_image():
            image = cut(scene.image, scene.factors, **at, leading=(*leading, scene.channel))
        with scene.reading_labels():
            found = cut(scene.labels, scene.factors, **at, leading=leading)
        true = cut_alike(read_truth, scene.labels, scene.factors, **at)
    else:
        with scene.reading_image():
            image = cut_box(scene.image, box=place.box, **at, leading=(*leading, scene.channel))
        with scene.reading_labels():
            found = cut_box(scene.labels, box=place.box, **at, leading=leading)
        (_, y, x), (_, y_end, x_end) = place.box.start, place.box.stop
        true = read_truth(Box((place.index, y, x), (place.index + 1, y_end, x_end)))[0]
    return {"image": image, "true": true.astype(np.int64), "found": found.astype(np.int64)}


def _kinds(
    truth: Truth, wanted: dict[tuple[int, str], np.ndarray]
) -> dict[tuple[int, str], np.ndarray]:
    """The kinds, as numbers in `KINDS`, of some labels (ascending) of each frame and side."""
    kinds = {key: np.zeros(len(labels), np.uint8) for key, labels in wanted.items()}
    for rows in truth.matches(["frame", "side", "label", "kind"]):
        for (frame, side), labels in wanted.items():
            own = rows[(rows["frame"] == frame) & (rows["side"] == side)]
            own = own[own["label"].isin(labels)]
            at = np.searchsorted(labels, own["label"])
            kinds[frame, side][at] = own["kind"].map(KINDS.index)
    return kinds


def _legend(counts: Counter) -> list[dict]:
    """Rows of the legend: each kind with its colour, what it means and how many there are."""
    return [
        {
            "kind": kind,
            "colour": "#" + bytes(colour).hex(),
            "means": means,
            **{side: f"{counts[side, kind]:,}" for side in SIDES},
        }
        for kind, means, colour in zip(KINDS, MEANINGS, PALETTE.tolist(), strict=True)
    ]


def _rates(scores: dict[str, float | None]) -> list[list[str]]:
    """Rows of the table of what was found, by IoU: as shares, and as numbers of cells."""
    shares = ("f1", "ap", "precision", "recall")
    counts = ("true_positives", "false_negatives", "false_positives")
    ious = sorted(name.removeprefix("f1_") for name in scores if name.startswith("f1_"))
    return [
        [iou]
        + [f"{scores[f'{name}_{iou}']:.3f}" for name in shares]
        + [f"{scores[f'{name}_{iou}']:,}" for name in counts]
        for iou in ious
    ]


def _others(scores: dict[str, float | None]) -> dict[str, str]:
    """The other scores by their names."""
    names = {
        "seg": "SEG",
        "det": "DET",
        "aji": "aggregated Jaccard index",
        "pq": "panoptic quality",
        "mean_matched_iou_0.5": "mean IoU of matches",
        "split_rate": "of true cells split",
        "merge_rate": "of true cells merged",
        "duplicates": "duplicates",
        "count_error": "error of the count",
        "cldice_f1_0.5": "F1 at clDice 0.5",
        "cldice_f1": "F1 at clDice 0.1 to 0.9",
        "cldice_coverage": "coverage of centre lines",
        "cldice_score": "F1 by clDice and coverage",
    }
    return {
        text: "unknown" if scores[name] is None else number(round(scores[name], 3))
        for name, text in names.items()
        if name in scores
    }
