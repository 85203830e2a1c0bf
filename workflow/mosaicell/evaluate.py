"""How well labels agree with the truth: instances matched one to one by their overlap.

Idea: a predicted and a true instance match if their intersection over union (IoU) reaches a
threshold, and each instance matches at most once.

1. Overlaps: the pairs of labels that share voxels, with counts, from the runs of equal voxels.
2. Pairs whose IoU reaches the threshold; a pair whose two instances have no other such pair is
   a match. From IoU > 0.5 on there are no others.
3. Among the rest, the matching with the most pairs, and of those the one with the largest sum of
   IoUs.

Limits: pass 3 needs a matrix of the instances left over squared, so it is for thresholds of 0.5
and less on volumes of up to some 10,000 instances.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from math import prod

import numpy as np
from scipy.optimize import linear_sum_assignment

from .geometry import Triple


@dataclass(frozen=True)
class Overlaps:
    """How n predicted and m true instances overlap: all that scores are made of.

    Attributes
    ----------
    size : ndarray of int64, (n,)
        Voxels of each predicted instance.
    true_size : ndarray of int64, (m,)
    row, column : ndarray of int64, (k,)
        Predicted and true instance of each pair that shares voxels.
    shared : ndarray of int64, (k,)
        Number of voxels that they share.
    label : ndarray of int64, (n,)
    true_label : ndarray of int64, (m,)
    box : ndarray of int64, (n, 6)
        Bounding boxes: first voxel (z, y, x), and last voxel plus one.
    true_box : ndarray of int64, (m, 6)
    """

    size: np.ndarray
    true_size: np.ndarray
    row: np.ndarray
    column: np.ndarray
    shared: np.ndarray
    label: np.ndarray
    true_label: np.ndarray
    box: np.ndarray
    true_box: np.ndarray

    @property
    def iou(self) -> np.ndarray:
        """Intersection over union (float64) of each pair."""
        return self.shared / (self.size[self.row] + self.true_size[self.column] - self.shared)


def overlaps(parts: Iterable[tuple]) -> Overlaps:
    """Count the voxels that instances share, in a volume of which only a part is in memory.

    Parameters
    ----------
    parts : iterable of (labels, truth) or (labels, truth, origin)
        Arrays of integers, 0 for background; together they cover the volume once. The origin is
        the position (z, y, x) of a part's first voxel, for the bounding boxes.

    Returns
    -------
    Overlaps
        Instances by ascending label.
    """
    pairs, counts = [np.empty((0, 2), np.int64)], [np.empty(0, np.int64)]
    boxes = [np.empty((0, 6), np.int64)]
    for labels, truth, *origin in parts:
        pair, count, box = _runs(labels, truth, *origin)
        pair, where = _unique_pairs(pair)
        pairs.append(pair)
        counts.append(_sums(count, where, len(pair)))
        boxes.append(_united(box, where, len(pair)))
    pair, where = _unique_pairs(np.concatenate(pairs))
    shared = _sums(np.concatenate(counts), where, len(pair))
    box = _united(np.concatenate(boxes), where, len(pair))
    inside = (pair != 0).all(-1)
    label, size, of_label, row = _instances(pair[:, 0], shared, box, inside)
    true_label, true_size, of_true, column = _instances(pair[:, 1], shared, box, inside)
    return Overlaps(
        size, true_size, row, column, shared[inside], label, true_label, of_label, of_true
    )


def joined(frames: Iterable[Overlaps]) -> Overlaps:
    """The overlaps (or centre lines) of all frames; the same label in two frames is two instances.

    Parameters
    ----------
    frames : iterable of Overlaps, or of Centerlines
        At least one.

    Returns
    -------
    Overlaps or Centerlines
    """
    n = m = 0
    shifted = []
    for frame in frames:
        shifted.append(replace(frame, row=frame.row + n, column=frame.column + m))
        n, m = n + len(frame.size), m + len(frame.true_size)
    kind = type(shifted[0])
    names = [field.name for field in fields(kind)]
    return kind(*(np.concatenate([getattr(f, name) for f in shifted]) for name in names))


def without(found: Overlaps, dropped: np.ndarray) -> Overlaps:
    """What is left if predicted instances are dropped, of each of which a bool says so."""
    kept = ~dropped
    pairs = kept[found.row]
    return replace(
        found,
        size=found.size[kept],
        row=(np.cumsum(kept) - 1)[found.row[pairs]],
        column=found.column[pairs],
        shared=found.shared[pairs],
        label=found.label[kept],
        box=found.box[kept],
    )


def _runs(
    labels: np.ndarray, truth: np.ndarray, origin: Triple = (0, 0, 0)
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Runs of voxels along x that are of one pair of labels: the pairs, lengths and boxes.

    Most voxels are background in both: these are no instance's.
    """
    shape = (1,) * (3 - labels.ndim) + labels.shape
    shape = (prod(shape[:-2]), *shape[-2:])
    labels, truth = labels.reshape(shape), truth.reshape(shape)
    begins = np.ones(labels.shape, bool)
    begins[..., 1:] = labels[..., 1:] != labels[..., :-1]
    begins[..., 1:] |= truth[..., 1:] != truth[..., :-1]
    begin = np.flatnonzero(begins)
    length = np.diff(begin, append=labels.size)
    pair = np.stack((labels[begins], truth[begins]), -1).astype(np.int64)
    seen = (pair != 0).any(-1)
    pair, length = pair[seen], length[seen]
    start = np.stack(np.unravel_index(begin[seen], labels.shape), -1) + np.asarray(origin)
    stop = start + 1
    stop[:, 2] += length - 1
    return pair, length, np.concatenate((start, stop), -1)


def _unique_pairs(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different pairs in order, and which of them each one is."""
    ids, row = np.unique(pairs[:, 0], return_inverse=True)
    true_ids, column = np.unique(pairs[:, 1], return_inverse=True)
    packed, where = np.unique(row * max(1, len(true_ids)) + column, return_inverse=True)
    row, column = np.divmod(packed, max(1, len(true_ids)))
    return np.stack((ids[row], true_ids[column]), -1), where


def _sums(counts: np.ndarray, where: np.ndarray, n: int) -> np.ndarray:
    """The sums (int64) of the counts of each of n things."""
    total = np.zeros(n, np.int64)
    np.add.at(total, where, counts)
    return total


def _united(boxes: np.ndarray, where: np.ndarray, n: int) -> np.ndarray:
    """The box (int64) around the boxes of each of n things."""
    box = np.zeros((n, 6), np.int64)
    box[:, :3] = np.iinfo(np.int64).max
    np.minimum.at(box[:, :3], where, boxes[:, :3])
    np.maximum.at(box[:, 3:], where, boxes[:, 3:])
    return box


def _instances(
    ids: np.ndarray, shared: np.ndarray, boxes: np.ndarray, inside: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labels, sizes and boxes of one side's instances, and which those of the pairs inside are."""
    label, where = np.unique(ids, return_inverse=True)
    size, box = _sums(shared, where, len(label)), _united(boxes, where, len(label))
    named = label != 0
    number = np.cumsum(named) - 1
    return label[named], size[named], box[named], number[where[inside]]


def _assign(row: np.ndarray, column: np.ndarray, iou: np.ndarray) -> np.ndarray:
    """Which of the pairs form the largest matching and, of those, the one of largest IoU."""
    _, i = np.unique(row, return_inverse=True)
    _, j = np.unique(column, return_inverse=True)
    shape = i.max() + 1, j.max() + 1
    gain = np.zeros(shape)
    gain[i, j] = 1 + iou / (2 * min(shape))  # all IoUs together weigh less than one pair
    number = np.full(shape, -1)
    number[i, j] = np.arange(len(i))
    chosen = number[linear_sum_assignment(gain, maximize=True)]
    return chosen[chosen >= 0]


def match(labels: np.ndarray, truth: np.ndarray, *, iou: float = 0.5) -> dict[str, float]:
    """Match predicted with true instances one to one and count.

    Parameters
    ----------
    labels, truth : ndarray of any integer dtype, same shape
        0 is background.
    iou : float, in (0, 1]
        Pairs of at least this intersection over union may match.

    Returns
    -------
    dict
        `true_positives`, `false_positives`, `false_negatives` (int); `precision`, `recall`,
        `f1` and `mean_matched_iou` (float). With nothing to find and nothing found, precision,
        recall and F1 are 1; without a match the mean IoU is 0.

    Raises
    ------
    ValueError
        If the shapes differ or `iou` is out of its range.

    Notes
    -----
    F1 at an IoU threshold as in J. Caicedo et al. (2019), DOI 10.1038/s41592-019-0612-7.
    """
    labels, truth = np.asarray(labels), np.asarray(truth)
    if labels.shape != truth.shape:
        raise ValueError(
            f"labels have the shape {labels.shape} and the truth {truth.shape}; "
            "they must show the same voxels: crop or resample one of them"
        )
    return match_overlaps(overlaps([(labels, truth)]), iou=iou)


def match_overlaps(found: Overlaps, *, iou: float = 0.5) -> dict[str, float]:
    """Match instances of which the overlaps are known.

    Parameters
    ----------
    found : Overlaps
    iou : float, in (0, 1]

    Returns
    -------
    dict
        See `match`.
    """
    if not 0 < iou <= 1:
        raise ValueError(f"iou is {iou}; allowed is above 0 and up to 1: use 0.5 if in doubt")
    matched = found.iou[matched_pairs(found, iou=iou)]
    n = len(matched)
    return scores(n, len(found.size) - n, len(found.true_size) - n) | {
        "mean_matched_iou": float(matched.mean()) if n else 0.0
    }


def matched_pairs(found: Overlaps, *, iou: float) -> np.ndarray:
    """Numbers of the pairs (int64, ascending) that are matches at this IoU or more."""
    good = np.flatnonzero(found.iou >= iou)
    row, column = found.row[good], found.column[good]
    alone = np.ones(len(good), bool)
    for side in (row, column):
        _, where, count = np.unique(side, return_inverse=True, return_counts=True)
        alone &= count[where] == 1
    matched, rest = good[alone], good[~alone]
    if len(rest):
        chosen = _assign(found.row[rest], found.column[rest], found.iou[rest])
        matched = np.sort(np.r_[matched, rest[chosen]])
    return matched


def scores(true_positives: int, false_positives: int, false_negatives: int) -> dict[str, float]:
    """Precision, recall and F1 of counts, which may be sums over many volumes."""
    predicted, true = true_positives + false_positives, true_positives + false_negatives
    return {
        "true_positives": true_positives,
        "false_positives": false_positives,
        "false_negatives": false_negatives,
        "precision": true_positives / predicted if predicted else float(true == 0),
        "recall": true_positives / true if true else float(predicted == 0),
        "f1": 2 * true_positives / (predicted + true) if predicted + true else 1.0,
    }
