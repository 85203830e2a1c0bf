"""Scores of pairs of labels by other libraries; runs in an environment of their own.

    .venv-scores/bin/python tests/scores/peers.py PAIRS.npz

PAIRS.npz holds `labels_0`, `truth_0` and so on, (z, y, x) of uint16, neither without instances.
Prints a list of JSON objects, one for each pair.
"""

import contextlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import tifffile
from cellseg_models_pytorch.metrics.functional import aggregated_jaccard_index, panoptic_quality
from ctc_metrics.scripts.evaluate import evaluate_sequence
from panoptica.metrics.cldice import _compute_centerline_dice
from stardist.matching import matching

MOST_VOXELS = 20_000
IOUS = (0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9)


def of_stardist(labels, truth):
    """Counts and rates at each IoU."""
    names = ("tp", "fp", "fn", "precision", "recall", "f1", "accuracy", "panoptic_quality")
    found = matching(truth, labels, thresh=IOUS)
    return {
        str(iou): {name: float(getattr(at, name)) for name in names}
        for iou, at in zip(IOUS, found, strict=True)
    }


def of_ctc(labels, truth):
    """SEG and DET, from files as the challenge has them: a movie that stands still."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        folder = Path(folder)
        for path, image in (
            ("01_RES/mask", labels),
            ("01_GT/TRA/man_track", truth),
            ("01_GT/SEG/man_seg", truth),
        ):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            for frame in ("000", "001"):
                tifffile.imwrite(folder / f"{path}{frame}.tif", image, photometric="minisblack")
        for path, image in (("01_RES/res_track.txt", labels), ("01_GT/TRA/man_track.txt", truth)):
            lines = [f"{label} 0 1 0\n" for label in np.unique(image[image > 0])]
            (folder / path).write_text("".join(lines), encoding="ascii")
        found = evaluate_sequence(
            str(folder / "01_RES"), str(folder / "01_GT"), metrics=["SEG", "DET"], threads=1
        )
    return {name: float(found[name]) for name in ("SEG", "DET")}


def of_cellseg(labels, truth):
    """AJI and panoptic quality; these want planes, and do not mind of what shape."""
    labels, truth = (side.reshape(-1, side.shape[-1]) for side in (labels, truth))
    return {
        "aji": float(aggregated_jaccard_index(truth, labels)),
        "pq": float(panoptic_quality(truth, labels)["pq"]),
    }


def of_panoptica(labels, truth):
    """clDice of each pair that shares voxels, but of large volumes."""
    if labels.size > MOST_VOXELS:
        return []
    labels, truth = (side[0] if len(side) == 1 else side for side in (labels, truth))
    touching = np.unique(np.stack((labels, truth), -1)[(labels > 0) & (truth > 0)], axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return [
            [int(i), int(j), float(_compute_centerline_dice(truth, labels, j, i))]
            for i, j in touching
        ]


pairs = np.load(sys.argv[1])
answers = []
for k in range(len(pairs.files) // 2):
    pair = pairs[f"labels_{k}"], pairs[f"truth_{k}"]
    answers.append({of.__name__[3:]: of(*pair) for of in (of_stardist, of_ctc, of_cellseg)})
    answers[-1]["panoptica"] = of_panoptica(*pair)
print(json.dumps(answers))
