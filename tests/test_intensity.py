"""Histograms of parts add up to that of the whole, and quantiles follow the order of values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mosaicell.intensity import (
    HIGH_QUANTILE,
    LOW_QUANTILE,
    histogram,
    limits,
    n_bins,
    normalise,
    quantile,
)

EXACT = ("uint8", "int8", "uint16", "int16")
BINNED = ("uint32", "int32", "float16", "float32", "float64")


def values_of(dtype: str):
    bounds = None
    if np.dtype(dtype).kind == "f":
        bound = float(np.dtype(dtype).type(6e4 if dtype == "float16" else 1e30))
        bounds = {"min_value": -bound, "max_value": bound}
    return arrays(dtype, st.integers(1, 60), elements=bounds)


@pytest.mark.parametrize("dtype", EXACT + BINNED)
@given(data=st.data())
def test_the_histograms_of_parts_add_up_to_that_of_the_whole(dtype, data):
    values = data.draw(values_of(dtype))
    cut = data.draw(st.integers(0, len(values)))
    whole = histogram(values)
    assert whole.shape == (n_bins(dtype),)
    assert whole.sum() == values.size
    np.testing.assert_array_equal(whole, histogram(values[:cut]) + histogram(values[cut:]))


def exact_quantile(values: np.ndarray, q: float) -> float:
    return float(np.sort(values)[min(int(q * len(values)), len(values) - 1)])


@pytest.mark.parametrize("dtype", EXACT)
@given(data=st.data(), q=st.floats(0, 1))
def test_quantiles_of_small_integers_are_exact(dtype, data, q):
    values = data.draw(values_of(dtype))
    assert quantile(histogram(values), values.dtype, q) == exact_quantile(values, q)


@pytest.mark.parametrize("dtype", BINNED)
@given(data=st.data(), q=st.floats(0, 1))
def test_quantiles_of_other_values_are_right_within_the_width_of_a_bin(dtype, data, q):
    values = data.draw(values_of(dtype))
    expected = exact_quantile(values, q)
    np.testing.assert_allclose(
        quantile(histogram(values), values.dtype, q), expected, rtol=1 / 2048, atol=1e-37
    )


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_quantiles_of_many_values_agree_with_those_of_numpy(dtype):
    values = np.random.default_rng(0).normal(100, 20, 50_000).astype(dtype)
    counts = histogram(values)
    for q in (0, LOW_QUANTILE, 0.25, 0.5, 0.9, HIGH_QUANTILE, 1):
        expected = float(np.quantile(values, q))
        width = 1 if np.dtype(dtype).kind in "iu" else abs(expected) / 2048
        assert abs(quantile(counts, values.dtype, q) - expected) <= width


FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(a=FINITE, b=FINITE)
def test_bins_are_in_the_order_of_the_values(a, b):
    low, high = sorted((a, b))
    bins = [int(np.argmax(histogram(np.array([v], np.float32)))) for v in (low, high)]
    assert bins[0] <= bins[1]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39, -1e39])
def test_what_is_not_a_finite_float32_is_refused(value):
    with pytest.raises(ValueError, match="allowed are finite numbers"):
        histogram(np.array([0.0, value]))


def test_limits_leave_the_darkest_and_brightest_voxels_outside():
    values = np.arange(1000, dtype=np.uint16)
    assert limits(histogram(values), values.dtype) == (10.0, 998.0)


@pytest.mark.parametrize(("dtype", "value"), [("uint8", 0), ("uint16", 777), ("float32", 2.0)])
def test_a_constant_channel_becomes_all_zero(dtype, value):
    values = np.full((2, 3, 4), value, dtype)
    low, high = limits(histogram(values), values.dtype)
    assert (low, high) == (value, value + 1)
    assert not normalise(values, low, high).any()


def test_a_float_channel_with_a_large_offset_keeps_its_contrast():
    values = np.random.default_rng(0).normal(1000, 3, 50000).astype(np.float32)
    low, high = limits(histogram(values), values.dtype)
    np.testing.assert_allclose((low, high), np.quantile(values, (0.01, 0.998)), atol=0.5)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
def test_normalising_is_linear_between_the_limits_and_cut_outside(dtype):
    values = np.array([[[0, 10, 20, 30, 40, 100]]], dtype)
    before = values.copy()
    scaled = normalise(values, 10, 30)
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled, [[[0, 0, 0.5, 1, 1.5, 1.5]]])
    np.testing.assert_array_equal(values, before)
