"""Losses: least for what is right, at every level, and the classes' is that of torch."""

from functools import partial

import pytest
import torch

from mosaicell import loss

WEIGHT = 3.0
class_loss, distance_loss, loss_of = (
    partial(function, foreground_weight=WEIGHT)
    for function in (loss.class_loss, loss.distance_loss, loss.loss_of)
)


def classes(dimensions, seed=0):
    shape = (2, 1, *[8] * dimensions)
    return torch.randint(0, 3, shape, generator=torch.Generator().manual_seed(seed)).float()


@pytest.mark.parametrize("dimensions", [2, 3])
def test_at_the_finest_level_the_loss_of_classes_is_the_weighted_cross_entropy(dimensions):
    target = classes(dimensions)
    logits = torch.randn(2, 3, *[8] * dimensions, generator=torch.Generator().manual_seed(1))
    expected = torch.nn.functional.cross_entropy(
        logits, target[:, 0].long(), weight=torch.tensor([1.0, WEIGHT, WEIGHT])
    )
    torch.testing.assert_close(class_loss([logits], target), expected)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_right_classes_cost_less_than_others(dimensions):
    target = classes(dimensions)
    right = torch.nn.functional.one_hot(target[:, 0].long(), 3).movedim(-1, 1) * 10.0
    wrong = right.roll(1, 1)
    assert class_loss([right], target) < 0.01 < 5 < class_loss([wrong], target)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_coarser_level_is_asked_for_the_mean_and_counts_half(dimensions):
    target = torch.rand(2, 1, *[8] * dimensions)
    pooled = {2: torch.nn.functional.avg_pool2d, 3: torch.nn.functional.avg_pool3d}[dimensions]
    coarse = torch.logit(pooled(target, 2))
    fine = torch.zeros_like(target)
    of_both = distance_loss([fine, coarse], target)
    alone = distance_loss([fine], target)
    torch.testing.assert_close(of_both - alone, 0.5 * distance_loss([coarse], pooled(target, 2)))


def test_a_network_of_two_targets_has_the_sum_of_their_losses():
    target = {"distance": torch.rand(1, 1, 8, 8), "classes": classes(2)[:1]}
    said = {"distance": [torch.randn(1, 1, 8, 8)], "classes": [torch.randn(1, 3, 8, 8)]}
    expected = distance_loss(said["distance"], target["distance"])
    expected = expected + class_loss(said["classes"], target["classes"])
    torch.testing.assert_close(loss_of(said, target), expected)


def test_a_foreground_weight_is_that_of_a_voxel_of_a_cell():
    target = (torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)) - 0.5).clamp(min=0)
    logits = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    inside = target > 0

    def of(part):
        said, right = (values[part][None, None, None] for values in (logits, target))
        return loss.distance_loss([said], right, foreground_weight=1.0)

    of_inside, of_outside = of(inside), of(~inside)
    alike = loss.distance_loss([logits], target, foreground_weight=1.0)
    shares = inside.float().mean(), (~inside).float().mean()
    torch.testing.assert_close(alike, shares[0] * of_inside + shares[1] * of_outside)
    weighed = loss.distance_loss([logits], target, foreground_weight=4.0)
    expected = (4 * shares[0] * of_inside + shares[1] * of_outside) / (4 * shares[0] + shares[1])
    torch.testing.assert_close(weighed, expected)
