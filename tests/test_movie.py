"""Movies from end to end: frames never meet, ids go on, and empty frames are not forgotten."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import mosaicell
from mosaicell.evaluate import joined, overlaps
from mosaicell.geometry import Box, Grid
from mosaicell.jobs import stitch as stitch_job
from mosaicell.jobs.labels import lay_out_labels, read_labels
from mosaicell.jobs.segment import segment_tiles
from mosaicell.jobs.shards import check_shards, fill_shards
from mosaicell.jobs.stitch import stitch_tiles, stitch_volume
from mosaicell.metrics import metrics
from mosaicell.records import Records
from mosaicell.report.filmstrip import frames_to_show
from mosaicell.report.page import report
from mosaicell.store import DamagedError, lay_out, read_arrays
from phantoms import ONE, landscape_of, packed_cells
from running import configured, products, run, run_and_kill, write_sheet
from test_report import Page

CHOSEN = {"threshold": 0.1 * ONE, "persistence": 0.1 * ONE, "min_size": 8, "min_peak": 0.2 * ONE}
CHOSEN |= {"min_relative_peak": 0.6}
BRIGHTNESS = (30000, 12000, 0, 50000)  # of the frames; the third one has no cells
SHAPES = {"2D": (1, 70, 90), "3D": (12, 40, 50)}
TILINGS = {"whole": ([256, 256, 256], 1), "small": ([5, 31, 23], 3)}


def film(shape):
    """Image (t, z, y, x) and landscape of packed cells; one frame is empty."""
    frames, landscapes = [], []
    for frame, brightness in enumerate(BRIGHTNESS):
        labels = packed_cells(shape, spacing=11, seed=frame) * (brightness > 0)
        landscapes.append(landscape_of(labels, seed=frame, blur=0.7, noise=0.05 * labels.any()))
        frames.append((landscapes[-1] / ONE * brightness + 100).astype(np.uint16))
    return np.stack(frames), np.stack(landscapes)


def write_film(folder, shape) -> dict:
    """A row of the sample sheet."""
    row = {"sample": "a", "voxel_size_z": 2.0, "voxel_size_y": 1.0, "voxel_size_x": 1.0}
    for name, movie in zip(("image", "landscape", "truth"), truth_of(*film(shape)), strict=True):
        options = {"photometric": "minisblack", "metadata": {"axes": "TZYX", "TimeIncrement": 30.0}}
        tifffile.imwrite(folder / f"{name}.ome.tif", movie, **options)
        row[name] = folder / f"{name}.ome.tif"
    return row


def write_frames(folder, shape) -> list[dict]:
    """Rows of the sample sheet that make the same movie, frame by frame, the last one first."""
    rows = []
    for frame, (image, landscape) in enumerate(zip(*film(shape), strict=True)):
        row = {"sample": "a", "voxel_size_z": 2.0, "voxel_size_y": 1.0, "voxel_size_x": 1.0}
        for name, volume in (("image", image), ("landscape", landscape)):
            row[name] = folder / f"{name}{frame}.tif"
            tifffile.imwrite(row[name], volume, photometric="minisblack", compression="zlib")
        rows.append(row | {"frame": frame})
    return rows[::-1]


def truth_of(image, landscape):
    """The labels of each frame begin with 1 again, as those of other programs do."""
    frames = [mosaicell.watershed(frame, **CHOSEN) for frame in landscape]
    return image, landscape, np.stack(frames).astype(np.uint16)


@pytest.fixture(scope="module", params=[pytest.param("2D", marks=pytest.mark.slow), "3D"])
def runs(request, tmp_path_factory):
    """Results of the same movie in two tilings, and its landscape."""
    folder = tmp_path_factory.mktemp(request.param)
    row = write_film(folder, SHAPES[request.param])
    results = []
    for name, (tile, jobs) in TILINGS.items():
        (folder / name).mkdir()
        thin = {"evaluate": {"shapes": "thin"}}
        config = configured(folder / name, row, tile=tile, jobs=jobs, segment=CHOSEN, **thin)
        run(folder / name, config)
        results.append(folder / name / "results")
    return results, tifffile.imread(row["landscape"]).reshape(-1, *SHAPES[request.param])


@pytest.fixture
def labels(runs):
    return zarr.open_array(runs[0][0] / "a/a.ome.zarr/labels/cells/0", mode="r")[...]


def table(results, name):
    return pd.read_parquet(results / f"a/{name}.parquet")


def test_labels_and_tables_of_a_movie_are_byte_identical_for_any_tiles_and_jobs(runs):
    first, second = (products(results.parent, "a") for results in runs[0])
    assert first == second
    for name in ("scores.json", "scores.parquet", "matches.parquet"):
        first, second = ((results / "a" / name).read_bytes() for results in runs[0])
        assert first == second, name


def test_the_labels_of_a_movie_are_those_of_the_whole_array(runs, labels):
    np.testing.assert_array_equal(labels, mosaicell.watershed(runs[1], **CHOSEN))
    assert labels.max() > 30


def test_each_label_is_that_of_one_cell_in_one_frame(runs, labels):
    cells = table(runs[0][0], "cells")
    assert cells["label"].tolist() == list(range(1, labels.max() + 1))
    for frame, found in enumerate(labels):
        expected = cells["label"][cells["frame"] == frame]
        assert np.unique(found[found > 0]).tolist() == expected.tolist()


def test_the_cells_of_a_frame_are_those_of_the_frame_alone(runs):
    results, landscape = runs
    image = zarr.open_array(results[0] / "a/a.ome.zarr/0", mode="r")
    cells = table(results[0], "cells")
    for frame in range(len(BRIGHTNESS)):
        alone = mosaicell.watershed(landscape[frame], **CHOSEN)
        expected = mosaicell.measure(
            alone,
            image[frame],
            voxel_size=(2.0, 1.0, 1.0),
            landscape=landscape[frame],
            threshold=CHOSEN["threshold"],
        ).drop(columns="outlier")  # which is a matter of all frames
        of_frame = cells[cells["frame"] == frame].reset_index(drop=True)
        before = int((cells["frame"] < frame).sum())
        expected["label"] += before
        pd.testing.assert_frame_equal(of_frame[list(expected)], expected, check_exact=True)


def test_a_frame_without_cells_stands_in_the_table_of_frames(runs):
    frames, cells = (table(runs[0][0], name) for name in ("frames", "cells"))
    assert list(frames) == ["sample", "frame", "num_cells", "num_voxels"]
    assert frames["frame"].tolist() == [0, 1, 2, 3]
    assert frames["num_cells"].tolist() == [
        int((cells["frame"] == frame).sum()) for frame in range(4)
    ]
    assert frames["num_voxels"].tolist() == [
        int(cells["num_voxels"][cells["frame"] == frame].sum()) for frame in range(4)
    ]
    assert (frames["num_cells"] == 0).tolist() == [False, False, True, False]


def test_bright_and_dim_frames_are_normalised_by_one_pair_of_limits(runs):
    image = zarr.open_group(runs[0][0] / "a/a.ome.zarr", mode="r")
    summary = json.loads((runs[0][0] / "work/a/ingest.json").read_text())
    (channel,) = summary["channels"]
    values = np.sort(image["0"][...], axis=None)
    assert channel["limits"] == [values[int(q * values.size)] for q in (0.01, 0.998)]


def test_a_movie_is_an_ome_zarr_with_a_time_axis(runs):
    group = zarr.open_group(runs[0][0] / "a/a.ome.zarr", mode="r")
    for node, names in ((group, "tczyx"), (group["labels/cells"], "tzyx")):
        (multiscale,) = node.attrs["ome"]["multiscales"]
        assert "".join(axis["name"] for axis in multiscale["axes"]) == names
        assert multiscale["axes"][0] == {"name": "t", "type": "time", "unit": "second"}
        scale = multiscale["datasets"][0]["coordinateTransformations"][0]["scale"]
        assert scale == [30.0, *[1.0] * (len(names) - 4), 2.0, 1.0, 1.0]
        assert node["0"].metadata.dimension_names == tuple(names)
        assert node["0"].shards[0] == node["0"].chunks[0] == 1


def test_a_movie_is_scored_frame_by_frame_and_shown_in_a_report(runs):
    results = runs[0][1]
    scores = json.loads((results / "a/scores.json").read_text())
    assert scores["f1"] == scores["mean_matched_iou"] == 1
    assert scores["true_positives"] == len(table(results, "cells"))
    assert scores["cldice_f1"] == scores["cldice_coverage"] == 1
    matches, cells = table(results, "matches"), table(results, "cells")
    assert set(matches["kind"]) == {"matched"}
    of_side = [matches[matches["side"] == side] for side in ("true", "found")]
    for rows in of_side:
        np.testing.assert_array_equal(rows["frame"], cells["frame"])
        np.testing.assert_array_equal(rows["num_voxels"], cells["num_voxels"])
    np.testing.assert_array_equal(of_side[1]["label"], cells["label"])
    page = (results / "a/report.html").read_text()
    Page(page)
    names = re.findall(' id="([^"]+)"', page)
    assert len(names) == len(set(names))
    for words in ("4 frames", "Frame 0:", "Frame 1:", "Frame 3:", "Cells by frame"):
        assert words in page
    assert "Frame 2:" not in page


@pytest.mark.slow
def test_a_killed_run_of_rows_for_frames_goes_on_to_the_result_of_the_movie_file(runs, tmp_path):
    expected = products(runs[0][0].parent, "a")
    rows = write_frames(tmp_path, runs[1].shape[1:])
    config = configured(tmp_path, rows[0], tile=[5, 11, 13], jobs=2, segment=CHOSEN)
    write_sheet(tmp_path / "samples.tsv", rows)
    records = tmp_path / "results/work/a/segment/tiles"
    run_and_kill(tmp_path, config, when=lambda: len(list(records.glob("*.json"))) > 20)
    before = {path: path.stat().st_mtime_ns for path in records.glob("*.json")}
    run(tmp_path, config, "--unlock")
    run(tmp_path, config)
    found = products(tmp_path, "a")
    differing = {name for name in expected.keys() | found if expected.get(name) != found.get(name)}
    # Only the file of the whole movie says how much time is between frames.
    assert differing == {"zarr.json", "labels/cells/zarr.json"}
    kept = {path for path, written in before.items() if path.stat().st_mtime_ns == written}
    assert len(kept) >= len(before) - 2


@pytest.mark.slow
def test_a_predicted_movie_is_byte_identical_for_any_tiles_and_jobs(tmp_path):
    image, _ = film((10, 40, 48))
    tifffile.imwrite(tmp_path / "a.tif", image, imagej=True, metadata={"axes": "TZYX"})
    heights = {"threshold": 0.25, "persistence": 0.08, "min_peak": 0.5}
    of_cells = {"min_size": 5, "min_relative_peak": 0.75}
    chosen = {"predict": {"diameter": {"voxel": 12}}, "segment": heights | of_cells}
    results = []
    for name, (tile, jobs) in TILINGS.items():
        folder = tmp_path / name
        folder.mkdir()
        row = {"sample": "a", "image": tmp_path / "a.tif"}
        config = configured(folder, row, tile=tile, jobs=jobs, **chosen)
        run(folder, config, "results/a/cells.parquet")
        results.append(products(folder, "a"))
    assert results[0] == results[1]
    work = tmp_path / "whole/results/work/a"
    landscape = zarr.open_array(work / "landscape.zarr", mode="r")
    stored_heights = {key: height * ONE for key, height in heights.items()}
    expected = mosaicell.watershed(landscape[...], **stored_heights, **of_cells)
    stored = tmp_path / "whole/results/a/a.ome.zarr/labels/cells/0"
    np.testing.assert_array_equal(zarr.open_array(stored, mode="r")[...], expected)
    assert expected.max() > 3
    assert len(np.unique(expected[2])) == 1


def segmented(folder, landscape, *, tile):
    """Files of the tiles of a movie up to the stitch, and their grid."""
    array = lay_out(
        folder / "landscape.zarr",
        shape=landscape.shape,
        dtype=landscape.dtype,
        chunks=(1, 8, 16, 16),
        shards=(1, 8, 16, 16),
        dimension_names=("t", "z", "y", "x"),
    )
    array[...] = landscape
    grid = Grid(landscape.shape[1:], tile, len(landscape))
    common = {"grid": grid, "tiles": range(len(grid)), "what": "test"}
    records = [Records(folder / stage, "a") for stage in ("segment", "stitch_tiles")]
    segment_tiles(
        array,
        folder,
        threshold=CHOSEN["threshold"],
        records=records[0],
        predicted=None,
        **common,
    )
    persistence = CHOSEN["persistence"]
    stitch_tiles(
        folder, persistence=persistence, records=records[1], segmented=records[0], **common
    )
    return grid, records[1]


@pytest.mark.parametrize("most", [2**32 - 1, 0, 20, 40])
def test_ids_of_all_frames_have_64_bits_from_the_frame_on_that_needs_them_and_before(
    tmp_path, monkeypatch, most
):
    monkeypatch.setattr(stitch_job, "MOST_CELLS_OF_UINT32", most)
    _, landscape = film((1, 60, 70))
    grid, contracted = segmented(tmp_path, landscape, tile=(1, 25, 70))
    chosen = {key: CHOSEN[key] for key in CHOSEN if key != "threshold"}
    found = stitch_volume(tmp_path, grid=grid, contracted=contracted, what="test", **chosen)
    expected = mosaicell.watershed(landscape, **CHOSEN)
    assert found.n_cells == expected.max() > 40
    assert found.dtype == (np.uint32 if most == 2**32 - 1 else np.uint64)
    assert all(read_arrays(path)["ids"].dtype == found.dtype for path in tmp_path.glob("*.cells"))
    whole = Box((0, 0, 0), grid.shape)
    labels = [read_labels(tmp_path, grid, found.dtype, t, whole) for t in range(4)]
    np.testing.assert_array_equal(labels, expected)


def test_a_shard_that_is_damaged_is_noticed_in_its_frame_and_in_no_other(tmp_path):
    movie = np.random.default_rng(0).integers(1, 9, (3, 4, 20, 20)).astype(np.uint16)
    (level,) = lay_out_labels(
        tmp_path / "labels", shape=(4, 20, 20), dtype=np.uint16, factors=[(1, 1, 1)], frames=3
    )
    records = Records(tmp_path / "records", "a")
    fill_shards(
        lambda frame, box: movie[(frame, *box.slices)],
        [level],
        shards=range(3),
        records=records,
        what="test",
    )
    np.testing.assert_array_equal(level[0][...], movie)
    (tmp_path / "labels/0/c/1/0/0/0").unlink()
    box = Box((0, 0, 0), (4, 20, 20))
    for frame in (0, 2):
        check_shards(level[0], records, box, frame)
    with pytest.raises(DamagedError, match="shard 1 of"):
        check_shards(level[0], records, box, 1)


@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    tile=st.tuples(*[st.integers(1, 9)] * 3),
    frames=st.integers(1, 4),
)
def test_the_tiles_of_a_movie_are_those_of_each_frame_one_after_the_other(shape, tile, frames):
    movie, still = Grid(shape, tile, frames), Grid(shape, tile)
    assert list(movie) == list(still) * frames
    assert [movie.frame_of(i) for i in range(len(movie))] == [
        frame for frame in range(frames) for _ in range(len(still))
    ]
    assert (still.leading(0), movie.leading(1)) == ((), (1,))
    box = Box((0, 0, 0), shape)
    for frame in range(frames):
        numbers = movie.overlapping(box, frame)
        assert numbers == list(range(frame * len(still), (frame + 1) * len(still)))


@pytest.mark.parametrize(
    ("num_cells", "shown"),
    [
        ([5], [0]),
        ([0, 0, 0], [0, 1, 2]),
        ([0, 4, 5, 0, 2, 0], [1, 2, 4]),
        ([0, 7, 0], [1]),
        ([1, 1], [0, 1]),
    ],
)
def test_the_frames_that_are_shown_have_cells_if_any_has(num_cells, shown):
    assert frames_to_show(num_cells) == shown


def test_the_report_says_in_which_frame_a_cell_is_far_too_large(tmp_path):
    labels = np.zeros((3, 1, 40, 40), np.uint32)
    labels[0, 0, 1::4, 1::4] = np.arange(1, 101).reshape(10, 10)
    labels[2, 0, 5:25, 5:25] = 101
    cells = pd.concat(
        mosaicell.measure(one, one > 0).assign(frame=t) for t, one in enumerate(labels)
    )
    image = lay_out(
        tmp_path / "image",
        shape=(3, 1, 1, 40, 40),
        dtype=np.uint8,
        chunks=(1, 1, 1, 40, 40),
        shards=(1, 1, 1, 40, 40),
        dimension_names=("t", "c", "z", "y", "x"),
    )
    image[...] = labels[:, None] > 0
    drawn = lay_out(
        tmp_path / "labels",
        shape=labels.shape,
        dtype=labels.dtype,
        chunks=(1, 1, 40, 40),
        shards=(1, 1, 40, 40),
        dimension_names=("t", "z", "y", "x"),
    )
    drawn[...] = labels
    page = report(
        sample="a",
        image=[image],
        labels=[drawn],
        factors=[(1, 1, 1)],
        channel=0,
        limits=[(0.0, 1.0)],
        voxel_size=None,
        cells=lambda columns: [cells[columns]],
        borders=[np.zeros((2, n), np.int64) for n in labels.shape[1:]],
        tile=labels.shape[1:],
        facts={},
        timings=[],
        attempts={},
        num_cells=[100, 0, 1],
    )
    assert "Cell 101 at y, x = 14, 14 of frame 2 is 400 times as large" in Page(page).text


MOVIES = arrays.arrays(np.uint8, (2, 3, 2, 4, 5), elements=st.integers(0, 3))


@given(MOVIES)
def test_the_same_label_in_two_frames_is_two_cells(movies):
    frames = [overlaps([pair]) for pair in zip(*movies, strict=True)]
    numbered = movies + 4 * (movies > 0) * np.arange(3)[:, None, None, None]
    whole = overlaps([tuple(numbered)])
    for name in ("size", "true_size", "row", "column", "shared"):
        values = getattr(joined(frames), name)
        np.testing.assert_array_equal(np.sort(values), np.sort(getattr(whole, name)), name)
    assert metrics(joined(frames)) == pytest.approx(metrics(whole), nan_ok=True)
    for name, values in vars(joined(frames[:1])).items():
        np.testing.assert_array_equal(values, getattr(frames[0], name))
