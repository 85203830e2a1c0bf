"""Scores of a segmentation beyond one F1: what each community counts, from the same overlaps.

Idea: all of them are sums over the pairs of predicted and true instances that share voxels, so
they come from `evaluate.Overlaps` alone, and a volume of any size is scored shard by shard.

1. `at_iou`: precision, recall, F1 and average precision for each threshold of the IoU.
2. `challenge`: SEG and DET of the Cell Tracking Challenge.
3. `aggregated`: aggregated Jaccard index and panoptic quality.
4. `errors`: true instances that were split or merged, predictions too many, the count.
5. `score_rows`: scores by their names as rows of a table; `summary_rows`: those of many samples.

Limits: one class of instances, and no instance within another.
"""

import re
from collections.abc import Mapping

import numpy as np

from .evaluate import Overlaps, match_overlaps, scores

COUNTS = ("true_positives", "false_positives", "false_negatives")
IOUS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.9)
# Of the Cell Tracking Challenge: what it costs to correct by hand.
COST_OF_SPLIT, COST_OF_MISSED, COST_OF_INVENTED = 5, 10, 1


def metrics(found: Overlaps) -> dict[str, float]:
    """All scores of this module, by name.

    Parameters
    ----------
    found : Overlaps

    Returns
    -------
    dict
        Where there is nothing to find, a score is 1 if nothing was found and else 0; rates of
        errors are 0 and `count_error`, which divides by the number of true instances, is NaN.
    """
    return {**at_iou(found), **challenge(found), **aggregated(found), **errors(found)}


def at_iou(found: Overlaps) -> dict[str, float]:
    """Counts, `precision`, `recall`, `f1` and `ap` at each of `IOUS`: `f1_0.5` and so on.

    Average precision in the sense of the Data Science Bowl, true positives among all instances
    of either side (Caicedo et al. 2019, doi 10.1038/s41592-019-0612-7).
    """
    table = {}
    for iou in IOUS:
        counted = match_overlaps(found, iou=iou)
        table |= {f"{name}_{iou:g}": value for name, value in _with_ap(counted).items()}
    return table


def _with_ap(counted: dict[str, float]) -> dict[str, float]:
    """Counts and what `evaluate.scores` makes of them, and average precision."""
    hits = counted["true_positives"]
    either = hits + counted["false_positives"] + counted["false_negatives"]
    return counted | {"ap": hits / either if either else 1.0}


def challenge(found: Overlaps) -> dict[str, float]:
    """`seg` and `det` of the Cell Tracking Challenge.

    A true instance is matched by the predicted one that covers more than half of it. SEG is the
    mean IoU of true instances and their matches; DET compares the cost of correcting the
    detections with that of making them all (Matula et al. 2015, doi 10.1371/journal.pone.0144959;
    Maska et al. 2023, doi 10.1038/s41592-023-01879-y).
    """
    n, m = len(found.size), len(found.true_size)
    if m == 0:
        return dict.fromkeys(("seg", "det"), float(n == 0))
    covers = 2 * found.shared > found.true_size[found.column]
    holds = np.bincount(found.row[covers], minlength=n)  # true instances of each predicted one
    cost = (
        COST_OF_SPLIT * np.maximum(holds - 1, 0).sum()
        + COST_OF_MISSED * (m - covers.sum())
        + COST_OF_INVENTED * (holds == 0).sum()
    )
    return {
        "seg": float(found.iou[covers].sum() / m),
        "det": float(1 - min(cost / (COST_OF_MISSED * m), 1)),
    }


def aggregated(found: Overlaps) -> dict[str, float]:
    """`aji` and `pq`.

    The aggregated Jaccard index takes for each true instance the predicted one of the highest IoU
    and divides all intersections by all unions, with what was taken by none (Kumar et al. 2017,
    doi 10.1109/TMI.2017.2677499). Panoptic quality is the sum of the IoUs of matches above 0.5
    over the mean number of instances (Kirillov et al. 2019, doi 10.1109/CVPR.2019.00963).
    """
    n, m = len(found.size), len(found.true_size)
    if n + m == 0:
        return {"aji": 1.0, "pq": 1.0}
    iou = found.iou
    # The best of each true instance; of equal ones the first.
    order = np.lexsort((found.row, -iou, found.column))
    is_best = np.r_[True, np.diff(found.column[order]) > 0][: len(order)]
    best = order[is_best]
    is_taken = np.zeros(n, bool)
    is_taken[found.row[best]] = True
    shared = found.shared[best]
    union = found.size[found.row[best]].sum() + found.true_size.sum() - shared.sum()
    return {
        "aji": float(shared.sum() / (union + found.size[~is_taken].sum())),
        "pq": float(iou[iou > 0.5].sum() / ((n + m) / 2)),
    }


def errors(found: Overlaps) -> dict[str, float]:
    """`split_rate`, `merge_rate`, `duplicates` and `count_error`.

    A predicted instance belongs to the true one in which more than half of it lies. A true
    instance is split if two or more belong to it, and all but one of them are duplicates; it is
    merged if one predicted instance covers more than half of it and more than half of another.
    The count error is the share by which there are too many (below zero: too few).
    """
    n, m = len(found.size), len(found.true_size)
    belongs = 2 * found.shared > found.size[found.row]
    parts = np.bincount(found.column[belongs], minlength=m)
    covers = 2 * found.shared > found.true_size[found.column]
    holds = np.bincount(found.row[covers], minlength=n)
    return {
        "split_rate": float((parts > 1).sum() / max(m, 1)),
        "merge_rate": float(holds[holds > 1].sum() / max(m, 1)),
        "duplicates": int(np.maximum(parts - 1, 0).sum()),
        "count_error": (n - m) / m if m else float("nan"),
    }


def known(scores: dict[str, float]) -> dict[str, float | None]:
    """Scores for JSON, which has no word for what is not a number: None."""
    return {name: None if np.isnan(value) else value for name, value in scores.items()}


def score_rows(values: dict[str, float]) -> dict[str, np.ndarray]:
    """Rows of the table of scores, one for each in their order.

    Parameters
    ----------
    values : dict
        By names; the threshold that a score was taken at stands at its end: `f1_0.5`.

    Returns
    -------
    dict of str to ndarray, (n,)
        See `columns.SCORES`. The threshold is NaN where there is none.

    Examples
    --------
    >>> score_rows({"f1_0.5": 0.75, "det": 1.0})["threshold"]
    array([0.5, nan])
    """
    named = [re.fullmatch(r"(\w+?)(?:_(\d\.\d+))?", name).groups("nan") for name in values]
    return {
        "score": np.array([name for name, _ in named], str),
        "threshold": np.array([threshold for _, threshold in named], float),
        "value": np.array(list(values.values()), float),
    }


def summary_rows(samples: list[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Rows of the summary of several samples, one for each score.

    Parameters
    ----------
    samples : list of dict of ndarray, or of DataFrame
        What `score_rows` gives for each, with the same scores in the same order; at least one.

    Returns
    -------
    dict of str to ndarray, (n,)
        See `columns.SUMMARY`. What is not known is NaN.
    """
    score, threshold = (np.asarray(samples[0][name]) for name in ("score", "threshold"))
    values = np.array([found["value"] for found in samples], float)
    known = ~np.isnan(values)
    n = known.sum(axis=0)
    total = np.where(known, values, 0).sum(axis=0)
    pooled = np.full(len(score), np.nan)
    for iou in IOUS:
        at = {name: k for k, name in enumerate(score) if threshold[k] == iou}
        counts = (int(total[at[name]]) for name in COUNTS)
        for name, value in _with_ap(scores(*counts)).items():
            pooled[at[name]] = value
    return {
        "score": score,
        "threshold": threshold,
        "num_samples": n,
        "mean": np.divide(total, n, where=n > 0, out=np.full(len(n), np.nan)),
        "pooled": pooled,
    }
