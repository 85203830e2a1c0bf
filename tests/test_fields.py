"""Smooth fields and linear reading: against matrices and numpy, and as they are promised."""

import numpy as np
import pytest

from mosaicell.fields import Band, along_axes, interpolation, smooth_noise


def test_bands_are_matrices():
    rng = np.random.default_rng(0)
    values = rng.random((5, 6, 7), dtype=np.float32)
    bands, matrices = [], []
    for length, n, k in zip(values.shape, (4, 9, 8), (2, 3, 1), strict=True):
        band = Band(rng.integers(0, length - k + 1, n), rng.random((n, k), dtype=np.float32))
        matrix = np.zeros((n, length))
        for row, (first, weights) in enumerate(zip(band.first, band.weights, strict=True)):
            matrix[row, first : first + k] = weights
        bands.append(band)
        matrices.append(matrix)
    expected = np.einsum("za,yb,xc,abc->zyx", *matrices, values)
    np.testing.assert_allclose(along_axes(values, *bands), expected, rtol=1e-5)


def test_interpolation_is_that_of_numpy():
    values = np.random.default_rng(1).random(9).astype(np.float32)
    at = np.linspace(-2, 11, 40)
    band = interpolation(at, len(values))
    read = (values[band.first[:, None] + [0, 1]] * band.weights).sum(1)
    np.testing.assert_allclose(read, np.interp(at, np.arange(9), values), rtol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 4.0, 50.0])
def test_noise_has_its_deviation_and_length(scale):
    fields = np.stack(
        [smooth_noise(np.random.default_rng(seed), (1, 40, 1), scale) for seed in range(2000)]
    ).reshape(2000, 40)
    assert fields.dtype == np.float32
    np.testing.assert_allclose(fields.mean(0), 0, atol=0.12)
    np.testing.assert_allclose(fields.std(0), 1, atol=0.08)
    near, far = (np.mean(fields[:, 0] * fields[:, n]) for n in (1, 39))
    assert near > 0.5
    assert (far > 0.5) == (scale > 39)
