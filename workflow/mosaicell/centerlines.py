"""How well thin, branching instances agree: by what the centre line of each one runs through.

Idea: of two thin shapes that lie one voxel beside each other hardly a voxel is shared, but the
centre line of each still runs through the other. So the share of a predicted instance's centre
line that lies in a true instance is its precision, the share of the true one's centre line that
lies in the predicted one its recall, and their harmonic mean, clDice, stands in the place of the
IoU (Shit et al. 2021, doi 10.1109/CVPR46437.2021.01629).

1. `hits`: centre lines of the instances in a crop, and which instances of the other side they
   run through.
2. `sides`: both sides put together, pair by pair.
3. `match`: one to one, greedily, from the highest clDice down.
4. `centerline_metrics`: the scores of FISBe (Mais et al. 2024, arXiv 2404.00130).

Limits: an instance's centre line needs its whole bounding box in memory. Instances do not overlap.
Thinning makes some compact shapes of a few voxels vanish; their line is then all of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from skimage.morphology import skeletonize

from .evaluate import scores
from .geometry import Triple

CLDICES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class Hits:
    """What the centre lines of one side run through.

    Attributes
    ----------
    instance : ndarray of int64, (k,)
        Number of the instance.
    other : ndarray of int64, (k,)
        Label on the other side, 0 for background. An instance's rows tell all of its line.
    voxels : ndarray of int64, (k,)
        Of the line in it.
    """

    instance: np.ndarray
    other: np.ndarray
    voxels: np.ndarray


@dataclass(frozen=True)
class Centerlines:
    """How the centre lines of n predicted and m true instances run through one another.

    Attributes
    ----------
    size, true_size : ndarray of int64, (n,) and (m,)
        Voxels of each centre line.
    row, column : ndarray of int64, (k,)
        Predicted and true instance of each pair of which one's line runs through the other.
    hit, true_hit : ndarray of int64, (k,)
        Voxels of the predicted one's line in the true one, and of the true one's in the predicted.
    """

    size: np.ndarray
    true_size: np.ndarray
    row: np.ndarray
    column: np.ndarray
    hit: np.ndarray
    true_hit: np.ndarray

    @property
    def precision(self) -> np.ndarray:
        """Share (float64) of the predicted one's line that lies in the true one, of each pair."""
        return self.hit / self.size[self.row]

    @property
    def recall(self) -> np.ndarray:
        """Share (float64) of the true one's line that lies in the predicted one, of each pair."""
        return self.true_hit / self.true_size[self.column]

    @property
    def cldice(self) -> np.ndarray:
        """Harmonic mean (float64) of both shares, of each pair."""
        precision, recall = self.precision, self.recall
        return 2 * precision * recall / (precision + recall)


def centre_line(mask: np.ndarray, *, is_2d: bool) -> np.ndarray:
    """The centre line of a mask (bool, z, y, x), as a mask; of a 2D image it has one plane.

    Notes
    -----
    In a volume by Lee et al. (1994, doi 10.1006/cgip.1994.1042), in a plane by Zhang and Suen
    (1984, doi 10.1145/357994.358023), as scikit-image has them.
    """
    line = np.zeros_like(mask)
    if is_2d:
        line[0] = skeletonize(mask[0])
    else:
        line[:] = skeletonize(mask)
    return line if line.any() else mask


def hits(
    labels: np.ndarray,
    others: np.ndarray,
    *,
    numbers: np.ndarray,
    ids: np.ndarray,
    boxes: np.ndarray,
    origin: Triple,
    is_2d: bool,
) -> Hits:
    """Find the centre lines of some instances, and what they run through.

    Parameters
    ----------
    labels, others : ndarray of integers, (z, y, x)
        A crop of the instances' side, which holds all of them, and of the other side.
    numbers, ids : ndarray of int64, (n,)
        Of the instances: their place among all, and their label.
    boxes : ndarray of int64, (n, 6)
        Their bounding boxes in the volume.
    origin : tuple of int
        Of the crop.
    is_2d : bool
        Whether the volume has one plane; a flat instance in a volume is not 2D.

    Returns
    -------
    Hits
    """
    instance, other, voxels = [], [], []
    for number, label, box in zip(numbers, ids, boxes, strict=True):
        start, stop = box[:3] - origin, box[3:] - origin
        crop = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        through, count = np.unique(
            others[crop][centre_line(labels[crop] == label, is_2d=is_2d)], return_counts=True
        )
        instance.append(np.full(len(through), number, np.int64))
        other.append(through.astype(np.int64))
        voxels.append(count.astype(np.int64))
    return Hits(*(np.concatenate([np.empty(0, np.int64), *c]) for c in (instance, other, voxels)))


def sides(
    found: Iterable[Hits], true: Iterable[Hits], *, label: np.ndarray, true_label: np.ndarray
) -> Centerlines:
    """Put the lines of both sides together.

    Parameters
    ----------
    found, true : iterable of Hits
        Of all predicted and of all true instances, in any order and in any number of parts.
    label, true_label : ndarray of int64, (n,) and (m,)
        Of the instances by their numbers, ascending.

    Returns
    -------
    Centerlines
        Pairs by ascending numbers.
    """
    n, m = len(label), len(true_label)
    size, row, column, hit = _sorted_out(found, n, true_label)
    true_size, true_column, true_row, true_hit = _sorted_out(true, m, label)
    packed = np.concatenate((row, true_row)) * max(1, m) + np.concatenate((column, true_column))
    pair, where = np.unique(packed, return_inverse=True)
    row, column = np.divmod(pair, max(1, m))
    both = np.zeros((2, len(pair)), np.int64)
    both[0, where[: len(hit)]] = hit
    both[1, where[len(hit) :]] = true_hit
    return Centerlines(size, true_size, row, column, *both)


def _sorted_out(
    parts: Iterable[Hits], n: int, other_label: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Voxels of n lines, and for each instance that one runs through: both numbers, voxels."""
    parts = [Hits(*(np.empty(0, np.int64),) * 3), *parts]
    instance, other, voxels = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("instance", "other", "voxels")
    )
    size = np.zeros(n, np.int64)
    np.add.at(size, instance, voxels)
    inside = other != 0
    return size, instance[inside], np.searchsorted(other_label, other[inside]), voxels[inside]


def match(found: Centerlines) -> np.ndarray:
    """Numbers of the pairs (int64) that match one to one, greedily.

    From the highest clDice down (of equal ones the first true, then the first predicted instance)
    a pair is taken if neither of its instances was. What matches at a threshold are those of
    these pairs whose clDice is above it.
    """
    cldice = found.cldice
    order = np.lexsort((found.row, found.column, -cldice))
    is_taken, is_true_taken = (
        np.zeros(len(found.size), bool),
        np.zeros(len(found.true_size), bool),
    )
    chosen = []
    for pair in order[cldice[order] > 0]:
        row, column = found.row[pair], found.column[pair]
        if not (is_taken[row] or is_true_taken[column]):
            is_taken[row] = is_true_taken[column] = True
            chosen.append(pair)
    return np.array(chosen, np.int64)


def centerline_metrics(found: Centerlines) -> dict[str, float]:
    """The scores of FISBe, by name.

    Parameters
    ----------
    found : Centerlines

    Returns
    -------
    dict
        `cldice_f1_0.1` and so on: F1 of the pairs whose clDice is above a threshold, for each of
        `CLDICES`; `cldice_f1`, their mean (avF1 of FISBe). `cldice_coverage` (C): the mean share
        of a true line that lies in those predicted instances whose lines lie in it rather than
        in another or in the background. `cldice_score` (S): the mean of both. Where there is
        nothing to find, all are 1 if nothing was found, and else 0.
    """
    n, m = len(found.size), len(found.true_size)
    matched = found.cldice[match(found)]
    table = {}
    for threshold in CLDICES:
        hits = int((matched > threshold).sum())
        table[f"cldice_f1_{threshold:g}"] = scores(hits, n - hits, m - hits)["f1"]
    table["cldice_f1"] = sum(table.values()) / len(CLDICES)
    table["cldice_coverage"] = _coverage(found) if m else float(n == 0)
    table["cldice_score"] = (table["cldice_f1"] + table["cldice_coverage"]) / 2
    return table


def _coverage(found: Centerlines) -> float:
    in_background = found.size.copy()
    np.subtract.at(in_background, found.row, found.hit)
    order = np.lexsort((found.column, -found.hit, found.row))
    is_best = np.diff(found.row[order], prepend=-1) > 0
    best = order[is_best]
    best = best[found.hit[best] > in_background[found.row[best]]]
    return float(found.recall[best].sum() / len(found.true_size))
