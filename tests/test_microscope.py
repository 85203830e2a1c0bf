"""The microscope: noise that grows with the light, planes that fade, numbers that end."""

import numpy as np
import pytest

from mosaicell.synthetic import microscope
from mosaicell.synthetic.microscope import Optics, image_of


def rngs(n):
    return [np.random.default_rng(seed) for seed in range(n)]


@pytest.mark.parametrize("light", [0.5, 2.0])
def test_counts_have_the_mean_and_deviation_of_photons(monkeypatch, light):
    monkeypatch.setattr(microscope, "log_uniform", lambda *_: 20.0)
    monkeypatch.setattr(microscope, "chance", lambda *_: False)
    counted = microscope._counted(
        np.random.default_rng(0), np.full((40, 40, 40), light, np.float32)
    )
    assert counted.mean() == pytest.approx(light, rel=0.02)
    assert counted.var() == pytest.approx(light / 20, rel=0.05)


def test_some_microscopes_lose_light_from_plane_to_plane_and_some_lose_planes():
    of_planes = [microscope._brightness_of_planes(rng, 30) for rng in rngs(300)]
    steady = [planes for planes in of_planes if np.all(planes == 1)]
    fading = [planes for planes in of_planes if np.all(np.diff(planes) < 0)]
    lost = [planes for planes in of_planes if 1 <= np.sum(planes < 0.4 * np.median(planes)) <= 2]
    assert min(len(steady), len(fading), len(lost)) > 5
    assert all(np.all(planes >= 0) for planes in of_planes)


def test_some_images_are_saturated_and_some_are_not():
    light = np.random.default_rng(0).random((16, 32, 32), dtype=np.float32)
    shares = []
    for rng in rngs(60):
        image = image_of(rng, light, Optics(np.full(3, 0.3), 0.0))
        assert image.dtype == np.uint16
        assert image.shape == light.shape
        shares.append((image == image.max()).mean())
    assert min(shares) < 0.001
    assert max(shares) > 0.1
