"""How well labels agree with the truth: instances matched one to one by their overlap.

Idea: a predicted and a true instance match if their intersection over union (IoU) reaches a
threshold, and each instance matches at most once.

1. Overlaps: the pairs of labels that share voxels, with counts, from one sort of the voxels.
2. Pairs whose IoU reaches the threshold; a pair whose two instances have no other such pair is
   a match. From IoU > 0.5 on there are no others.
3. Among the rest, the matching with the most pairs, and of those the one with the largest sum of
   IoUs.

Limits: pass 3 needs a matrix of the instances left over squared, so it is for thresholds of 0.5
and less on volumes of up to some 10,000 instances.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from scipy.optimize import linear_sum_assignment


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
    """

    size: np.ndarray
    true_size: np.ndarray
    row: np.ndarray
    column: np.ndarray
    shared: np.ndarray

    @property
    def iou(self) -> np.ndarray:
        """Intersection over union (float64) of each pair."""
        return self.shared / (self.size[self.row] + self.true_size[self.column] - self.shared)


def overlaps(parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> Overlaps:
    """Count the voxels that instances share, in a volume of which only a part is in memory.

    Parameters
    ----------
    parts : iterable of (labels, truth)
        Arrays of integers, 0 for background; together they cover the volume once.

    Returns
    -------
    Overlaps
        Instances by ascending label.
    """
    pairs, counts = [np.empty((0, 2), np.int64)], [np.empty(0, np.int64)]
    for labels, truth in parts:
        seen = (labels != 0) | (truth != 0)  # most voxels are background in both: no instance's
        ids, row = np.unique(labels[seen], return_inverse=True)
        true_ids, column = np.unique(truth[seen], return_inverse=True)
        packed = row.astype(np.int64) * max(1, len(true_ids)) + column
        packed, count = np.unique(packed, return_counts=True)
        row, column = np.divmod(packed, max(1, len(true_ids)))
        pairs.append(np.stack((ids[row], true_ids[column]), -1).astype(np.int64))
        counts.append(count)
    pair, where = np.unique(np.concatenate(pairs), axis=0, return_inverse=True)
    shared = np.zeros(len(pair), np.int64)
    np.add.at(shared, where, np.concatenate(counts))
    inside = (pair != 0).all(-1)
    size, row = _instances(pair[:, 0], shared, inside)
    true_size, column = _instances(pair[:, 1], shared, inside)
    return Overlaps(size, true_size, row, column, shared[inside])


def joined(frames: Iterable[Overlaps]) -> Overlaps:
    """The overlaps of all frames; the same label in two frames is two instances."""
    n = m = 0
    columns = [[np.empty(0, np.int64)] for _ in fields(Overlaps)]
    for frame in frames:
        shifted = (frame.size, frame.true_size, frame.row + n, frame.column + m, frame.shared)
        for column, values in zip(columns, shifted, strict=True):
            column.append(values)
        n, m = n + len(frame.size), m + len(frame.true_size)
    return Overlaps(*map(np.concatenate, columns))


def _instances(
    ids: np.ndarray, shared: np.ndarray, inside: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sizes of one side's instances, and which of them those of the pairs inside are."""
    known, where = np.unique(ids, return_inverse=True)
    size = np.zeros(len(known), np.int64)
    np.add.at(size, where, shared)
    number = np.cumsum(known != 0) - 1
    return size[known != 0], number[where[inside]]


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
    pair_iou = found.iou
    good = pair_iou >= iou
    row, column, pair_iou = found.row[good], found.column[good], pair_iou[good]
    alone = np.ones(len(row), bool)
    for side in (row, column):
        _, where, count = np.unique(side, return_inverse=True, return_counts=True)
        alone &= count[where] == 1
    matched = pair_iou[alone]
    if not alone.all():
        chosen = _assign(row[~alone], column[~alone], pair_iou[~alone])
        matched = np.r_[matched, pair_iou[~alone][chosen]]
    n = len(matched)
    return scores(n, len(found.size) - n, len(found.true_size) - n) | {
        "mean_matched_iou": float(matched.mean()) if n else 0.0
    }


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
