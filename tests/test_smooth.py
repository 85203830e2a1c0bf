"""The Gaussian of the landscape: to the last bit the same in any tile, and what scipy computes."""

from math import exp

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from mosaicell.geometry import Box, Grid
from mosaicell.sigma import check_sigma, sigma_in_voxels
from mosaicell.smooth import halo, smooth
from mosaicell.smooth_tensor import smooth_tensor

IN_FLOAT32 = (np.bool_, np.uint8, np.int8, np.uint16, np.int16, np.float16, np.float32)
IN_FLOAT64 = (np.int32, np.uint32, np.int64, np.float64)

sigmas = st.tuples(*[st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0, 1.7, 4.0])] * 3)
edges = st.tuples(*[st.integers(1, 13)] * 3)


@st.composite
def landscapes(draw):
    """Small volumes of all dtypes, with values over most of their range."""
    dtype = np.dtype(draw(st.sampled_from(IN_FLOAT32 + IN_FLOAT64)))
    shape = draw(edges)
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    if dtype.kind == "f":
        return (rng.standard_normal(shape) * draw(st.sampled_from([1e-3, 1.0, 6e3]))).astype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    return rng.integers(max(low, -(2**53)), min(high, 2**53), shape).astype(dtype)


def whole(shape):
    return Box((0, 0, 0), shape)


def smooth_whole(landscape, sigma):
    return smooth(landscape, sigma=sigma, box=whole(landscape.shape), volume=landscape.shape)


def by_the_header(landscape, sigma):
    """What the header says, in numpy, sharing no code with the library."""
    small = landscape.dtype.itemsize <= 2 or landscape.dtype == np.float32
    values = landscape.astype(np.float32 if small else np.float64)
    for axis, s in enumerate(sigma):
        radius, n = int(4 * s + 0.5), landscape.shape[axis]
        padding = [(radius, radius) if a == axis else (0, 0) for a in range(3)]
        padded = np.moveaxis(np.pad(values, padding, "symmetric"), axis, 0)
        heights = [exp(-0.5 * (k / s) ** 2) for k in range(1, radius + 1)]
        centre = padded[radius : radius + n]
        total = np.zeros_like(centre)
        for k, height in enumerate(heights, start=1):
            left, right = padded[radius - k :][:n], padded[radius + k :][:n]
            weight = np.float32(height / (1 + 2 * sum(heights)))
            total = total + weight * ((left + right) - (centre + centre))
        values = np.moveaxis(centre + total, 0, axis)
    return values


def assert_same_bits(one, other):
    assert one.dtype == other.dtype
    assert one.shape == other.shape
    assert np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(other).tobytes()


@given(landscapes(), sigmas, edges)
def test_any_tile_gives_the_bits_of_the_whole_volume(landscape, sigma, tile):
    expected = smooth_whole(landscape, sigma)
    for core in Grid(landscape.shape, tile):
        read = core.grown(halo(sigma), landscape.shape)
        values = smooth(landscape[read.slices], sigma=sigma, box=core, volume=landscape.shape)
        assert_same_bits(values, expected[core.slices])


def test_large_tiles_give_the_bits_of_the_whole_volume():
    # Long rows: here the compiler's vector instructions and what is left over at their end meet.
    landscape = np.random.default_rng(0).integers(0, 65536, (20, 70, 301)).astype(np.uint16)
    sigma = (1.0, 2.0, 3.0)
    expected = smooth_whole(landscape, sigma)
    assert_same_bits(expected, by_the_header(landscape, sigma))
    for tile in [(7, 64, 128), (20, 1, 97), (3, 70, 5)]:
        for core in Grid(landscape.shape, tile):
            read = core.grown(halo(sigma), landscape.shape)
            values = smooth(landscape[read.slices], sigma=sigma, box=core, volume=landscape.shape)
            assert_same_bits(values, expected[core.slices])


@given(landscapes(), sigmas)
def test_the_bits_are_those_of_the_sequence_in_the_header(landscape, sigma):
    smoothed = smooth_whole(landscape, sigma)
    expected = by_the_header(landscape, sigma)
    assert_same_bits(smoothed.astype(expected.dtype), expected)


@given(landscapes(), sigmas, edges)
def test_a_tensor_gives_the_same_bits(landscape, sigma, tile):
    for core in Grid(landscape.shape, tile):
        values = landscape[core.grown(halo(sigma), landscape.shape).slices]
        where = {"sigma": sigma, "box": core, "volume": landscape.shape}
        tensor = smooth_tensor(torch.from_numpy(np.ascontiguousarray(values)), **where)
        assert_same_bits(tensor.numpy(), smooth(values, **where))


@given(landscapes(), sigmas)
def test_the_result_is_that_of_scipy_within_rounding(landscape, sigma):
    expected = ndimage.gaussian_filter(landscape.astype(np.float64), sigma, mode="reflect")
    size = float(np.abs(landscape.astype(np.float64)).max())
    np.testing.assert_allclose(
        smooth_whole(landscape, sigma), expected, rtol=1e-6, atol=1e-6 * size
    )


@given(landscapes(), sigmas)
def test_a_constant_stays_constant_to_the_last_bit(landscape, sigma):
    constant = np.full_like(landscape, landscape[0, 0, 0])
    np.testing.assert_array_equal(smooth_whole(constant, sigma), constant)


def test_plateaus_keep_their_value_to_the_last_bit():
    landscape = np.full((1, 1, 40), 0.1, np.float32)
    landscape[..., 20:] = 0.7
    smoothed = smooth_whole(landscape, (0, 0, 2.0))
    assert (smoothed[..., :12] == np.float32(0.1)).all()
    assert (smoothed[..., 28:] == np.float32(0.7)).all()
    assert (np.diff(smoothed[0, 0, 11:29]) > 0).all()


@given(landscapes(), sigmas)
def test_a_plane_is_not_smoothed_across(landscape, sigma):
    plane = landscape[:1]
    along = smooth_whole(plane, (0, *sigma[1:]))
    assert_same_bits(smooth_whole(plane, sigma), along)


@pytest.mark.parametrize("sigma", [(0, 0, 0), (0.1, 0.0, 0.12)])
@pytest.mark.parametrize("dtype", [np.uint16, np.float64])
def test_a_landscape_that_nothing_smooths_stays_as_it_is(sigma, dtype):
    landscape = np.random.default_rng(0).integers(0, 9, (3, 4, 5)).astype(dtype)
    assert halo(sigma) == (0, 0, 0)
    assert_same_bits(smooth_whole(landscape, sigma), landscape)


@pytest.mark.parametrize(
    ("dtypes", "expected"), [(IN_FLOAT32, np.float32), (IN_FLOAT64, np.float64)]
)
def test_the_result_is_in_float32_where_that_holds_all_values(dtypes, expected):
    for dtype in dtypes:
        assert smooth_whole(np.ones((2, 3, 4), dtype), (1, 1, 1)).dtype == expected


@pytest.mark.parametrize(
    ("landscape", "box", "said"),
    [
        (np.zeros((3, 3, 3)), Box((0, 0, 0), (3, 3, 4)), r"has shape \(3, 3, 3\); with its halo"),
        (np.zeros((2, 3, 3)), Box((1, 0, 0), (2, 3, 3)), r"it needs \(3, 3, 3\)"),
        (np.zeros((3, 3, 3), complex), whole((3, 3, 3)), "complex128; allowed"),
        (np.full((3, 3, 3), np.nan), whole((3, 3, 3)), "cannot be added up; allowed"),
        (np.full((3, 3, 3), 3e38, np.float32), whole((3, 3, 3)), r"numbers up to 4e\+37"),
    ],
)
def test_what_cannot_be_smoothed_is_refused_in_one_sentence(landscape, box, said):
    with pytest.raises(ValueError, match=said) as refusal, np.errstate(all="ignore"):
        smooth(landscape, sigma=(1, 1, 1), box=box, volume=(3, 3, box.stop[2]))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("given", "expected"),
    [(0, (0, 0, 0)), (1.5, (1.5, 1.5, 1.5)), ([0, 1, 32], (0, 1, 32)), (np.float32(2), (2, 2, 2))],
)
def test_a_sigma_is_one_number_or_three(given, expected):
    assert check_sigma(given) == expected


@pytest.mark.parametrize(
    "sigma", [-1, 33, np.nan, np.inf, None, "1", [1, 2], [1, 2, 3, 4], [1, 1, -0.1], ["a"] * 3]
)
def test_another_sigma_is_refused_in_one_sentence(sigma):
    with pytest.raises(ValueError, match="in voxels; allowed is a number") as refusal:
        check_sigma(sigma)
    assert "\n" not in str(refusal.value)


def test_a_sigma_in_um_becomes_one_in_voxels():
    size = (2.0, 0.5, 0.25)
    assert sigma_in_voxels(voxel_size=size) == (0, 0, 0)
    assert sigma_in_voxels(um=1, voxel_size=size) == (0.5, 2, 4)
    assert sigma_in_voxels(um=[0, 1, 2], voxel_size=size) == (0, 2, 8)
    assert sigma_in_voxels(voxel=[0, 1, 2], voxel_size=size) == (0, 1, 2)
    assert sigma_in_voxels(voxel=1.5) == (1.5, 1.5, 1.5)


@pytest.mark.parametrize(
    ("voxel_size", "said"), [(None, "how large a voxel is"), ((1, 1, 0.01), "from 0 to 32")]
)
def test_a_sigma_in_um_that_has_no_meaning_in_voxels_is_refused(voxel_size, said):
    with pytest.raises(ValueError, match=said) as refusal:
        sigma_in_voxels(um=1, voxel_size=voxel_size)
    assert "allowed" in str(refusal.value)


@pytest.mark.parametrize(("sigma", "reach"), [(0, 0), (0.12, 0), (0.13, 1), (1, 4), (2.5, 10)])
def test_the_halo_is_as_wide_as_the_gaussian_reaches(sigma, reach):
    assert halo((sigma, 0, sigma)) == (reach, 0, reach)
    point = np.zeros((1, 1, 41))
    point[0, 0, 20] = 1
    assert np.count_nonzero(smooth_whole(point, (0, 0, sigma))) == 2 * reach + 1
