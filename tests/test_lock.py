"""A lock is held by one process at a time and ends with it; a job has one as long as its log."""

import subprocess
import sys
import time

import pytest

from mosaicell import progress
from mosaicell.lock import lock
from running import ROOT

HOLD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from mosaicell.lock import lock
file = open(sys.argv[2], "a")
print(lock(file), flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A file, and another process that holds its lock."""
    path = tmp_path / "lock"
    arguments = [sys.executable, "-c", HOLD, str(ROOT / "workflow"), str(path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "True\n"
        yield path, process
        process.kill()


def test_a_lock_is_refused_while_another_holds_it_and_free_once_that_is_killed(holder):
    path, process = holder
    with path.open("a") as file:
        assert not lock(file)
        process.kill()
        process.wait()
        assert lock(file)


def test_who_waits_gets_the_lock_when_it_is_free(holder):
    path, process = holder
    begin = time.monotonic()
    with path.open("a") as file:
        assert not lock(file, wait=0.5)
        assert time.monotonic() - begin >= 0.5
        process.kill()
        assert lock(file, wait=30)


def test_a_job_whose_log_another_process_writes_is_refused_and_leaves_the_log(holder, monkeypatch):
    path, _ = holder
    path.write_text("written by the other")
    monkeypatch.setattr(progress, "SECONDS_FOR_ANOTHER", 0)
    refused = pytest.raises(SystemExit, match="another process is at this job")
    with refused, progress.logged(path, threads=1):
        raise AssertionError("the job has begun")
    assert path.read_text() == "written by the other"
