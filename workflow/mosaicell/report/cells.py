"""Sums and medians over the table of cells, and how it is read: part by part, never as a whole."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..columns import AXES
from ..geometry import Triple
from ..quantiles import quantiles

Cells = Callable[[list[str]], Iterable[pd.DataFrame]]
CENTROID = [f"centroid_{axis}" for axis in AXES]


@dataclass(frozen=True)
class Tally:
    """What is counted of all cells. Where there is none, the medians are NaN.

    Attributes
    ----------
    n, touching, small, voxels : int
        Cells; those at the border of the image; those of less than a tenth of the median size; the
        voxels of all.
    median_voxels : float
    largest : dict
        Frame, label, size and centroid of the largest cell; of several the first. Empty without
        cells.
    crossing : list of three ndarray of int64
        Along each axis, how many cells cross each plane.
    extent : tuple of float
        Along each axis, the median of the voxels that a cell's box is long.
    """

    n: int
    touching: int
    small: int
    voxels: int
    median_voxels: float
    largest: dict
    crossing: list[np.ndarray]
    extent: tuple[float, ...]


def tally(cells: Cells, shape: Triple) -> Tally:
    """Sum the table up, in one pass for all sums and a few for the median.

    Parameters
    ----------
    cells : callable
        Gives some columns of the table of cells, part by part.
    shape : tuple of int
        Of the volume, in voxels.

    Returns
    -------
    Tally
    """
    n = touching = voxels = 0
    largest: dict = {}
    # How many boxes begin less those that end at each plane, and boxes by their length.
    changes = [np.zeros(edge + 1, np.int64) for edge in shape]
    lengths = [np.zeros(edge + 1, np.int64) for edge in shape]
    corners = [f"bbox_{end}_{axis}" for end in ("min", "max") for axis in AXES]
    for part in cells(["frame", "label", "num_voxels", "touches_border", *CENTROID, *corners]):
        sizes = part["num_voxels"].to_numpy()
        n += sizes.size
        touching += int(part["touches_border"].sum())
        voxels += int(sizes.sum())
        if sizes.size and sizes.max() > largest.get("num_voxels", 0):
            at = int(sizes.argmax())
            largest = {
                name: part[name].iloc[at] for name in ("frame", "label", "num_voxels", *CENTROID)
            }
        for axis, name in enumerate(AXES):
            first, last = (part[f"bbox_{end}_{name}"].to_numpy(np.int64) for end in ("min", "max"))
            edges = shape[axis] + 1
            changes[axis] += np.bincount(first, minlength=edges)
            changes[axis] -= np.bincount(last, minlength=edges)
            lengths[axis] += np.bincount(last - first, minlength=edges)
    (median,) = quantiles(column(cells, "num_voxels"), [0.5]) if n else (np.nan,)
    small = sum(int((sizes < median / 10).sum()) for sizes in column(cells, "num_voxels")())
    return Tally(
        n=n,
        touching=touching,
        small=small,
        voxels=voxels,
        median_voxels=median,
        largest=largest,
        crossing=[np.cumsum(change) for change in changes],
        extent=tuple(_median_of_counts(counts) for counts in lengths),
    )


def column(cells: Cells, name: str) -> Callable[[], Iterator[np.ndarray]]:
    """The values of one column, part by part, as often as they are asked for."""
    return lambda: (part[name].to_numpy() for part in cells([name]))


def nearest(cells: Cells, planes: Triple, spacing: tuple[float, float, float]) -> np.ndarray:
    """The centroid (z, y, x; voxels) that is next to a point; of several the first."""
    found, least = np.full(3, np.nan), np.inf
    for part in cells(CENTROID):
        centroids = part.to_numpy()
        squares = (((centroids - planes) * spacing) ** 2).sum(axis=1)
        if squares.size and squares.min() < least:
            found, least = centroids[squares.argmin()], squares.min()
    return found


def _median_of_counts(counts: np.ndarray) -> float:
    """The median of whole numbers, of which it is known how often each comes."""
    n = int(counts.sum())
    if n == 0:
        return np.nan
    middle = np.searchsorted(np.cumsum(counts), [(n - 1) // 2, n // 2], side="right")
    return float(middle.mean())
