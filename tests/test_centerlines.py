"""clDice and its scores: against masks of whole volumes, by hand, and its algebra."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from skimage.morphology import skeletonize

from mosaicell.centerlines import CLDICES, centerline_metrics, hits, match, sides
from mosaicell.evaluate import overlaps

BEST = {"cldice_f1", "cldice_coverage", "cldice_score", *(f"cldice_f1_{t:g}" for t in CLDICES)}


def compared(labels, truth):
    """Both sides at once, as `jobs.evaluate` does it crop by crop."""
    found = overlaps([(labels, truth)])
    parts = {}
    for side, volume, others, ids, boxes in (
        ("found", labels, truth, found.label, found.box),
        ("true", truth, labels, found.true_label, found.true_box),
    ):
        numbers = np.arange(len(ids))
        parts[side] = [
            hits(
                volume,
                others,
                numbers=numbers,
                ids=ids,
                boxes=boxes,
                origin=(0, 0, 0),
                is_2d=len(labels) == 1,
            )
        ]
    return sides(**parts, label=found.label, true_label=found.true_label)


def masks(labels):
    return [labels == i for i in np.unique(labels) if i]


def plain_line(mask):
    line = (skeletonize(mask[0])[None] if len(mask) == 1 else skeletonize(mask)) > 0
    return line if line.any() else mask


def plain(labels, truth):
    """The scores of FISBe by whole masks, one matrix entry after the other."""
    found, true = masks(labels), masks(truth)
    precision = np.array(
        [
            [(line & t).sum() / line.sum() for t in [truth == 0, *true]]
            for line in map(plain_line, found)
        ]
    )
    recall = np.array(
        [[(line & p).sum() / line.sum() for p in found] for line in map(plain_line, true)]
    )
    product = 2 * precision[:, 1:] * recall.T
    cldice = np.divide(product, precision[:, 1:] + recall.T, where=product > 0, out=product * 0)
    f1 = {}
    for threshold in CLDICES:
        left, hit = cldice.copy(), 0
        while (left > threshold).any():
            row, column = np.unravel_index(left.argmax(), left.shape)
            left[row], left[:, column], hit = 0, 0, hit + 1
        f1[f"cldice_f1_{threshold:g}"] = 2 * hit / (len(found) + len(true))
    best = precision.argmax(axis=1) - 1
    coverage = np.mean([recall[t, best == t].sum() for t in range(len(true))])
    mean = np.mean(list(f1.values()))
    return f1 | {
        "cldice_f1": mean,
        "cldice_coverage": coverage,
        "cldice_score": (mean + coverage) / 2,
    }


def twigs(seed, shape=(12, 30, 30), n=6):
    """Labels of random walks, some voxels thick, that branch."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint32)
    for label in range(1, n + 1):
        starts = [rng.integers(0, shape)]
        for _ in range(3):
            at = starts[rng.integers(len(starts))].astype(float)
            step = rng.normal(size=3) * (np.array(shape) > 1)
            for _ in range(14):
                at = np.clip(at + step / np.linalg.norm(step), 0, np.array(shape) - 1)
                z, y, x = at.round().astype(int)
                labels[z : z + 2, y : y + 2, x : x + 2] = label
                starts.append(at)
    return labels


@pytest.mark.parametrize("shape", [(12, 30, 30), (1, 50, 50)])
@pytest.mark.parametrize("seed", range(4))
def test_the_scores_are_those_of_whole_masks(shape, seed):
    truth = twigs(seed, shape)
    labels = np.roll(truth, (seed % 2, 1), (1, 2))
    labels[:, :, 20:] *= 2  # cut in two
    labels[:, 20:25] = np.where(labels[:, 20:25] > 0, 3, 0)  # merged
    assert centerline_metrics(compared(labels, truth)) == pytest.approx(plain(labels, truth))


@pytest.mark.parametrize("seed", range(8))
def test_flat_instances_of_a_volume_are_thinned_as_the_others(seed):
    rng = np.random.default_rng(seed)
    labels, truth = rng.integers(0, 5, (2, 3, 6, 7))
    truth[1:] = 0
    assert centerline_metrics(compared(labels, truth)) == pytest.approx(plain(labels, truth))


def line(text):
    return np.array([[[int(c) for c in text.replace(" ", "")]]])


@pytest.mark.parametrize(
    ("labels", "truth", "expected"),
    [
        ("111111", "111111", dict.fromkeys(BEST, 1)),
        ("111000", "111111", {"cldice_f1_0.6": 1, "cldice_f1_0.7": 0, "cldice_coverage": 0.5}),
        # Cut in two: both pieces cover it together, one of them matches up to 2 / 3.
        ("111222", "111111", {"cldice_f1": (2 / 3) * 6 / 9, "cldice_coverage": 1}),
        # Two in one: each true one's line lies in it, but it covers only one of them.
        ("111111", "111222", {"cldice_f1_0.6": 2 / 3, "cldice_coverage": 0.5}),
        # More of it lies in the background than in the truth.
        ("011111", "110000", {"cldice_f1_0.2": 1, "cldice_coverage": 0}),
        ("000000", "111111", dict.fromkeys(BEST, 0)),
        ("111111", "000000", dict.fromkeys(BEST, 0)),
        ("000000", "000000", dict.fromkeys(BEST, 1)),
    ],
)
def test_cases_done_by_hand(labels, truth, expected):
    found = centerline_metrics(compared(line(labels), line(truth)))
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_thin_shapes_beside_each_other_match_by_their_lines_and_not_by_their_voxels():
    truth = np.zeros((9, 40, 40), np.uint8)
    truth[3:6, 10:13, 2:38] = 1
    labels = np.roll(truth, (1, 1), (0, 1))
    found = overlaps([(labels, truth)])
    assert found.iou.max() < 0.5
    assert centerline_metrics(compared(labels, truth))["cldice_f1_0.9"] == 1


small = arrays.arrays(np.uint8, (2, 4, 5), elements=st.integers(0, 4))


@given(small, small)
def test_swapping_labels_and_truth_swaps_precision_and_recall(labels, truth):
    a, b = compared(labels, truth), compared(truth, labels)
    order = np.lexsort((b.row, b.column))
    np.testing.assert_array_equal(a.precision, b.recall[order])
    np.testing.assert_array_equal(a.cldice, b.cldice[order])
    for name, value in centerline_metrics(a).items():
        assert 0 <= value <= 1, name


@given(small, small)
def test_a_matching_is_one_to_one_and_leaves_nothing_that_could_match(labels, truth):
    found = compared(labels, truth)
    pairs = match(found)
    rows, columns = found.row[pairs], found.column[pairs]
    assert len(set(rows)) == len(set(columns)) == len(pairs)
    open_ = ~np.isin(found.row, rows) & ~np.isin(found.column, columns)
    assert not found.cldice[open_].any()
    assert (np.diff(found.cldice[pairs]) <= 0).all()


@given(small.filter(np.any))
def test_the_truth_itself_has_all_scores_at_their_best(truth):
    found = centerline_metrics(compared(truth, truth))
    assert found == pytest.approx(dict.fromkeys(BEST, 1))


@given(small, small, st.integers(1, 4))
def test_parts_in_any_order_are_the_whole(labels, truth, n):
    found = overlaps([(labels, truth)])
    both = []
    for volume, others, ids, boxes in (
        (labels, truth, found.label, found.box),
        (truth, labels, found.true_label, found.true_box),
    ):
        numbers = np.random.default_rng(n).permutation(len(ids))
        both.append(
            [
                hits(
                    volume,
                    others,
                    numbers=some,
                    ids=ids[some],
                    boxes=boxes[some],
                    origin=(0, 0, 0),
                    is_2d=False,
                )
                for some in np.array_split(numbers, n)
            ]
        )
    parts = sides(*both, label=found.label, true_label=found.true_label)
    for name, values in vars(compared(labels, truth)).items():
        np.testing.assert_array_equal(getattr(parts, name), values, name)
