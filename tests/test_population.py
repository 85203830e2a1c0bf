"""Outliers and nearest cells: those of plain programs, however cells are grouped."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from mosaicell.population import nearest, usual_sizes


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=60))
def test_an_outlier_has_a_modified_z_score_above_three_and_a_half(sizes):
    values, counts = np.unique(sizes, return_counts=True)
    low, high = usual_sizes(values, counts)
    logs = np.log(sizes)
    deviation = np.median(np.abs(logs - np.median(logs)))
    for size, value in zip(sizes, logs, strict=True):
        score = 0.6745 * abs(value - np.median(logs))
        if deviation > 1e-6 and abs(score - 3.5 * deviation) > 1e-6:
            assert (low <= size <= high) == (score <= 3.5 * deviation)
        if deviation == 0:
            assert low <= size <= high


def test_without_cells_no_size_is_unusual():
    assert usual_sizes(np.array([], int), np.array([], int)) == (0, np.inf)


CLOUDS = {
    "cloud": lambda rng, n: rng.random((n, 3)) * (50, 20, 9),
    "plane": lambda rng, n: rng.random((n, 3)) * (0, 30, 30),
    "line": lambda rng, n: rng.random((n, 3)) * (0, 0, 30),
    "lattice": lambda rng, n: rng.integers(0, 5, (n, 3)) * 0.3,
    "clusters": lambda rng, n: rng.normal(0, 0.01, (n, 3)) + rng.integers(0, 3, (n, 1)) * 1000,
}


@given(st.integers(0, 2**31), st.integers(1, 400), st.sampled_from(sorted(CLOUDS)))
def test_the_nearest_is_that_of_a_tree_and_to_the_bit_the_same_in_groups(seed, n, kind):
    rng = np.random.default_rng(seed)
    points = CLOUDS[kind](rng, n)
    whole = np.full(n, np.inf)
    nearest(points, points, whole, same=True)
    distances = cKDTree(points).query(points, k=2)[0][:, 1]
    np.testing.assert_allclose(np.sqrt(whole), distances, rtol=1e-12)
    group = rng.integers(0, 3, n)
    grouped = np.full(n, np.inf)
    for one in range(3):
        best = grouped[group == one]
        for other in range(3):
            nearest(points[group == one], points[group == other], best, same=one == other)
        grouped[group == one] = best
    np.testing.assert_array_equal(grouped, whole)


def test_one_cell_alone_has_no_nearest():
    best = np.full(1, np.inf)
    nearest(np.zeros((1, 3)), np.zeros((1, 3)), best, same=True)
    assert best[0] == pytest.approx(np.inf)
