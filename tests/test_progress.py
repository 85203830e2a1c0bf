"""Only what is missing is done, several at a time, and people can follow."""

import errno
import sys
import time
from threading import Barrier

import pytest

from mosaicell import progress
from mosaicell.progress import logged, work_off


@pytest.mark.parametrize("threads", [1, 4])
def test_every_tile_that_is_not_done_is_done_once(threads):
    done = []
    count = work_off(
        range(20), done.append, is_done=lambda tile: tile % 3 == 0, what="test", threads=threads
    )
    assert sorted(done) == [tile for tile in range(20) if tile % 3]
    assert count == len(done)


def test_tiles_are_in_work_at_the_same_time():
    together = Barrier(3, timeout=20)
    work_off(range(3), lambda _: together.wait(), is_done=lambda _: False, what="test", threads=3)
    assert not together.broken


@pytest.mark.parametrize("threads", [1, 4])
def test_an_error_in_a_tile_ends_the_job(threads):
    def fail_at_three(tile):
        if tile == 3:
            raise ValueError("tile 3 is odd")

    with pytest.raises(ValueError, match="tile 3 is odd"):
        work_off(range(6), fail_at_three, is_done=lambda _: False, what="test", threads=threads)


def test_no_tile_is_in_work_any_more_when_a_failure_is_reported():
    in_work = []

    def do(tile):
        if tile == 0:
            raise RuntimeError("tile 0")
        in_work.append(tile)
        time.sleep(0.2)
        in_work.remove(tile)

    with pytest.raises(RuntimeError, match="tile 0"):
        work_off(range(20), do, is_done=lambda _: False, what="test", threads=4)
    assert in_work == []
    time.sleep(0.3)
    assert in_work == []


def test_lines_tell_how_far_a_job_is(capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    work_off(
        range(4), lambda _: None, is_done=lambda tile: tile == 0, what="segment a", unit="slabs"
    )
    lines = [line.split(" ", 1)[1] for line in capsys.readouterr().err.splitlines()]
    assert lines[0] == "segment a: 1 of 4 slabs were done by an earlier run"
    assert [line.split(",")[0] for line in lines[1:]] == [
        "segment a: 2/4 slabs (50 %)",
        "segment a: 3/4 slabs (75 %)",
        "segment a: 4/4 slabs (100 %)",
    ]


def test_lines_are_rare_but_the_last_is_always_there(capsys):
    work_off(range(50), lambda _: None, is_done=lambda _: False, what="test")
    (line,) = capsys.readouterr().err.splitlines()
    assert "test: 50/50 tiles (100 %)" in line


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3600, "1:00:00")]
)
def test_times_are_written_as_a_clock_shows_them(seconds, text):
    assert progress._clock(seconds) == text


def test_a_log_holds_what_was_said_and_the_traceback(tmp_path, capsys):
    log = tmp_path / "a.log"
    terminal = sys.stderr

    def say_and_fail():
        with logged(log, threads=2):
            print("half way", file=sys.stderr)
            raise ValueError("the reason")

    with pytest.raises(SystemExit):
        say_and_fail()
    assert sys.stderr is terminal
    assert capsys.readouterr().err == "half way\nStopped: the reason\n"
    text = log.read_text()
    assert "\nhalf way\nTraceback" in text  # behind a line of versions
    assert text.endswith("ValueError: the reason\nStopped: the reason\n")


def test_a_full_disk_is_said_with_what_to_do(tmp_path, capsys):
    with pytest.raises(SystemExit), logged(tmp_path / "a.log", threads=2):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "free some space and start the same command again" in capsys.readouterr().err


def test_a_fault_of_the_program_keeps_its_traceback(tmp_path):
    with pytest.raises(KeyError), logged(tmp_path / "a.log", threads=2):
        raise KeyError("a fault")
    assert "KeyError: 'a fault'" in (tmp_path / "a.log").read_text()
