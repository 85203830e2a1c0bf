"""Every score against a well-kept library that has it, on random and on real labels."""

import json
import subprocess

import numpy as np
import pytest
import tifffile
from scipy import ndimage

import mosaicell
from mosaicell.evaluate import Overlaps, match_overlaps, overlaps
from mosaicell.metrics import metrics
from running import ROOT
from test_centerlines import compared, twigs

pytestmark = pytest.mark.scores
PYTHON = ROOT / ".venv-scores/bin/python"


def random_pairs():
    """Small volumes in which anything goes, and ties are common."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        shape = (1, 5, 6) if seed % 2 else (2, 4, 5)
        yield rng.integers(0, 5, shape), rng.integers(0, 5, shape)


def real_pairs():
    """Nuclei of the demo: cut by Mosaicell, and the truth with errors that are known."""
    folder = ROOT / "config/demo/data/gonuclear"
    image, truth = (tifffile.imread(folder / f"{name}.tif") for name in ("image", "truth"))
    smooth = ndimage.gaussian_filter(image.astype(np.float32), 2)
    for threshold, persistence in ((60, 2), (80, 5), (100, 10)):
        yield mosaicell.watershed(smooth, threshold=threshold, persistence=persistence), truth
    yield np.roll(truth, (2, 3, 3), (0, 1, 2)), truth
    yield np.where(np.arange(100) < 50, truth, truth + (truth > 0) * 60), truth  # cut in two
    yield (truth + 2) // 3, truth  # merged by threes
    yield truth * (truth % 2), truth  # half of them
    yield truth, truth * (truth % 2)
    yield ndimage.grey_erosion(truth, (1, 5, 5)), truth


def thin_pairs():
    for seed in range(4):
        truth = twigs(seed, (12, 30, 30) if seed % 2 else (1, 50, 50))
        labels = np.roll(truth, (seed % 2, 1), (1, 2))
        labels[:, :, 20:] *= 2
        yield labels, truth


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Each pair of labels and truth, and what the libraries say of it."""
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON} is not there: make test-scores")
    pairs = [
        tuple(np.ascontiguousarray(side, np.uint16) for side in pair)
        for pair in (*random_pairs(), *real_pairs(), *thin_pairs())
    ]
    path = tmp_path_factory.mktemp("peers") / "pairs.npz"
    names = {
        f"{name}_{k}": side
        for k, p in enumerate(pairs)
        for name, side in zip(("labels", "truth"), p, strict=True)
    }
    np.savez(path, **names)
    done = subprocess.run(
        [PYTHON, ROOT / "tests/scores/peers.py", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(zip(pairs, json.loads(done.stdout), strict=True))


def of(pair) -> Overlaps:
    return overlaps([pair])


def test_counts_and_rates_at_each_iou_are_those_of_stardist(answers):
    names = {"precision": "precision", "recall": "recall", "f1": "f1"}
    names |= {"true_positives": "tp", "false_positives": "fp", "false_negatives": "fn"}
    for pair, said in answers:
        for iou, expected in said["stardist"].items():
            ours = match_overlaps(of(pair), iou=float(iou))
            for name, theirs in names.items():
                assert ours[name] == pytest.approx(expected[theirs]), (name, iou)


def test_average_precision_is_the_accuracy_of_stardist(answers):
    for pair, said in answers:
        ours = metrics(of(pair))
        for iou in ("0.5", "0.6", "0.7", "0.75", "0.8", "0.9"):
            assert ours[f"ap_{iou}"] == pytest.approx(said["stardist"][iou]["accuracy"])


def test_seg_and_det_are_those_of_the_cell_tracking_challenge(answers):
    for pair, said in answers:
        ours = metrics(of(pair))
        assert ours["seg"] == pytest.approx(said["ctc"]["SEG"])
        assert ours["det"] == pytest.approx(said["ctc"]["DET"])


def test_panoptic_quality_is_that_of_cellseg_models(answers):
    for pair, said in answers:
        assert metrics(of(pair))["pq"] == pytest.approx(said["cellseg"]["pq"], abs=1e-6)


def test_panoptic_quality_is_that_of_stardist_but_for_pairs_of_just_a_half(answers):
    """StarDist matches from an IoU of 0.5 on, Kirillov et al. (2019) and we above it."""
    halves = 0
    for pair, said in answers:
        found = of(pair)
        theirs = said["stardist"]["0.5"]["panoptic_quality"]
        if (found.iou == 0.5).any():
            halves += 1
            assert metrics(found)["pq"] <= theirs + 1e-9
        else:
            assert metrics(found)["pq"] == pytest.approx(theirs)
    assert 0 < halves < len(answers) / 2


def test_the_aggregated_jaccard_index_is_that_of_cellseg_models_where_both_choose_alike(answers):
    """For each true cell it takes the found one that shares most voxels, ties and all.

    Kumar et al. (2017) and we take the one of the highest IoU. On real nuclei that is the same one.
    """
    alike = 0
    for pair, said in answers:
        found = of(pair)
        if choose_alike(found):
            alike += 1
            assert metrics(found)["aji"] == pytest.approx(said["cellseg"]["aji"], abs=1e-6)
    assert alike > len(answers) / 5


def choose_alike(found: Overlaps) -> bool:
    for column in range(len(found.true_size)):
        of_it = found.column == column
        best = (found.shared[of_it] == found.shared[of_it].max(initial=0)).nonzero()[0]
        if of_it.any() and (len(best) > 1 or best[0] != found.iou[of_it].argmax()):
            return False
    return True


def test_cldice_is_that_of_panoptica(answers):
    compared_pairs = 0
    for pair, said in answers:
        found, lines = of(pair), compared(*pair)
        ours = {
            (found.label[i], found.true_label[j]): value
            for i, j, value in zip(lines.row, lines.column, lines.cldice, strict=True)
        }
        for i, j, theirs in said["panoptica"]:
            if np.isfinite(theirs):  # neither line is empty, and one runs through the other
                assert ours[i, j] == pytest.approx(theirs)
                compared_pairs += theirs > 0
    assert compared_pairs > 200
