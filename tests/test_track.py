"""Tracks: numbers against a plain reference; with laptrack, links that are known."""

import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosaicell.columns import TRACKS
from mosaicell.track import _number, track


@st.composite
def links(draw):
    """For each cell the row of the one before it, in an earlier frame, or -1."""
    frames = sorted(draw(st.lists(st.integers(0, 4), max_size=12)))
    previous = [
        draw(st.sampled_from([-1, *(j for j in range(i) if frames[j] < frames[i])]))
        for i in range(len(frames))
    ]
    return frames, previous


@given(links())
def test_tracks_run_from_a_birth_to_an_end_or_a_division(drawn):
    frames, previous = drawn
    cells = pd.DataFrame({"frame": frames}, dtype=np.int64)
    labels = 100 + np.arange(len(frames))
    tracks = _number(cells, labels, np.array(previous, np.int64))
    assert list(tracks) == ["frame", *(column.name for column in TRACKS)]
    ids = tracks["track_id"]
    for row, before in enumerate(previous):
        goes_on = before >= 0 and previous.count(before) == 1
        assert tracks["previous_label"][row] == (labels[before] if before >= 0 else 0)
        if goes_on:
            assert ids[row] == ids[before]
            assert tracks["parent_track_id"][row] == tracks["parent_track_id"][before]
        else:
            assert ids[row] == ids[:row].max() + 1 if row else ids[row] == 1
            assert tracks["parent_track_id"][row] == (ids[before] if before >= 0 else 0)
        assert tracks["tree_id"][row] == (tracks["tree_id"][before] if before >= 0 else ids[row])


def positions(rows):
    """Cells at (frame, x) in um, in the order given."""
    columns = ["centroid_z_um", "centroid_y_um", "centroid_x_um"]
    cells = pd.DataFrame(rows, columns=["frame", "centroid_x_um"])
    cells = cells.assign(centroid_z_um=0.0, centroid_y_um=0.0, label=np.arange(1, len(rows) + 1))
    return cells.astype(dict.fromkeys(columns, float))


def test_without_laptrack_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "laptrack", None)
    with pytest.raises(
        ValueError, match="laptrack is not installed, which tracking needs: install"
    ):
        track(positions([(0, 1.0)]), max_distance=1)


TWO = [(0, 0.0), (0, 9.0), (1, 1.0), (1, 8.0)]
DIVIDES = [(0, 0.0), (1, 0.0), (2, -1.9), (2, 2.0), (3, -1.9), (3, 2.0)]
MISSES = [(0, 0.0), (1, 0.0), (3, 0.0), (4, 0.0)]


@pytest.mark.trackers
@pytest.mark.parametrize(
    ("rows", "given", "previous"),
    [
        pytest.param([], {}, [], id="no cells"),
        pytest.param([(0, 0.0), (0, 1.0)], {}, [0, 0], id="a still"),
        pytest.param([(2, 0.0), (3, 0.5)], {}, [0, 1], id="frames without cells before"),
        pytest.param(TWO, {}, [0, 0, 1, 2], id="nearest"),
        pytest.param(TWO, {"max_distance": 0.9}, [0, 0, 0, 0], id="too far"),
        pytest.param(DIVIDES, {}, [0, 1, 2, 0, 3, 4], id="divisions are off"),
        pytest.param(DIVIDES, {"division_distance": 3}, [0, 1, 2, 2, 3, 4], id="a division"),
        pytest.param(DIVIDES, {"division_distance": 1}, [0, 1, 2, 0, 3, 4], id="far daughter"),
        pytest.param(MISSES, {}, [0, 1, 0, 3], id="gaps are off"),
        pytest.param(MISSES, {"gap_distance": 1}, [0, 1, 2, 3], id="a gap"),
        pytest.param(
            [*MISSES[:2], (4, 0.0)], {"gap_distance": 1}, [0, 1, 0], id="missing for two frames"
        ),
        pytest.param(
            [*MISSES[:2], (4, 0.0)],
            {"gap_distance": 1, "gap_frames": 2},
            [0, 1, 2],
            id="two frames",
        ),
    ],
)
def test_cells_are_linked_as_the_parameters_say(rows, given, previous):
    pytest.importorskip("laptrack", reason="make test-trackers")
    cells = positions(rows)
    tracks = track(cells, **{"max_distance": 2.5} | given)
    assert list(tracks["previous_label"]) == previous
    assert list(tracks["label"]) == list(cells["label"])
    shuffled = track(cells.sample(frac=1, random_state=1), **{"max_distance": 2.5} | given)
    pd.testing.assert_frame_equal(tracks, shuffled)


@pytest.mark.trackers
def test_one_division_is_not_refused_for_another_one_that_is_shorter():
    pytest.importorskip("laptrack", reason="make test-trackers")
    near = [(frame, x / 4) for frame, x in DIVIDES]
    rows = sorted(DIVIDES + [(frame, x + 100) for frame, x in near], key=lambda row: row[0])
    tracks = track(positions(rows), max_distance=2.5, division_distance=3)
    assert tracks["parent_track_id"].nunique() == 3  # none, and two that divided


@pytest.mark.trackers
def test_positions_that_are_not_known_are_refused():
    pytest.importorskip("laptrack", reason="make test-trackers")
    cells = positions([(0, np.nan)])
    with pytest.raises(ValueError, match="positions in um are not known"):
        track(cells, max_distance=1)
