"""Synthetic volumes: reproducible, varied, and labelled as promised."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import label as connected_components

from mosaicell.synthetic.light import nuclear_light
from mosaicell.synthetic.shapes import (
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


def test_outlines_go_as_far_beyond_a_nucleus_as_the_blur_is_long():
    def lengths(blur):
        """Of outlines and of nuclei, over their widths: means of many volumes."""
        outlines, nuclei = [], []
        for seed in range(30):
            found = placed(seed, blur)
            widths = np.linalg.norm(np.linalg.inv(found.to_unit), axis=2)
            outlines.append(np.mean(widths[:, 0] / widths[:, 2]))
            widths /= found.growth
            nuclei.append(np.mean(widths[:, 0] / widths[:, 2]))
        return np.mean(outlines), np.mean(nuclei)

    assert lengths(SHARP) == pytest.approx((1, 1), abs=0.1)
    assert lengths(LONG) == pytest.approx((1.4, 1), abs=0.1)


def test_light_comes_from_the_nucleus_in_its_outline():
    sphere = np.diag([1 / 12, 1 / 8, 1 / 8])[None]
    one = Nuclei(np.full((1, 3), 20.0), np.array([8.0]), sphere, np.array([1.5, 1.0, 1.0]))
    labels, depth = draw(np.random.default_rng(1), one, (40, 40, 40))
    light, _ = nuclear_light(np.random.default_rng(1), labels, depth)
    spans = [np.ptp(np.flatnonzero(a[:, 20, 20])) for a in (labels, depth, light)]
    assert spans[0] > 1.3 * spans[1]
    assert spans[1] == spans[2]


def test_bodies_much_fainter_than_the_nuclei_are_left_out():
    shares = []
    for seed in range(40):
        labels = np.repeat(np.arange(30, dtype=np.int32), 9).reshape(1, 30, 9)
        light, is_seen = nuclear_light(
            np.random.default_rng(seed), labels, np.where(labels > 0, np.float32(1), 0)
        )
        of_body = ndimage.mean(light, labels, np.arange(1, 30))
        shares.append(1 - is_seen[1:].mean())
        if 0 < shares[-1] < 1:
            assert of_body[~is_seen[1:]].mean() < 0.5 * of_body[is_seen[1:]].mean()
    assert min(shares) == 0
    assert 0.2 < max(shares) < 0.6
