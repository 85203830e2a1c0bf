"""Working off the tiles of a job, with progress that people can follow.

Idea: the tiles that are not done yet go to dask's threads; after each one, at most every few
seconds, a line says how far the job is, how fast, and how long it will take. Lines, not a bar:
several jobs share a terminal, and the same lines make a readable log on a cluster.
"""

import errno
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import dask
import zarr

from .attempts import Attempt
from .lock import lock
from .provenance import stamp

SECONDS_BETWEEN_LINES = 5.0
# A killed Snakemake leaves jobs behind that go on for a while.
SECONDS_FOR_ANOTHER = 120.0
# Units of work that the job of this process has `found` done and those it has `computed`.
COUNTS: Counter[str] = Counter()


class Progress:
    """Counts finished units of work and reports on standard error.

    Parameters
    ----------
    what : str
        Begins every line: stage and sample, for example "segment embryo".
    total : int
        Units of work in all.
    unit : str
        What is counted, in the plural.
    """

    def __init__(self, what: str, total: int, unit: str = "tiles"):
        self.what, self.total, self.unit = what, total, unit
        self.done = 0
        self.skipped = 0
        self.begin = self.last = time.monotonic()
        self.lock = Lock()

    def skip(self, count: int) -> None:
        """Count units that an earlier run has finished."""
        self.done += count
        self.skipped += count
        if count:
            self._say(f"{count} of {self.total} {self.unit} were done by an earlier run")

    def advance(self, count: int = 1, *, note: str = "") -> None:
        """Count finished units, and report if the last report is a while ago or this is the end.

        The note ends the line.
        """
        with self.lock:
            self.done += count
            now = time.monotonic()
            if now - self.last < SECONDS_BETWEEN_LINES and self.done < self.total:
                return
            self.last = now
            elapsed = now - self.begin
            fresh = self.done - self.skipped
            left = elapsed / fresh * (self.total - self.done)
            self._say(
                f"{self.done}/{self.total} {self.unit} ({100 * self.done // self.total} %), "
                f"{_clock(elapsed)} so far, {_clock(left)} left" + (note and f", {note}")
            )

    def _say(self, text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {self.what}: {text}", file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def work_off(
    tiles: Iterable[int],
    do: Callable[[int], None],
    *,
    is_done: Callable[[int], bool],
    what: str,
    threads: int = 1,
    unit: str = "tiles",
) -> int:
    """Do every tile that is not done yet, several at a time.

    Parameters
    ----------
    tiles : iterable of int
        The job's share of the tiles.
    do : callable
        Computes one tile and leaves its result on disk.
    is_done : callable
        Says whether an earlier run has left a result that fits.
    what, unit : str
        See `Progress`.
    threads : int
        Tiles in work at a time.

    Returns
    -------
    int
        How many tiles were computed.
    """
    tiles = list(tiles)
    progress = Progress(what, len(tiles), unit)
    with ThreadPoolExecutor(threads) as pool:
        there = list(pool.map(is_done, tiles))
    waiting = [tile for tile, is_there in zip(tiles, there, strict=True) if not is_there]
    progress.skip(len(tiles) - len(waiting))
    COUNTS["found"] += progress.skipped

    def do_one(tile: int) -> None:
        do(tile)
        progress.advance()

    # The pool waits for the tiles in work, so that nothing goes on after a tile has failed.
    with ThreadPoolExecutor(threads) as pool:
        tasks = [dask.delayed(do_one, pure=False)(tile) for tile in waiting]
        try:
            dask.compute(*tasks, scheduler="threads", pool=pool, num_workers=threads)
        finally:
            COUNTS["computed"] += progress.done - progress.skipped
    return len(waiting)


class _Tee:
    """Writes to several text streams at once."""

    def __init__(self, *streams):
        self.streams = streams

    def write(self, text: str) -> int:
        for stream in self.streams:
            stream.write(text)
            stream.flush()
        return len(text)

    def flush(self) -> None:
        for stream in self.streams:
            stream.flush()


def limit_threads(threads: int) -> None:
    """Give zarr as many threads as the job has; all scripts pass here, through `logged`.

    The rest follows the job's `threads` too: BLAS, OpenMP and with it torch and pyarrow through
    OMP_NUM_THREADS and its like, which Snakemake sets before Python starts; `work_off` and the
    stages, whose threads are an argument. Nothing here is compiled by numba to run in parallel.
    """
    zarr.config.set({"threading.max_workers": threads, "async.concurrency": threads})


@contextmanager
def logged(path: str | Path, *, threads: int) -> Iterator[None]:
    """Copy what is written to standard error into a log file, and say what went wrong.

    The libraries that a script uses get the threads of its job first (see `limit_threads`).

    Whoever has the log has the job: if another process is still at it, this one waits for a while.
    Beside the log stands how often the job was tried (see `mosaicell.attempts`).

    A refusal (ValueError, OSError) is one sentence on the terminal and ends the program; its
    traceback, and that of any other exception, is in the log.
    """
    limit_threads(threads)
    terminal = sys.stderr
    with Path(path).open("a", encoding="utf-8") as log:
        if not lock(log):
            print(f"Waiting for another process at this job (it writes {path})", file=terminal)
        if not lock(log, wait=SECONDS_FOR_ANOTHER):
            raise SystemExit(
                f"Stopped: another process is at this job (it writes {path}); allowed is one: wait "
                "until it has ended, or end it, and start the same command again"
            )
        log.truncate(0)
        attempt = Attempt(Path(path))
        COUNTS.clear()
        print(stamp(), file=log, flush=True)
        sys.stderr = _Tee(terminal, log)
        try:
            yield
            attempt.end(**COUNTS)
        except (ValueError, OSError) as error:
            attempt.end(_what_to_do(error), **COUNTS)
            traceback.print_exc(file=log)
            print(f"Stopped: {_what_to_do(error)}", file=sys.stderr)
            raise SystemExit(1) from None
        except BaseException as error:
            attempt.end(f"{type(error).__name__}: {error}", **COUNTS)
            traceback.print_exc(file=log)
            raise
        finally:
            sys.stderr = terminal


def _what_to_do(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return (
            f"the disk is full ({error}); what is finished is kept: free some space and start the "
            "same command again"
        )
    return str(error)
