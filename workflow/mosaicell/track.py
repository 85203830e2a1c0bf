"""Tracking: which cell of a frame is which of the one before, by distance, with divisions.

Idea: laptrack solves the two assignment problems of Jaqaman et al.; here its links become the
tracks and trees of our table.

1. `track`: positions in um, frame by frame, go to laptrack: links from frame to frame, then of ends
   of tracks with later beginnings (gaps) and with the middle of others (divisions).
2. `_number`: a track runs from its birth, which has no link back or one to a cell that divides,
   to its end or to its division. Tracks are numbered 1, 2, ... by the label of their first cell.

Cells go in by ascending label, so the same cells give the same tracks.

Limits: cells never merge, as the one who divides has one parent in all formats. laptrack holds the
distances of all pairs of cells of two frames (8 bytes each, and twice for a while), and compares
ends and beginnings of tracks one by one: it is for movies of some thousand cells a frame.

Reference: K. Jaqaman et al. (2008), Robust single-particle tracking in live-cell time-lapse
sequences, DOI 10.1038/nmeth.1237; Y. T. Fukai and K. Kawaguchi (2023), LapTrack, DOI
10.1093/bioinformatics/btac799.
"""

import numpy as np
import pandas as pd

from .columns import TRACKS

POSITION = ["centroid_z_um", "centroid_y_um", "centroid_x_um"]
COLUMNS = ["frame", "label", *POSITION]  # what `track` needs of the cells


def track(
    cells: pd.DataFrame,
    *,
    max_distance: float,
    division_distance: float | None = None,
    gap_distance: float | None = None,
    gap_frames: int = 1,
) -> pd.DataFrame:
    """Link cells over time.

    Parameters
    ----------
    cells : DataFrame
        With `frame`, `label` and `centroid_z_um`, `centroid_y_um`, `centroid_x_um`.
    max_distance : float
        Cells move by less than this from one frame to the next, um.
    division_distance : float, optional
        A daughter begins nearer than this to its mother, um; without it no cell divides.
    gap_distance : float, optional
        A cell that was not seen for some frames comes back nearer than this, um; without it
        tracks have no gaps.
    gap_frames : int
        For how many frames in a row a cell may be missing.

    Returns
    -------
    DataFrame
        A row for each cell, by ascending label; all int64. Columns: `frame` and `columns.TRACKS`.

    Raises
    ------
    ValueError
        If positions in um are not known, or laptrack is not installed.
    """
    try:
        from laptrack import LapTrack
    except ImportError:
        raise ValueError(
            "laptrack is not installed, which tracking needs: install it, or do not track"
        ) from None
    cells = cells.sort_values("label", ignore_index=True)
    positions = cells[POSITION].to_numpy(float)
    if np.isnan(positions).any():
        raise ValueError(
            "positions in um are not known, and tracking needs them: give voxel_size_z, "
            "voxel_size_y and voxel_size_x in the sample sheet"
        )
    frames = cells["frame"].to_numpy()
    labels = cells["label"].to_numpy()
    rows = [np.flatnonzero(frames == frame) for frame in range(frames.max(initial=-1) + 1)]
    previous = np.full(len(cells), -1)
    if len(rows) > 1:
        # The cost of making no link. By default it is a percentile of the costs of those possible,
        # so that some divisions would be refused because of others; this allows any within reach.
        no_link = max(division_distance or 0.0, gap_distance or 0.0) ** 2
        tracker = LapTrack(
            cutoff=max_distance**2,
            splitting_cutoff=division_distance is not None and division_distance**2,
            gap_closing_cutoff=gap_distance is not None and gap_distance**2,
            gap_closing_max_frame_count=gap_frames + 1,  # it counts steps
            segment_start_cost=no_link,
            segment_end_cost=no_link,
            no_splitting_cost=no_link,
            no_merging_cost=no_link,
        )
        for (frame, i), (later, j) in tracker.predict([positions[of] for of in rows]).edges():
            previous[rows[later][j]] = rows[frame][i]
    return _number(cells, labels, previous)


def _number(cells: pd.DataFrame, labels: np.ndarray, previous: np.ndarray) -> pd.DataFrame:
    """Tracks and trees of cells of which each knows the row of the one before it (-1: none)."""
    n_next = np.bincount(previous[previous >= 0], minlength=len(previous))
    begins = (previous < 0) | (n_next[previous] > 1)
    track_id = np.cumsum(begins)  # right where a track begins; others follow
    tree_id, parent = track_id.copy(), np.zeros_like(track_id)
    for row in np.flatnonzero(previous >= 0):  # ascending, so the one before is known
        before = previous[row]
        tree_id[row] = tree_id[before]
        if begins[row]:
            parent[row] = track_id[before]
        else:
            track_id[row], parent[row] = track_id[before], parent[before]
    previous_label = np.where(previous >= 0, labels[previous], 0)
    columns = [cells["frame"].to_numpy(), labels, track_id, tree_id, parent, previous_label]
    names = ["frame", *(column.name for column in TRACKS)]
    return pd.DataFrame(dict(zip(names, columns, strict=True)), dtype=np.int64)
