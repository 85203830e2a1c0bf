"""Histograms for the report, as bars and ticks that its template draws in SVG."""

from dataclasses import dataclass
from math import ceil, floor

import numpy as np

from .words import nice_above, number

ENOUGH_VALUES = 10  # for shares to mean something


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
    title: str, unit: str, values: np.ndarray, *, bounds: tuple[float, float] | None = None
) -> Chart:
    """Count values in bars of a round width; far outliers go to the outermost bars.

    Parameters
    ----------
    title, unit : str
    values : ndarray of float64, (n,)
        Finite, n > 0.
    bounds : tuple of float, optional
        What the axis covers, the upper end left out; by default what the values do, far
        outliers left out.
    """
    low, median, high = np.quantile(values, [0.05, 0.5, 0.95])
    begin, end = bounds or _without_outliers(values)
    if end - begin <= 1e-6 * max(abs(begin), abs(end)):
        begin, end = begin - 0.5, end + 0.5
    step = nice_above((end - begin) / np.clip(2 * np.sqrt(values.size), 8, 30))
    if bounds is None and (values == np.rint(values)).all():
        step = max(1.0, step)
    first = floor(begin / step)
    n = floor(end / step) + 1 - first
    position = np.floor(values / step) - first
    index = np.clip(position, 0, n - 1).astype(np.int64)
    beyond = int((position != index).sum())
    counts = np.bincount(index, minlength=n)
    y_step = max(1.0, nice_above(counts.max() / 4))
    y_steps = ceil(counts.max() / y_step)
    note = f"median {number(median)}"
    if values.size >= ENOUGH_VALUES:
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
                "height": 100 * count / (y_steps * y_step),
                "text": f"{count:,}: {number((first + k) * step)} to "
                f"{number((first + k + 1) * step)}",
            }
            for k, count in enumerate(counts.tolist())
            if count
        ],
        x_ticks=x_ticks,
        y_ticks=[(100 * k / y_steps, number(k * y_step)) for k in range(y_steps + 1)],
        median=float(np.clip(100 * (median / step - first) / n, 0, 100)),
    )


def _without_outliers(values: np.ndarray) -> tuple[float, float]:
    """The range of the values, cut five interquartile ranges beyond the quartiles."""
    lower, upper = np.quantile(values, [0.25, 0.75])
    reach = 5 * (upper - lower) or np.inf
    return max(values.min(), lower - reach), min(values.max(), upper + reach)
