"""Choosing: images are predicted on their own voxels, and the best of what is tried is taken."""

import numpy as np
import pytest
import torch

from mosaicell import choice
from mosaicell.choice import IOUS, choose, landscape_of, look, scores_of
from mosaicell.distance import normalised_distance
from mosaicell.geometry import Box, cube
from mosaicell.networks import NETWORKS
from mosaicell.predict import ONE, channel_of_levels, predict
from mosaicell.resample import model_grid
from test_networks import random_network
from test_volumes import picture


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


@pytest.mark.parametrize("top_model", choice.LOOK)
def test_the_best_of_all_that_is_tried_is_chosen(top_model):
    pictures = [picture(1), picture(2)]
    rng = np.random.default_rng(0)
    landscapes = [
        np.clip(normalised_distance(p.labels) + rng.normal(0, 0.05, p.labels.shape), 0, 1)
        for p in pictures
    ]
    landscapes = [landscape.astype(np.float32) for landscape in landscapes]
    given = {"landscapes": landscapes, "pictures": pictures, "top_model": top_model, "threads": 1}
    chosen, found = choose(**given, tolerance=0.0)
    assert found == scores_of(landscapes, pictures, **chosen, threads=1)
    means = {}
    for threshold in choice.THRESHOLDS[top_model]:
        for persistence in choice.PERSISTENCES[top_model]:
            tried = scores_of(
                landscapes, pictures, threshold=threshold, persistence=persistence, threads=1
            )
            means[threshold, persistence] = np.mean([said["f1"] for said in tried.values()])
    best = max(means.values())
    assert means[chosen["threshold"], chosen["persistence"]] == best
    assert found[IOUS[0]]["f1"] > 0.8
    assert 0 < look(landscapes, pictures, top_model=top_model, threads=1) <= 1

    # Of what is nearly as good, what merges least.
    bold, _ = choose(**given, tolerance=0.01)
    good = {setting: mean for setting, mean in means.items() if mean >= best - 0.01}
    least = min(persistence for _, persistence in good)
    assert bold["persistence"] == least < max(persistence for _, persistence in good)
    assert good[bold["threshold"], least] == max(m for (_, p), m in good.items() if p == least)
