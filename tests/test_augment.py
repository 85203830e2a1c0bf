"""Augmentation: a pure function, of which every kind does something, to image and target alike."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosaicell.augment import (
    SCALES,
    USUAL_SCALES,
    Change,
    augmented,
    brightness,
    crop,
    draw,
    read_at,
    source_positions,
)
from mosaicell.classes import classes_of
from mosaicell.dataset import labelled
from phantoms import landscape_of, packed_cells

KINDS = [
    {"flip": (False, True, False)},
    {"flip": (False, False, True)},
    {"angle": np.pi / 2},
    {"angle": 0.4},
    {"scale": 0.5},
    {"scale": 2.0},
    {"bend": 1.5},
    {"gamma": 0.6},
    {"gain": 1.3},
    {"offset": 0.1},
    {"blur": 1.0},
    {"noise": 0.1},
]
IN_SPACE = ("flip", "angle", "scale", "bend")


def picture(dimensions, seed=1):
    shape = (1, 60, 50) if dimensions == 2 else (16, 40, 36)
    labels = packed_cells(shape, spacing=10, seed=seed)
    image = landscape_of(labels, seed=seed, blur=0.5)
    return labelled(image, labels, dimensions=dimensions, diameter=10.0)


PICTURES = {dimensions: picture(dimensions) for dimensions in (2, 3)}
SHAPES = {2: (1, 32, 32), 3: (12, 32, 32)}


def changed(dimensions, change):
    """A crop in the middle, as large as on the image."""
    centre = tuple((n - 1) / 2 for n in PICTURES[dimensions].labels.shape)
    return crop(
        PICTURES[dimensions],
        change,
        shape=SHAPES[dimensions],
        centre=centre,
        nominal_diameter=10.0,
    )


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_crop_follows_from_its_seed_alone(dimensions):
    def sample(*seed):
        return augmented(
            PICTURES[dimensions], seed=seed, shape=SHAPES[dimensions], nominal_diameter=12.0
        )

    for one, same in zip(sample(0, 5), sample(0, 5), strict=True):
        assert one.dtype == np.float32
        assert one.shape == SHAPES[dimensions]
        np.testing.assert_array_equal(one, same)
    assert not np.array_equal(sample(0, 5)[0], sample(0, 6)[0])
    assert not np.array_equal(sample(0, 5)[0], sample(1, 5)[0])


@pytest.mark.parametrize("dimensions", [2, 3])
def test_without_a_change_a_crop_is_the_piece_that_it_shows(dimensions):
    image, target = changed(dimensions, Change())
    full = PICTURES[dimensions]
    inner = tuple(
        slice((n - m) // 2, (n + m) // 2)
        for n, m in zip(full.labels.shape, SHAPES[dimensions], strict=True)
    )
    if dimensions == 2:
        inner = (slice(0, 1), *inner[1:])
    np.testing.assert_allclose(image, full.levels[0][1][inner], atol=1e-5)
    np.testing.assert_allclose(target, full.target[inner], atol=1e-5)


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_kind_changes_the_image_and_only_those_in_space_the_target(dimensions, kind):
    image, target = changed(dimensions, Change())
    other_image, other_target = changed(dimensions, replace(Change(), **kind))
    assert np.abs(image - other_image).max() > 0.02
    moved = next(iter(kind)) in IN_SPACE
    assert np.array_equal(target, other_target) == (not moved)


def test_every_kind_is_drawn():
    changes = [draw(np.random.default_rng(i), dimensions=3) for i in range(60)]
    for field in fields(Change):
        assert len({getattr(change, field.name) for change in changes}) > 1, field.name
    scales = [change.scale for change in changes]
    assert SCALES[0] <= min(scales) < 0.5
    assert 2 < max(scales) <= SCALES[1]
    assert 0.5 < np.mean([USUAL_SCALES[0] <= scale <= USUAL_SCALES[1] for scale in scales]) < 0.9
    quarters = [change.angle * 2 / np.pi for change in changes]
    assert any(q % 1 for q in quarters)
    assert {q for q in quarters if q % 1 == 0} == {0, 1, 2, 3}


@given(st.integers(0, 10**6), st.sampled_from([2, 3]))
def test_target_and_labels_stay_where_the_image_is(seed, dimensions):
    # An image that is its own target is changed as its target is, but for what follows in light.
    full = PICTURES[dimensions]
    rng = np.random.default_rng(seed)
    change = replace(draw(rng, dimensions=dimensions), scale=rng.uniform(1, SCALES[1]))
    own = replace(full, levels=[((1, 1, 1), full.target)])
    given = {"shape": SHAPES[dimensions], "centre": tuple(full.centres[0])}
    in_space = replace(change, gamma=1.0, gain=1.0, offset=0.0, blur=0.0, noise=0.0)
    image, target = crop(own, in_space, **given, nominal_diameter=10.0)
    # A voxel read from the inside of a cell has a target above 0, and one outside has 0.
    positions = source_positions(change, **given, scale=full.scale(10.0))
    labels = read_at(full.labels, positions, order=0)
    np.testing.assert_array_equal(target > 0, labels > 0)
    np.testing.assert_allclose(image[labels > 0], target[labels > 0], atol=1e-3)
    seen, _ = crop(own, change, **given, nominal_diameter=10.0)
    np.testing.assert_allclose(seen, brightness(change, image), atol=1e-3)
    assert np.isin(np.unique(labels), np.unique(full.labels)).all()


@pytest.mark.parametrize("dimensions", [2, 3])
def test_without_a_change_classes_are_those_of_the_image(dimensions):
    full = PICTURES[dimensions]
    shape = SHAPES[dimensions]
    corner = tuple((n - m) // 2 for n, m in zip(full.labels.shape, shape, strict=True))
    inner = tuple(slice(a, a + n) for a, n in zip(corner, shape, strict=True))
    centre = tuple(a + (n - 1) / 2 for a, n in zip(corner, shape, strict=True))
    given = {"shape": shape, "centre": centre, "nominal_diameter": 10.0}
    _, target, classes = crop(full, Change(), **given, targets=("distance", "classes"))
    np.testing.assert_array_equal(classes, classes_of(full.labels)[inner])
    np.testing.assert_array_equal(target, crop(full, Change(), **given)[1])


@given(st.integers(0, 10**6), st.sampled_from([2, 3]))
def test_classes_are_those_of_the_changed_labels_up_to_the_edge_of_the_crop(seed, dimensions):
    full = PICTURES[dimensions]
    change = replace(draw(np.random.default_rng(seed), dimensions=dimensions), bend=0.0)
    given = {"centre": tuple(full.centres[0]), "nominal_diameter": 10.0}
    wide_shape = tuple(n + 8 * (n > 1) for n in SHAPES[dimensions])
    _, classes = crop(full, change, shape=SHAPES[dimensions], **given, targets=("classes",))
    _, wide = crop(full, change, shape=wide_shape, **given, targets=("classes",))
    inner = tuple(slice(4, -4) if n > 1 else slice(None) for n in wide_shape)
    # A voxel whose source lies half way between two may be read from either.
    assert np.mean(classes != wide[inner]) < 0.02


@pytest.mark.parametrize("dimensions", [2, 3])
def test_flips_and_quarter_turns_only_move_voxels(dimensions):
    image, _ = changed(dimensions, Change())
    mirrored, _ = changed(dimensions, Change(flip=(False, True, True)))
    np.testing.assert_allclose(mirrored, image[:, ::-1, ::-1], atol=1e-5)
    turned, _ = changed(dimensions, Change(angle=np.pi / 2))
    np.testing.assert_allclose(turned, np.rot90(image, -1, axes=(1, 2)), atol=1e-4)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_cells_of_the_image_reach_the_size_that_the_model_knows(dimensions):
    full = PICTURES[dimensions]
    positions = source_positions(
        Change(scale=1.5),
        shape=(1, 8, 8) if dimensions == 2 else (8, 8, 8),
        centre=(0.0, 20.0, 20.0),
        scale=full.scale(20.0),
    )
    steps = np.diff(positions[2], axis=2)
    assert steps == pytest.approx(1 / 3, abs=1e-5)  # twice as large, and 1.5 times that
    if dimensions == 2:
        assert (positions[0] == 0).all()


def test_a_much_smaller_crop_is_read_from_a_coarser_level_and_does_not_flicker():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 200, (1, 128, 128)).astype(np.uint8)
    labels = np.zeros((1, 128, 128), np.int32)
    full = labelled(noise, labels, dimensions=2, diameter=10.0)
    given = {"shape": (1, 16, 16), "centre": (0.0, 64.0, 64.0), "nominal_diameter": 10.0}
    coarse, _ = crop(full, Change(scale=0.25), **given)
    assert coarse.std() < full.levels[0][1].std() / 4
