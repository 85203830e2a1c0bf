"""Locks on files: who works on something says so, and nobody else works on it meanwhile.

Idea: an advisory lock of the operating system. It ends with the process that holds it, however
that ends, so no lock is ever left behind and none has to be taken away by hand.

Limits: on a file system without locks everybody gets them; on a network file system a lock of a
machine that went down lasts until its server gives up on it, which takes a minute or two.
"""

import fcntl
import time
from typing import IO

SECONDS_BETWEEN_TRIES = 0.2


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
    """
    end = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(SECONDS_BETWEEN_TRIES)
        except OSError:  # a file system without locks
            return True
        else:
            return True
