"""Histograms and profiles for the report, as shapes and ticks that its template draws in SVG."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import ceil, floor

import numpy as np

from .quantiles import quantiles
from .words import nice_above, number

ENOUGH_VALUES = 10  # for shares to mean something
MOST_STEPS = 300  # of a profile

# Values part by part, as often as they are asked for.
Parts = Callable[[], Iterable[np.ndarray]]


@dataclass(frozen=True)
class Chart:
    """A histogram in a frame of 100 x 100: bars, ticks, and where the median lies."""

    title: str
    unit: str
    note: str
    bars: list[dict]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    median: float


def chart(
    title: str, unit: str, values: Parts, *, bounds: tuple[float, float] | None = None
) -> Chart:
    """Count values in bars of a round width; far outliers go to the outermost bars.

    Parameters
    ----------
    title, unit : str
    values : callable
        Gives all values, at least one, part by part: ndarrays of finite numbers, (n,).
    bounds : tuple of float, optional
        What the axis covers, the upper end left out; by default what the values do, far
        outliers left out.
    """
    least, low, lower, median, upper, high, most = quantiles(
        values, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]
    )
    n_values, are_whole = 0, True
    for part in values():
        n_values += part.size
        are_whole &= bool((part == np.rint(part)).all())
    begin, end = bounds or _without_outliers(least, lower, upper, most)
    if end - begin <= 1e-6 * max(abs(begin), abs(end)):
        begin, end = begin - 0.5, end + 0.5
    step = nice_above((end - begin) / np.clip(2 * np.sqrt(n_values), 8, 30))
    if bounds is None and are_whole:
        step = max(1.0, step)
    first = floor(begin / step)
    n = floor(end / step) + 1 - first
    counts, beyond = np.zeros(n, np.int64), 0
    for part in values():
        position = np.floor(part / step) - first
        index = np.clip(position, 0, n - 1).astype(np.int64)
        beyond += int((position != index).sum())
        counts += np.bincount(index, minlength=n)
    top, y_ticks = _counts_axis(counts.max())
    note = f"median {number(median)}"
    if n_values >= ENOUGH_VALUES:
        note += f" · 90 % within {number(low)} to {number(high)}"
    if beyond:
        note += f" · the outermost bars hold {beyond:,} beyond the axis"
    x_step = nice_above(n * step / 5)
    x_ticks = [
        (100 * (k * x_step / step - first) / n, number(k * x_step))
        for k in range(ceil(first * step / x_step), floor((first + n) * step / x_step) + 1)
    ]
    return Chart(
        title=title,
        unit=unit,
        note=note,
        bars=[
            {
                "x": 100 * k / n,
                "width": 100 / n,
                "height": 100 * count / top,
                "text": f"{count:,}: {number((first + k) * step)} to "
                f"{number((first + k + 1) * step)}",
            }
            for k, count in enumerate(counts.tolist())
            if count
        ],
        x_ticks=x_ticks,
        y_ticks=y_ticks,
        median=float(np.clip(100 * (median / step - first) / n, 0, 100)),
    )


def _without_outliers(least: float, lower: float, upper: float, most: float) -> tuple[float, float]:
    """The range of values, cut five interquartile ranges beyond the quartiles."""
    reach = 5 * (upper - lower) or np.inf
    return max(least, lower - reach), min(most, upper + reach)


@dataclass(frozen=True)
class Profile:
    """Counts along an axis in a frame of 100 x 100: an area, a line, and marked places."""

    title: str
    unit: str
    note: str
    area: str
    line: str
    marks: list[float]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]


def profile(title: str, unit: str, note: str, counts: np.ndarray, *, marks: np.ndarray) -> Profile:
    """Draw two rows of counts along an axis as steps; of many planes, the highest is drawn.

    Parameters
    ----------
    title, unit, note : str
    counts : ndarray of int64, (2, n)
        The first row becomes the area, the second the line.
    marks : ndarray of int64
        Planes that are marked.
    """
    n = counts.shape[1]
    width = -(-n // MOST_STEPS)
    starts = np.arange(0, n, width)
    steps = np.maximum.reduceat(counts, starts, axis=1)
    top, y_ticks = _counts_axis(steps.max())
    ends = np.append(starts[1:], n)
    area, line = (
        "M0 100"
        + "".join(
            f"V{100 - 100 * count / top:.5g}H{100 * end / n:.5g}"
            for count, end in zip(row.tolist(), ends.tolist(), strict=True)
        )
        + "V100"
        for row in steps
    )
    x_step = max(1, round(nice_above(n / 5)))
    return Profile(
        title=title,
        unit=unit,
        note=note,
        area=area,
        line=line,
        marks=[100 * (mark + 0.5) / n for mark in marks.tolist()],
        x_ticks=[(100 * (k + 0.5) / n, number(k)) for k in range(0, n, x_step)],
        y_ticks=y_ticks,
    )


def _counts_axis(highest: int) -> tuple[float, list[tuple[float, str]]]:
    """Where an axis of counts from 0 ends, and its ticks."""
    step = max(1.0, nice_above(max(1, highest) / 4))
    n = max(1, ceil(highest / step))
    return n * step, [(100 * k / n, number(k * step)) for k in range(n + 1)]
