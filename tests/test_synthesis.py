"""Synthetic volumes: reproducible, varied, and labelled as promised."""

import numpy as np
import pytest
from skimage.measure import label as connected_components

from mosaicell.synthetic import synthesis
from mosaicell.synthetic.light import nuclear_light
from mosaicell.synthetic.shapes import (
    FAINTEST,
    MAX_RADIUS,
    MIN_VOXELS,
    NOMINAL_DIAMETER,
    Nuclei,
    draw,
    place,
)
from mosaicell.synthetic.synthesis import synthesise


@pytest.mark.parametrize("seed", [0, (1, 2, 3)])
def test_a_seed_names_a_volume(seed):
    image, labels = synthesise(seed, (24, 32, 40))
    again, labels_again = synthesise(seed, (24, 32, 40))
    assert (image.dtype, labels.dtype) == (np.uint16, np.int32)
    assert image.shape == labels.shape == (24, 32, 40)
    assert np.array_equal(image, again)
    assert np.array_equal(labels, labels_again)
    assert not np.array_equal(image, synthesise(99, (24, 32, 40))[0])


@pytest.mark.parametrize("seed", range(8))
def test_labels_are_consecutive_connected_and_of_nuclear_size(seed):
    _, labels = synthesise(seed)
    n = labels.max()
    assert n >= 1
    sizes = np.bincount(labels.ravel())[1:]
    assert sizes.min() >= MIN_VOXELS
    assert sizes.max() < (2 * MAX_RADIUS) ** 3
    assert connected_components(labels, connectivity=1).max() == n


def test_volumes_range_from_sparse_to_packed_and_from_clear_to_hidden():
    volumes = [synthesise(seed, (48, 48, 48)) for seed in range(40)]
    filled = np.array([(labels > 0).mean() for _, labels in volumes])
    assert filled.min() < 0.05
    assert filled.max() > 0.3
    contrast = np.array(
        [
            (image[labels > 0].mean() - image[labels == 0].mean()) / image[labels == 0].std()
            for image, labels in volumes
        ]
    )
    assert contrast.min() < 2
    assert contrast.max() > 5
    assert np.median(contrast) > 0.5


SHARP, LONG = np.array([0.5, 0.5, 0.5]), np.array([4.0, 0.5, 0.5])  # blurs


def placed(seed, blur=SHARP):
    return place(np.random.default_rng(seed), (48, 48, 48), blur=blur)


def test_nuclei_are_from_0_4_to_2_5_times_the_nominal_size_and_mostly_of_it():
    sizes = [2 * np.median(placed(seed).radii) / NOMINAL_DIAMETER for seed in range(200)]
    assert np.quantile(sizes, [0.02, 0.98]) == pytest.approx([0.45, 2.3], rel=0.2)
    assert np.quantile(sizes, [0.2, 0.5, 0.8]) == pytest.approx([0.75, 1, 1.35], rel=0.15)


def test_some_volumes_are_filled_and_their_nuclei_touch():
    shares, touching = [], []
    for seed in range(60):
        _, labels = synthesise((2, seed), (32, 32, 32))
        inside = labels > 0
        shares.append(inside.mean())
        both = inside[:, :, 1:] & inside[:, :, :-1]
        touching.append((both & (labels[:, :, 1:] != labels[:, :, :-1])).sum() / inside.sum())
    assert max(shares) > 0.8
    assert max(touching) > 0.05


def test_outlines_go_beyond_their_nuclei_with_the_blur_and_more_around_bright_ones():
    found = [placed(seed, LONG) for seed in range(60)]
    growth = np.concatenate([nuclei.growth for nuclei in found]) - 1
    light = np.concatenate([nuclei.brightness for nuclei in found])
    usual, bright, dim = (
        growth[part].mean(0) for part in (abs(light - 1) < 0.1, light > 1.5, light < 0.6)
    )
    assert (bright > 1.2 * usual).all()
    assert (usual > 1.2 * dim).all()
    assert usual[0] > 0.3
    # The blur is eight times as long along z, where growth has a limit.
    assert 5 * usual[2] < usual[0] < 8.5 * usual[2]
    assert usual[1] == usual[2]


def one_sphere(*, growth=1.0, brightness=1.0):
    """A sphere of radius 8, with an outline that is longer along z."""
    to_unit = np.diag([1 / 8 / growth, 1 / 8, 1 / 8])[None]
    centre, growth = np.full((1, 3), 20.0), np.array([[growth, 1, 1]])
    return Nuclei(centre, np.array([8.0]), to_unit, growth, np.array([brightness]))


def test_light_comes_from_the_nucleus_in_its_outline():
    labels, depth, rows = draw(np.random.default_rng(1), one_sphere(growth=1.5), (40, 40, 40))
    light = nuclear_light(np.random.default_rng(1), labels, depth, np.ones(1))
    lengths = [(a[:, 20, 20] > 0).sum() for a in (labels, depth, light)]
    widths = [(a[20, 20] > 0).sum() for a in (labels, depth, light)]
    assert rows.tolist() == [0]
    assert lengths[0] > 1.3 * lengths[1]
    assert lengths[1] == lengths[2]
    assert widths[0] == widths[1] == widths[2]


def test_bodies_much_fainter_than_nuclei_shine_and_are_left_out(monkeypatch):
    n_outlined, light = {}, {}
    for brightness in (0.2, 0.5):
        monkeypatch.setattr(
            synthesis, "place", lambda *_, value=brightness, **__: one_sphere(brightness=value)
        )
        image, labels = synthesise(3, (40, 40, 40))
        n_outlined[brightness] = labels.max()
        light[brightness] = image[15:25, 15:25, 15:25].mean() / np.median(image)
    assert n_outlined == {0.2: 0, 0.5: 1}
    assert 1.02 < light[0.2] < light[0.5]


def test_labels_stay_numbered_from_1_on_where_faint_bodies_are_left_out():
    labels = np.array([[[0, 1, 2, 3, 3, 4]]], np.int32)
    brightness = np.array([1.0, 0.1, 2.0, FAINTEST])
    assert synthesis._without_faint(labels, brightness).tolist() == [[[0, 1, 0, 2, 2, 3]]]
