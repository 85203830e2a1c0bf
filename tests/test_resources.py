"""What jobs ask for: enough memory, time that grows, GPUs where used, and no more threads."""

import os
import re
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile

import resources
import settings
import sheets
from mosaicell import model
from mosaicell.predict import scale_of
from mosaicell.records import write_job_record
from running import command, run, write_sheet

STAGES = (*resources.SPEEDS, "evaluate_truth", "check_measure", "train")
CARD = model.card(model.find("nuclei-3d")[0])
LOAD = resources.load(settings.read_config({}), None, CARD)
KNOWN = replace(LOAD, shape=(1, 1000, 2000, 2000), itemsize=2, landscape_itemsize=2)
# Each process of Python says at its end how much memory it held at most (KiB). What getrusage
# says begins with what the process held that started it.
SITECUSTOMIZE = """
import atexit, os, re, sys
def say():
    with open("/proc/self/status") as status:
        peak = re.search(r"VmHWM:\\s*(\\d+)", status.read())[1]
    with open(os.environ["PEAKS"], "a") as file:
        file.write(f"{os.path.basename(sys.argv[0])} {os.environ.get('OMP_NUM_THREADS')} {peak}\\n")
atexit.register(say)
"""


@pytest.mark.parametrize("stage", STAGES)
def test_a_second_attempt_asks_for_twice_as_much(stage):
    for load in (LOAD, KNOWN):
        for ask in (resources.memory, resources.runtime):
            first, second, third = (
                ask(stage, load, threads=2, attempt=attempt) for attempt in (1, 2, 3)
            )
            assert (second, third) == (2 * first, 4 * first)


@pytest.mark.parametrize(
    ("stage", "changed"),
    [
        ("segment", {"tile": (512, 256, 256)}),
        ("segment", {"landscape_itemsize": 4}),
        ("segment", {"smooth": True}),
        ("stitch_tiles", {"tile": (512, 256, 256)}),
        ("measure_labels", {"tile": (512, 256, 256)}),
        ("measure_cells", {"itemsize": 4}),
        ("measure_cells", {"shape": (3, 1000, 2000, 2000)}),
        ("predict", {"model": CARD | {"window": 128}}),
        ("train", {"train": LOAD.train | {"batch": 16}}),
        ("train", {"train": LOAD.train | {"edge": 96}}),
        ("measure", {"shape": (1, 1000, 9000, 2000)}),
        ("measure", {"shape": (2, 1000, 2000, 2000)}),
        ("measure", {"tile": (512, 256, 256)}),
    ],
)
def test_memory_follows_tile_dtype_channels_and_model(stage, changed):
    assert resources.memory(stage, replace(KNOWN, **changed), threads=1) > resources.memory(
        stage, KNOWN, threads=1
    )


@pytest.mark.parametrize(
    ("name", "shape", "more"),
    [
        ("nuclei-3d", (1, 90, 90, 90), False),
        ("nuclei-3d", (1, 90, 90, 200), True),
        ("nuclei-2d", (1, 1, 200, 200), False),
        ("nuclei-2d", (1, 5, 200, 200), True),
    ],
)
def test_predicting_asks_for_more_with_more_threads_if_there_is_more_than_one_window(
    name, shape, more
):
    card = model.card(model.find(name)[0])
    load = replace(KNOWN, shape=shape, model=card, diameter={"voxel": card["nominal_diameter"]})
    one, four = (resources.memory("predict", load, threads=n) for n in (1, 4))
    assert (four > one) is more


def test_a_report_asks_for_the_same_however_many_cells_there_are():
    larger = replace(KNOWN, shape=(1, 50_000, 2000, 2000))
    asked = {resources.memory("report", load, threads=1) for load in (LOAD, KNOWN, larger)}
    assert len(asked) == 1


def test_tables_are_gathered_a_layer_of_tiles_at_a_time():
    deeper = replace(KNOWN, shape=(1, 9000, 2000, 2000))
    asked = [resources.memory("measure", load, threads=1) for load in (KNOWN, deeper)]
    assert asked[0] == asked[1]


@pytest.mark.parametrize("stage", resources.SHARED)
def test_time_follows_the_tiles_of_a_job(stage):
    longer = replace(KNOWN, shape=(1, 50_000, 2000, 2000))
    shared = replace(longer, jobs=100)
    minutes = [resources.runtime(stage, load, threads=1) for load in (KNOWN, longer, shared)]
    assert minutes[0] < minutes[1]
    assert resources.LEAST_MINUTES < minutes[2] < minutes[1]
    assert resources.runtime(stage, LOAD, threads=1) == resources.UNKNOWN_MINUTES


def test_an_image_on_a_finer_grid_than_the_models_takes_less_time_to_predict():
    coarse = replace(KNOWN, diameter={"um": 24.0}, voxel_size=(1.0, 1.0, 1.0))
    ratio = resources.seconds("predict", KNOWN, threads=1) / resources.seconds(
        "predict", coarse, threads=1
    )
    assert ratio == pytest.approx(8)


@pytest.mark.parametrize(
    ("diameter", "voxel_size", "scale"),
    [
        (None, (1.0, 0.5, 0.5), (1, 1, 1)),
        ("auto", (1.0, 0.5, 0.5), (1, 1, 1)),
        ({"um": 6}, (1.0, 0.5, 0.5), (2, 1, 1)),
        ({"um": 6}, None, (1, 1, 1)),
        ({"voxel": 12}, (1.0, 0.5, 0.5), (2, 1, 1)),
        ({"voxel": 6}, None, (2, 2, 2)),
    ],
)
def test_the_scale_follows_a_diameter_of_any_unit(diameter, voxel_size, scale):
    assert replace(KNOWN, diameter=diameter, voxel_size=voxel_size).scale == scale
    if isinstance(diameter, dict) and (voxel_size or "voxel" in diameter):
        assert scale_of(**diameter, voxel_size=voxel_size, nominal_diameter=12) == scale


def test_what_was_estimated_is_known_to_those_after_it(tmp_path):
    (tmp_path / "a.tif").touch()
    sheet = write_sheet(tmp_path / "s.tsv", [{"sample": "a", "image": tmp_path / "a.tif"}])
    sample = sheets.read_samples(str(sheet), "results")["a"]
    record = tmp_path / "diameter.json"
    for found, expected in ((None, "auto"), (20.0, {"voxel": 20.0})):
        if found:
            write_job_record(record, diameter=found)
        load = resources.load(settings.read_config({}), sample, CARD, None, record)
        assert load.diameter == expected
    write_job_record(record, diameter=None)
    assert resources.load(settings.read_config({}), sample, CARD, None, record).diameter is None


def asked(printed: str) -> dict[str, list[dict[str, str]]]:
    """What Snakemake printed of each rule's jobs: threads and resources."""
    found: dict[str, list[dict[str, str]]] = {}
    for rule, about in re.findall(r"^(?:local)?rule (\w+):\n((?:    .*\n)+)", printed, re.M):
        said = dict(re.findall(r"(\w+)=([^\s,]+)", re.search("resources: (.*)", about)[1]))
        threads = re.search("threads: (.*)", about)
        found.setdefault(rule, []).append(said | {"threads": threads[1] if threads else "1"})
    return found


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A run with two cores: what jobs asked for, what they held (MB), and their use of cores.

    One sample is predicted, the other is a tile of 256^3 voxels of noise: more cells than real.
    """
    folder = tmp_path_factory.mktemp("watched")
    from mosaicell.synthetic.synthesis import synthesise

    image, truth = synthesise(5, (96, 96, 96))
    image = (image - image.min()) / np.ptp(image) * 60000
    tifffile.imwrite(folder / "image.tif", image.astype(np.uint16))
    tifffile.imwrite(folder / "truth.tif", truth.astype(np.uint16))
    noise = np.random.default_rng(0).random((256, 256, 256), np.float32)
    noise = noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1) + np.roll(noise, 1, 2)
    tifffile.imwrite(folder / "noise.tif", noise)
    tifffile.imwrite(folder / "noise8.tif", (noise * 60).astype(np.uint8))
    rows = [
        {"sample": "a", "image": folder / "image.tif", "truth": folder / "truth.tif"},
        {"sample": "b", "image": folder / "noise8.tif", "landscape": folder / "noise.tif"},
    ]
    config = {
        "samples": str(write_sheet(folder / "samples.tsv", rows)),
        "tile": {"jobs": 1},
        "segment": {"threshold": 0.2, "persistence": 0.15, "min_size": 8},
    }
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    environment = os.environ | {"PYTHONPATH": str(folder), "PEAKS": str(folder / "peaks.txt")}
    used: dict[str, list[tuple[float, float, float]]] = {}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command(folder, config, "--cores=2"), stdout=log, stderr=log, env=environment
        )
        while process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                try:
                    script = next((a for a in child.cmdline() if a.endswith(".py")), None)
                    if script and "snakemake/scripts" in script and "python" in child.name():
                        # On a busy machine much time may pass around a look at a clock.
                        before = time.monotonic()
                        times = child.cpu_times()
                        looked = before, time.monotonic(), times.user + times.system
                        used.setdefault(Path(script).name, []).append(looked)
                except psutil.NoSuchProcess:
                    continue
            time.sleep(0.1)
    printed = (folder / "log").read_text()
    assert process.returncode == 0, printed
    peaks: dict[str, tuple[int, float]] = {}
    for line in (folder / "peaks.txt").read_text().splitlines():
        name, threads, peak = line.split()
        if match := re.search(r"\.(\w+)\.py", name):
            held = max(int(peak) * 1024 / 10**6, peaks.get(match[1], (0, 0))[1])
            peaks[match[1]] = int(threads), held
    return asked(printed), peaks, used


@pytest.mark.slow
def test_no_job_needs_more_memory_than_it_asks_for_or_asks_for_far_too_much(watched):
    jobs, peaks, _ = watched
    assert set(peaks) == set(jobs) - {"all"}
    for rule, (_, peak) in peaks.items():
        most = max(int(job["mem_mb"]) for job in jobs[rule])
        assert peak < most, rule
        if rule != "ingest":  # its bands are as large as they may be in large images only
            assert most < 2 * peak + resources.FLOOR / resources.MB, rule


@pytest.mark.slow
def test_what_is_asked_for_follows_the_image_as_soon_as_it_is_ingested(watched):
    jobs, _, _ = watched
    assert jobs["ingest"][0]["runtime"] == str(resources.UNKNOWN_MINUTES)
    for rule in resources.SHARED:
        assert all(int(job["runtime"]) < 2 * resources.LEAST_MINUTES for job in jobs[rule]), rule


@pytest.mark.slow
def test_no_job_runs_more_threads_than_it_was_given(watched):
    jobs, peaks, used = watched
    for rule, (threads, _) in peaks.items():
        assert threads == int(jobs[rule][0]["threads"]), rule
    assert {rule for rule in jobs if jobs[rule][0]["threads"] == "2"} == {
        "ingest",
        "estimate_diameter",
        "predict",
        "stitch",
    }
    for script, samples in used.items():
        given = peaks[script.split(".")[1]][0]
        for begin, _, spent in samples:
            # On a busy virtual machine the time that a process has used is told up to half a
            # second late: over a second one thread may then look like one and a half.
            later = [(end, more) for before, end, more in samples if before >= begin + 3]
            if later:
                end, more = later[0]
                assert (more - spent) / (end - begin) < given + 0.5, script


def test_only_what_uses_a_gpu_asks_for_one(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 8, 8), np.uint8))
    row = {"sample": "a", "image": tmp_path / "a.tif", "truth": tmp_path / "a.tif"}
    config = {"samples": str(write_sheet(tmp_path / "samples.tsv", [row]))}
    targets = ["all", "results/models/new.safetensors"]
    jobs = asked(run(tmp_path, config, "--dry-run", *targets))
    with_gpu = {rule for rule, known in jobs.items() if any("gpu" in job for job in known)}
    assert with_gpu == {"estimate_diameter", "predict", "train"}
    for rule, known in jobs.items():
        if rule != "all":
            assert all({"mem_mb", "runtime"} <= set(job) for job in known), rule


def test_nothing_is_compiled_to_run_in_threads_that_nobody_counts():
    library = Path(resources.__file__).parent / "mosaicell"
    for path in library.rglob("*.py"):
        assert "parallel=True" not in path.read_text(encoding="utf-8"), path
