"""Matching of instances, against cases done by hand and a slow, independent reference."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mosaicell.evaluate import match, match_overlaps, overlaps, scores


def by_brute_force(labels: np.ndarray, truth: np.ndarray, iou: float) -> tuple[int, float]:
    """Number of matches and the sum of their IoUs, over all ways to pair the instances."""
    few = [labels == i for i in np.unique(labels) if i]
    many = [truth == i for i in np.unique(truth) if i]
    if len(few) > len(many):
        few, many = many, few
    best = (0, 0.0)
    for order in permutations(many, len(few)):
        ious = [(a & b).sum() / (a | b).sum() for a, b in zip(few, order, strict=True)]
        good = [value for value in ious if value >= iou]
        best = max(best, (len(good), float(sum(good))))
    return best


def line(text: str) -> np.ndarray:
    return np.array([int(c) for c in text.replace(" ", "")]).reshape(1, 1, -1)


@pytest.mark.parametrize(
    ("labels", "truth", "iou", "counts", "mean_iou"),
    [
        ("1110 2220", "1110 2220", 0.5, (2, 0, 0), 1.0),
        ("2220 9990", "1110 2220", 0.5, (2, 0, 0), 1.0),  # names do not matter
        ("1110 0000", "1110 2220", 0.5, (1, 0, 1), 1.0),  # one missed
        ("1110 2220", "1110 0000", 0.5, (1, 1, 0), 1.0),  # one invented
        ("1111 1111", "1110 2222", 0.5, (1, 0, 1), 0.5),  # merged
        ("1111 2222", "1111 1111", 0.5, (1, 1, 0), 0.5),  # split: one half matches, once
        ("1111 2222", "1111 1111", 0.51, (0, 2, 1), 0.0),
        ("1100 0000", "1111 1000", 0.5, (0, 1, 1), 0.0),
        ("1100 0000", "1111 1000", 0.4, (1, 0, 0), 0.4),
        ("0000 0000", "0000 0000", 0.5, (0, 0, 0), 0.0),
        ("0000 0000", "1110 0000", 0.5, (0, 0, 1), 0.0),
        ("1110 0000", "0000 0000", 0.5, (0, 1, 0), 0.0),
        ("1111 1122 2", "2211 1113 3", 0.25, (2, 0, 1), (4 / 7 + 2 / 3) / 2),
    ],
)
def test_cases_done_by_hand(labels, truth, iou, counts, mean_iou):
    found = match(line(labels), line(truth), iou=iou)
    names = ("true_positives", "false_positives", "false_negatives")
    assert tuple(found[name] for name in names) == counts
    assert found["mean_matched_iou"] == pytest.approx(mean_iou)


def test_more_matches_are_preferred_to_better_ones():
    # 1 overlaps A by 6/7 and B by 1/9; 2 overlaps A by 1/8 and nothing else.
    labels = line("1111 1112")
    truth = line("3111 1111")
    found = match(labels, truth, iou=0.1)
    assert (found["true_positives"], found["mean_matched_iou"]) == (
        2,
        pytest.approx((1 / 7 + 1 / 7) / 2),
    )


small = arrays.arrays(np.uint8, (2, 3, 4), elements=st.integers(0, 4))


@given(labels=small, truth=small, iou=st.sampled_from([0.05, 0.2, 0.5, 0.6, 1.0]))
def test_the_matching_is_the_best_of_all(labels, truth, iou):
    found = match(labels, truth, iou=iou)
    number, total = by_brute_force(labels, truth, iou)
    assert found["true_positives"] == number
    assert found["mean_matched_iou"] * number == pytest.approx(total)
    assert found["true_positives"] + found["false_positives"] == len(set(labels.flat) - {0})
    assert found["true_positives"] + found["false_negatives"] == len(set(truth.flat) - {0})


@given(labels=small, truth=small, cut=st.integers(0, 4), iou=st.sampled_from([0.2, 0.5, 0.8]))
def test_a_volume_in_parts_scores_as_the_whole(labels, truth, cut, iou):
    parts = [(labels[..., part], truth[..., part]) for part in (slice(cut), slice(cut, None))]
    assert match_overlaps(overlaps(iter(parts)), iou=iou) == match(labels, truth, iou=iou)


@given(labels=small, truth=small)
def test_swapping_labels_and_truth_swaps_precision_and_recall(labels, truth):
    a, b = match(labels, truth), match(truth, labels)
    assert (a["precision"], a["recall"], a["f1"]) == (b["recall"], b["precision"], b["f1"])


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((3, 1, 2), (0.75, 0.6, 6 / 9)),
        ((0, 0, 0), (1.0, 1.0, 1.0)),
        ((0, 2, 0), (0.0, 0.0, 0.0)),
        ((0, 0, 2), (0.0, 0.0, 0.0)),
    ],
)
def test_scores_of_counts(counts, expected):
    found = scores(*counts)
    assert (found["precision"], found["recall"], found["f1"]) == pytest.approx(expected)


def test_large_and_negative_names_are_names_like_any_other():
    labels = np.array([[[2**62, 2**62, 0, -5]]])
    assert match(labels, np.array([[[1, 1, 0, 2]]]))["true_positives"] == 2


@pytest.mark.parametrize(
    ("labels", "truth", "iou", "says"),
    [
        (np.zeros((2, 2, 2), int), np.zeros((2, 2, 3), int), 0.5, "same voxels"),
        (np.zeros((2, 2, 2), int), np.zeros((2, 2, 2), int), 0.0, "above 0"),
        (np.zeros((2, 2, 2), int), np.zeros((2, 2, 2), int), 1.5, "up to 1"),
        (np.zeros((2, 2, 2), int), np.zeros((2, 2, 2), int), float("nan"), "above 0"),
    ],
)
def test_what_is_refused(labels, truth, iou, says):
    with pytest.raises(ValueError, match=says):
        match(labels, truth, iou=iou)
