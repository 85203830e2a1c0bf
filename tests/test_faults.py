"""What goes wrong on a machine: each test ends in the same bytes and counts what was done again.

Faults of a cluster (a job that is cancelled, a node that goes down) are in `test_slurm.py`.
"""

import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from mosaicell.columns import Column
from mosaicell.geometry import Grid
from mosaicell.store import DamagedError
from mosaicell.table import Table, write_table
from running import command, configured, products, run, run_and_kill, write_hills

UNITS = (
    "ingest/level0",
    "ingest/landscape",
    "segment/tiles",
    "stitch_tiles/tiles",
    "labels/shards",
    "measure/tiles",
)


def times(results: Path) -> dict[str, dict[str, int]]:
    """When each tile, shard or slab was last computed, by unit of work."""
    return {
        unit: {
            path.name: path.stat().st_mtime_ns
            for path in (results / "work/a" / unit).glob("[0-9]*.json")
        }
        for unit in UNITS
    }


def computed_again(before: dict, after: dict) -> dict[str, int]:
    """How many of the units that were done before were computed again."""
    again = {
        unit: sum(before[unit][name] != after[unit].get(name) for name in before[unit])
        for unit in UNITS
    }
    return {unit: count for unit, count in again.items() if count}


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """A folder in which a sample of eight tiles was done to the end, and the configuration."""
    folder = tmp_path_factory.mktemp("tiny")
    config = configured(folder, write_hills(folder, (16, 24, 32)), tile=[8, 12, 16])
    run(folder, config)
    return folder, config


@pytest.fixture
def again(tiny_run, tmp_path):
    """A copy of that run, for harm."""
    folder = tmp_path / "again"
    shutil.copytree(tiny_run[0], folder, symlinks=True)
    return folder


@pytest.fixture(scope="session")
def long_run(tmp_path_factory):
    """The same of 640 tiles, in which there is time to do harm."""
    folder = tmp_path_factory.mktemp("long")
    row = write_hills(folder, (48, 64, 80))
    config = configured(folder, row, tile=[6, 8, 8], jobs=2)
    run(folder, config)
    return folder, config


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def empty(path: Path) -> None:
    path.write_bytes(b"")


TABLE = "results/a/cells.parquet"  # without a report, where none is looked at
STORE = "a/a.ome.zarr"
LABELS = f"{STORE}/labels/cells"
TILES = "work/a/tiles"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("harm", "found_by", "refusals", "again_done"),
    [
        # Found by the jobs that wrote it, which mend it at once.
        (
            {
                "work/a/ingest/level0/000000.json": flip,
                "work/a/ingest/landscape/000000.json": empty,
                f"{TILES}/000000.fragments": shorten,
                f"{TILES}/000001.rim": flip,
                f"{TILES}/000002.graph": empty,
                "work/a/segment/tiles/000003.json": flip,
                "work/a/segment/tiles/000004.json": empty,
                f"{TILES}/000000.basins": flip,
                "work/a/stitch_tiles/tiles/000001.json": shorten,
                f"{LABELS}/0/c/0/0/0": flip,
                f"{TILES}/000000.table": flip,
                f"{TILES}/000001.table": empty,
                "work/a/measure/tiles/000002.json": shorten,
            },
            "ingest",
            0,
            {
                "ingest/level0": 1,
                "ingest/landscape": 1,
                "segment/tiles": 5,
                "stitch_tiles/tiles": 2,
                "labels/shards": 1,
                "measure/tiles": 3,
            },
        ),
        (
            {
                f"{STORE}/0/c/0/0/0/0": flip,
                "work/a/landscape.zarr/c/0/0/0": shorten,
                f"{STORE}/0/zarr.json": flip,
                f"{STORE}/zarr.json": flip,
                "work/a/landscape.zarr/zarr.json": empty,
                "work/a/labels/shards/000000.json": flip,
                f"{LABELS}/zarr.json": flip,
                f"{STORE}/labels/zarr.json": empty,
            },
            "ingest",
            0,
            {"ingest/level0": 1, "ingest/landscape": 1, "labels/shards": 1},
        ),
        # Deleted: Snakemake misses what is an output, and who reads it the rest.
        ({"a": shutil.rmtree}, "all", 0, {"ingest/level0": 1, "labels/shards": 1}),
        (
            {"work": shutil.rmtree},
            "all",
            0,
            {unit: 8 if "tiles" in unit else 1 for unit in UNITS},
        ),
        ({"work/a/landscape.zarr": shutil.rmtree}, "segment", 0, {"ingest/landscape": 1}),
        (
            {TILES: shutil.rmtree},
            "stitch_tiles",
            1,
            {unit: 8 for unit in UNITS if "tiles" in unit},
        ),
        # Found by who reads it: the run stops, and the next one mends it.
        ({"work/a/ingest.json": flip}, "segment", 1, {}),
        ({"work/a/landscape.zarr/zarr.json": flip}, "segment", 1, {}),
        (
            {"work/a/landscape.zarr/c/0/0/0": flip, f"{TILES}/000000.fragments": flip},
            "segment",
            1,
            {"ingest/landscape": 1, "segment/tiles": 1},
        ),
        ({"work/a/segment/0.json": flip}, "stitch_tiles", 1, {}),
        (
            {f"{TILES}/000003.graph": flip, f"{TILES}/000003.basins": flip},
            "stitch_tiles",
            1,
            {"segment/tiles": 1, "stitch_tiles/tiles": 1},
        ),
        ({"work/a/stitch_tiles/0.json": empty}, "stitch", 1, {}),
        (
            {f"{TILES}/000000.basins": flip, "work/a/stitch_tiles/tiles/000001.json": flip},
            "stitch",
            1,
            {"stitch_tiles/tiles": 2},
        ),
        ({"work/a/stitch.json": shorten}, "measure_labels", 1, {}),
        ({f"{LABELS}/0/zarr.json": flip}, "measure_labels", 1, {}),
        (
            {f"{TILES}/000003.cells": flip, f"{LABELS}/0/c/0/0/0": empty},
            "measure_labels",
            1,
            {"labels/shards": 1},
        ),
        (
            {f"{TILES}/000003.fragments": flip, f"{LABELS}/0/c/0/0/0": shorten},
            "measure_labels",
            1,
            {"segment/tiles": 1, "labels/shards": 1},
        ),
        ({f"{STORE}/0/zarr.json": shorten}, "measure_cells", 1, {}),
        (
            {f"{STORE}/0/c/0/0/0/0": Path.unlink, f"{TILES}/000000.table": flip},
            "measure_cells",
            1,
            {"ingest/level0": 1, "measure/tiles": 1},
        ),
        ({"work/a/labels/0.json": flip}, "measure_cells", 1, {}),
        ({"work/a/measure/0.json": flip}, "measure", 1, {}),
        (
            {f"{TILES}/000000.table": flip, "work/a/measure/tiles/000001.json": flip},
            "measure",
            1,
            {"measure/tiles": 2},
        ),
        ({"a/cells.parquet": shorten}, "report", 1, {}),
        ({f"{STORE}/0/c/0/0/0/0": Path.unlink}, "report", 1, {"ingest/level0": 1}),
        ({f"{LABELS}/0/c/0/0/0": shorten}, "report", 1, {"labels/shards": 1}),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else None,
)
def test_what_was_damaged_comes_back_and_nothing_else_is_computed(
    again, tiny_run, harm, found_by, refusals, again_done
):
    results, config = again / "results", tiny_run[1]
    expected = products(again, "a")
    before = times(results)
    for name, damage in harm.items():
        path = results / name
        known = path.stat()
        damage(path)
        # A disk that loses a bit does not say so by a new time.
        if path.exists():
            os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns))
    found = [f"--forcerun={found_by}"]
    if found_by not in ("all", "report"):  # what comes after the tables has nothing to tell
        found = [TABLE, *found]
    for _ in range(refusals):
        printed = run(again, config, *found, fails=True)
        assert "start the same command again" in printed
        assert "Traceback" not in printed
    run(again, config, *found)
    assert products(again, "a") == expected
    assert computed_again(before, times(results)) == again_done


@pytest.mark.slow
def test_a_run_of_everything_mends_a_file_of_each_kind_and_leaves_the_rest(again, tiny_run):
    results, expected = again / "results", products(again, "a")
    before = times(results)
    kinds = {
        path.suffix or path.parent: path
        for path in sorted((results / "work/a").rglob("*"))
        if path.is_file() and "logs" not in path.parts and path.name != "lock"
    }
    assert {".fragments", ".rim", ".graph", ".basins", ".cells", ".table", ".neighbours"} <= set(
        kinds
    )
    for path in kinds.values():
        flip(path)
    for path in (results / STORE).rglob("*"):
        if path.is_file():
            shorten(path)
    empty(results / "work/a/ingest.json")
    run(again, tiny_run[1], "--forceall")
    assert products(again, "a") == expected
    done_again = computed_again(before, times(results))
    assert all(count == 1 for count in done_again.values()), done_again


def test_a_bit_of_the_table_that_was_lost_is_found_when_it_is_read(tmp_path):
    path = tmp_path / "cells.parquet"
    cells = pd.DataFrame({"label": range(1, 4000), "volume": np.random.default_rng(0).random(3999)})
    cells.insert(0, "frame", 0)
    columns = [Column(name, "", "") for name in list(cells)[1:]]
    write_table(path, [cells], sample="a", columns=columns, metadata={})
    content = path.read_bytes()
    pd.testing.assert_frame_equal(Table(path).read(list(cells)), cells)
    column = pq.ParquetFile(path).metadata.row_group(0).column(3)
    start = column.dictionary_page_offset
    for at in range(start, start + column.total_compressed_size, 997):
        damaged = bytearray(content)
        damaged[at] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(DamagedError, match="damaged"):
            Table(path).read(list(cells))


def children(process: subprocess.Popen) -> list[int]:
    """Numbers of the processes that run scripts for this call of Snakemake."""
    listed = subprocess.run(
        ["ps", "-ww", "-s", str(process.pid), "-o", "pid=,args="],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if "/.snakemake/scripts/" in line]


def start_and_wait(folder: Path, config: dict, *, segmented: int) -> subprocess.Popen:
    """Start the workflow, and return when some tiles are segmented and more are in work."""
    records = folder / "results/work/a/segment/tiles"
    with (folder / "first.log").open("w") as log:
        process = subprocess.Popen(
            command(folder, config), stdout=log, stderr=log, start_new_session=True
        )
    while len(list(records.glob("[0-9]*.json"))) < segmented:
        assert process.poll() is None, (folder / "first.log").read_text()
        time.sleep(0.002)
    return process


@pytest.mark.slow
def test_a_job_that_was_killed_fails_and_the_next_run_goes_on_where_it_was(tmp_path, long_run):
    config = long_run[1]
    process = start_and_wait(tmp_path, config, segmented=60)
    killed = children(process)
    assert killed
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    assert process.wait() == 1
    before = times(tmp_path / "results")
    assert 60 <= len(before["segment/tiles"]) < 640
    done_by_0 = sum(
        int(Path(name).stem) in Grid((48, 64, 80), (6, 8, 8)).share(0, 2)
        for name in before["segment/tiles"]
    )
    run(tmp_path, config)
    after = times(tmp_path / "results")
    assert len(after["segment/tiles"]) == 640
    assert computed_again(before, after) == {}
    assert products(tmp_path, "a") == products(long_run[0], "a")
    report = (tmp_path / "results/a/report.html").read_text()
    assert "tried more than once." in report
    assert "segment-0</th><td>1 of 2<" in report
    assert "ended without a word" in report
    assert f"of 320 pieces of work {done_by_0} were there already" in report
    assert "No job was tried twice." in (long_run[0] / "results/a/report.html").read_text()


@pytest.mark.slow
def test_jobs_that_a_killed_snakemake_left_behind_are_waited_for(tmp_path, long_run):
    config = long_run[1]
    process = start_and_wait(tmp_path, config, segmented=60)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    printed = run(tmp_path, config, fails=True)
    assert "--unlock" in printed  # the lock that was left behind: says what to do
    run(tmp_path, config, "--unlock")
    before = times(tmp_path / "results")
    run(tmp_path, config, TABLE)
    assert computed_again(before, times(tmp_path / "results")) == {}
    assert products(tmp_path, "a") == products(long_run[0], "a")


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["stitch_tiles/tiles", "measure/tiles"])
def test_a_run_that_was_killed_later_goes_on_as_well(tmp_path, long_run, stage):
    config = long_run[1]
    records = tmp_path / "results/work/a" / stage
    run_and_kill(tmp_path, config, when=lambda: len(list(records.glob("[0-9]*.json"))) > 30)
    before = times(tmp_path / "results")
    assert len(before[stage]) > 30
    run(tmp_path, config, "--unlock")
    run(tmp_path, config, TABLE)
    assert computed_again(before, times(tmp_path / "results")) == {}
    assert products(tmp_path, "a") == products(long_run[0], "a")


@pytest.mark.slow
def test_of_two_runs_at_once_on_the_same_results_the_second_is_refused(tmp_path, long_run):
    config = long_run[1] | {"results": str(tmp_path / "results")}
    process = start_and_wait(tmp_path, config, segmented=60)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    os.killpg(process.pid, signal.SIGSTOP)  # so that it is not done before the others begin
    printed = run(elsewhere, config, fails=True)
    assert "sample 'a' is being worked on by another run" in printed
    printed = run(tmp_path, config, fails=True)
    assert "cannot be locked" in printed
    os.killpg(process.pid, signal.SIGCONT)
    assert process.wait() == 0, (tmp_path / "first.log").read_text()
    assert products(tmp_path, "a") == products(long_run[0], "a")
    assert "Nothing to be done" in run(elsewhere, config)


@contextmanager
def small_disk(folder: Path, kilobytes: int):
    """A file system of a given size, of which only root can make one."""
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"no small disk can be mounted here: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.slow
def test_a_full_disk_stops_the_run_wherever_that_is_and_more_space_lets_it_go_on(
    tmp_path, tiny_run
):
    config = tiny_run[1] | {"results": str(tmp_path / "results")}
    kilobytes, stopped = 100, 0
    with small_disk(tmp_path / "results", kilobytes):
        while True:
            before = times(tmp_path / "results")
            done = subprocess.run(
                command(tmp_path, config),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            assert computed_again(before, times(tmp_path / "results")) == {}
            if done.returncode == 0:
                break
            assert "No space left on device" in done.stdout, done.stdout
            stopped += 1
            kilobytes += 100
            grow = ["mount", "-o", f"remount,size={kilobytes}k", tmp_path / "results"]
            subprocess.run(grow, check=True)
        assert stopped > 2
        assert products(tmp_path, "a") == products(tiny_run[0], "a")


@pytest.mark.slow
def test_an_image_with_new_content_is_done_anew_and_one_with_a_new_time_is_looked_at(
    again, tiny_run
):
    config = configured(again, write_hills(again, (16, 24, 32)), tile=[8, 12, 16])
    run(again, config, TABLE)
    expected, before = products(again, "a"), times(again / "results")
    assert expected == products(tiny_run[0], "a")

    run(again, config, TABLE, "--forcerun=ingest")  # it was written again, and holds the same
    done_again = computed_again(before, times(again / "results"))
    assert set(done_again) <= {"ingest/level0", "ingest/landscape"}
    assert products(again, "a") == expected

    write_hills(again, (16, 24, 32), seed=4)
    run(again, config, TABLE)
    fresh = again / "fresh"
    fresh.mkdir()
    run(fresh, config, TABLE)
    assert products(again, "a") == products(fresh, "a") != expected
    assert len(computed_again(before, times(again / "results"))) == len(UNITS)


def test_settings_under_which_all_jobs_failed_are_not_forgotten(tiny_run, again):
    changed = tiny_run[1] | {"segment": tiny_run[1]["segment"] | {"threshold": 0.4}}
    fragments = sorted((again / "results/work/a/tiles").glob("*.fragments"))
    for file in fragments:  # nothing can be written there
        file.unlink()
        (file / "in the way").mkdir(parents=True)
    run(again, changed, fails=True)
    for file in fragments:
        shutil.rmtree(file)
    run(again, changed, TABLE)

    fresh = again / "fresh"
    fresh.mkdir()
    run(fresh, changed, TABLE)
    assert products(again, "a") == products(fresh, "a")
