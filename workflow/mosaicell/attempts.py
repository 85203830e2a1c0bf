"""How often a job was tried, and what is known of each attempt: a journal beside each log.

Idea: a log tells of the last attempt alone, since each begins it anew. So an attempt says in a
journal beside the log when and where it begins and, if it comes to that, how it ends. One that has
no end was ended by others: killed, cancelled, out of memory or out of time. A job that was done at
the first attempt leaves no journal; one that was done and is done again, because something
changed, begins a new one.

The journal is for people: it is in the report, and no result depends on it. So a journal that
cannot be read or written is no reason to stop.

Limits: an attempt counts from when its stage begins. What ended in the seconds before, while
Snakemake started, is known to SLURM alone. Times are those of the clocks of the machines.
"""

import os
import platform
import time
from contextlib import suppress
from pathlib import Path

from .store import DamagedError, read_sealed, write_sealed


class Attempt:
    """The present attempt at a job. Who makes one must have the lock of the log.

    Parameters
    ----------
    log : Path
        Of the job.
    """

    def __init__(self, log: Path):
        self.log = log
        earlier = read_attempts(log)
        if earlier and _ended_well(earlier[-1]):
            earlier = []
        self.begin = time.time()
        self.attempts = [
            *earlier,
            {
                "begin": _clock(self.begin),
                "node": os.environ.get("SLURMD_NODENAME") or platform.node(),
                "slurm_job": os.environ.get("SLURM_JOB_ID", ""),
            },
        ]
        self._write()

    def end(self, error: str = "", **counts: int) -> None:
        """Say how the attempt ends.

        Parameters
        ----------
        error : str
            A sentence; empty if all went well.
        **counts : int
            `found` units of work that an earlier attempt had done, and those `computed`.
        """
        seconds = round(time.time() - self.begin, 1)
        self.attempts[-1] |= {"end": _clock(time.time()), "seconds": seconds, "error": error}
        self.attempts[-1] |= counts
        if len(self.attempts) > 1 or error:
            self._write()
        else:
            with suppress(OSError):
                _journal(self.log).unlink(missing_ok=True)

    def _write(self) -> None:
        with suppress(OSError):  # a full disk, for one, is told by the stage
            write_sealed(_journal(self.log), {"attempts": self.attempts})


def read_attempts(log: Path) -> list[dict]:
    """What is known of the attempts at a job that took several, in their order.

    Parameters
    ----------
    log : Path
        Of the job.

    Returns
    -------
    list of dict
        Of each `begin` and `end` (UTC, text), `node`, `slurm_job` (empty without SLURM), `seconds`,
        `error` (empty if it ended well), and if the job counts its work, `found` and `computed`.
        An attempt that did not come to its end has no `end`, `seconds` and `error`.
    """
    try:
        return read_sealed(_journal(log))["attempts"]
    except (DamagedError, OSError):
        return []


def _journal(log: Path) -> Path:
    return log.with_suffix(".attempts.json")


def _ended_well(attempt: dict) -> bool:
    return attempt.get("error") == ""


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
