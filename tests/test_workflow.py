"""The workflow as users run it: Snakemake, files and crashes included."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import tifffile
import zarr

import mosaicell
from mosaicell import model
from mosaicell.choice import landscape_of
from mosaicell.dataset import labelled
from mosaicell.geometry import Box
from mosaicell.smooth import smooth
from running import files, products, run, write_sheet

HEIGHTS = {"threshold": 0.25, "persistence": 0.08, "min_peak": 0.5}
SEGMENT = HEIGHTS | {"min_size": 20, "min_relative_peak": 0.8}
TABLE = "results/hills/cells.parquet"  # without a report, where none is looked at
VOXEL_SIZE = {"voxel_size_z": 1.0, "voxel_size_y": 0.5, "voxel_size_x": 0.5}


def with_sheet(folder: Path, rows: list[dict], **sections) -> dict:
    """A configuration whose sample sheet has these rows."""
    return {"samples": str(write_sheet(folder / "samples.tsv", rows)), **sections}


@pytest.fixture(scope="session")
def phantom(tmp_path_factory):
    """A synthetic volume of nuclei as a TIFF file, (z, y, x)."""
    from mosaicell.synthetic.synthesis import synthesise

    path = tmp_path_factory.mktemp("phantom") / "phantom.tif"
    image, _ = synthesise(7, (32, 48, 64))
    low, high = image.min(), image.max()
    tifffile.imwrite(path, ((image - low) / (high - low) * 60000).astype(np.uint16))
    return path


@pytest.fixture(scope="session")
def hills(tmp_path_factory):
    """A noisy landscape with some hundred peaks, as float32 TIFF, and an image beside it."""
    folder = tmp_path_factory.mktemp("hills")
    rng = np.random.default_rng(3)
    noise = rng.random((48, 64, 80))
    smooth = sum(np.roll(noise, s, axis) for axis in range(3) for s in range(-2, 3))
    landscape = ((smooth - smooth.min()) / np.ptp(smooth)).astype(np.float32)
    tifffile.imwrite(folder / "landscape.tif", landscape)
    tifffile.imwrite(folder / "image.tif", (landscape * 250).astype(np.uint8))
    tifffile.imwrite(folder / "truth.tif", mosaicell.watershed(landscape, **SEGMENT))
    return folder


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory, hills):
    """A folder in which the landscape of `hills` was cut to the end, and the configuration."""
    folder = tmp_path_factory.mktemp("finished")
    row = {
        "sample": "hills",
        "image": hills / "image.tif",
        "landscape": hills / "landscape.tif",
        "truth": hills / "truth.tif",
        **VOXEL_SIZE,
    }
    tile = {"shape": [20, 30, 40], "jobs": 2}
    config = with_sheet(folder, [row], tile=tile, segment=SEGMENT)
    run(folder, config)
    return folder, config


@pytest.fixture
def finished(finished_run):
    """The results of that run, for looking."""
    return finished_run[0] / "results"


@pytest.fixture
def again(finished_run, tmp_path):
    """A copy of that run, for changing."""
    folder = tmp_path / "again"
    shutil.copytree(finished_run[0], folder, symlinks=True)
    return folder


@pytest.mark.slow
def test_labels_and_table_are_byte_identical_for_any_tiles_and_jobs(tmp_path, phantom):
    results = {}
    whole, odd, flat = [256, 256, 256], [32, 33, 21], [9, 48, 25]
    for tile_shape, jobs in ((whole, 1), (odd, 1), (odd, 3), (flat, 3)):
        folder = tmp_path / f"{'x'.join(map(str, tile_shape))}-{jobs}"
        folder.mkdir()
        config = with_sheet(
            folder,
            [{"sample": "phantom", "image": phantom, **VOXEL_SIZE}],
            tile={"shape": tile_shape, "jobs": jobs},
            predict={"diameter": {"voxel": 12}},
            segment=SEGMENT,
        )
        run(folder, config, "results/phantom/cells.parquet")
        results[folder] = products(folder, "phantom")
    first, *others = results
    for other in others:
        assert results[other] == results[first], f"{other.name} differs from {first.name}"

    landscape = zarr.open_array(first / "results/work/phantom/landscape.zarr", mode="r")[:]
    stored = SEGMENT | {name: height * 65535 for name, height in HEIGHTS.items()}
    expected_labels = mosaicell.watershed(landscape, **stored)
    of_any_share = mosaicell.watershed(landscape, **stored | {"min_relative_peak": 0})
    assert expected_labels.max() < of_any_share.max()
    group = zarr.open_group(first / "results/phantom/phantom.ome.zarr", mode="r")
    labels = group["labels/cells/0"][:]
    np.testing.assert_array_equal(labels, expected_labels)
    assert labels.max() > 10

    table = pd.read_parquet(first / "results/phantom/cells.parquet")
    expected = mosaicell.measure(
        expected_labels,
        group["0"][:],
        voxel_size=(1.0, 0.5, 0.5),
        landscape=landscape,
        threshold=SEGMENT["threshold"] * 65535,
    )
    for column in ("landscape_peak", "landscape_mean", "persistence"):
        np.testing.assert_allclose(table[column], expected.pop(column) / 65535, rtol=1e-12)
    pd.testing.assert_frame_equal(table[list(expected)], expected, check_exact=True)

    # What a training judges a network by is what the stage gives, up to the rounding of brightness.
    network, card = model.load("nuclei-3d")
    picture = labelled(
        group["0"][0], labels, dimensions=3, voxel_size=(1.0, 0.5, 0.5), diameter=12 * 0.5
    )
    looked_at = landscape_of(
        network,
        picture,
        nominal_diameter=card["nominal_diameter"],
        window=card["window"],
        threads=2,
    )
    np.testing.assert_allclose(looked_at, landscape / 65535, atol=3 / 65535)


def test_a_finished_run_has_nothing_to_do_and_a_change_costs_what_it_must(
    again, finished_run, hills
):
    config = finished_run[1]
    assert "Nothing to be done" in run(again, config)
    changed = config | {"segment": SEGMENT | {"persistence": 0.2}}
    planned = run(again, changed, "--dry-run", "--quiet", "host")
    assert "rule segment:" not in planned
    assert "rule ingest:" not in planned
    assert "rule stitch:" in planned
    run(again, changed, TABLE)
    landscape = tifffile.imread(hills / "landscape.tif")
    labels = zarr.open_array(again / "results/hills/hills.ome.zarr/labels/cells/0", mode="r")
    np.testing.assert_array_equal(
        labels[:], mosaicell.watershed(landscape, **SEGMENT | {"persistence": 0.2})
    )


@pytest.mark.slow
def test_a_smoothed_landscape_gives_byte_identical_labels_and_table_for_any_tiles(tmp_path, hills):
    row = {"sample": "hills", "image": hills / "image.tif", "landscape": hills / "landscape.tif"}
    results = {}
    for tile_shape in ([256, 256, 256], [20, 30, 40], [7, 64, 9]):
        folder = tmp_path / "x".join(map(str, tile_shape))
        folder.mkdir()
        config = with_sheet(
            folder,
            [row | VOXEL_SIZE],
            tile={"shape": tile_shape, "jobs": 2},
            segment=SEGMENT | {"sigma": {"um": [0, 0.5, 0.5]}},
        )
        run(folder, config, TABLE)
        results[folder] = products(folder, "hills")
    first, *others = results
    for other in others:
        assert results[other] == results[first], f"{other.name} differs from {first.name}"

    landscape = tifffile.imread(hills / "landscape.tif")
    box = Box((0, 0, 0), landscape.shape)
    smoothed = smooth(landscape, sigma=(0, 1.0, 1.0), box=box, volume=landscape.shape)
    labels = zarr.open_array(first / "results/hills/hills.ome.zarr/labels/cells/0", mode="r")[:]
    np.testing.assert_array_equal(labels, mosaicell.watershed(smoothed, **SEGMENT))
    assert labels.max() > 10


def test_another_sigma_cuts_the_landscape_again_and_redoes_nothing_before(again, finished_run):
    config = finished_run[1] | {"segment": SEGMENT | {"sigma": {"um": 0.5}}}
    planned = run(again, config, "--dry-run", "--quiet", "host")
    assert "rule segment:" in planned
    assert "rule ingest:" not in planned


def test_a_change_there_and_back_with_other_numbers_of_jobs_gives_the_first_result(
    again, finished_run
):
    config = finished_run[1]
    before = products(again, "hills")
    other = {
        "tile": config["tile"] | {"jobs": 1},
        "segment": SEGMENT | {"threshold": 0.5},
    }
    run(again, config | other, TABLE)
    assert products(again, "hills") != before
    run(again, config, TABLE)
    assert products(again, "hills") == before


def test_a_plane_that_changed_in_a_folder_is_noticed(tmp_path, hills):
    landscape = tifffile.imread(hills / "landscape.tif")
    for name in ("image", "landscape"):
        (tmp_path / name).mkdir()
        for z, plane in enumerate(landscape[:6]):
            tifffile.imwrite(tmp_path / name / f"{z}.tif", plane)
    row = {"sample": "a", "image": tmp_path / "image", "landscape": tmp_path / "landscape"}
    config = with_sheet(tmp_path, [row], tile={"jobs": 1}, segment=SEGMENT | {"min_size": 0})
    run(tmp_path, config, "results/a/cells.parquet")
    landscape[2] = landscape[2, ::-1]
    tifffile.imwrite(tmp_path / "landscape" / "2.tif", landscape[2])
    run(tmp_path, config, "results/a/cells.parquet")
    labels = zarr.open_array(tmp_path / "results/a/a.ome.zarr/labels/cells/0", mode="r")
    expected = mosaicell.watershed(landscape[:6], **SEGMENT | {"min_size": 0})
    np.testing.assert_array_equal(labels[:], expected)


@pytest.mark.parametrize(
    ("truth", "said"),
    [
        (np.zeros((48, 64, 79), np.uint16), "the truth has the shape"),
        (np.zeros((48, 64, 80), np.float32), "1 channels of float32"),
    ],
)
def test_a_truth_that_cannot_be_used_is_refused_before_the_work(tmp_path, hills, truth, said):
    tifffile.imwrite(tmp_path / "truth.tif", truth)
    row = {"sample": "a", "image": hills / "image.tif", "truth": tmp_path / "truth.tif"}
    config = with_sheet(tmp_path, [row], tile={"jobs": 1})
    printed = run(tmp_path, config, "--cores=1", fails=True)
    assert said in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "results/work/a/segment").exists()


def test_scores_go_with_the_labels_that_they_are_of(again, finished_run, hills):
    config = finished_run[1]
    row = {"sample": "hills", "image": hills / "image.tif", "landscape": hills / "landscape.tif"}
    without = with_sheet(again, [row | VOXEL_SIZE], tile=config["tile"], segment=SEGMENT)
    run(again, without | {"segment": SEGMENT | {"persistence": 0.2}})
    assert not (again / "results/hills/scores.json").exists()


def test_scores_of_all_samples_become_one_table(again, finished_run, hills):
    config = finished_run[1]
    run(again, config, "scores")
    table = pd.read_parquet(again / "results/scores.parquet")
    f1 = table[table["score"] == "f1"]
    assert len(f1) == 6
    assert (f1[["num_samples", "mean", "pooled"]] == 1).all(axis=None)
    (again / "results/scores.parquet").unlink()
    row = {"sample": "hills", "image": hills / "image.tif", "landscape": hills / "landscape.tif"}
    without = with_sheet(again, [row | VOXEL_SIZE], tile=config["tile"], segment=SEGMENT)
    assert "fill in the column `truth`" in run(again, without, "scores", fails=True)


def test_a_landscape_that_a_sample_brings_is_cut_as_the_whole_array_is(finished, hills):
    landscape = tifffile.imread(hills / "landscape.tif")
    labels = zarr.open_array(finished / "hills/hills.ome.zarr/labels/cells/0", mode="r")
    np.testing.assert_array_equal(labels[:], mosaicell.watershed(landscape, **SEGMENT))
    assert not (finished / "work/hills/predict").exists()


def test_the_image_in_the_result_is_the_image_that_came(finished, hills):
    group = zarr.open_group(finished / "hills/hills.ome.zarr", mode="r")
    np.testing.assert_array_equal(group["0"][0], tifffile.imread(hills / "image.tif"))
    assert group.attrs["ome"]["version"] == "0.5"
    assert group["labels"].attrs["ome"]["labels"] == ["cells"]


def test_the_table_says_its_units_and_where_it_comes_from(finished):
    table = pd.read_parquet(finished / "hills/cells.parquet")
    assert list(table.columns[:3]) == ["sample", "frame", "label"]
    assert set(table["sample"]) == {"hills"}
    schema = pq.read_schema(finished / "hills/cells.parquet")
    assert schema.field("centroid_z_um").metadata[b"unit"] == b"um"
    assert schema.field("volume_um3").metadata[b"unit"] == b"um^3"
    said = {key.decode(): value.decode() for key, value in schema.metadata.items()}
    summary = json.loads((finished / "work/hills/ingest.json").read_text())
    assert said["mosaicell.input"] == summary["content"]
    assert said["mosaicell.version"] == mosaicell.__version__
    assert json.loads(said["mosaicell.parameters"])["persistence"] == SEGMENT["persistence"]


def test_a_sample_gets_its_image_its_table_its_report_and_no_more(finished):
    top = {path.name for path in (finished / "hills").iterdir()}
    assert top == {
        "hills.ome.zarr",
        "cells.parquet",
        "frames.parquet",
        "neighbours.parquet",
        "report.html",
        "scores.json",
        "scores.parquet",
        "matches.parquet",
    }
    assert json.loads((finished / "hills/scores.json").read_text())["f1"] == 1
    assert [name for name in files(finished) if Path(name).name.startswith(".")] == []
    report = (finished / "hills/report.html").read_text()
    assert "hills" in report
    assert "data:image/png;base64," in report
    assert "No seam is visible where tiles meet." in report


def test_a_landscape_without_cells_gives_an_empty_table_and_a_report(tmp_path, hills):
    row = {"sample": "hills", "image": hills / "image.tif", "landscape": hills / "landscape.tif"}
    config = with_sheet(tmp_path, [row], segment=SEGMENT | {"threshold": 2.0})
    run(tmp_path, config)
    assert len(pd.read_parquet(tmp_path / "results/hills/cells.parquet")) == 0
    assert (tmp_path / "results/hills/report.html").exists()


@pytest.mark.parametrize(
    ("config", "row", "said"),
    [
        ({"segmet": {}}, {}, "segmet is not known"),
        ({"segment": {"threshold": "high"}}, {}, "segment.threshold is"),
        ({"segment": {"sigma": 1.5}}, {}, "segment.sigma is 1.5"),
        ({"segment": {"sigma": {"um": 40}}}, VOXEL_SIZE, "from 0 to 32"),
        ({"predict": {"model": "nuclei-9d"}}, {}, "nuclei-9d"),
        ({"segment": {"top_model": "three_class"}}, {}, "nuclei-3d is of the task distance"),
        ({"train": {"start_from": "nuclei-2d", "dimensions": 3}}, {}, "train.dimensions is 3"),
        ({}, {"image": "nowhere.tif"}, "nowhere.tif"),
        ({}, {"colour": "red"}, "colour is not known"),
        (
            {"segment": {"persistence": 0.1}},
            {"landscape": "image.tif"},
            "segment.threshold is null",
        ),
    ],
)
def test_what_cannot_run_is_refused_before_any_work(tmp_path, monkeypatch, config, row, said):
    (tmp_path / "image.tif").touch()
    monkeypatch.chdir(tmp_path)
    row = {"sample": "a", "image": "image.tif"} | row
    printed = run(tmp_path, with_sheet(tmp_path, [row]) | config, fails=True)
    assert said in printed
    assert "allowed" in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "results").exists()


def test_a_sigma_in_um_is_refused_at_once_where_the_voxel_size_is_unknown(tmp_path, hills):
    row = {"sample": "a", "image": hills / "image.tif"}
    config = with_sheet(tmp_path, [row], segment={"sigma": {"um": 0.5}})
    printed = run(tmp_path, config, fails=True)
    assert "add them to the sample sheet, or give sigma in voxels" in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "results/work/a/predict").exists()


def test_an_image_that_cannot_be_read_is_refused_in_a_log(tmp_path):
    (tmp_path / "image.tif").write_bytes(b"II*\0 this is no TIFF")
    config = with_sheet(tmp_path, [{"sample": "a", "image": tmp_path / "image.tif"}])
    printed = run(tmp_path, config, fails=True)
    assert "Stopped:" in printed
    assert "image.tif" in printed.split("Stopped:")[1].splitlines()[0]
    assert "Traceback" not in printed
    # Which of the jobs that open it was first is not for us to say.
    logs = (tmp_path / "results/work/a/logs").glob("*.log")
    assert any("Traceback" in log.read_text() for log in logs)
