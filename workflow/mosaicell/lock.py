"""Locks on files: who works on something says so, and nobody else works on it meanwhile.

Idea: an advisory lock of the operating system. It ends with the process that holds it, however
that ends, so no lock is ever left behind and none has to be taken away by hand.

Limits: on a file system without locks everybody gets them, and on one that keeps locks to each
machine (NFS with `local_lock`, Lustre with `localflock`) every machine gets them: `doubt` says so.
On a network file system a lock of a machine that went down lasts until its server gives up on it,
which takes a minute or two.
"""

import errno
import fcntl
import time
from pathlib import Path
from typing import IO

SECONDS_BETWEEN_TRIES = 0.2
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
# Mount options by which a lock is known to one machine only.
LOCAL = {"nolock", "local_lock=flock", "local_lock=all", "localflock"}
NETWORK = ("nfs", "nfs4", "lustre")
MOUNTS = Path("/proc/self/mounts")


def lock(file: IO, *, wait: float = 0) -> bool:
    """Take the lock of an open file, which holds until the file is closed.

    Parameters
    ----------
    file : file object
        Open for writing.
    wait : float
        Seconds to wait for another process that holds the lock.

    Returns
    -------
    bool
        False if another process still holds it.

    Raises
    ------
    OSError
        If the file cannot be locked for another reason than that its file system has no locks.
    """
    end = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(SECONDS_BETWEEN_TRIES)
        except OSError as error:
            if error.errno in NO_LOCKS:
                return True
            raise
        else:
            return True


def doubt(file: IO) -> str:
    """Why a lock that was taken may not keep other machines off, or other processes of this one.

    Parameters
    ----------
    file : file object
        Open, and locked by `lock`.

    Returns
    -------
    str
        Words that follow "its file system"; empty if there is no reason for doubt.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return f"has no locks ({error.strerror})"
    path = Path(file.name).resolve()
    above = (str(folder) for folder in path.parents)
    mounts = {}  # the last one of a folder hides those before
    known = MOUNTS.read_text(encoding="utf-8", errors="replace") if MOUNTS.exists() else ""
    for line in known.splitlines():
        _, folder, kind, options, *_ = line.split(" ")
        mounts[folder.replace(r"\040", " ")] = kind, set(options.split(","))
    kind, options = next((mounts[folder] for folder in above if folder in mounts), ("", set()))
    if kind in NETWORK and options & LOCAL:
        return f"keeps locks to each machine ({kind}, {', '.join(sorted(options & LOCAL))})"
    return ""
