"""Exact quantiles of more values than fit into memory.

Idea: the bits of a float64 can be turned into an integer that sorts like the value. Its digits, of
16 bits each, are found one after the other from the highest on: a pass over all values counts the
next digit of those that begin with the digits known so far, and the counts tell which digit the
value at a rank has. Four passes give the value itself, as sorting would.

Limits: finite values.
"""

from collections.abc import Callable, Iterable, Sequence
from math import floor

import numpy as np

DIGIT = 16  # bits
DIGITS = 4


def quantiles(
    parts: Callable[[], Iterable[np.ndarray]], shares: Sequence[float]
) -> tuple[float, ...]:
    """What `numpy.quantile` gives for all values together.

    Parameters
    ----------
    parts : callable
        Gives all values, part by part: ndarrays of numbers, (n,), not all of them empty; the same
        each time.
    shares : sequence of float
        From 0 (the smallest value) to 1 (the largest).

    Returns
    -------
    tuple of float
        One for each share.
    """
    first = _counts(parts, DIGITS - 1, {0})[0]
    places = [share * (int(first.sum()) - 1) for share in shares]
    ranks = sorted({rank for place in places for rank in (floor(place), -floor(-place))})
    at_rank = dict(zip(ranks, _values(parts, first, ranks), strict=True))
    return tuple(
        _between(at_rank[floor(place)], at_rank[-floor(-place)], place % 1.0) for place in places
    )


def _values(
    parts: Callable[[], Iterable[np.ndarray]], first: np.ndarray, ranks: list[int]
) -> list[float]:
    """The values at some ranks, counted from 0, given the counts of the highest digit."""
    found, left = [0] * len(ranks), list(ranks)  # digits so far; rank among those that have them
    counts = {0: first}
    for digit in reversed(range(DIGITS)):
        if digit < DIGITS - 1:
            counts = _counts(parts, digit, set(found))
        for k, begin in enumerate(found):
            up_to = np.cumsum(counts[begin])
            place = int(np.searchsorted(up_to, left[k], side="right"))
            left[k] -= int(up_to[place - 1]) if place else 0
            found[k] = begin << DIGIT | place
    keys = np.array(found, np.uint64)
    positive = keys >> np.uint64(63) == 1
    return np.where(positive, keys ^ np.uint64(1 << 63), ~keys).view(np.float64).tolist()


def _counts(
    parts: Callable[[], Iterable[np.ndarray]], digit: int, begins: set[int]
) -> dict[int, np.ndarray]:
    """How often each value of a digit comes among the keys that begin with some digits."""
    counts = {begin: np.zeros(1 << DIGIT, np.int64) for begin in begins}
    for part in parts():
        bits = (np.asarray(part, np.float64) + 0.0).view(np.uint64)  # no negative zero
        keys = np.where(bits >> np.uint64(63) == 1, ~bits, bits | np.uint64(1 << 63))
        keys >>= np.uint64(DIGIT * digit)
        highest = keys >> np.uint64(DIGIT)
        for begin, count in counts.items():
            of_begin = keys[highest == begin] & np.uint64((1 << DIGIT) - 1)
            count += np.bincount(of_begin.astype(np.int64), minlength=1 << DIGIT)
    return counts


def _between(low: float, high: float, share: float) -> float:
    """A value between two, rounded as numpy does it."""
    if share >= 0.5:
        return high - (high - low) * (1 - share)
    return low + (high - low) * share
