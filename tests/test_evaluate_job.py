"""The evaluate stage on disk: what is read part by part is what whole arrays give."""

import numpy as np
import pytest
import tifffile

from mosaicell.composed import Part
from mosaicell.evaluate import overlaps
from mosaicell.jobs import evaluate as job
from mosaicell.sources import open_parts
from mosaicell.store import lay_out
from test_centerlines import compared, twigs

SHAPES = {"3D": (12, 30, 40), "2D": (1, 50, 60)}


@pytest.fixture(params=SHAPES)
def movies(request, tmp_path):
    """Labels in a store and the truth in a file, and both as arrays (t, z, y, x)."""
    shape = SHAPES[request.param]
    truth = np.stack([twigs(seed, shape).astype(np.uint16) for seed in range(3)])
    truth[1] = 0
    labels = np.roll(truth, (1, 1), (2, 3))
    labels[..., 20:] *= 2
    labels[1, 0, 3:5, 3:9] = 9
    chunks = (1, min(4, shape[0]), 8, 8)
    store = lay_out(
        tmp_path / "labels",
        shape=labels.shape,
        dtype=np.dtype(np.uint32),
        chunks=chunks,
        shards=(1, *(2 * n if n > 1 else 1 for n in chunks[1:])),
        dimension_names=("t", "z", "y", "x"),
    )
    store[...] = labels
    axes = {"axes": "TZYX"}
    tifffile.imwrite(tmp_path / "truth.ome.tif", truth, metadata=axes, photometric="minisblack")
    return store, open_parts([Part(str(tmp_path / "truth.ome.tif"))]), labels, truth


def same(found, expected):
    for name, values in vars(expected).items():
        np.testing.assert_array_equal(getattr(found, name), values, name)


@pytest.mark.parametrize("voxels", [1, 2000, 10**6])
def test_frames_read_part_by_part_compare_as_whole_arrays(movies, monkeypatch, voxels):
    monkeypatch.setattr(job, "CROP_VOXELS", voxels)
    store, source, labels, truth = movies
    for frame in range(len(labels)):
        found = job.compare(store, source, frame=frame)
        same(found, overlaps([(labels[frame], truth[frame])]))
        lines = job.compare_lines(store, source, found, frame=frame)
        same(lines, compared(labels[frame], truth[frame]))
