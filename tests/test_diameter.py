"""The diameter that is estimated: right, the same for any threads, and as cheap for any size."""

from functools import partial
from math import prod

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from mosaicell.dataset import labelled
from mosaicell.diameter import N_PLACES, _windows, estimate_diameter
from mosaicell.geometry import Box
from mosaicell.memory import LOOK_WINDOW
from mosaicell.model import load
from mosaicell.predict import Channel, channel_of_levels, choose_level, coarsened
from mosaicell.pyramid import halve, level_factors, level_shape
from mosaicell.unet import UNet
from scaled import estimated

EDGE = 256


@pytest.fixture(scope="module")
def nuclei_2d():
    return load("nuclei-2d")


def discs(diameter: float, *, edge: int = EDGE, seed: int = 0) -> np.ndarray:
    """A plane (1, y, x) of blurred discs on a jittered lattice, with noise."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((edge, edge), np.float32)
    plane = np.zeros((edge, edge), np.float32)
    step = 1.7 * diameter
    for cy in np.arange(step / 2, edge, step):
        for cx in np.arange(step / 2, edge, step):
            dy, dx = rng.uniform(-0.15, 0.15, 2) * diameter
            inside = np.hypot(y - cy - dy, x - cx - dx) < diameter / 2
            plane[inside] = rng.uniform(100, 160)
    plane = gaussian_filter(plane, max(0.7, diameter / 16)) + 20
    return np.clip(plane + rng.normal(0, 4, plane.shape), 0, 255).astype(np.uint8)[None]


def picture_of(image, voxel_size=None):
    labels = np.zeros(image.shape, np.uint8)
    return labelled(image, labels, dimensions=2, diameter=1.0, voxel_size=voxel_size)


@pytest.mark.parametrize("diameter", [7, 13, 24, 45])
def test_the_diameter_of_discs_is_estimated(nuclei_2d, diameter):
    found = estimated(picture_of(discs(diameter)), *nuclei_2d, threads=2)
    assert found["diameter"] == pytest.approx(diameter, rel=0.25)
    assert found["n_cells"] > 6
    assert 0.6 < found["confidence"] <= 1


def test_a_diameter_in_um_follows_the_voxel_size(nuclei_2d):
    image = discs(13)
    plain = estimated(picture_of(image), *nuclei_2d, threads=2)
    sized = estimated(picture_of(image, (1.0, 0.5, 0.5)), *nuclei_2d, threads=2)
    assert sized["diameter"] == plain["diameter"]
    assert sized["diameter_um"] == plain["diameter"] / 2


def test_threads_change_nothing_and_each_look_is_said(nuclei_2d):
    picture, said = picture_of(discs(24)), []
    one = estimated(picture, *nuclei_2d, threads=1, say=said.append)
    assert one == estimated(picture, *nuclei_2d, threads=3)
    assert all("voxels" in line for line in said)
    assert said[0].startswith("if cells had 128.0 voxels, ")


@pytest.mark.parametrize("seed", [None, 0])
def test_where_there_is_no_cell_no_diameter_is_estimated(nuclei_2d, seed):
    image = np.full((1, 64, 64), 7, np.uint8)
    if seed is not None:
        image = np.random.default_rng(seed).poisson(5, image.shape).astype(np.uint8)
    found = estimated(picture_of(image), *nuclei_2d, threads=1)
    expected = {"diameter": None, "diameter_um": None, "n_cells": 0, "confidence": 0.0}
    if seed is None:
        assert found == expected
    else:
        assert found["confidence"] < 0.75  # noise is no nuclei: 0.8 and more


@pytest.mark.parametrize("seed", range(20))
def test_windows_lie_in_the_image_and_around_their_places(seed):
    rng = np.random.default_rng(seed)
    extent = [int(n) for n in rng.integers(1, 200, 3)]
    core = [min(64, 4 * -(-n // 4)) for n in extent]
    scale = tuple(rng.uniform(0.2, 3, 3))
    centres = [
        tuple(rng.uniform(0, n) / s for n, s in zip(extent, scale, strict=True)) for _ in "ab"
    ]
    sites = [(0, centres[0]), (0, centres[0]), (3, centres[1])]
    windows = _windows(sites, scale=scale, extent=extent, core=core, stride=4)
    assert [frame for frame, _ in windows] == [0, 3]
    for (_, first), centre in zip(windows, centres, strict=True):
        for f, at, s, n, c in zip(first, centre, scale, extent, core, strict=True):
            assert f % 4 == 0
            assert 0 <= f < n
            assert f + c <= n + 4
            assert f - 2 <= at * s <= f + c + 2


class Endless:
    """A channel of any size, whose voxels are made up as they are read, and counted."""

    def __init__(self, shape):
        self.shape, self.frames, self.voxels = shape, [], 0

    def at_level(self, factors) -> Channel:
        return Channel(
            read=partial(self.read, factors=factors),
            shape=level_shape(self.shape, factors),
            factors=factors,
            limits=(0.0, 255.0),
        )

    def read(self, frame: int, box: Box, *, factors) -> np.ndarray:
        self.frames.append(frame)
        self.voxels += box.size
        assert self.voxels < 10**9
        waves = np.ones(1)
        for a, b, f in zip(box.start, box.stop, factors, strict=True):
            waves = np.multiply.outer(waves, 1 + np.cos((np.arange(a, b) + 0.5) * f / 4))
        return (waves[0] * 31).astype(np.uint8)


@pytest.mark.parametrize("dimensions", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_a_teravoxel_is_not_read_more_of_than_a_gigavoxel(dimensions):
    torch.manual_seed(0)
    network = UNet(channels=(2, 2), dimensions=dimensions).eval()
    read = []
    for shape in ((512, 1024, 2048), (8192, 8192, 16384)):
        endless, levels = Endless(shape), level_factors(shape)
        estimate_diameter(
            lambda scale, e=endless, k=levels: coarsened(
                e.at_level(k[choose_level(k, scale)]), scale
            ),
            endless.at_level(levels[-1]),
            shape=shape,
            frames=7,
            voxel_size=None,
            network=network,
            nominal_diameter=12,
            window=512,
            threshold=0.5,
            persistence=0.1,
            device=torch.device("cpu"),
        )
        assert set(endless.frames) == {0, 2, 4, 6}
        read.append(endless.voxels)
    # The coarsest level has no more than 256 voxels along an axis, and windows are few.
    window = N_PLACES * (LOOK_WINDOW[dimensions] + 40) ** dimensions
    assert max(read) < 256**3 + 20 * 12**dimensions * window
    assert read[1] < 2 * read[0] + 256**3


@pytest.mark.parametrize("shape", [(1, 61, 75), (21, 40, 37)])
def test_a_level_that_the_pyramid_lacks_has_the_values_that_it_would_have(shape):
    image = np.random.default_rng(1).integers(0, 60000, shape).astype(np.uint16)
    scale = (1.0, 0.24, 0.13)
    finest = Channel(
        read=lambda _, box: image[box.slices], shape=shape, factors=(1, 1, 1), limits=(0.0, 1.0)
    )
    coarse = coarsened(finest, scale)
    assert coarse.factors == (1, 4, 4)
    whole = halve(halve(image, (1, 2, 2)), (1, 2, 2))
    assert coarse.shape == whole.shape
    inner = Box((0, 3, 5), (shape[0], whole.shape[1] - 1, whole.shape[2]))
    for box in (inner, Box((0, 0, 0), whole.shape)):
        np.testing.assert_array_equal(coarse.read(0, box), whole[box.slices])
    assert coarsened(finest, (1.0, 0.6, 3.0)) is finest


def test_a_plane_is_read_alike_alone_and_from_a_volume_whose_pyramid_halves_planes_too():
    volume = np.random.default_rng(2).integers(0, 255, (64, 64, 64)).astype(np.float32)
    levels = [((1, 1, 1), volume), ((2, 2, 2), halve(volume, (2, 2, 2)))]
    alone = [((1, 1, 1), volume[9:10]), ((1, 2, 2), halve(volume[9:10], (1, 2, 2)))]
    scale = (1.0, 0.3, 0.3)
    of_volume, of_plane = channel_of_levels(levels, scale), channel_of_levels(alone, scale)
    assert of_volume.factors == of_plane.factors == (1, 2, 2)
    np.testing.assert_array_equal(
        of_volume.read(0, Box((9, 0, 0), (10, 32, 32))),
        of_plane.read(0, Box((0, 0, 0), (1, 32, 32))),
    )
    assert prod(of_volume.shape) == 64 * 32 * 32
