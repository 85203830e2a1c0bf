"""Exports: what is in the files, what is refused, and that only whole folders are ever there."""

import csv
import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st

import checking
from mosaicell.exports import ctc, trackmate
from mosaicell.exports.folder import replacing_folder
from mosaicell.exports.formats import FORMATS
from mosaicell.store import DamagedError
from mosaicell.table import Table
from movies import VOXEL_SIZE, dividing_cells, stored
from running import files


@pytest.fixture(scope="module")
def movie():
    """A movie whose second frame is empty."""
    drawn = dividing_cells(n_frames=3)
    drawn.labels[1] = 0
    return drawn.labels


@pytest.fixture(scope="module")
def movie_run(tmp_path_factory, movie):
    return stored(tmp_path_factory.mktemp("movie"), movie)


@pytest.fixture(scope="module")
def still_run(tmp_path_factory, movie):
    return stored(tmp_path_factory.mktemp("still"), movie[0], voxel_size=None)


def written(name, run, folder):
    folder.mkdir()
    FORMATS[name](folder, cells=run[0], labels=run[1])
    return folder


def test_frames_are_put_together_from_row_groups(movie_run):
    cells, _ = movie_run
    whole = pd.read_parquet(cells.path)
    assert cells.num_rows == len(whole) > 20
    frames = list(cells.frames(5, ["frame", "label", "centroid_x"]))
    assert [len(frame) for frame in frames] == list(cells.cells_by_frame(5)) == [12, 0, 14, 0, 0]
    expected = whole[["frame", "label", "centroid_x"]]
    pd.testing.assert_frame_equal(pd.concat(frames, ignore_index=True), expected)
    assert list(frames[1].columns) == list(expected.columns)


def test_a_damaged_table_is_not_believed(movie_run, tmp_path):
    content = bytearray(movie_run[0].path.read_bytes())
    column = pq.read_metadata(movie_run[0].path).row_group(1).column(3)
    start = column.dictionary_page_offset or column.data_page_offset
    content[start + column.total_compressed_size - 3] ^= 1  # in its values
    (tmp_path / "cells.parquet").write_bytes(content)
    with pytest.raises(DamagedError, match="damaged"):
        Table(tmp_path / "cells.parquet").read(list(movie_run[0].units))


def test_masks_are_the_labels_renumbered_in_each_frame(movie_run, movie, tmp_path):
    folder = written("ctc", movie_run, tmp_path / "ctc")
    names = ["cells.csv", "mask000.tif", "mask001.tif", "mask002.tif"]
    assert sorted(path.name for path in folder.iterdir()) == names
    listed = pd.read_csv(folder / "cells.csv")
    for frame, labels in enumerate(movie):
        masks = tifffile.imread(folder / f"mask{frame:03d}.tif")
        assert masks.dtype == np.uint16
        assert masks.shape == labels.shape
        known = listed[listed.frame == frame]
        assert list(known["mask"]) == list(range(1, len(known) + 1))
        back = np.concatenate([[0], known["label"]])
        np.testing.assert_array_equal(back[masks], labels)


def test_masks_of_one_plane_are_planes(tmp_path):
    drawn = dividing_cells(n_frames=2, flat=True)
    folder = written("ctc", stored(tmp_path / "flat", drawn.labels), tmp_path / "ctc")
    masks = tifffile.imread(folder / "mask001.tif")
    np.testing.assert_array_equal(masks > 0, drawn.labels[1, 0] > 0)


def test_blocks_of_planes_give_the_masks_of_the_whole(movie_run, tmp_path, monkeypatch):
    whole = files(written("ctc", movie_run, tmp_path / "whole"))
    monkeypatch.setattr(ctc, "BLOCK_VOXELS", 1)
    assert files(written("ctc", movie_run, tmp_path / "planes")) == whole


@pytest.mark.parametrize("run", ["movie_run", "still_run"])
def test_the_graph_has_a_node_for_each_cell(run, request, tmp_path):
    cells, labels = request.getfixturevalue(run)
    folder = written("geff", (cells, labels), tmp_path / "geff")
    group = zarr.open_group(folder / "cells.geff", mode="r")
    table = cells.read(list(cells.units))
    unit = "micrometer" if cells.voxel_size else "pixel"
    geff = group.attrs["geff"]
    assert [axis["name"] for axis in geff["axes"]] == ["t", "z", "y", "x"]
    assert [axis["unit"] for axis in geff["axes"]] == ["frame", unit, unit, unit]
    np.testing.assert_array_equal(group["nodes/ids"], table["label"])
    np.testing.assert_array_equal(group["nodes/props/x/values"], table[cells.positions[2]])
    assert group["edges/ids"].shape == (0, 2)
    assert set(geff["node_props_metadata"]) == set(group["nodes/props"].keys())
    if cells.voxel_size is None:  # lengths in um are null, and said to be
        assert group["nodes/props/volume_um3/missing"][:].all()


def test_trackmate_finds_its_columns_by_their_names(movie_run, tmp_path):
    """As its importer does (ImporterController.java): of the names that fit the shortest."""
    folder = written("trackmate", movie_run, tmp_path / "trackmate")
    lines = (folder / "spots.csv").read_text(encoding="ascii").splitlines()
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    header = list(rows[0])
    for axis in "xyz":
        fitting = [name for name in header if name.startswith(axis) or name.endswith(axis)]
        assert min(fitting, key=len) == axis
    for start, name in (("frame", "frame"), ("id", "id"), ("name", "name")):
        assert [known for known in header if known.startswith(start)] == [name]
    cells = pd.read_parquet(movie_run[0].path)
    assert [int(row["id"]) for row in rows] == list(cells["label"])
    assert [int(row["frame"]) for row in rows] == list(cells["frame"])
    for name, column in (("x", "centroid_x_um"), ("z", "centroid_z_um")):
        assert [float(row[name]) for row in rows] == list(cells[column])
    radius = [float(row["radius"]) for row in rows]
    np.testing.assert_allclose(radius, cells["equivalent_diameter_um"] / 2)


def test_a_radius_in_a_plane_is_that_of_a_disc(tmp_path):
    run = stored(tmp_path / "flat", dividing_cells(n_frames=1, flat=True).labels)
    spots = written("trackmate", run, tmp_path / "trackmate") / "spots.csv"
    radius = pd.read_csv(spots, comment="#")["radius"]
    np.testing.assert_allclose(radius, pd.read_parquet(run[0].path)["equivalent_diameter_um"] / 2)


@pytest.mark.parametrize(("run", "n_axes"), [("movie_run", 4), ("still_run", 3)])
def test_points_have_the_axes_of_the_image(run, n_axes, request, tmp_path):
    run = request.getfixturevalue(run)
    path = written("napari", run, tmp_path / "napari") / "points.csv"
    points = pd.read_csv(path, float_precision="round_trip")
    axes = [f"axis-{number}" for number in range(n_axes)]
    assert list(points) == ["index", *axes, "label", "num_voxels"]
    cells = run[0].read(list(run[0].units))
    np.testing.assert_array_equal(points["index"], np.arange(len(cells)))
    np.testing.assert_array_equal(points[axes[-1]], cells[run[0].positions[-1]])


@pytest.mark.parametrize("name", FORMATS)
def test_exports_of_no_cells_are_complete(name, tmp_path):
    run = stored(tmp_path / "none", np.zeros((2, 4, 20, 30), np.uint32))
    assert any(written(name, run, tmp_path / name).iterdir())


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_cells_give_the_same_bytes(name, movie_run, tmp_path):
    first, second = (files(written(name, movie_run, tmp_path / n)) for n in ("1", "2"))
    assert first == second


@pytest.mark.parametrize(
    ("name", "module", "most", "said"),
    [
        ("ctc", ctc, 13, "frame 2 has 14 cells; allowed are 13 a frame"),
        ("trackmate", trackmate, 20, "labels go up to 38; allowed are 20"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(
    name, module, most, said, movie_run, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "MOST", most)
    with pytest.raises(ValueError, match=said):
        written(name, movie_run, tmp_path / name)
    assert not list((tmp_path / name).glob("*.*"))
    monkeypatch.setattr(module, "MOST", 38)
    written(name, movie_run, tmp_path / "fits")


def test_cells_of_a_frame_past_16_bits_are_refused(tmp_path):
    labels = np.arange(1, 65537, dtype=np.uint32).reshape(1, 1, 256, 256)
    with pytest.raises(ValueError, match=r"frame 0 has 65,536 cells; allowed are 65,535 a frame"):
        written("ctc", stored(tmp_path / "many", labels), tmp_path / "ctc")
    labels[0, 0, 0, 0] = 0
    folder = written("ctc", stored(tmp_path / "fits", labels), tmp_path / "fitting")
    assert tifffile.imread(folder / "mask000.tif").max() == 65535


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    place = tmp_path / "export"
    with replacing_folder(place, about={"number": 1}) as folder:
        (folder / "old").write_text("old")
    (tmp_path / ".export.part").mkdir()
    (tmp_path / ".export.part/left by a killed writer").write_text("half")
    before = files(place)
    with pytest.raises(FileExistsError), replacing_folder(place, about={"number": 2}) as folder:
        folder.mkdir()
    assert files(tmp_path) == {f"export/{name}": content for name, content in before.items()}
    with replacing_folder(place, about={"number": 3}) as folder:
        (folder / "new").write_text("new")
    assert set(files(place)) == {"new", "about.json"}
    assert json.loads((place / "about.json").read_text()) == {"number": 3}


@st.composite
def forests(draw):
    """Tracks with gaps and divisions: a row for each cell."""
    rows, ends = [], []
    for track in range(1, draw(st.integers(0, 8)) + 1):
        parent = draw(st.integers(0, len(ends)))
        first = ends[parent - 1] + 1 if parent else draw(st.integers(0, 3))
        seen = draw(st.sets(st.integers(first, first + 5), min_size=1))
        ends.append(max(seen))
        rows += [(frame, track, parent) for frame in seen]
    rows = pd.DataFrame(rows, columns=["frame", "track_id", "parent_track_id"], dtype=np.int64)
    rows = rows.sort_values(["frame", "track_id"], ignore_index=True)
    return rows.assign(label=np.arange(1, len(rows) + 1))


@given(forests())
def test_tracks_without_gaps_hold_the_same_links(rows):
    cells, lines = ctc.unbroken(rows)
    np.testing.assert_array_equal(cells["label"], rows["label"])
    np.testing.assert_array_equal(lines["mask"], np.arange(1, len(lines) + 1))
    for line in lines.itertuples():
        frames = cells.loc[cells["mask"] == line.mask, "frame"]
        assert list(frames) == list(range(line.birth, line.end + 1))

    def links(table, number, parent):
        last, found = {}, set()
        for row in table.sort_values(["frame", number]).itertuples():
            before = last.get(getattr(row, number)) or last.get(parent[getattr(row, number)])
            found |= {(before, row.label)} if before else set()
            last[getattr(row, number)] = row.label
        return found

    ours = dict(zip(rows["track_id"], rows["parent_track_id"], strict=True))
    theirs = dict(zip(lines["mask"], lines["parent"], strict=True))
    assert links(cells, "mask", theirs) == links(rows, "track_id", ours)


def test_the_configuration_knows_all_formats_and_no_other():
    rules = checking.schema("config")["properties"]
    assert sorted(rules["export"]["items"]["enum"]) == sorted(FORMATS)


def test_positions_are_in_um_where_the_voxel_size_is_known(movie_run, still_run):
    assert movie_run[0].voxel_size == list(VOXEL_SIZE)
    assert movie_run[0].positions == ["centroid_z_um", "centroid_y_um", "centroid_x_um"]
    assert still_run[0].positions == ["centroid_z", "centroid_y", "centroid_x"]
