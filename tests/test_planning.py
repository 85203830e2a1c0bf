"""The plan, and samples and volumes too large to run here: what is known before anything runs."""

import resource
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import zarr

import planning
import resources
import settings
import sheets
from mosaicell import model
from running import command, run, write_sheet

CARD = model.card(model.find("nuclei-3d")[0])
HUGE = (5000, 10_000, 20_000)


def load(shape, **known):
    begin = resources.load(settings.read_config({}), None, CARD)
    return replace(begin, shape=shape, itemsize=2, landscape_itemsize=2, **known)


def row(text, stage):
    return next(line.split() for line in text.splitlines() if line.startswith(f"{stage} "))


def test_a_plan_says_work_jobs_memory_disk_and_time_of_each_stage():
    text = planning.plan({"a": load((1, *HUGE), diameter="auto")}, predict_threads=8)
    assert "a: 5,000 x 10,000 x 20,000 voxels (z, y, x), 1 channel\n" in text
    for stage in planning.STAGES:
        assert len(row(text, stage)) >= 7
    assert row(text, "estimate_diameter")[1:4] == ["1", "sample", "1"]
    assert row(text, "predict")[1:4] == ["63,200", "shards", "4"]
    assert row(text, "segment")[1:4] == ["63,200", "tiles", "4"]
    assert row(text, "predict")[-1] == "55.6"
    assert "55.6 GPU hours" in text


def test_samples_that_take_the_same_are_one_table():
    loads = {name: load((1, 64, 64, 64)) for name in "abc"} | {"d": load((2, 64, 64, 64))}
    text = planning.plan(loads, predict_threads=8)
    assert "each of 3 samples (a, ...): 64 x 64 x 64 voxels" in text
    assert "d: 64 x 64 x 64 voxels (z, y, x), 2 channels" in text
    assert "In all: 4 samples, 96 jobs" in text


def test_the_work_of_a_movie_is_that_of_its_frames():
    still, movie = load((2, 64, 300, 300)), load((2, 64, 300, 300), frames=50)
    text = planning.plan({"a": movie}, predict_threads=8)
    assert "64 x 300 x 300 voxels (z, y, x), 2 channels, 50 frames" in text
    for stage in ("ingest", *resources.SHARED):
        assert resources.units(stage, movie)[0] == 50 * resources.units(stage, still)[0]
        one, all_frames = (resources.seconds(stage, x, threads=1) for x in (still, movie))
        assert all_frames >= 12 * one  # shared among four jobs
    needed = [resources.memory("stitch", x, threads=4) for x in (still, movie)]
    assert needed[0] == needed[1]


def test_a_movie_is_planned_from_the_headers_of_its_files(tmp_path):
    parts = []
    for frame in range(3):
        tifffile.imwrite(tmp_path / f"{frame}.tif", np.zeros((20, 30), np.uint8))
        parts.append({"sample": "a", "image": tmp_path / f"{frame}.tif", "frame": frame})
    sheet = write_sheet(tmp_path / "samples.tsv", parts)
    (sample,) = sheets.read_samples(str(sheet), "results").values()
    looked = planning.look(settings.read_config({}), sample, CARD)
    assert (looked.shape, looked.frames) == ((1, 1, 20, 30), 3)


def test_a_landscape_that_is_brought_is_not_predicted():
    text = planning.plan({"a": load((1, *HUGE), brought=True)}, predict_threads=8)
    assert "predict" not in text.split("In all")[0]
    assert "0.0 GPU hours" in text


def test_very_long_jobs_come_with_a_number_of_jobs_that_makes_them_hours_long():
    long = load((1, *HUGE), jobs=1)
    advice = next(
        line
        for line in planning.plan({"a": long}, predict_threads=8).splitlines()
        if "tile.jobs" in line
    )
    jobs = int(advice.split("tile.jobs: ")[1].split()[0])
    assert jobs > 4
    better = load((1, *HUGE), jobs=jobs)
    assert "tile.jobs" not in planning.plan({"a": better}, predict_threads=8)
    for stage in resources.SHARED:
        hours = resources.seconds(stage, better, threads=1, gpu=True) / 3600
        assert hours < planning.GOOD_HOURS + 0.1


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [(5e5, "0.5 MB"), (1.5e9, "1.5 GB"), (2e12, "2.0 TB"), (3e15, "3,000.0 TB")],
)
def test_sizes_are_said_in_the_unit_that_fits(n_bytes, text):
    assert planning._size(n_bytes) == text


def test_the_plan_of_a_sheet_looks_at_headers_and_runs_nothing(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 8, 8), np.uint8))
    write_huge(tmp_path / "huge.zarr")
    rows = [{"sample": name, "image": tmp_path / file} for name, file in FILES]
    config = {"samples": str(write_sheet(tmp_path / "samples.tsv", rows))}
    printed = run(tmp_path, config, "plan")
    assert "a: 5 x 8 x 8 voxels" in printed
    assert "huge: 5,000 x 10,000 x 20,000 voxels" in printed
    assert "63,200 tiles" in printed
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["plan.log"]
    assert "63,200 tiles" in (tmp_path / "results/plan.log").read_text()


def test_an_image_that_cannot_be_opened_is_refused_by_the_plan(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"no image")
    rows = [{"sample": "a", "image": tmp_path / "a.tif"}]
    config = {"samples": str(write_sheet(tmp_path / "samples.tsv", rows))}
    printed = run(tmp_path, config, "plan", fails=True)
    assert "Stopped: " in printed
    assert "Traceback" not in printed


FILES = [("a", "a.tif"), ("huge", "huge.zarr")]


def write_huge(path):
    """10^12 voxels, of which none is written."""
    zarr.create_array(
        path,
        shape=HUGE,
        dtype="uint16",
        chunks=(64, 64, 64),
        shards=(256, 256, 256),
        dimension_names=("z", "y", "x"),
    )


def seconds_of(arguments):
    """Processor time of a command: the better of two, since other work may disturb one."""
    times = []
    for _ in range(2):
        begin = spent()
        done = subprocess.run(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        times.append(spent() - begin)
        assert done.returncode == 0, done.stdout
    return min(times)


def spent():
    """Processor time of all processes that were waited for: a clock runs on for others, too."""
    of_children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return of_children.ru_utime + of_children.ru_stime


@pytest.mark.slow
def test_a_hundred_samples_and_one_of_a_trillion_voxels_are_planned_and_read_again_in_seconds(
    tmp_path,
):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 8, 8), np.uint8))
    write_huge(tmp_path / "huge.zarr")
    rows = [{"sample": f"s{i}", "image": tmp_path / "a.tif"} for i in range(100)]
    rows.append({"sample": "huge", "image": tmp_path / "huge.zarr"})
    config = {"samples": str(write_sheet(tmp_path / "samples.tsv", rows))}
    assert seconds_of(command(tmp_path, config, "--dry-run", "--quiet=all")) < 20

    def as_a_job(sample):
        # The arguments with which an executor has one job run.
        return seconds_of(
            [
                *command(tmp_path, config, "--dry-run", "--quiet=all", "--force", "--nolock"),
                f"--target-jobs=segment:sample={sample},job=0",
                "--allowed-rules=segment",
                "--mode=remote",
            ]
        )

    small, huge = as_a_job("s0"), as_a_job("huge")
    assert huge < 5
    assert huge < small + 1.5  # so it does not grow with the tiles
