"""Records: which tiles of a stage are done, so that a run that starts again does only the rest.

Idea: a tile's record is written, in one step, after everything else of the tile is on disk, and
it carries the fingerprint of all that the tile was computed from (parameters, input, code). A
record with another fingerprint is as good as none: the tile is computed again. What a record
says about the tile (a checksum, counts, names) is its payload.

Limits: a record speaks for what was written, not for what is there now; the caller compares the
checksum in the payload with the store when that matters.
"""

import hashlib
import json
from pathlib import Path

from .store import read_json, write_json


def fingerprint(**identity: object) -> str:
    """SHA-256 (hex) of named values that JSON can hold; the order of the names does not matter."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def fingerprint_of_files(paths: list[Path]) -> str:
    """SHA-256 (hex) of the contents of files, in order; used for the code of a stage."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return digest.hexdigest()


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
            record = read_json(self._path(tile))
        except (FileNotFoundError, ValueError):
            return None
        if not isinstance(record, dict) or record.get("fingerprint") != self.expected:
            return None
        return record["payload"]

    def add(self, tile: int, payload: dict) -> None:
        """Say that a tile is done. Everything that belongs to it must be on disk by now."""
        write_json(self._path(tile), {"fingerprint": self.expected, "payload": payload})

    def _path(self, tile: int) -> Path:
        return self.folder / f"{tile:06d}.json"
