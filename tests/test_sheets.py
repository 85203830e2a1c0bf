"""Sheets of samples and of labelled images: read with their types, or refused in one sentence."""

import re

import pytest

import checking
import sheets
from mosaicell.composed import Part
from running import write_sheet


def test_a_sheet_is_read_with_its_types(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.tif").touch()
    row = {"sample": "a", "image": "a.tif", "channel": "1", "diameter": "4.5"}
    row |= {"voxel_size_z": "2", "voxel_size_y": "1e-1", "voxel_size_x": "0.1"}
    sheet = write_sheet(tmp_path / "samples.tsv", [row, {"sample": "b", "image": "a.tif"}])
    samples = sheets.read_samples(str(sheet), "results")
    assert list(samples) == ["a", "b"]
    assert samples["a"].voxel_size == (2.0, 0.1, 0.1)
    assert (samples["a"].channel, samples["a"].diameter) == (1, {"um": 4.5})
    assert samples["b"].voxel_size is samples["b"].diameter is None
    assert (samples["b"].image, samples["b"].landscape) == ((Part("a.tif"),), ())
    assert samples["b"].channel == 0
    assert sheets.read_samples(str(sheet), "results", channel=3)["b"].channel == 3


def test_rows_of_one_sample_are_its_frames_and_channels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [
        {"sample": "a", "image": f"{c}{t}.tif", "frame": t, "as_channel": c, "truth": f"0{t}.tif"}
        for t in (1, 0)
        for c in (0, 1)
    ]
    for row in rows:
        (tmp_path / row["image"]).touch()
    sheet = write_sheet(tmp_path / "samples.tsv", rows)
    (sample,) = sheets.read_samples(str(sheet), "results").values()
    places = [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert sample.image == tuple(Part(f"{c}{t}.tif", t, c) for t, c in places)
    assert sample.truth == (Part("00.tif", 0), Part("01.tif", 1))
    assert sample.landscape == ()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"frame": 0}, {}], "came before"),
        ([{"frame": 0}, {"frame": 0}], "has 2 files for frame 0"),
        ([{"frame": 0}, {"frame": 2}], "has the frames 0, 2 but no frame 1"),
        ([{"as_channel": 1}], "has the channels 1 but no channel 0"),
        ([{"frame": 0}, {"as_channel": 0}], "a number of the frame and files without"),
        (
            [{"frame": 0, "as_channel": 0}, {"frame": 1, "as_channel": 0}, {"frame": 0}],
            "without",
        ),
        (
            [{"frame": t, "as_channel": c} for t, c in [(0, 0), (0, 1), (1, 1)]],
            "has no file for frame 1, channel 0",
        ),
        ([{"frame": 0, "diameter": 4}, {"frame": 1, "diameter": 5}], "not those of its other rows"),
        ([{"frame": 0, "channel": 1}, {"frame": 1}], "not those of its other rows"),
        ([{"frame": 0, "truth": "a.tif"}, {"frame": 1}], "came for 1 of 2 frames"),
        (
            [{"as_channel": 0, "truth": "a.tif"}, {"as_channel": 1, "truth": "b.tif"}],
            "truth of sample 'a' has 2 files for the same image",
        ),
        ([{"frame": -1}], "frame is -1"),
    ],
)
def test_rows_that_make_no_whole_sample_are_refused(tmp_path, monkeypatch, rows, said):
    monkeypatch.chdir(tmp_path)
    for name in ("a.tif", "b.tif"):
        (tmp_path / name).touch()
    rows = [{"sample": "a", "image": "a.tif"} | row for row in rows]
    with pytest.raises(checking.SettingsError) as refusal:
        sheets.read_samples(str(write_sheet(tmp_path / "samples.tsv", rows)), "results")
    assert said in str(refusal.value)
    assert "allowed" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "names no sample"),
        ([{"sample": "a"}], "image is missing"),
        ([{"image": "a.tif"}], "sample is missing"),
        ([{"sample": "a", "image": "b.tif"}], "image is 'b.tif', which does not exist"),
        ([{"sample": "a", "image": "a.tif", "truth": "t.tif"}], "truth is 't.tif'"),
        ([{"sample": "a", "image": "a.tif", "landscape": "l.tif"}], "landscape is 'l.tif'"),
        ([{"sample": "../a", "image": "a.tif"}], 'sample is "../a"; allowed is text of letters'),
        ([{"sample": "a b", "image": "a.tif"}], 'sample is "a b"'),
        ([{"sample": "a", "image": "a.tif"}] * 2, "sample 'a' came before"),
        ([{"sample": "a", "image": "a.tif", "Chanel": "1"}], "Chanel is not known"),
        ([{"sample": "a", "image": "a.tif", "channel": "-1"}], "channel is -1"),
        ([{"sample": "a", "image": "a.tif", "channel": "DAPI"}], 'channel is "DAPI"'),
        ([{"sample": "a", "image": "a.tif", "diameter": "0"}], "diameter is '0'; allowed is auto,"),
        ([{"sample": "a", "image": "a.tif", "diameter": "0 um"}], "diameter is '0 um'; allowed is"),
        ([{"sample": "a", "image": "a.tif", "diameter": "1e999"}], "diameter is '1e999'; allowed"),
        ([{"sample": "a", "image": "a.tif", "diameter": "nan"}], 'diameter is "nan"; allowed is'),
        ([{"sample": "a", "image": "a.tif", "diameter": "8 nm"}], 'diameter is "8 nm"; allowed is'),
        (
            [{"sample": "a", "image": "a.tif", "diameter": "-1"}],
            'diameter is "-1"; allowed is text',
        ),
        ([{"sample": "a", "image": "a.tif", "voxel_size_z": "1"}], "only some of voxel_size_z"),
        ([{"sample": "a", "image": "a.tif", "voxel_size_z": "1 um"}], 'voxel_size_z is "1 um"'),
        ([{"sample": "a", "image": "a.tif", "voxel_size_z": "1e-99"}], "voxel_size_z is 1e-99"),
        ([{"sample": "A", "image": "a.tif"}, {"sample": "a", "image": "a.tif"}], "came before"),
        ([{"sample": "work", "image": "a.tif"}], "names other than models and work"),
        ([{"sample": "a", "image": "b{x}.tif"}], "without braces"),
        ([{"sample": "a", "image": "results/a/a.ome.zarr"}], "would be overwritten"),
        ([{"sample": "a", "image": "results/work/a/x"}], "would be overwritten"),
    ],
)
def test_a_sheet_that_is_not_allowed_is_refused_in_one_sentence(tmp_path, monkeypatch, rows, said):
    monkeypatch.chdir(tmp_path)
    for name in ("a.tif", "b{x}.tif"):
        (tmp_path / name).touch()
    for name in ("results/a/a.ome.zarr", "results/work/a/x"):
        (tmp_path / name).mkdir(parents=True)
    sheet = write_sheet(tmp_path / "samples.tsv", rows)
    with pytest.raises(checking.SettingsError) as refusal:
        sheets.read_samples(str(sheet), "results")
    sentence = str(refusal.value)
    assert said in sentence
    assert "allowed" in sentence or "needed" in sentence
    assert "\n" not in sentence


def test_a_sheet_may_have_comments_empty_lines_quotes_and_trailing_tabs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.tif").touch()
    sheet = tmp_path / "samples.tsv"
    sheet.write_bytes(
        b'\xef\xbb\xbfsample\timage\t\r\n# a comment\r\n\r\na\t"a.tif"\t\t\r\nb\ta.tif\r\n'
    )
    assert list(sheets.read_samples(str(sheet), "results")) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sample,image\na,a.tif\n", "commas between its columns"),
        ("sample\timage\timage\na\ta.tif\ta.tif\n", "the column 'image' twice"),
        ("sample\timage\n\n\na\ta.tif\tmore\n", "line 4: 3 values came for 2 columns"),
    ],
)
def test_a_sheet_of_another_form_is_refused(tmp_path, text, said):
    (tmp_path / "samples.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(checking.SettingsError, match=said):
        sheets.read_samples(str(tmp_path / "samples.tsv"), "results")


def test_the_listing_of_a_folder_changes_with_a_file_in_it(tmp_path):
    (tmp_path / "ch0").mkdir()
    plane = tmp_path / "ch0" / "plane.tif"
    plane.write_bytes(b"one")
    first = sheets.listing(str(tmp_path))
    assert sheets.listing(str(tmp_path)) == first
    plane.write_bytes(b"other")
    assert sheets.listing(str(tmp_path)) != first
    assert sheets.listing(str(plane)) == ""


@pytest.mark.parametrize("content", [b"\xff\xfe\x00binary", None])
def test_what_is_no_table_with_tabs_is_refused(tmp_path, content):
    sheet = tmp_path / "samples.tsv"
    if content is not None:
        sheet.write_bytes(content)
    with pytest.raises(checking.SettingsError, match=r"samples\.tsv"):
        sheets.read_samples(str(sheet), "results")


LABELLED = {"image": "a.tif", "labels": "l.tif", "split": "train"}

OTHER = {"image": "b.tif", "labels": "l.tif", "split": "validation"}


def test_a_sheet_of_labelled_images_is_read_with_its_types(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.tif", "b.tif", "l.tif"):
        (tmp_path / name).touch()
    size = {f"voxel_size_{axis}": "0.5" for axis in "zyx"}
    rows = [LABELLED | size | {"diameter": "4", "channel": "1"}, OTHER]
    sheet = str(write_sheet(tmp_path / "sheet.tsv", rows))
    first, second = sheets.read_training(sheet)
    assert (first["voxel_size"], first["diameter"], first["channel"]) == ((0.5, 0.5, 0.5), 4, 1)
    assert (second["voxel_size"], second["split"], second["channel"]) == (None, "validation", 0)
    (tmp_path / "b.tif").write_bytes(b"changed")
    assert sheets.read_training(sheet)[0] == first
    assert sheets.read_training(sheet)[1]["known"] != second["known"]
    assert sheets.read_training(None) == []


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "no row with split 'train'"),
        ([LABELLED], "no row with split 'validation'"),
        ([OTHER], "no row with split 'train'"),
        ([LABELLED | {"image": "c.tif"}], "image is 'c.tif', which does not exist"),
        ([LABELLED | {"labels": "c.tif"}], "labels is 'c.tif', which does not exist"),
        ([{"image": "a.tif", "split": "train"}], "labels is missing"),
        ([LABELLED | {"split": "test"}], 'split is "test"; allowed is train or validation'),
        ([LABELLED | {"truth": "l.tif"}], "truth is not known"),
        ([LABELLED | {"voxel_size_z": "1"}], "only some of voxel_size_z"),
        ([LABELLED | {"diameter": "0"}], "diameter is 0.0"),
        ([LABELLED, LABELLED | {"split": "validation"}], "image 'a.tif' came before"),
    ],
)
def test_a_sheet_of_labelled_images_that_is_not_allowed_is_refused(
    tmp_path, monkeypatch, rows, said
):
    monkeypatch.chdir(tmp_path)
    for name in ("a.tif", "b.tif", "l.tif"):
        (tmp_path / name).touch()
    sheet = write_sheet(tmp_path / "sheet.tsv", rows)
    with pytest.raises(checking.SettingsError) as refusal:
        sheets.read_training(str(sheet))
    assert said in str(refusal.value)
    assert re.search("allowed|needed", str(refusal.value))
    assert "\n" not in str(refusal.value)


def test_a_sheet_of_labelled_images_that_is_not_there_is_refused():
    with pytest.raises(checking.SettingsError, match=r"train\.data is 'nowhere\.tsv'.*allowed"):
        sheets.read_training("nowhere.tsv")


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("4.5", {"um": 4.5}),
        ("4.5 um", {"um": 4.5}),
        ("1e-1 um", {"um": 0.1}),
        (".5", {"um": 0.5}),
        ("20 voxel", {"voxel": 20.0}),
        ("auto", "auto"),
        ("null", "null"),
        ("", None),
    ],
)
def test_the_column_diameter_says_it_in_words(tmp_path, monkeypatch, cell, expected):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.tif").touch()
    row = {"sample": "a", "image": "a.tif", "diameter": cell}
    sheet = write_sheet(tmp_path / "samples.tsv", [row])
    assert sheets.read_samples(str(sheet), "results")["a"].diameter == expected
