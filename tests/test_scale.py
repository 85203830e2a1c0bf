"""Real images at other scales: with `auto`, cells are found as well as at the first scale."""

from collections.abc import Iterator

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
VOLUMES = [  # what comes before image.tif and truth.tif, and the voxel size
    ("config/demo/data/gonuclear/", (0.2837, 0.1268, 0.1268)),
    ("tests/data/nuclei_3d/ovule_2_", (0.2837, 0.1276, 0.1276)),
    ("tests/data/nuclei_3d/embryo_8_", (1.75, 0.8, 0.8)),
    ("tests/data/nuclei_3d/embryo_16_", (1.75, 0.8, 0.8)),
]


def planes() -> Iterator[tuple]:
    folder = ROOT / "tests/data/dsb2018"
    stacks = [tifffile.imread(folder / f"{what}.tif") for what in ("images", "truth")]
    for image, truth in zip(*stacks, strict=True):
        yield image[None], truth[None], (1.0, 1.0, 1.0)


def volumes() -> Iterator[tuple]:
    for path, voxel_size in VOLUMES:
        pair = (tifffile.imread(ROOT / f"{path}{what}.tif") for what in ("image", "truth"))
        yield *pair, voxel_size


# Image, truth and voxel size of what the models were not trained on.
IMAGES = {"nuclei-2d": planes, "nuclei-3d": volumes}


def f1(name: str, factor: float) -> float:
    """F1 at an IoU of 0.5 of what a model finds with `auto` in images made larger by a factor."""
    network, card = load(name)
    counts = np.zeros(len(KINDS), int)
    for image, truth, voxel_size in IMAGES[name]():
        seen, seen_truth = rescaled(image, truth, factor)
        size = tuple(
            edge * n / m for edge, n, m in zip(voxel_size, image.shape, seen.shape, strict=True)
        )
        cells = cells_of(seen, network, card, diameter="auto", threads=4, voxel_size=size)
        found = match(cells, seen_truth)
        counts += [found[kind] for kind in KINDS]
    return scores(*counts.tolist())["f1"]


@pytest.fixture(scope="module", params=list(IMAGES))
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
