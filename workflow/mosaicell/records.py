"""Records: which tiles of a stage are done, so that a run that starts again does only the rest.

Idea: a tile's record is written, in one step, after everything else of the tile is on disk, and
it carries the fingerprint of all that the tile was computed from (parameters, input, code). A
record with another fingerprint is as good as none: the tile is computed again. What a record
says about the tile (a checksum, counts, names) is its payload. Each record carries its own hash,
so that one that is damaged is not believed.

A job that has done its share says so in a *job record*, the file by which Snakemake knows it. Job
records differ each time, so whatever follows a job that ran runs again, and finds in the records
of its tiles that little is to be done.

Limits: a record speaks for what was written, not for what is there now; the caller compares the
checksum in the payload with the store when that matters.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

from .store import DamagedError, read_sealed, write_sealed


def fingerprint(**identity: object) -> str:
    """SHA-256 (hex) of named values that JSON can hold; the order of the names does not matter."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def fingerprint_of_files(paths: list[Path]) -> str:
    """SHA-256 (hex) of the contents of files, in order; used for the code of a stage."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return digest.hexdigest()


def write_job_record(path: Path, **said: object) -> None:
    """Say that a job has done its share, and what those that follow need to know of it."""
    write_sealed(path, said | {"run": uuid4().hex})


def read_job_record(path: str | Path) -> dict:
    """What a job said when it had done its share.

    Raises
    ------
    DamagedError
        If the record is not as it was written. It is removed, so its job runs again next time.
    """
    with reopening(Path(path)):
        return read_sealed(Path(path))


def forget_jobs(record: Path, jobs: int) -> None:
    """Remove the records of jobs that an earlier run, which had more jobs, has left.

    Their tiles may be computed otherwise now, so what they say would be wrong.

    Parameters
    ----------
    record : Path
        Of any job of the stage; they are named by their numbers.
    jobs : int
        Number of jobs there are now.
    """
    for path in record.parent.glob("[0-9]*.json"):
        if int(path.stem) >= jobs:
            path.unlink(missing_ok=True)


@contextmanager
def reopening(*stages: Path) -> Iterator[None]:
    """If something is found damaged, have the jobs that may have written it run again next time.

    Parameters
    ----------
    *stages : Path
        Folders of job records, or job records.

    Raises
    ------
    DamagedError
        The one that came, with what to do.
    """
    try:
        yield
    except DamagedError as error:
        for stage in stages:
            for record in stage.glob("[0-9]*.json") if stage.is_dir() else [stage]:
                record.unlink(missing_ok=True)
        raise DamagedError(
            f"{error}: start the same command again, which computes what is missing anew"
        ) from error


def versions_of(*packages: str) -> dict[str, str]:
    """Versions of installed packages on which the last bits of a result may depend."""
    return {name: version(name) for name in packages}


class Records:
    """The records of one stage's tiles in one folder.

    Parameters
    ----------
    folder : Path
        Holds one JSON file a tile.
    expected : str
        Fingerprint of everything that this run's tiles are computed from.
    """

    def __init__(self, folder: Path, expected: str):
        self.folder = folder
        self.expected = expected

    def payload(self, tile: int) -> dict | None:
        """What was said of a tile when it was done; None if it is not done, or done otherwise."""
        try:
            record = read_sealed(self._path(tile))
        except DamagedError:
            return None
        return record["payload"] if record["fingerprint"] == self.expected else None

    def add(self, tile: int, payload: dict) -> None:
        """Say that a tile is done. Everything that belongs to it must be on disk by now."""
        write_sealed(self._path(tile), {"fingerprint": self.expected, "payload": payload})

    def _path(self, tile: int) -> Path:
        return self.folder / f"{tile:06d}.json"
