"""What became of every cell: by hand, and its algebra."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mosaicell.columns import KINDS, match_columns
from mosaicell.evaluate import match, overlaps
from mosaicell.matches import by_cldice, by_iou, match_rows
from test_centerlines import compared

small = arrays.arrays(np.uint8, (2, 3, 4), elements=st.integers(0, 4))


def rows(labels, truth):
    found = overlaps([(labels, truth)])
    return match_rows(found, by_iou(found), frame=3, score="iou")


def line(text):
    return np.array([[[int(c) for c in text.replace(" ", "")]]])


@pytest.mark.parametrize(
    ("labels", "truth", "true", "found"),
    [
        ("5550 6660", "1110 2220", ["1 matched 5", "2 matched 6"], ["5 matched 1", "6 matched 2"]),
        ("0000", "1110", ["1 missed 0"], []),
        ("7770", "0000", [], ["7 invented 0"]),
        ("1000 0000", "1111 1111", ["1 missed 1"], ["1 invented 1"]),
        ("1112 2211", "1111 1111", ["1 matched 1"], ["1 matched 1", "2 split 1"]),
        ("1112 2233", "1111 1111", ["1 split 1"], ["1 split 1", "2 split 1", "3 split 1"]),
        ("5555 5555", "1112 2233", ["1 merged 5", "2 merged 5", "3 merged 5"], ["5 merged 1"]),
        ("5555 5550", "1111 1220", ["1 matched 5", "2 merged 5"], ["5 matched 1"]),
        ("0000", "0000", [], []),
    ],
)
def test_cases_done_by_hand(labels, truth, true, found):
    table = rows(line(labels), line(truth))
    assert set(table["frame"]) <= {3}
    said = [
        f"{label} {kind} {other}"
        for label, kind, other in zip(
            table["label"], table["kind"], table["other_label"], strict=True
        )
    ]
    assert said[: len(true)] == true
    assert said[len(true) :] == found
    assert list(table["side"]) == ["true"] * len(true) + ["found"] * len(found)


@given(small, small)
def test_the_kinds_add_up_to_the_scores(labels, truth):
    table, scores = rows(labels, truth), match(labels, truth)
    for side, wrong in (("true", "false_negatives"), ("found", "false_positives")):
        kind = table["kind"][table["side"] == side]
        assert set(kind) <= set(KINDS) - {"invented" if side == "true" else "missed"}
        assert (kind == "matched").sum() == scores["true_positives"]
        assert (kind != "matched").sum() == scores[wrong]


@given(small, small)
def test_a_match_is_mutual_and_its_iou_is_that_of_the_masks(labels, truth):
    table = rows(labels, truth)
    volumes = {"true": (truth, labels), "found": (labels, truth)}
    partners = {}
    for k, side in enumerate(table["side"]):
        own, other = volumes[side]
        mask, partner = own == table["label"][k], other == table["other_label"][k]
        assert mask.sum() == table["num_voxels"][k]
        where = np.argwhere(mask)
        for axis, name in enumerate("zyx"):
            assert where[:, axis].min() == table[f"bbox_min_{name}"][k]
            assert where[:, axis].max() + 1 == table[f"bbox_max_{name}"][k]
        partner &= other != 0
        assert table["iou"][k] == pytest.approx((mask & partner).sum() / (mask | partner).sum())
        if table["kind"][k] == "matched":
            partners[side, table["label"][k]] = table["other_label"][k]
    for (side, label), other in partners.items():
        assert partners["found" if side == "true" else "true", other] == label


@given(small, small)
def test_thin_cells_are_matched_by_their_lines(labels, truth):
    found = overlaps([(labels, truth)])
    pairs = by_cldice(compared(labels, truth))
    table = match_rows(found, pairs, frame=0, score="cldice")
    matched = table["cldice"][table["kind"] == "matched"]
    assert (matched > 0.5).all()
    assert len(matched) == 2 * len(pairs.matched)


def test_the_rows_are_the_columns_of_the_dictionary():
    table = rows(line("1100"), line("0110"))
    assert list(table) == ["frame", *(column.name for column in match_columns("iou"))]
