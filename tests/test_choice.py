"""Choosing: images are predicted on their own voxels, and the best of what is tried is taken."""

from itertools import product

import numpy as np
import pytest
import torch

from mosaicell import choice
from mosaicell.choice import IOUS, choose, landscape_of, look
from mosaicell.distance import normalised_distance
from mosaicell.evaluate import match, scores
from mosaicell.geometry import Box, cube
from mosaicell.networks import NETWORKS
from mosaicell.predict import ONE, channel_of_levels, predict
from mosaicell.resample import model_grid
from mosaicell.whole.watershed import watershed
from test_networks import random_network
from test_volumes import picture

NAMES = ("threshold", "persistence", "min_peak")


def plain_scores(landscapes, pictures, threshold, persistence):
    """F1 by IoU by least peak, from labels that are made anew for each."""
    found = {}
    for min_peak in choice.MIN_PEAKS:
        chosen = {"threshold": threshold, "persistence": persistence, "min_peak": min_peak}
        labels = [watershed(landscape, **chosen) for landscape in landscapes]
        counts = {
            iou: sum(
                np.array([match(one, p.labels, iou=iou)[kind] for kind in choice.KINDS])
                for one, p in zip(labels, pictures, strict=True)
            )
            for iou in IOUS
        }
        found[min_peak] = {iou: scores(*count.tolist())["f1"] for iou, count in counts.items()}
    return found


def noisy(pictures, noise):
    """Landscapes that know the truth, but for noise."""
    rng = np.random.default_rng(0)
    return [
        np.clip(normalised_distance(p.labels) + rng.normal(0, noise, p.labels.shape), 0, 1).astype(
            np.float32
        )
        for p in pictures
    ]


@pytest.mark.parametrize("task", NETWORKS)
@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_validation_image_is_predicted_on_its_own_voxels_at_any_scale(dimensions, task):
    net = random_network(task, dimensions)
    for nominal in (4.0, 9.0, 20.0):
        one, two = (
            landscape_of(
                net, picture(1, dimensions), nominal_diameter=nominal, window=16, threads=threads
            )
            for threads in (1, 2)
        )
        assert one.shape == picture(1, dimensions).labels.shape
        assert 0 <= one.min() < one.max() <= 1
        np.testing.assert_array_equal(one, two)


def test_an_image_of_many_shards_is_predicted_as_on_their_grid_in_one(monkeypatch):
    monkeypatch.setattr(choice, "SHARD_VOXELS", 16**3)
    net, image = random_network("distance", 3), picture(1)
    found = landscape_of(net, image, nominal_diameter=9.0, window=8, threads=2)
    shard = cube(found.shape, 16**3)
    assert any(n > edge for n, edge in zip(found.shape, shard, strict=True))
    grid = model_grid(shard=shard, scale=image.scale(9.0), window=8, stride=net.stride)
    whole = predict(
        0,
        Box((0, 0, 0), found.shape),
        channel=channel_of_levels(image.levels, grid.scale),
        grid=grid,
        network=net,
        device=torch.device("cpu"),
    )
    np.testing.assert_array_equal(found, whole.astype(np.float32) / ONE)


@pytest.fixture
def _few_are_tried(monkeypatch):
    """Every third of a grid, so that the plain way takes seconds."""
    for name in ("THRESHOLDS", "PERSISTENCES"):
        grids = getattr(choice, name)
        monkeypatch.setattr(choice, name, {key: grid[1::3] for key, grid in grids.items()})
    monkeypatch.setattr(choice, "MIN_PEAKS", choice.MIN_PEAKS[::3])


@pytest.mark.usefixtures("_few_are_tried")
@pytest.mark.parametrize("top_model", choice.LOOK)
def test_the_best_of_all_that_is_tried_is_chosen(top_model):
    pictures = [picture(1), picture(2)]
    landscapes = noisy(pictures, 0.05)
    given = {"landscapes": landscapes, "pictures": pictures, "top_model": top_model, "threads": 1}
    chosen, found = choose(**given, cautious=False)
    grids = (choice.THRESHOLDS[top_model], choice.PERSISTENCES[top_model], choice.MIN_PEAKS)
    means = {}
    for threshold, persistence in product(*grids[:2]):
        tried = plain_scores(landscapes, pictures, threshold, persistence)
        for min_peak, of_iou in tried.items():
            means[threshold, persistence, min_peak] = np.mean(list(of_iou.values()))
            if chosen == dict(zip(NAMES, (threshold, persistence, min_peak), strict=True)):
                assert {iou: said["f1"] for iou, said in found.items()} == of_iou
    best = max(means.values())
    assert means[tuple(chosen[name] for name in NAMES)] == best
    assert found[IOUS[0]]["f1"] > 0.8
    assert 0 < look(landscapes, pictures, top_model=top_model, threads=1) <= 1


def test_the_cautious_drop_and_merge_the_least_of_what_cannot_be_told_from_the_best():
    pictures = [picture(seed) for seed in range(1, 6)]
    landscapes = noisy(pictures, 0.15)
    given = {"landscapes": landscapes, "pictures": pictures, "top_model": "watershed", "threads": 1}

    def mean(of_iou):
        return np.mean([said["f1"] for said in of_iou.values()])

    best, found = choose(**given, cautious=False)
    cautious, nearly = choose(**given, cautious=True)
    by_picture = [
        {
            iou: scores(*count)
            for iou, count in zip(
                IOUS,
                choice.counts_of(
                    [landscape],
                    [one],
                    threshold=best["threshold"],
                    persistence=best["persistence"],
                    min_peaks=[best["min_peak"]],
                    threads=1,
                )[0, 0].tolist(),
                strict=True,
            )
        }
        for landscape, one in zip(landscapes, pictures, strict=True)
    ]
    # Pictures with equally many cells: the standard error of a mean is about that of their F1.
    error = np.std([mean(of_iou) for of_iou in by_picture]) / np.sqrt(len(pictures))
    assert mean(found) - 2 * error <= mean(nearly) < mean(found)
    order = ("min_peak", "persistence")
    assert [cautious[k] for k in order] < [best[k] for k in order]
