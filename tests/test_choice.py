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


def plain_count(landscapes, pictures, **chosen):
    """What is matched (picture, IoU, kind), from labels made with these parameters."""
    labels = [watershed(landscape, **chosen) for landscape in landscapes]
    return np.array(
        [
            [[match(one, p.labels, iou=iou)[kind] for kind in choice.KINDS] for iou in IOUS]
            for one, p in zip(labels, pictures, strict=True)
        ]
    )


def plain_counts(landscapes, pictures, top_model):
    """The same by all that is tried of `NAMES`."""
    grids = choice.THRESHOLDS[top_model], choice.PERSISTENCES[top_model], choice.MIN_PEAKS
    return {
        tried: plain_count(landscapes, pictures, **dict(zip(NAMES, tried, strict=True)))
        for tried in product(*grids)
    }


def with_the_best_share(landscapes, pictures, chosen):
    """Parameters with the least share of the best F1, and F1 by IoU."""
    tried = [chosen | {"min_relative_peak": share} for share in choice.MIN_RELATIVE_PEAKS]
    counts = [plain_count(landscapes, pictures, **one) for one in tried]
    best = np.argmax([mean_f1(counted) for counted in counts])
    return tried[best], plain_f1(counts[best])


def plain_f1(counts):
    """F1 of all pictures together, by IoU."""
    of_iou = counts.sum(0).tolist()
    return {iou: scores(*count)["f1"] for iou, count in zip(IOUS, of_iou, strict=True)}


def mean_f1(counts):
    return np.mean(list(plain_f1(counts).values()))


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
    counts = plain_counts(landscapes, pictures, top_model)
    first = {name: chosen[name] for name in NAMES}
    assert mean_f1(counts[tuple(first.values())]) == max(map(mean_f1, counts.values()))
    f1 = {iou: said["f1"] for iou, said in found.items()}
    assert (chosen, f1) == with_the_best_share(landscapes, pictures, first)
    assert found[IOUS[0]]["f1"] > 0.8
    assert 0 < look(landscapes, pictures, top_model=top_model, threads=1) <= 1


@pytest.mark.usefixtures("_few_are_tried")
@pytest.mark.parametrize(("noise", "is_best"), [(0.05, True), (0.15, False)])
def test_the_cautious_drop_and_merge_the_least_of_what_cannot_be_told_from_the_best(noise, is_best):
    pictures = [picture(seed) for seed in range(1, 6)]
    landscapes = noisy(pictures, noise)
    given = {"landscapes": landscapes, "pictures": pictures, "top_model": "watershed", "threads": 1}
    cautious, found = choose(**given, cautious=True)
    counts = plain_counts(landscapes, pictures, "watershed")
    means = {tried: mean_f1(counted) for tried, counted in counts.items()}
    best = max(means, key=means.get)
    # Efron's bootstrap: as many pictures, drawn again and again.
    rng = np.random.default_rng(1)
    drawn = [mean_f1(counts[best][rng.integers(5, size=5)]) for _ in range(5 * choice.N_DRAWS)]
    good = [tried for tried in means if means[tried] >= means[best] - np.std(drawn)]
    expected = min(good, key=lambda tried: (tried[2], tried[1], -means[tried]))
    first = dict(zip(NAMES, expected, strict=True))
    f1 = {iou: said["f1"] for iou, said in found.items()}
    assert (cautious, f1) == with_the_best_share(landscapes, pictures, first)
    assert (expected == best) == is_best
