"""Movies from end to end: frames never meet, ids go on, and empty frames are not forgotten."""

import json

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr

import mosaicell
from mosaicell.jobs import stitch as stitch_job
from mosaicell.movie import UNITS, frames_bytes
from phantoms import ONE, landscape_of, packed_cells
from running import configured, products, run, run_and_kill

CHOSEN = {"threshold": 0.1 * ONE, "persistence": 0.1 * ONE, "min_size": 8}
BRIGHTNESS = (30000, 12000, 0, 50000)  # of the frames; the third one has no cells
SHAPES = {"2D": (1, 70, 90), "3D": (12, 40, 50)}
TILINGS = {"whole": ([256, 256, 256], 1), "small": ([5, 31, 23], 3)}


def film(shape):
    """Image (t, z, y, x) and landscape of packed cells; one frame is empty."""
    frames, landscapes = [], []
    for frame, brightness in enumerate(BRIGHTNESS):
        labels = packed_cells(shape, spacing=11, seed=frame) * (brightness > 0)
        landscapes.append(landscape_of(labels, seed=frame, blur=0.7, noise=0.05 * labels.any()))
        frames.append((landscapes[-1] / ONE * brightness + 100).astype(np.uint16))
    return np.stack(frames), np.stack(landscapes)


def write_film(folder, shape) -> dict:
    """A row of the sample sheet."""
    row = {"sample": "a", "voxel_size_z": 2.0, "voxel_size_y": 1.0, "voxel_size_x": 1.0}
    for name, movie in zip(("image", "landscape", "truth"), truth_of(*film(shape)), strict=True):
        options = {"photometric": "minisblack", "metadata": {"axes": "TZYX", "TimeIncrement": 30.0}}
        tifffile.imwrite(folder / f"{name}.ome.tif", movie, **options)
        row[name] = folder / f"{name}.ome.tif"
    return row


def truth_of(image, landscape):
    """The labels of each frame begin with 1 again, as those of other programs do."""
    frames = [mosaicell.watershed(frame, **CHOSEN) for frame in landscape]
    return image, landscape, np.stack(frames).astype(np.uint16)


@pytest.fixture(scope="module", params=SHAPES)
def runs(request, tmp_path_factory):
    """Results of the same movie in two tilings, and its landscape."""
    folder = tmp_path_factory.mktemp(request.param)
    row = write_film(folder, SHAPES[request.param])
    results = []
    for name, (tile, jobs) in TILINGS.items():
        (folder / name).mkdir()
        run(folder / name, configured(folder / name, row, tile=tile, jobs=jobs, segment=CHOSEN))
        results.append(folder / name / "results")
    return results, tifffile.imread(row["landscape"]).reshape(-1, *SHAPES[request.param])


@pytest.fixture
def labels(runs):
    return zarr.open_array(runs[0][0] / "a/a.ome.zarr/labels/cells/0", mode="r")[...]


def table(results, name):
    return pd.read_parquet(results / f"a/{name}.parquet")


def test_labels_and_tables_of_a_movie_are_byte_identical_for_any_tiles_and_jobs(runs):
    first, second = (products(results.parent, "a") for results in runs[0])
    assert first == second


def test_the_labels_of_a_movie_are_those_of_the_whole_array(runs, labels):
    np.testing.assert_array_equal(labels, mosaicell.watershed(runs[1], **CHOSEN))
    assert labels.max() > 30


def test_each_label_is_that_of_one_cell_in_one_frame(runs, labels):
    cells = table(runs[0][0], "cells")
    assert cells["label"].tolist() == list(range(1, labels.max() + 1))
    for frame, found in enumerate(labels):
        expected = cells["label"][cells["frame"] == frame]
        assert np.unique(found[found > 0]).tolist() == expected.tolist()


def test_the_cells_of_a_frame_are_those_of_the_frame_alone(runs):
    results, landscape = runs
    image = zarr.open_array(results[0] / "a/a.ome.zarr/0", mode="r")
    cells = table(results[0], "cells")
    for frame in range(len(BRIGHTNESS)):
        alone = mosaicell.watershed(landscape[frame], **CHOSEN)
        expected = mosaicell.measure(alone, image[frame], voxel_size=(2.0, 1.0, 1.0))
        of_frame = cells[cells["frame"] == frame].reset_index(drop=True)
        before = int((cells["frame"] < frame).sum())
        expected["label"] += before
        pd.testing.assert_frame_equal(of_frame[list(expected)], expected, check_exact=True)


def test_a_frame_without_cells_stands_in_the_table_of_frames(runs):
    frames, cells = (table(runs[0][0], name) for name in ("frames", "cells"))
    assert list(frames) == list(UNITS)
    assert frames["frame"].tolist() == [0, 1, 2, 3]
    assert frames["num_cells"].tolist() == [
        int((cells["frame"] == frame).sum()) for frame in range(4)
    ]
    assert frames["num_voxels"].tolist() == [
        int(cells["num_voxels"][cells["frame"] == frame].sum()) for frame in range(4)
    ]
    assert (frames["num_cells"] == 0).tolist() == [False, False, True, False]


def test_bright_and_dim_frames_are_normalised_by_one_pair_of_limits(runs):
    image = zarr.open_group(runs[0][0] / "a/a.ome.zarr", mode="r")
    summary = json.loads((runs[0][0] / "work/a/ingest.json").read_text())
    (channel,) = summary["channels"]
    values = np.sort(image["0"][...], axis=None)
    assert channel["limits"] == [values[int(q * values.size)] for q in (0.01, 0.998)]


def test_a_movie_is_an_ome_zarr_with_a_time_axis(runs):
    group = zarr.open_group(runs[0][0] / "a/a.ome.zarr", mode="r")
    for node, names in ((group, "tczyx"), (group["labels/cells"], "tzyx")):
        (multiscale,) = node.attrs["ome"]["multiscales"]
        assert "".join(axis["name"] for axis in multiscale["axes"]) == names
        assert multiscale["axes"][0] == {"name": "t", "type": "time", "unit": "second"}
        scale = multiscale["datasets"][0]["coordinateTransformations"][0]["scale"]
        assert scale == [30.0, *[1.0] * (len(names) - 4), 2.0, 1.0, 1.0]
        assert node["0"].metadata.dimension_names == tuple(names)
        assert node["0"].shards[0] == node["0"].chunks[0] == 1


def test_a_movie_is_scored_frame_by_frame_and_shown_in_a_report(runs):
    results = runs[0][1]
    scores = json.loads((results / "a/scores.json").read_text())
    assert scores["f1"] == scores["mean_matched_iou"] == 1
    assert scores["true_positives"] == len(table(results, "cells"))
    report = (results / "a/report.html").read_text()
    for words in ("4 frames", "Frame 0:", "Frame 1:", "Frame 3:", "Cells by frame"):
        assert words in report
    assert "Frame 2:" not in report


def test_an_image_without_time_has_one_row_in_the_table_of_frames(tmp_path):
    content = frames_bytes([3], [70], sample="a", metadata={"version": "1"})
    (tmp_path / "frames.parquet").write_bytes(content)
    frames = pd.read_parquet(tmp_path / "frames.parquet")
    assert frames.to_dict("list") == {
        "sample": ["a"],
        "frame": [0],
        "num_cells": [3],
        "num_voxels": [70],
    }
