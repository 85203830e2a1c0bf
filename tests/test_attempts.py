"""A journal beside a log tells of each attempt at a job that took several, and of no other."""

import signal
import subprocess
import sys

import pytest

from mosaicell.attempts import Attempt, read_attempts
from mosaicell.progress import logged, work_off
from running import ROOT

KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from mosaicell.progress import logged
with logged(sys.argv[2], threads=1):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def log(tmp_path):
    return tmp_path / "predict-0.log"


def fail(log, error):
    with pytest.raises((SystemExit, type(error))), logged(log, threads=1):
        raise error


def succeed(log):
    with logged(log, threads=1):
        work_off(range(5), lambda _: None, is_done=lambda tile: tile < 3, what="test")


def test_a_job_that_is_done_at_the_first_attempt_leaves_no_journal(log):
    succeed(log)
    assert read_attempts(log) == []
    assert list(log.parent.iterdir()) == [log]


def test_a_killed_attempt_has_no_end_and_the_next_one_says_what_it_found(log):
    arguments = [sys.executable, "-c", KILLED, str(ROOT / "workflow"), str(log)]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    succeed(log)
    killed, done = read_attempts(log)
    assert set(killed) == {"begin", "node", "slurm_job"}
    assert done["error"] == ""
    assert (done["found"], done["computed"]) == (3, 2)


def test_an_error_is_told_in_a_sentence(log):
    fail(log, ValueError("the reason"))
    fail(log, KeyError("a fault"))
    succeed(log)
    errors = [attempt["error"] for attempt in read_attempts(log)]
    assert errors == ["the reason", "KeyError: 'a fault'", ""]


def test_a_job_that_was_done_and_is_done_again_begins_a_new_journal(log):
    fail(log, ValueError("the reason"))
    succeed(log)
    assert len(read_attempts(log)) == 2
    succeed(log)
    assert read_attempts(log) == []


@pytest.mark.parametrize("content", [b"", b"{", b'{"attempts": [{}]}', b"\xff"])
def test_a_journal_that_is_damaged_is_as_good_as_none(log, content):
    log.with_suffix(".attempts.json").write_bytes(content)
    assert read_attempts(log) == []
    fail(log, ValueError("the reason"))
    assert [attempt["error"] for attempt in read_attempts(log)] == ["the reason"]


def test_a_journal_that_cannot_be_written_stops_no_job(log):
    log.with_suffix(".attempts.json").mkdir()
    attempt = Attempt(log)
    attempt.end("the reason")
    assert read_attempts(log) == []


def test_the_job_of_slurm_is_told(log, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    fail(log, ValueError("the reason"))
    assert read_attempts(log)[0]["slurm_job"] == "17"
