"""Scores against cases done by hand, and against plain loops over masks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mosaicell.columns import SCORES, SUMMARY
from mosaicell.evaluate import joined, overlaps
from mosaicell.metrics import IOUS, known, metrics, score_rows, summary_rows

small = arrays.arrays(np.uint8, (2, 3, 4), elements=st.integers(0, 4))


def shares(labels, truth):
    """The scores without counts of cells, and without the mean IoU of matches, which have none."""
    found = metrics(overlaps([(labels, truth)]))
    counts = ("true_positives", "false_positives", "false_negatives", "mean_matched_iou")
    return {name: value for name, value in found.items() if not name.startswith(counts)}


def masks(labels):
    return [labels == i for i in np.unique(labels) if i]


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def plain_seg(labels, truth):
    best = [
        max((iou(p, t) for p in masks(labels) if 2 * (p & t).sum() > t.sum()), default=0)
        for t in masks(truth)
    ]
    return np.mean(best)


def plain_det(labels, truth):
    predicted, true = masks(labels), masks(truth)
    held = [sum(2 * (p & t).sum() > t.sum() for t in true) for p in predicted]
    missed = sum(not any(2 * (p & t).sum() > t.sum() for p in predicted) for t in true)
    cost = 5 * sum(n - 1 for n in held if n > 1) + 10 * missed + held.count(0)
    return 1 - min(cost, 10 * len(true)) / (10 * len(true))


def plain_aji(labels, truth):
    predicted, true = masks(labels), masks(truth)
    above, below, taken = 0, 0, set()
    for t in true:
        values = [iou(p, t) for p in predicted]
        if max(values, default=0) > 0:
            k = int(np.argmax(values))
            taken.add(k)
            above += (predicted[k] & t).sum()
            below += (predicted[k] | t).sum()
        else:
            below += t.sum()
    return above / (below + sum(p.sum() for k, p in enumerate(predicted) if k not in taken))


def plain_pq(labels, truth):
    values = [iou(p, t) for p in masks(labels) for t in masks(truth)]
    return sum(v for v in values if v > 0.5) / ((len(masks(labels)) + len(masks(truth))) / 2)


def plain_split_rate(labels, truth):
    predicted, true = masks(labels), masks(truth)
    return np.mean([sum(2 * (p & t).sum() > p.sum() for p in predicted) > 1 for t in true])


def plain_merge_rate(labels, truth):
    predicted, true = masks(labels), masks(truth)
    covered = [[2 * (p & t).sum() > t.sum() for t in true] for p in predicted]
    return sum(sum(row) for row in covered if sum(row) > 1) / len(true)


@given(small, small.filter(np.any))
def test_the_scores_are_those_of_plain_loops_over_masks(labels, truth):
    found = metrics(overlaps([(labels, truth)]))
    for name in ("seg", "det", "aji", "pq", "split_rate", "merge_rate"):
        assert found[name] == pytest.approx(globals()[f"plain_{name}"](labels, truth)), name
    assert (1 + found["count_error"]) * len(masks(truth)) == pytest.approx(len(masks(labels)))


@given(small.filter(np.any))
def test_the_truth_itself_has_all_scores_at_their_best(truth):
    found = shares(truth, truth)
    worst = {"split_rate", "merge_rate", "duplicates", "count_error"}
    assert all(value == (0 if name in worst else 1) for name, value in found.items())


def test_what_is_not_a_number_is_null_in_json():
    assert known({"f1": 1.0, "count_error": np.nan}) == {"f1": 1.0, "count_error": None}


@pytest.mark.parametrize(("labels", "best"), [([[0, 0]], 1), ([[0, 3]], 0)])
def test_where_there_is_nothing_to_find_nothing_is_to_be_found(labels, best):
    found = shares(np.array(labels), np.zeros((1, 2), int))
    assert np.isnan(found.pop("count_error"))
    for name, value in found.items():
        assert value == (0 if name in ("split_rate", "merge_rate", "duplicates") else best), name


def line(text):
    return np.array([int(c) for c in text.replace(" ", "")])


@pytest.mark.parametrize(
    ("labels", "truth", "expected"),
    [
        # Cut in two halves: neither covers more than half.
        ("1122", "1111", {"split_rate": 1, "duplicates": 1, "seg": 0, "det": 0, "count_error": 1}),
        # Two cells as one: one split to be made by hand.
        (
            "1111 11",
            "1112 22",
            {"merge_rate": 1, "seg": 0.5, "det": 1 - 5 / 20, "aji": 0.5, "pq": 0, "ap_0.5": 0.5},
        ),
        # One found, one missed, one invented.
        (
            "1100 0033",
            "1100 2200",
            {"f1_0.9": 0.5, "ap_0.9": 1 / 3, "det": 1 - 11 / 20, "seg": 0.5, "aji": 1 / 3},
        ),
    ],
)
def test_cases_done_by_hand(labels, truth, expected):
    found = metrics(overlaps([(line(labels), line(truth))]))
    assert {name: found[name] for name in expected} == pytest.approx(expected)


@given(small, small)
def test_a_higher_demand_never_scores_higher(labels, truth):
    found = metrics(overlaps([(labels, truth)]))
    for name in ("precision", "recall", "f1", "ap"):
        values = [found[f"{name}_{iou:g}"] for iou in IOUS]
        assert values == sorted(values, reverse=True)


@given(small, small)
def test_counts_at_each_iou_make_the_shares(labels, truth):
    found = metrics(overlaps([(labels, truth)]))
    for iou in IOUS:
        hits, extra, missed = (
            found[f"{name}_{iou:g}"]
            for name in ("true_positives", "false_positives", "false_negatives")
        )
        assert hits + extra == len(masks(labels))
        assert hits + missed == len(masks(truth))
        if hits + extra + missed:
            assert found[f"ap_{iou:g}"] == hits / (hits + extra + missed)


def test_scores_become_rows_with_the_threshold_beside_the_name():
    rows = score_rows({"f1": 0.5, "ap_0.75": 0.25, "cldice_f1_0.1": 1.0, "count_error": np.nan})
    assert list(rows) == [column.name for column in SCORES]
    assert rows["score"].tolist() == ["f1", "ap", "cldice_f1", "count_error"]
    np.testing.assert_array_equal(rows["threshold"], [np.nan, 0.75, 0.1, np.nan])
    np.testing.assert_array_equal(rows["value"], [0.5, 0.25, 1, np.nan])


@given(st.lists(st.tuples(small, small), min_size=1, max_size=3))
def test_pooled_scores_are_those_of_all_cells_together(pairs):
    samples = [overlaps([pair]) for pair in pairs]
    rows = summary_rows([score_rows(metrics(found)) for found in samples])
    assert list(rows) == [column.name for column in SUMMARY]
    together = score_rows(metrics(joined(samples)))
    np.testing.assert_array_equal(rows["score"], together["score"])
    is_pooled = ~np.isnan(rows["pooled"])
    np.testing.assert_allclose(rows["pooled"][is_pooled], together["value"][is_pooled])
    counted = {"true_positives", "false_positives", "false_negatives"}
    assert set(rows["score"][is_pooled]) == counted | {"precision", "recall", "f1", "ap"}
    means = np.array([score_rows(metrics(found))["value"] for found in samples]).mean(axis=0)
    known = rows["num_samples"] == len(pairs)
    np.testing.assert_allclose(rows["mean"][known], means[known])
    assert np.isnan(rows["mean"][rows["num_samples"] == 0]).all()
