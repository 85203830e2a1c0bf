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

import numpy as np
from scipy.optimize import linear_sum_assignment


def _overlaps(parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, ...]:
    """Sizes of all instances, and index, index and IoU of each pair that shares voxels."""
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
    shared = np.bincount(where, np.concatenate(counts), minlength=len(pair)).astype(np.int64)
    ids, row = np.unique(pair[:, 0], return_inverse=True)
    true_ids, column = np.unique(pair[:, 1], return_inverse=True)
    sizes = np.bincount(row, shared, minlength=len(ids))
    true_sizes = np.bincount(column, shared, minlength=len(true_ids))
    iou = shared / (sizes[row] + true_sizes[column] - shared)
    inside = (pair != 0).all(-1)
    return sizes[ids != 0], true_sizes[true_ids != 0], row[inside], column[inside], iou[inside]


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
    return match_parts([(labels, truth)], iou=iou)


def match_parts(
    parts: Iterable[tuple[np.ndarray, np.ndarray]], *, iou: float = 0.5
) -> dict[str, float]:
    """Match the instances of a volume that comes in parts, of which only one is in memory.

    Parameters
    ----------
    parts : iterable of (labels, truth)
        Parts that cover the volume once; see `match`.
    iou : float, in (0, 1]

    Returns
    -------
    dict
        See `match`.
    """
    return match_frames([parts], iou=iou)


def match_frames(
    frames: Iterable[Iterable[tuple[np.ndarray, np.ndarray]]], *, iou: float = 0.5
) -> dict[str, float]:
    """Match the instances of a movie frame by frame, and count the matches of all frames.

    Parameters
    ----------
    frames : iterable of iterable of (labels, truth)
        The parts of each frame, see `match_parts`. The same label in two frames is two instances.
    iou : float, in (0, 1]

    Returns
    -------
    dict
        See `match`.
    """
    if not 0 < iou <= 1:
        raise ValueError(f"iou is {iou}; allowed is above 0 and up to 1: use 0.5 if in doubt")
    matched, n_cells, n_true = zip(*(_matched(parts, iou) for parts in frames), strict=True)
    matched = np.concatenate(matched)
    found = len(matched)
    return scores(found, sum(n_cells) - found, sum(n_true) - found) | {
        "mean_matched_iou": float(matched.mean()) if found else 0.0
    }


def _matched(
    parts: Iterable[tuple[np.ndarray, np.ndarray]], iou: float
) -> tuple[np.ndarray, int, int]:
    """IoUs of the matches, and the numbers of instances and of true ones."""
    sizes, true_sizes, row, column, pair_iou = _overlaps(parts)
    good = pair_iou >= iou
    row, column, pair_iou = row[good], column[good], pair_iou[good]
    alone = np.ones(len(row), bool)
    for side in (row, column):
        _, where, count = np.unique(side, return_inverse=True, return_counts=True)
        alone &= count[where] == 1
    matched = pair_iou[alone]
    if not alone.all():
        chosen = _assign(row[~alone], column[~alone], pair_iou[~alone])
        matched = np.r_[matched, pair_iou[~alone][chosen]]
    return matched, len(sizes), len(true_sizes)


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
