"""Judging a network while it is trained, and choosing what the watershed needs of its landscapes.

Idea: images that are never trained on are predicted as `predict` does it, and cut as the stages
do it; F1 counts the cells of all images together. While a network learns, the best threshold and
persistence move: a look tries a few, or F1 would rather tell how near those are. At the end,
threshold and persistence are those of the best mean of F1 at the IoUs, or nearly so and with less
merged, for each top model on its own.
"""

import numpy as np

from .dataset import LabelledImage
from .evaluate import match, scores
from .geometry import Grid, cube
from .networks import Network
from .predict import ONE, channel_of_levels, predict
from .resample import model_grid
from .store import SHARD_VOXELS
from .whole.watershed import watershed

IOUS = (0.5, 0.75)  # F1 is the mean of those at both
# Thresholds and persistences of a look, by top model. Probabilities are either high or low.
LOOK = {
    "watershed": ((0.05, 0.1, 0.2, 0.3), (0.05, 0.15)),
    "three_class": ((0.2, 0.4, 0.6), (0.3,)),
}
THRESHOLDS = {
    "watershed": (0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5),
    "three_class": (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
}
PERSISTENCES = {
    "watershed": (0.02, 0.05, 0.1, 0.15, 0.2, 0.3),
    "three_class": (0.05, 0.1, 0.2, 0.3, 0.5, 0.7),
}


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


def scores_of(
    landscapes: list[np.ndarray],
    pictures: list[LabelledImage],
    *,
    threshold: float,
    persistence: float,
    threads: int,
) -> dict[float, dict]:
    """Scores by IoU of the watershed of many landscapes, their cells counted together."""
    counts = {iou: np.zeros(3, int) for iou in IOUS}
    for landscape, picture in zip(landscapes, pictures, strict=True):
        cells = watershed(landscape, threshold=threshold, persistence=persistence, threads=threads)
        for iou in IOUS:
            found = match(cells, picture.labels, iou=iou)
            counts[iou] += [
                found[k] for k in ("true_positives", "false_positives", "false_negatives")
            ]
    return {iou: scores(*count.tolist()) for iou, count in counts.items()}


def look(
    landscapes: list[np.ndarray], pictures: list[LabelledImage], *, top_model: str, threads: int
) -> float:
    """The mean of F1 over the IoUs, with the best of a few thresholds and persistences."""
    thresholds, persistences = LOOK[top_model]
    return max(
        _mean_f1(
            scores_of(
                landscapes, pictures, threshold=threshold, persistence=persistence, threads=threads
            )
        )
        for threshold in thresholds
        for persistence in persistences
    )


def _mean_f1(by_iou: dict[float, dict]) -> float:
    return float(np.mean([said["f1"] for said in by_iou.values()]))


def choose(
    landscapes: list[np.ndarray],
    pictures: list[LabelledImage],
    *,
    top_model: str,
    tolerance: float,
    threads: int,
) -> tuple[dict[str, float], dict[float, dict]]:
    """Threshold and persistence, and the scores by IoU.

    Of all whose mean of F1 over the IoUs is within a tolerance of the best, those with the lowest
    persistence, and of these the best.
    """
    tried = [
        {"threshold": threshold, "persistence": persistence}
        for threshold in THRESHOLDS[top_model]
        for persistence in PERSISTENCES[top_model]
    ]
    found = [scores_of(landscapes, pictures, **chosen, threads=threads) for chosen in tried]
    means = [_mean_f1(of_both) for of_both in found]
    good = [i for i, mean in enumerate(means) if mean >= max(means) - tolerance]
    best = min(good, key=lambda i: (tried[i]["persistence"], -means[i]))
    return tried[best], found[best]
