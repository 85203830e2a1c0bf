"""What became of every cell, true or found: matched, split, merged, missed or invented.

Idea: scores say how many cells are wrong, and this says which, so that they can be looked at. Of
each pair of a found and a true cell it is known which share of the one lies in the other: of
their voxels, or, for thin shapes, of their centre lines.

1. A cell that has its match is `matched`.
2. Of the others, a found cell that holds more than half of each of two or more true cells is
   `merged`, and so are those true cells.
3. Of the others, a true cell is `split` if two or more found cells lie by more than half in it,
   and so are those found cells.
4. True cells that are left are `missed`, found ones `invented`: nothing on the other side fits
   them.

So matched cells are the true positives of the scores (at an IoU, or clDice, of 0.5), and the others
of each side its false negatives and false positives.

Limits: a cell has one kind, though it may deserve two.
"""

from dataclasses import dataclass

import numpy as np

from .centerlines import Centerlines, match
from .columns import AXES, KINDS, SIDES
from .evaluate import Overlaps, matched_pairs

ENOUGH = 0.5  # IoU or clDice
MATCHED, SPLIT, MERGED, MISSED, INVENTED = range(len(KINDS))


@dataclass(frozen=True)
class Pairs:
    """Found and true cells that have to do with each other.

    Attributes
    ----------
    row, column : ndarray of int64, (k,)
        Numbers of the found and of the true cell.
    within, covered : ndarray of float64, (k,)
        Share of the found cell that lies in the true one, and of the true one in the found one.
    score : ndarray of float64, (k,)
        IoU or clDice.
    matched : ndarray of int64
        Numbers of the pairs that are matches.
    """

    row: np.ndarray
    column: np.ndarray
    within: np.ndarray
    covered: np.ndarray
    score: np.ndarray
    matched: np.ndarray


def by_iou(found: Overlaps) -> Pairs:
    """Pairs that share voxels."""
    return Pairs(
        found.row,
        found.column,
        found.shared / found.size[found.row],
        found.shared / found.true_size[found.column],
        found.iou,
        matched_pairs(found, iou=ENOUGH),
    )


def by_cldice(lines: Centerlines) -> Pairs:
    """Pairs of which one's centre line runs through the other."""
    matched, score = match(lines), lines.cldice
    return Pairs(
        lines.row,
        lines.column,
        lines.precision,
        lines.recall,
        score,
        matched[score[matched] > ENOUGH],
    )


def kinds(pairs: Pairs, *, n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """The kind of each of n found and of m true cells, as numbers in `KINDS` (uint8)."""
    row, column = pairs.row, pairs.column
    kind, true_kind = np.full(n, INVENTED, np.uint8), np.full(m, MISSED, np.uint8)
    lies_in = pairs.within > 0.5
    split = np.bincount(column[lies_in], minlength=m) > 1
    true_kind[split] = SPLIT
    kind[row[lies_in & split[column]]] = SPLIT
    holds = pairs.covered > 0.5
    merged = np.bincount(row[holds], minlength=n) > 1
    kind[merged] = MERGED
    true_kind[column[holds & merged[row]]] = MERGED
    kind[row[pairs.matched]] = true_kind[column[pairs.matched]] = MATCHED
    return kind, true_kind


def match_rows(found: Overlaps, pairs: Pairs, *, frame: int, score: str) -> dict[str, np.ndarray]:
    """Rows of the table of matches for one frame: true cells, then found ones, by their labels.

    Parameters
    ----------
    found : Overlaps
    pairs : Pairs
        Of the same cells.
    frame : int
    score : str
        Name of the column of `pairs.score`.

    Returns
    -------
    dict of str to ndarray, (m + n,)
        See `columns.match_columns`.
    """
    n, m = len(found.size), len(found.true_size)
    kind, true_kind = kinds(pairs, n=n, m=m)
    other, best = _partners(pairs, pairs.row, pairs.column, n)
    true_other, true_best = _partners(pairs, pairs.column, pairs.row, m)
    box = np.concatenate((found.true_box, found.box))
    return {
        "frame": np.full(m + n, frame, np.int64),
        "side": np.repeat(SIDES, (m, n)),
        "label": np.concatenate((found.true_label, found.label)),
        "kind": np.array(KINDS)[np.concatenate((true_kind, kind))],
        "other_label": np.concatenate(
            (_labels(found.label, true_other), _labels(found.true_label, other))
        ),
        score: np.concatenate((true_best, best)),
        "num_voxels": np.concatenate((found.true_size, found.size)),
        **{f"bbox_min_{axis}": box[:, k] for k, axis in enumerate(AXES)},
        **{f"bbox_max_{axis}": box[:, 3 + k] for k, axis in enumerate(AXES)},
    }


def _partners(
    pairs: Pairs, own: np.ndarray, other: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """For each of n cells of a side its match, or else the cell of the highest score.

    Its number is -1, and the score 0, where there is none.
    """
    is_match = np.zeros(len(own), bool)
    is_match[pairs.matched] = True
    order = np.lexsort((other, -pairs.score, ~is_match, own))
    best = order[np.diff(own[order], prepend=-1) > 0]
    partner, score = np.full(n, -1), np.zeros(n)
    partner[own[best]], score[own[best]] = other[best], pairs.score[best]
    return partner, score


def _labels(labels: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Labels by their numbers; 0 for number -1."""
    return np.append(labels, 0)[numbers]
