"""How long the stages took, and which jobs were tried more than once."""

import numpy as np

from ..words import duration, memory

WITHOUT_END = "ended without a word: killed, cancelled, out of memory or out of time"
ATTEMPTS_SHOWN = 100


def times(timings: list[dict]) -> list[dict]:
    """Rows of the table of timings as text, and the length of each bar in percent."""
    longest = max((row["seconds"] for row in timings), default=0.0) or 1.0
    return [
        {
            "stage": row["stage"],
            "jobs": row["jobs"],
            "time": duration(row["seconds"]),
            "memory": "unknown" if np.isnan(row["max_rss_mb"]) else memory(row["max_rss_mb"]),
            "share": 100 * row["seconds"] / longest,
        }
        for row in timings
    ]


def verdict(attempts: dict[str, list[dict]]) -> str:
    """How many jobs were tried more than once, in a sentence."""
    again = [len(tries) for tries in attempts.values() if len(tries) > 1]
    if not again:
        return "No job was tried twice."
    said = f"{len(again):,} {'job was' if len(again) == 1 else 'jobs were'} tried more than once."
    if sum(again) > ATTEMPTS_SHOWN:
        said += f" Of {sum(again):,} attempts the first {ATTEMPTS_SHOWN} are shown."
    return said


def retried(attempts: dict[str, list[dict]]) -> list[dict]:
    """Rows of the table of attempts as text: all attempts of the jobs that had several.

    Parameters
    ----------
    attempts : dict of str to list of dict
        For each job, by its stage and number, what `attempts.read_attempts` gives.
    """
    rows = [
        {
            "job": job,
            "attempt": f"{number} of {len(tries)}",
            "begin": attempt["begin"],
            "node": attempt["node"]
            + (f", SLURM job {attempt['slurm_job']}" if attempt["slurm_job"] else ""),
            "time": duration(attempt["seconds"]) if "seconds" in attempt else "unknown",
            "end": _end(attempt, is_present=job == "report" and number == len(tries)),
        }
        for job, tries in attempts.items()
        for number, attempt in enumerate(tries, start=1)
        if len(tries) > 1
    ]
    return rows[:ATTEMPTS_SHOWN]


def _end(attempt: dict, *, is_present: bool) -> str:
    """How an attempt ended; that of the job which writes the report has not ended yet."""
    if is_present:
        return "wrote this page"
    said = attempt.get("error", WITHOUT_END) or "done"
    found, computed = attempt.get("found", 0), attempt.get("computed", 0)
    if found:
        said += f"; of {found + computed:,} pieces of work {found:,} were there already"
    return said
