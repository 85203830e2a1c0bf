"""The stages export and track: what they write and when, in the real workflow."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import tifffile

from movies import VOXEL_SIZE, dividing_cells, write_truth
from phantoms import landscape_of
from running import configured, files, run, write_hills

pytestmark = pytest.mark.slow
SHAPE = (16, 32, 40)
EXPORTS = ["ctc", "geff", "napari", "trackmate"]
MADE = ("export", "tracks", "tracks.parquet")
SIZES = {f"voxel_size_{axis}": size for axis, size in zip("zyx", (1.0, 0.5, 0.5), strict=True)}


def exported(folder, *, tile, jobs):
    row = write_hills(folder, SHAPE) | SIZES
    config = configured(folder, row, tile=tile, jobs=jobs, export=EXPORTS)
    run(folder, config)
    return folder, config


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder in which a landscape was cut to the end, with all exports, and the configuration."""
    return exported(tmp_path_factory.mktemp("exports"), tile=[64, 64, 64], jobs=1)


def test_exports_are_byte_identical_for_any_tiles_and_jobs(finished, tmp_path):
    expected = files(finished[0] / "results/a/export")
    assert {name.split("/")[0] for name in expected} == set(EXPORTS)
    exported(tmp_path, tile=[7, 11, 13], jobs=2)
    assert files(tmp_path / "results/a/export") == expected


def test_exports_hold_the_cells_of_the_table(finished):
    results = finished[0] / "results/a"
    cells = pd.read_parquet(results / "cells.parquet")
    assert len(cells) > 10
    masks = tifffile.imread(results / "export/ctc/mask000.tif")
    np.testing.assert_array_equal(np.bincount(masks.ravel())[1:], cells["num_voxels"])
    assert len(pd.read_csv(results / "export/napari/points.csv")) == len(cells)
    about = json.loads((results / "export/geff/about.json").read_text())
    assert about["format"] == "geff"
    assert about["cells"]["input"]


def test_nothing_is_exported_or_tracked_unasked(tmp_path):
    config = configured(tmp_path, write_hills(tmp_path, SHAPE), tile=[64, 64, 64])
    run(tmp_path, config)
    left = {path.name for path in (tmp_path / "results/a").iterdir()}
    assert "report.html" in left
    assert not left & set(MADE)


def test_an_export_that_was_removed_is_written_again_as_it_was(finished):
    folder, config = finished
    before = files(folder / "results/a/export")
    shutil.rmtree(folder / "results/a/export/ctc")
    said = run(folder, config)
    assert set(re.findall(r"rule (\w+):", said)) == {"export", "all"}
    assert files(folder / "results/a/export") == before


def test_exports_of_cells_that_are_no_more_do_not_say_what_they_are(finished, tmp_path):
    folder = tmp_path / "again"
    shutil.copytree(finished[0], folder, symlinks=True)
    segment = finished[1]["segment"] | {"min_size": 20}
    config = finished[1] | {"segment": segment, "export": []}
    run(folder, config, "results/work/a/stitch.json")
    assert (folder / "results/a/export/ctc/mask000.tif").exists()
    assert not list((folder / "results/a/export").glob("*/about.json"))


def test_damaged_labels_are_not_exported_and_mended_by_the_next_start(finished, tmp_path):
    before = files(finished[0] / "results/a")
    folder = tmp_path / "again"
    shutil.copytree(finished[0], folder, symlinks=True)
    shard = next(path for path in (folder / "results/a/a.ome.zarr/labels/cells/0/c").rglob("*/*/*"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    shutil.rmtree(folder / "results/a/export")
    assert "start the same command again" in run(folder, finished[1], fails=True)
    assert not (folder / "results/a/export/ctc").exists()
    run(folder, finished[1])
    after = files(folder / "results/a")
    assert {n: c for n, c in after.items() if n != "report.html"} == {
        n: c for n, c in before.items() if n != "report.html"
    }


@pytest.mark.trackers
def test_tracks_are_made_and_exported_where_the_configuration_asks(finished, tmp_path):
    pytest.importorskip("laptrack", reason="make test-trackers")
    folder = tmp_path / "again"
    shutil.copytree(finished[0], folder, symlinks=True)
    config = finished[1] | {"track": {"max_distance": 2.0}}
    said = run(folder, config)
    assert set(re.findall(r"rule (\w+):", said)) == {"track", "track_export", "all"}
    tracks = pd.read_parquet(folder / "results/a/tracks.parquet")
    cells = pd.read_parquet(folder / "results/a/cells.parquet")
    assert list(tracks["label"]) == list(tracks["track_id"]) == list(cells["label"])
    assert set(tracks["previous_label"]) == {0}
    lines = (folder / "results/a/tracks/ctc/res_track.txt").read_text().splitlines()
    assert lines == [f"{track} 0 0 0" for track in tracks["track_id"]]
    again = run(folder, config)
    assert "Nothing to be done" in again


@pytest.mark.trackers
def test_a_movie_with_known_divisions_is_tracked_through_the_whole_workflow(tmp_path):
    evaluate = pytest.importorskip("ctc_metrics.scripts.evaluate", reason="make test-trackers")
    movie = dividing_cells()
    landscape = [landscape_of(f, seed=0, voxel_size=VOXEL_SIZE) for f in movie.labels]
    for name, values in (("image", movie.image), ("landscape", np.stack(landscape))):
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, values, imagej=True, metadata={"axes": "TZYX"})
    row = {"sample": "movie", **{n: tmp_path / f"{n}.tif" for n in ("image", "landscape")}}
    row |= {f"voxel_size_{a}": size for a, size in zip("zyx", VOXEL_SIZE, strict=True)}
    results = []
    for tile, jobs in (([64, 64, 64], 1), ([7, 31, 50], 2)):
        folder = tmp_path / str(jobs)
        folder.mkdir()
        config = configured(folder, row, tile=tile, jobs=jobs, export=EXPORTS)
        config["segment"] = {"threshold": 0, "persistence": 30000}
        config["track"] = {"max_distance": 5, "division_distance": 8}
        run(folder, config)
        found = files(folder / "results/movie")
        results.append({n: c for n, c in found.items() if n.split("/")[0] in MADE})
    assert results[0] == results[1]
    truth = write_truth(tmp_path / "truth", movie)
    tracks = tmp_path / "1/results/movie/tracks/ctc"
    measures = ["Valid", "TRA", "DET", "SEG", "LNK"]
    scores = evaluate.evaluate_sequence(str(tracks), str(truth), metrics=measures, threads=1)
    assert {name: scores[name] for name in measures} == pytest.approx(dict.fromkeys(measures, 1))
