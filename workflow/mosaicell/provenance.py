"""Which code ran, and where: said in logs and reports, and never in a product.

A product holds only what determines it, so that equal results are equal files: the version, the
versions of what the last bits depend on, and hashes of parameters, model and input. The commit
does not stand there: most commits change no result, and the same code comes in a release, in a
clone and in a checkout with a changed README. What a change of code means for results on disk is
settled by the records instead, which hold the hash of the very files that ran.
"""

import platform
import subprocess
from functools import cache
from pathlib import Path

from .version import __version__

ROOT = Path(__file__).parents[2]
CODE = ("Snakefile", "scripts", "workflow")


@cache
def code_state() -> str:
    """The commit of the checkout that this file is in, and whether its code was changed since.

    Returns
    -------
    str
        Empty if this is no git checkout, or git is not there.
    """

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "Snakefile")  # not a checkout of something around us
        changed = git("status", "--porcelain", "--", *CODE)
        return git("rev-parse", "HEAD") + (" and uncommitted changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def stamp() -> str:
    """One line for a log: code and machine."""
    commit = code_state() or "no git checkout"
    return (
        f"mosaicell {__version__} ({commit}), Python {platform.python_version()} "
        f"on {platform.node()}"
    )
