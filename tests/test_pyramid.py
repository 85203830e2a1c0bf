"""Levels become isotropic first, hold exact means, never mix ids, and lie on each other."""

from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosaicell.omezarr import image_attributes
from mosaicell.pyramid import halve, level_factors, level_shape

LENGTHS = st.tuples(*[st.integers(1, 6)] * 3)
STEPS = st.tuples(*[st.sampled_from([1, 2])] * 3)
SIZES = st.tuples(*[st.floats(0.01, 100)] * 3)


@pytest.mark.parametrize(
    ("shape", "voxel_size", "expected"),
    [
        ((100, 100, 100), None, [(1, 1, 1)]),
        ((512, 300, 10), None, [(1, 1, 1), (2, 2, 2)]),
        ((1, 1000, 1025), None, [(1, 1, 1), (1, 2, 2), (1, 4, 4), (1, 8, 8)]),
        ((100, 1024, 1024), (2.0, 0.5, 0.5), [(1, 1, 1), (1, 2, 2), (1, 4, 4)]),
        ((600, 600, 600), (5.0, 2.0, 2.0), [(1, 1, 1), (1, 2, 2), (2, 4, 4), (4, 8, 8)]),
        ((30, 600, 600), (0.1, 1.0, 1.0), [(1, 1, 1), *((2**i, 1, 1) for i in range(1, 4))]),
        ((300, 5, 5), (50.0, 1.0, 1.0), [(1, 1, 1), (1, 2, 2), (1, 4, 4), (1, 8, 8), (2, 8, 8)]),
    ],
)
def test_levels_are_brought_to_isotropy_and_end_when_they_are_small(shape, voxel_size, expected):
    levels = level_factors(shape, voxel_size)
    assert levels[: len(expected)] == expected
    assert max(level_shape(shape, levels[-1])) <= 256
    assert all(max(level_shape(shape, level)) > 256 for level in levels[:-1])


@given(shape=st.tuples(*[st.integers(2000, 5000)] * 3), voxel_size=SIZES)
def test_axes_come_within_a_factor_of_two_and_stay_there(shape, voxel_size):
    def spread(factors) -> float:
        sizes = [v * f for v, f in zip(voxel_size, factors, strict=True)]
        return max(sizes) / min(sizes)

    spreads = [
        spread(factors)
        for factors in level_factors(shape, voxel_size)
        if min(level_shape(shape, factors)) > 1  # an axis of one voxel stays behind
    ]
    for before, after in pairwise(spreads):
        assert after <= max(before / 2**0.5, 2) * (1 + 1e-12)


@given(shape=st.tuples(*[st.integers(1, 5000)] * 3), voxel_size=SIZES)
def test_every_step_is_one_or_two_and_a_lone_voxel_is_never_halved(shape, voxel_size):
    levels = level_factors(shape, voxel_size)
    for before, after in pairwise(levels):
        assert before != after
        for a, b, n in zip(before, after, level_shape(shape, before), strict=True):
            assert b in ((a, 2 * a) if n > 1 else (a,))


def block_of(volume: np.ndarray, factors, position) -> np.ndarray:
    return volume[tuple(slice(p * f, (p + 1) * f) for p, f in zip(position, factors, strict=True))]


@given(
    shape=LENGTHS,
    factors=STEPS,
    dtype=st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4"]),
    seed=st.integers(0, 99),
    extreme=st.booleans(),
)
def test_integer_means_are_exact_and_rounded_half_up(shape, factors, dtype, seed, extreme):
    limits = np.iinfo(dtype)
    values = np.random.default_rng(seed).integers(limits.min, limits.max, shape, endpoint=True)
    if extreme:
        values = np.where(values % 2, limits.max, limits.min)
    volume = values.astype(dtype)
    level = halve(volume, factors)
    assert level.dtype == volume.dtype
    assert level.shape == level_shape(shape, factors)
    for position in product(*map(range, level.shape)):
        block = block_of(volume, factors, position)
        mean = Fraction(sum(map(int, block.ravel())), block.size)
        assert level[position] == (mean + Fraction(1, 2)).__floor__()


@given(shape=LENGTHS, factors=STEPS, dtype=st.sampled_from(["f2", "f4", "f8"]))
def test_float_means_are_those_of_float64(shape, factors, dtype):
    volume = np.random.default_rng(3).normal(0, 100, shape).astype(dtype)
    level = halve(volume, factors)
    assert level.dtype == volume.dtype
    for position in product(*map(range, level.shape)):
        mean = block_of(volume, factors, position).mean(dtype=np.float64)
        np.testing.assert_allclose(level[position], mean, rtol=2 * np.finfo(dtype).eps, atol=1e-5)


def test_halving_leaves_its_input_alone_and_returns_an_array_of_its_own():
    volume = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    before = volume.copy()
    for factors in product((1, 2), repeat=3):
        halve(volume, factors)[...] = 0
        np.testing.assert_array_equal(volume, before)


def test_a_step_of_another_factor_is_refused():
    with pytest.raises(ValueError, match=r"\(1, 3, 2\); allowed are 1 and 2"):
        halve(np.zeros((3, 3, 3), np.uint8), (1, 3, 2))


def test_the_metadata_put_level_voxels_where_the_centres_of_their_blocks_are():
    voxel_size = (2.0, 0.5, 0.25)
    z, y, x = np.mgrid[:8, :8, :8].astype(np.float64)  # a ramp: the mean is the mean position
    factors = [(1, 1, 1), (1, 2, 2), (2, 4, 4)]
    attributes = image_attributes(
        name="a", voxel_size=voxel_size, factors=factors, dtype=np.float32, limits=[(0, 1)]
    )
    levels = [[z, y, x]]
    for before, after in pairwise(factors):
        step = tuple(b // a for a, b in zip(before, after, strict=True))
        levels.append([halve(ramp, step) for ramp in levels[-1]])
    datasets = attributes["ome"]["multiscales"][0]["datasets"]
    for level, dataset in zip(levels, datasets, strict=True):
        scale, translation = dataset["coordinateTransformations"]
        for axis in range(3):
            index = np.indices(level[axis].shape)[axis]
            stated = index * scale["scale"][axis + 1] + translation["translation"][axis + 1]
            np.testing.assert_allclose(stated, level[axis] * voxel_size[axis])
