"""Real images at other scales: with `auto`, cells are found as well as at the first scale."""

import numpy as np
import pytest
import tifffile

from mosaicell.evaluate import match, scores
from mosaicell.model import load
from running import ROOT
from scaled import cells_of, rescaled

FACTORS = (0.5, 0.7, 1.5, 2.0)
LOSS = 0.03  # of F1 at an IoU of 0.5, all images together
KINDS = ("true_positives", "false_positives", "false_negatives")
DATA = {
    "nuclei-2d": ("tests/data/dsb2018/images.tif", "tests/data/dsb2018/truth.tif"),
    "nuclei-3d": ("config/demo/data/gonuclear/image.tif", "config/demo/data/gonuclear/truth.tif"),
}
VOXEL_SIZE = {"nuclei-2d": (1.0, 1.0, 1.0), "nuclei-3d": (0.2837, 0.1268, 0.1268)}


def f1(name: str, factor: float) -> float:
    """F1 at an IoU of 0.5 of what a model finds with `auto` in images made larger by a factor."""
    network, card = load(name)
    stacks = [tifffile.imread(ROOT / path) for path in DATA[name]]
    if card["architecture"]["dimensions"] == 2:
        stacks = [stack[:, None] for stack in stacks]
    else:
        stacks = [stack[None] for stack in stacks]
    counts = np.zeros(len(KINDS), int)
    for image, truth in zip(*stacks, strict=True):
        seen, seen_truth = rescaled(image, truth, factor)
        size = tuple(
            edge * n / m
            for edge, n, m in zip(VOXEL_SIZE[name], image.shape, seen.shape, strict=True)
        )
        cells = cells_of(seen, network, card, diameter="auto", threads=4, voxel_size=size)
        found = match(cells, seen_truth)
        counts += [found[kind] for kind in KINDS]
    return scores(*counts.tolist())["f1"]


@pytest.fixture(scope="module", params=list(DATA))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def as_it_came(name):
    return f1(name, 1.0)


@pytest.mark.slow
@pytest.mark.networks
@pytest.mark.parametrize("factor", FACTORS)
def test_another_scale_loses_next_to_nothing(name, as_it_came, factor):
    found = f1(name, factor)
    print(f"{name}, {factor} times as large: F1 {found:.3f}, as it came {as_it_came:.3f}")
    assert found >= as_it_came - LOSS
