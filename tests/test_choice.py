"""Choosing: images are predicted on their own voxels, and the best of what is tried is taken."""

import numpy as np
import pytest
import torch

from mosaicell import choice
from mosaicell.choice import IOUS, choose, landscape_of, look, scores_of
from mosaicell.distance import normalised_distance
from mosaicell.networks import NETWORKS
from test_volumes import picture


@pytest.mark.parametrize("task", NETWORKS)
@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_validation_image_is_predicted_on_its_own_voxels_at_any_scale(dimensions, task):
    torch.manual_seed(0)
    top = {"top_channels": (4, 4)} if task == "distance_three_class" else {}
    net = NETWORKS[task](channels=(8, 8), dimensions=dimensions, **top).eval()
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


@pytest.mark.parametrize("top_model", choice.LOOK)
def test_the_best_of_all_that_is_tried_is_chosen(top_model):
    pictures = [picture(1), picture(2)]
    rng = np.random.default_rng(0)
    landscapes = [
        np.clip(normalised_distance(p.labels) + rng.normal(0, 0.05, p.labels.shape), 0, 1)
        for p in pictures
    ]
    landscapes = [landscape.astype(np.float32) for landscape in landscapes]
    chosen, found = choose(landscapes, pictures, top_model=top_model, threads=1)
    assert found == scores_of(landscapes, pictures, **chosen, threads=1)
    best = sum(said["f1"] for said in found.values())
    for threshold in choice.THRESHOLDS[top_model]:
        for persistence in choice.PERSISTENCES[top_model]:
            tried = scores_of(
                landscapes, pictures, threshold=threshold, persistence=persistence, threads=1
            )
            assert sum(said["f1"] for said in tried.values()) <= best
    assert found[IOUS[0]]["f1"] > 0.8
    assert 0 < look(landscapes, pictures, top_model=top_model, threads=1) <= 1
