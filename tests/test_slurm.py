"""The workflow on a real SLURM: profiles/slurm as it stands, and what clusters do to jobs.

The cluster is tests/slurm_cluster.py. A run is long for what it does: most of a job is Snakemake's
start, so one run has all faults.
"""

import itertools
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

import slurm_cluster
from mosaicell.synthetic.synthesis import synthesise
from running import ROOT, command, products, run, write_sheet

MISSING = slurm_cluster.missing()
pytestmark = [pytest.mark.slurm, pytest.mark.skipif(bool(MISSING), reason=MISSING)]

WITHOUT_ACCOUNTING = slurm_cluster.missing(accounting=True)
NODES = 4
SEGMENT = {"threshold": 0.25, "persistence": 0.08, "min_size": 20}
VOXEL_SIZE = {"voxel_size_z": 1.0, "voxel_size_y": 0.5, "voxel_size_x": 0.5}
# The profile as it stands, but for the time that a user of hours does not mind to wait.
PROFILE = (
    f"--workflow-profile={ROOT / 'profiles' / 'slurm'}",
    "--slurm-init-seconds-before-status-checks=1",
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster of four nodes, whose user the tests are."""
    folder = tmp_path_factory.mktemp("slurm")
    with slurm_cluster.cluster(folder, nodes=NODES) as running, pytest.MonkeyPatch.context() as at:
        at.setenv("PATH", running.path)
        yield running


@pytest.fixture
def accounting_cluster(tmp_path_factory):
    """A cluster of one node that keeps its jobs in a database, whose user the test is."""
    folder = tmp_path_factory.mktemp("dbd")
    with (
        slurm_cluster.cluster(folder, nodes=1, accounting=True) as running,
        pytest.MonkeyPatch.context() as at,
    ):
        at.setenv("PATH", running.path)
        yield running


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """Synthetic nuclei as a TIFF file, (z, y, x)."""
    path = tmp_path_factory.mktemp("image") / "image.tif"
    volume, _ = synthesise(7, (32, 48, 64))
    volume = (volume - volume.min()) / np.ptp(volume)
    tifffile.imwrite(path, (volume * 60000).astype(np.uint16))
    return path


def configuration(folder: Path, image: Path, *, jobs: int, tile: list[int]) -> dict:
    folder.mkdir()
    sheet = write_sheet(folder / "samples.tsv", [{"sample": "a", "image": image, **VOXEL_SIZE}])
    return {"samples": str(sheet), "tile": {"shape": tile, "jobs": jobs}, "segment": SEGMENT}


@pytest.fixture(scope="module")
def local(tmp_path_factory, image):
    """The products of a run on one machine, with other tiles and one job a stage."""
    folder = tmp_path_factory.mktemp("local") / "run"
    run(folder, configuration(folder, image, jobs=1, tile=[256, 256, 256]), "--cores=2")
    return products(folder, "a")


class Running:
    """Snakemake at work in a folder, on the cluster."""

    def __init__(self, folder: Path, config: dict, *arguments: str):
        self.log = folder / "snakemake.log"
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command(folder, config, *PROFILE, *arguments), stdout=log, stderr=log
            )

    def wait(self, ready, *, timeout: float = 180):
        """What `ready()` gives as soon as that is true."""
        begin = time.monotonic()
        while not (found := ready()):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() - begin < timeout, self.log.read_text()
            time.sleep(0.2)
        return found

    def end(self, *, timeout: float = 400) -> int:
        """Wait for the end; the exit status."""
        try:
            return self.process.wait(timeout)
        finally:
            self.process.kill()


def of_rule(jobs: list[dict], rule: str) -> list[dict]:
    return [job for job in jobs if job["comment"].startswith(f"rule_{rule}_wildcards")]


def minutes(limit: str) -> int:
    """SLURM's time limit, [[days-]hours:]minutes:seconds, in minutes."""
    days, _, clock = limit.rpartition("-")
    *_, hours, whole, _ = ["0", *clock.split(":")]
    return (int(days or 0) * 24 + int(hours)) * 60 + int(whole)


def megabytes(memory: str) -> float:
    """SLURM's size of memory, with its unit, in MB."""
    return float(memory[:-1]) * {"M": 1, "G": 1024}[memory[-1]]


def test_a_run_through_all_that_clusters_do_ends_like_one_on_one_machine(
    tmp_path, cluster, image, local
):
    folder = tmp_path / "run"
    config = configuration(folder, image, jobs=NODES, tile=[32, 33, 21])
    # Three jobs come to a halt as they write their last file: nobody reads from a pipe there.
    halted = [folder / f"results/work/a/predict/.{job}.json.part" for job in range(3)]
    halted[0].parent.mkdir(parents=True)
    for pipe in halted:
        os.mkfifo(pipe)
    # A first attempt at segment has too little memory: SLURM kills it.
    started = Running(folder, config, "--set-resources", "segment:mem_mb=900 * attempt - 800")

    def four_predict():
        found = of_rule(cluster.jobs("running"), "predict")
        return found if len(found) == NODES else None

    at_once = started.wait(four_predict)
    assert {job["node"] for job in at_once} == {"n1", "n2", "n3", "n4"}
    cancelled, on_dying_node, too_slow, _ = sorted(at_once, key=lambda job: job["comment"])
    logs = folder / "results/work/a/logs"
    for job in range(3):
        started.wait((logs / f"predict-{job}.attempts.json").exists)
    cluster.call("scancel", "--signal=STOP", "--full", too_slow["id"])
    cluster.call("scontrol", "update", f"JobId={too_slow['id']}", "TimeLimit=0")
    cluster.call("scancel", cancelled["id"])
    cluster.fail(on_dying_node["node"])
    for pipe in halted[:2]:
        pipe.unlink()

    def is_over():
        over = {job["id"] for job in cluster.jobs("timeout")}
        return too_slow["id"] in over - {job["id"] for job in cluster.jobs("completing")}

    # SLURM lets it go on before it kills it: it must not come to its end by that.
    started.wait(is_over)
    halted[2].unlink()

    assert started.end() == 0, started.log.read_text()
    assert products(folder, "a") == local
    report = (folder / "results/a/report.html").read_text()
    assert "No seam is visible where tiles meet." in report
    for job in (cancelled, on_dying_node, too_slow):
        number = job["comment"].rpartition("_")[2]
        rows = re.findall(rf'<tr><th scope="row">predict-{number}</th>.*</tr>', report)
        assert len(rows) == 2
        assert "1 of 2" in rows[0]
        assert f">{job['node']}, SLURM job {job['id']}<" in rows[0]
        assert "ended without a word" in rows[0]
        assert ">done" in rows[1]

    jobs = cluster.jobs()
    by_comment = itertools.groupby(
        sorted(jobs, key=lambda job: job["comment"]), key=lambda job: job["comment"]
    )
    attempts = {comment: list(found) for comment, found in by_comment}
    for first, state in ((cancelled, "CANCELLED"), (too_slow, "TIMEOUT")):
        before, after = attempts[first["comment"]]
        assert (before["state"], after["state"]) == (state, "COMPLETED")
        assert megabytes(after["memory"]) > megabytes(before["memory"])
        assert minutes(after["minutes"]) > minutes(first["minutes"])

    # SLURM itself starts the jobs of a dead node again: the same job, elsewhere.
    (again,) = attempts[on_dying_node["comment"]]
    assert again["state"] == "COMPLETED"
    assert again["node"] != on_dying_node["node"]

    segmented = of_rule(jobs, "segment")
    assert sorted(job["state"] for job in segmented) == ["COMPLETED"] * NODES + ["FAILED"] * NODES
    logs = (folder / ".snakemake/slurm_logs/rule_segment").rglob("*.log")
    assert sum("exceeded memory limit" in log.read_text() for log in logs) == NODES

    # Nothing else ran twice.
    twice = {comment for comment, found in attempts.items() if len(found) > 1}
    assert twice == {cancelled["comment"], too_slow["comment"]} | {
        job["comment"] for job in segmented
    }


def test_a_run_that_is_interrupted_takes_its_jobs_back_and_goes_on(tmp_path, cluster, image):
    folder = tmp_path / "run"
    config = configuration(folder, image, jobs=1, tile=[256, 256, 256])
    target = "results/work/a/ingest.json"
    started = Running(folder, config, target)
    started.wait(lambda: of_rule(cluster.jobs("running"), "ingest"))
    started.process.send_signal(signal.SIGINT)
    assert started.end() != 0
    assert not cluster.jobs("running", "pending")
    run(folder, config, *PROFILE, target)
    assert (folder / target).exists()
    assert "Nothing to be done" in run(folder, config, *PROFILE, target)


@pytest.mark.skipif(bool(WITHOUT_ACCOUNTING), reason=WITHOUT_ACCOUNTING)
def test_with_accounting_a_cancelled_job_is_noticed_and_sacct_can_be_asked_too(
    tmp_path, accounting_cluster, image
):
    folder, target = tmp_path / "run", "results/work/a/ingest.json"
    config = configuration(folder, image, jobs=1, tile=[256, 256, 256])
    started = Running(folder, config, target)
    (first,) = started.wait(lambda: of_rule(accounting_cluster.jobs("running"), "ingest"))
    accounting_cluster.call("scancel", first["id"])
    assert started.end() == 0, started.log.read_text()
    # Of a job that is cancelled, the plugin would not know what sacct says of it.
    run(folder, config, *PROFILE, "--slurm-status-command=sacct", "--forcerun=ingest", target)
    kept = accounting_cluster.call(
        "sacct", "-X", "--noheader", "--parsable2", "--format=State", "--starttime=now-1days"
    )
    states = [state.split()[0] for state in kept.splitlines()]
    assert states == ["CANCELLED", "COMPLETED", "COMPLETED"]


def test_only_what_predicts_asks_for_a_gpu(tmp_path, image):
    folder = tmp_path / "run"
    config = configuration(folder, image, jobs=1, tile=[256, 256, 256])
    planned = run(folder, config, *PROFILE, "--dry-run")
    with_gpu = [rule for rule in planned.split("\nrule ")[1:] if "gpu=1" in rule]
    assert [rule.split(":")[0] for rule in with_gpu] == ["estimate_diameter", "predict"]
