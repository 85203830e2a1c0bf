"""Judging a network while it is trained, and choosing what the watershed needs of its landscapes.

Idea: images that are never trained on are predicted as `predict` does it, and cut as the stages
do it; F1 counts the cells of all images together. While a network learns, the best threshold,
persistence and least peak of a cell move: a look tries a few, or F1 would rather tell how near
those are. At the end they are chosen by the mean of F1 at the IoUs, for each top model on its own,
and after them the share of the highest peaks that a cell must reach.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
from scipy.ndimage import maximum

from .dataset import LabelledImage
from .evaluate import match_overlaps, overlaps, scores, without
from .geometry import Grid, cube
from .networks import Network
from .predict import ONE, channel_of_levels, predict
from .resample import model_grid
from .stitch import least_peak
from .store import SHARD_VOXELS
from .whole.watershed import watershed

IOUS = (0.5, 0.75)  # F1 is the mean of those at both
# Thresholds, persistences and least peaks of a look, by top model. Probabilities are either high
# or low.
LOOK = {
    "watershed": ((0.05, 0.1, 0.2, 0.3), (0.05, 0.15), (0.0, 0.5, 0.6, 0.7)),
    "three_class": ((0.2, 0.4, 0.6), (0.3,), (0.0, 0.8)),
}
THRESHOLDS = {
    "watershed": (0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5),
    "three_class": (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
}
PERSISTENCES = {
    "watershed": (0.02, 0.05, 0.1, 0.15, 0.2, 0.3),
    "three_class": (0.05, 0.1, 0.2, 0.3, 0.5, 0.7),
}
MIN_PEAKS = (0.0, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.9)
MIN_RELATIVE_PEAKS = (0.0, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)
N_DRAWS = 1000  # of as many pictures, for a standard error
KINDS = ("true_positives", "false_positives", "false_negatives")


def landscape_of(
    net: Network, picture: LabelledImage, *, nominal_diameter: float, window: int, threads: int
) -> np.ndarray:
    """The landscape of an image on its own voxels, float32 (z, y, x).

    On the windows on which the stage `predict` would have it.
    """
    shards = Grid(picture.labels.shape, cube(picture.labels.shape, SHARD_VOXELS))
    grid = model_grid(
        shard=shards.tile,
        scale=picture.scale(nominal_diameter),
        window=window,
        stride=net.stride,
        dimensions=net.dimensions,
    )
    landscape = np.empty(shards.shape, np.float32)
    for shard in shards:
        values = predict(
            0,
            shard,
            channel=channel_of_levels(picture.levels, grid.scale),
            grid=grid,
            network=net,
            device=next(net.parameters()).device,
            threads=threads,
        )
        landscape[shard.slices] = values.astype(np.float32) / ONE
    return landscape


def counts_of(
    landscapes: list[np.ndarray],
    pictures: list[LabelledImage],
    *,
    threshold: float,
    persistence: float,
    least: Sequence[dict[str, float]],
    threads: int,
) -> np.ndarray:
    """True and false positives and false negatives (int64) of the watershed of landscapes.

    By what `least_peak` is told, picture, IoU and kind.
    """
    counts = np.zeros((len(least), len(pictures), len(IOUS), len(KINDS)), np.int64)
    for k, (landscape, picture) in enumerate(zip(landscapes, pictures, strict=True)):
        cells = watershed(landscape, threshold=threshold, persistence=persistence, threads=threads)
        found = overlaps([(cells, picture.labels)])
        # A least peak only drops cells: the landscape is cut once for all of them.
        peaks = np.asarray(maximum(landscape, cells, found.label), np.float64)
        for i, chosen in enumerate(least):
            high = without(found, peaks < least_peak(peaks, **chosen))
            for j, iou in enumerate(IOUS):
                matched = match_overlaps(high, iou=iou)
                counts[i, k, j] = [matched[kind] for kind in KINDS]
    return counts


def look(
    landscapes: list[np.ndarray], pictures: list[LabelledImage], *, top_model: str, threads: int
) -> float:
    """The mean of F1 over the IoUs, with the best of a few parameters."""
    _, counts = _tried(landscapes, pictures, *LOOK[top_model], threads)
    return float(_mean_f1(counts.sum(1)).max())


def choose(
    landscapes: list[np.ndarray],
    pictures: list[LabelledImage],
    *,
    top_model: str,
    cautious: bool,
    threads: int,
) -> tuple[dict[str, float], dict[float, dict]]:
    """Threshold, persistence and both least peaks of a cell, and the scores by IoU.

    Those of the best mean of F1 over the IoUs. The cautious, whose pictures are not of the kind
    that will come, take of all that are within one standard error of it those that drop least, of
    these those that merge least, and of these the best. The share of the highest peaks is chosen
    after them, and needs no caution: it is of the heights that the pictures have that come.

    Notes
    -----
    L. Breiman et al.: Classification and Regression Trees (1984), chapter 3, for the rule of
    one standard error; B. Efron (1979), doi 10.1214/aos/1176344552, for how it is estimated.
    """
    grids = THRESHOLDS[top_model], PERSISTENCES[top_model], MIN_PEAKS
    tried, counts = _tried(landscapes, pictures, *grids, threads)
    means = _mean_f1(counts.sum(1))
    best = int(means.argmax())
    if cautious:
        drawn = np.random.default_rng(0).integers(len(pictures), size=(N_DRAWS, len(pictures)))
        least = means[best] - _mean_f1(counts[best][drawn].sum(1)).std()
        good = np.flatnonzero(means >= least).tolist()
        best = min(good, key=lambda i: (tried[i]["min_peak"], tried[i]["persistence"], -means[i]))
    one = [[tried[best][name]] for name in ("threshold", "persistence", "min_peak")]
    tried, counts = _tried(landscapes, pictures, *one, threads, MIN_RELATIVE_PEAKS)
    best = int(_mean_f1(counts.sum(1)).argmax())
    of_iou = counts[best].sum(0).tolist()
    return tried[best], {iou: scores(*count) for iou, count in zip(IOUS, of_iou, strict=True)}


def _tried(
    landscapes: list[np.ndarray],
    pictures: list[LabelledImage],
    thresholds: Sequence[float],
    persistences: Sequence[float],
    min_peaks: Sequence[float],
    threads: int,
    min_relative_peaks: Sequence[float] = (0.0,),
) -> tuple[list[dict[str, float]], np.ndarray]:
    """All combinations of parameters, and `counts_of` them."""
    least = [
        {"min_peak": min_peak, "min_relative_peak": share}
        for min_peak, share in product(min_peaks, min_relative_peaks)
    ]
    tried, counts = [], []
    for threshold, persistence in product(thresholds, persistences):
        chosen = {"threshold": threshold, "persistence": persistence}
        tried += [chosen | of_cells for of_cells in least]
        counts.append(counts_of(landscapes, pictures, **chosen, least=least, threads=threads))
    return tried, np.concatenate(counts)


def _mean_f1(counts: np.ndarray) -> np.ndarray:
    """The mean over the IoUs of F1 of counts (..., IoU, kind); 1 where nothing is, and is found."""
    right = 2 * counts[..., 0]
    all_cells = right + counts[..., 1] + counts[..., 2]
    return np.where(all_cells > 0, right / np.maximum(all_cells, 1), 1.0).mean(-1)
