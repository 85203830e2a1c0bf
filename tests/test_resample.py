"""The model's grid: every voxel in one window, and interpolation that no crop changes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosaicell.geometry import Grid
from mosaicell.predict import choose_level, ideal_scale
from mosaicell.resample import interpolate, model_grid, positions

scales = st.floats(0.05, 8)


@given(
    st.tuples(*[st.integers(1, 90)] * 3),
    st.sampled_from([(32, 32, 32), (8, 64, 64), (1, 16, 128)]),
    st.tuples(scales, scales, scales),
    st.sampled_from([16, 64, 96]),
    st.sampled_from([2, 3]),
)
def test_the_windows_of_all_shards_hold_every_voxel_once(shape, shard, scale, window, dimensions):
    grid = model_grid(shard=shard, scale=scale, window=window, stride=4, dimensions=dimensions)
    if dimensions == 2:
        assert (grid.scale[0], grid.core[0]) == (1, 1)
    seen = np.zeros(shape, int)
    for box in Grid(shape, shard):
        for first, voxels in grid.window_boxes(box):
            seen[voxels.slices] += 1
            for axis in range(3):
                assert first[axis] % 4 == 0 or axis < 3 - dimensions
                centres = (np.array([voxels.start[axis], voxels.stop[axis] - 1]) + 0.5) * (
                    grid.scale[axis]
                )
                assert first[axis] - 1e-6 <= centres[0]
                assert centres[1] <= first[axis] + grid.core[axis] + 1e-6
    assert (seen == 1).all()


@given(st.sampled_from([32, 128, 256]), st.floats(0.1, 8), st.sampled_from([64, 96]))
def test_the_rounded_scale_is_near_and_the_core_no_larger_than_allowed(edge, ideal, window):
    grid = model_grid(shard=(edge,) * 3, scale=(ideal,) * 3, window=window, stride=4)
    assert grid.core[0] <= window
    n_windows = round(grid.scale[0] * edge / grid.core[0])
    assert abs(grid.scale[0] - ideal) <= n_windows * 4 / 2 / edge + 1e-9


def test_a_scale_of_one_stays_one():
    grid = model_grid(shard=(256, 256, 256), scale=(1, 1, 1), window=64, stride=4)
    assert grid.scale == (1, 1, 1)


@given(st.integers(1, 20), scales, st.integers(-40, 40), st.integers(1, 30))
def test_a_sample_lies_at_the_same_place_whatever_is_asked_with_it(length, scale, start, n):
    whole = positions(start, start + n, scale, length)
    for i in range(n):
        one = positions(start + i, start + i + 1, scale, length)
        assert one.lower[0] == whole.lower[i]
        assert one.upper[0] == whole.upper[i]
        assert one.weight[0] == whole.weight[i]
    assert whole.lower.min() >= 0
    assert whole.upper.max() < length


def test_beyond_its_ends_an_axis_is_mirrored():
    at = positions(-3, 7, 1.0, 4)
    np.testing.assert_array_equal(at.lower + at.weight, [3, 2, 1, 0, 1, 2, 3, 2, 1, 0])


def test_interpolation_is_exact_on_a_ramp_and_the_same_on_a_crop():
    z, y, x = np.indices((12, 14, 16)).astype(np.float32)
    ramp = 2 * z + 3 * y - x
    at = [positions(2, 8, 0.7), positions(1, 6, 0.5), positions(3, 20, 1.6)]
    out = interpolate(ramp, *at)
    places = np.meshgrid(*[p.lower + p.weight for p in at], indexing="ij")
    np.testing.assert_allclose(out, 2 * places[0] + 3 * places[1] - places[2], rtol=1e-5)
    reach = [p.reach for p in at]
    crop = ramp[tuple(slice(*r) for r in reach)]
    on_crop = interpolate(crop, *(p.seen_from(r[0]) for p, r in zip(at, reach, strict=True)))
    np.testing.assert_array_equal(on_crop, out)


@pytest.mark.parametrize(
    ("scale", "level"),
    [
        ((1, 1, 1), 0),
        ((0.6, 0.6, 0.6), 0),
        ((0.5, 0.5, 0.5), 1),
        ((2, 0.5, 0.5), 1),
        ((2, 0.2, 0.2), 2),
        ((0.1, 0.1, 0.1), 2),
    ],
)
def test_the_level_is_the_coarsest_that_is_not_coarser_than_the_model(scale, level):
    factors = [(1, 1, 1), (1, 2, 2), (1, 4, 4)]
    if scale[0] < 2:
        factors = [(1, 1, 1), (2, 2, 2), (4, 4, 4)]
    assert choose_level(factors, scale) == level


def test_the_ideal_scale_brings_cells_to_the_nominal_diameter():
    assert ideal_scale((2.0, 0.5, 0.5), 12.0, 12) == (2.0, 0.5, 0.5)
    assert ideal_scale(None, None, 12) == (1, 1, 1)
