"""The benchmark runs and prints its tables, and its volumes are what they are said to be."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.ndimage import find_objects, maximum_filter, minimum_filter
from skimage.measure import label as connected_components

from phantoms import ONE, landscape_of, packed_cells, thin_cells
from running import ROOT


@pytest.mark.parametrize("draw", [packed_cells, thin_cells], ids=["packed", "thin"])
def test_a_seed_names_a_phantom_of_connected_cells(draw):
    labels = draw((40, 50, 60), spacing=14, seed=3)
    assert labels.shape == (40, 50, 60)
    assert labels.dtype == np.uint32
    np.testing.assert_array_equal(labels, draw((40, 50, 60), spacing=14, seed=3))
    assert not np.array_equal(labels, draw((40, 50, 60), spacing=14, seed=4))
    assert connected_components(labels, connectivity=3).max() == labels.max() > 40
    assert None not in find_objects(labels)


def test_packed_cells_touch_and_leave_background():
    labels = packed_cells((64, 64, 64), spacing=17, seed=0)
    assert 0.5 < (labels > 0).mean() < 0.8
    lowest = minimum_filter(np.where(labels > 0, labels, labels.max() + 1), 3)
    touching = (lowest < labels) | (maximum_filter(labels, 3) > labels) & (labels > 0)
    assert len(np.unique(labels[touching])) > 0.9 * labels.max()
    sizes = np.bincount(labels.ravel())[1:]
    assert sizes.max() > 4 * sizes.min()


def test_the_noisy_landscape_has_several_maxima_a_cell():
    labels = packed_cells((64, 64, 64), spacing=17, seed=0)
    calm = landscape_of(labels, seed=1)
    assert calm.dtype == np.uint16
    assert np.array_equal(calm > 0, labels > 0)
    noisy = landscape_of(labels, seed=1, blur=2.0, noise=0.06)
    np.testing.assert_array_equal(noisy, landscape_of(labels, seed=1, blur=2.0, noise=0.06))
    maxima = (noisy == maximum_filter(noisy, 3)) & (noisy > 0.12 * ONE)
    assert 5 < np.count_nonzero(maxima) / labels.max() < 10


@pytest.mark.slow
def test_the_benchmark_of_the_watershed_prints_its_tables():
    script = ROOT / "tests/benchmarks/watershed_peers.py"
    printed = subprocess.run(
        [sys.executable, script, "--shape", "40"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    rows = [line.split("|")[1:-1] for line in printed.splitlines() if line.startswith("|")]
    names = [row[0].split("(")[0].strip() for row in rows if "(" in row[0]]
    others = ["scikit-image peaks", "scikit-image h-maxima"]
    if "left out" not in printed:
        others += ["bioimage-cpp", "bioimage-cpp flood"]
    ours = ["mosaicell", "mosaicell"]
    assert names == 2 * (ours + others) + 2 * ours
    assert (len(others) == 4) == (ROOT / ".venv-peers/ready").exists()
    for row in rows:
        if "(" in row[0]:
            seconds, speed, f1, memory = (float(row[i]) for i in (2, 3, 6, 8))
            assert seconds >= 0
            assert speed > 0
            assert f1 > 0.8
            assert memory > 0
    sigmas = [row[0].strip() for row in rows[-4:]]
    assert sigmas == ["0.0", "0.7", "1.0", "1.5"]


@pytest.mark.slow
def test_the_benchmark_of_measuring_prints_its_table():
    script = ROOT / "tests/benchmarks/measure_peers.py"
    printed = subprocess.run(
        [sys.executable, script, "--shape", "40"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    rows = [line.split("|")[1:-1] for line in printed.splitlines() if line.startswith("| ")][1:]
    peers = [row[0].split(",")[0].strip() for row in rows]
    shared = 2 * ["mosaicell", "scikit-image"]
    others = [] if "left out" in printed else ["mosaicell", "nyxus"]
    assert peers == ["mosaicell", *shared, *others]
    assert all(float(row[2]) >= 0 for row in rows)
    assert all(float(row[4]) > 1 for row in rows if row[4].strip())
