"""A folder that is there whole or not at all.

Idea: an export is many files, so it is written beside its place and put there in one step when all
is on disk. What a killed writer has left is removed by the next one.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..store import write_json

ABOUT = "about.json"


@contextmanager
def replacing_folder(folder: Path, *, about: dict) -> Iterator[Path]:
    """Give an empty folder that becomes `folder` at the end, and leave that as it was on an error.

    Parameters
    ----------
    folder : Path
    about : dict
        What the export is and was made from; becomes the file `about.json` in it.
    """
    temporary = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                with file.open("rb") as written:
                    os.fsync(written.fileno())
        write_json(temporary / ABOUT, about)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
