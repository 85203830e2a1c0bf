"""A lock is held by one process at a time and ends with it; a job has one as long as its log."""

import errno
import os
import subprocess
import sys
import time

import pytest

from mosaicell import progress
from mosaicell.lock import doubt, lock
from running import ROOT

HOLD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from mosaicell.lock import doubt, lock
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


@pytest.mark.parametrize(
    ("mount", "doubted"),
    [
        ("/dev/sda1 {} ext4 rw,relatime 0 0", ""),
        ("server:/x {} nfs4 rw,vers=4.2,hard,local_lock=none 0 0", ""),
        ("server:/x {} nfs rw,vers=3,local_lock=none 0 0", ""),
        ("server:/x {} nfs rw,nolock,local_lock=all 0 0", "local_lock=all, nolock"),
        ("server:/x {} nfs rw,vers=3,local_lock=flock 0 0", "(nfs, local_lock=flock)"),
        ("server:/x {} nfs rw,vers=3,local_lock=posix 0 0", ""),
        ("o@tcp:/x {} lustre rw,flock 0 0", ""),
        ("o@tcp:/x {} lustre rw,localflock 0 0", "(lustre, localflock)"),
    ],
)
def test_locks_that_other_machines_do_not_see_are_doubted(tmp_path, monkeypatch, mount, doubted):
    shared = tmp_path / "with space" / "shared"
    shared.mkdir(parents=True)
    mounts = tmp_path / "mounts"
    at = str(shared.parent.resolve()).replace(" ", r"\040")
    mounts.write_text(f"overlay / overlay rw 0 0\n{mount.format(at)}\n")
    monkeypatch.setattr("mosaicell.lock.MOUNTS", mounts)
    with (shared / "lock").open("a") as file:
        assert lock(file)
        assert doubted in doubt(file)
        assert bool(doubt(file)) == bool(doubted)


@pytest.mark.parametrize(("number", "has_none"), [(errno.ENOLCK, True), (errno.EIO, False)])
def test_a_file_system_without_locks_is_doubted_and_other_errors_are_told(
    tmp_path, monkeypatch, number, has_none
):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    with (tmp_path / "lock").open("a") as file:
        assert lock(file)
        assert doubt(file) == ""
        monkeypatch.setattr("fcntl.flock", refuse)
        if has_none:
            assert lock(file)
            assert doubt(file) == "has no locks (No locks available)"
        else:
            with pytest.raises(OSError, match="Input/output"):
                lock(file)
