"""Configuration and sample sheet: completed, or refused in one sentence."""

import json
import re

import pytest
import yaml

import settings
from mosaicell.composed import Part
from running import ROOT, write_sheet

CARD = {
    "name": "nuclei-3d",
    "task": "distance_three_class",
    "top_models": {
        "watershed": {"threshold": 0.3, "persistence": 0.1},
        "three_class": {"threshold": 0.6, "persistence": 0.2},
    },
    "sha256": "0" * 64,
}


def test_an_empty_configuration_is_completed_with_the_defaults_of_the_schema():
    config = settings.read_config({})
    assert config["tile"] == {"shape": [256, 256, 256], "jobs": 4}
    assert config["segment"]["top_model"] == "watershed"


def test_the_shipped_configuration_spells_out_the_defaults():
    text = (ROOT / "config/config.yaml").read_text(encoding="utf-8")
    assert settings.read_config(yaml.safe_load(text)) == settings.read_config({})


def keys(rules, before=""):
    for name, rule in rules["properties"].items():
        yield before + name, rule
        if "properties" in rule and "maxProperties" not in rule:
            yield from keys(rule, f"{before}{name}.")


@pytest.mark.parametrize("name", ["config", "samples"])
def test_every_key_is_described_in_the_schema_and_in_the_readme(name):
    readme = (ROOT / "config/README.md").read_text(encoding="utf-8")
    for key, rule in keys(settings.schema(name)):
        assert rule["description"], key
        if rule.get("type") != "object":
            assert f"`{key}`" in readme, key
    for key, rule in keys(settings.schema("config")):
        assert "default" in rule or key == "track.max_distance", key


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"segmet": {}}, "segmet is not known; allowed are samples, results, tile"),
        ({"segment": {"treshold": 1}}, "write 'threshold' if that is meant"),
        ({"segment": {"threshold": "high"}}, 'segment.threshold is "high"; allowed is a number'),
        ({"segment": {"threshold": float("nan")}}, "segment.threshold is NaN"),
        ({"segment": {"persistence": -0.1}}, "persistence is -0.1; allowed is a number or null of"),
        ({"segment": {"persistence": float("inf")}}, "persistence is Infinity"),
        ({"segment": {"min_size": 1.5}}, "min_size is 1.5; allowed is a whole number"),
        ({"segment": {"top_model": "magic"}}, 'top_model is "magic"; allowed is watershed or'),
        (
            {"segment": {"sigma": 1}},
            "segment.sigma is 1; allowed is null, {um: ...} or {voxel",
        ),
        ({"segment": {"sigma": "1 um"}}, 'segment.sigma is "1 um"; allowed is null, {um: ...} or'),
        ({"segment": {"sigma": {}}}, "segment.sigma is {}; allowed is null, {um: ...} or"),
        ({"segment": {"sigma": {"um": 1, "voxel": 1}}}, 'sigma is {"um": 1, "voxel": 1}; allowed'),
        ({"segment": {"sigma": {"voxels": 1}}}, "write 'voxel' if that is meant"),
        ({"segment": {"sigma": {"um": -1}}}, "segment.sigma.um is -1; allowed is null, {um: ...}"),
        ({"segment": {"sigma": {"um": None}}}, "segment.sigma.um is null; allowed is null, {um"),
        ({"segment": {"sigma": {"um": [1, 2]}}}, "segment.sigma.um is [1, 2]; allowed is null, {"),
        ({"segment": {"sigma": {"um": [1, 2, "3"]}}}, 'sigma.um is "3"; allowed is null, {um: ...'),
        (
            {"segment": {"sigma": {"um": float("inf")}}},
            "sigma.um is Infinity; allowed is null,",
        ),
        ({"export": "ctc"}, 'export is "ctc"; allowed is a list of different values, each ctc or'),
        ({"export": ["xml"]}, 'export is "xml"; allowed is a list of different values, each ctc'),
        ({"export": ["ctc", "ctc"]}, 'export is ["ctc", "ctc"]; allowed is a list of different'),
        ({"track": True}, "track is true; allowed is a section of keys or null"),
        ({"track": {}}, "track.max_distance is missing; allowed is a number above 0 (a c"),
        (
            {"track": {"max_distance": 0}},
            "track.max_distance is 0; allowed is a number above 0 (a c",
        ),
        ({"track": {"max_distanse": 3}}, "write 'max_distance' if that is meant"),
        (
            {"track": {"max_distance": 1, "formats": ["csv"]}},
            'track.formats is "csv"; allowed is a',
        ),
        ({"segment": {"sigma": {"voxel": 33}}}, "33; allowed is null, {um: ...} or {voxel: ...}"),
        ({"segment": {"sigma": {"voxel": [0, 0, 33]}}}, "voxel is 33; allowed is null, {um: ...}"),
        ({"segment": "{threshold: 1}"}, "put the section into a file"),
        ({"segment": None}, "segment is null; allowed is a section of keys"),
        ({"tile": {"shape": [64, 64]}}, "tile.shape is [64, 64]; allowed is a list of 3 values"),
        ({"tile": {"shape": [64, 64, 0]}}, "tile.shape is 0"),
        ({"tile": {"jobs": 0}}, "tile.jobs is 0"),
        ({"tile": {"jobs": True}}, "tile.jobs is true"),
        ({"predict": {"diameter": 0}}, "predict.diameter is 0"),
        ({"samples": 3}, "samples is 3; allowed is text"),
        ({"train": {"channels": [4]}}, "channels is [4]; allowed is a list of 2 to 5 values, each"),
        ({"train": {"dimensions": 4}}, "dimensions is 4; allowed is 2 or 3"),
        ({"train": {"synthetic_share": 2}}, "synthetic_share is 2; allowed is a number of at"),
    ],
)
def test_a_configuration_that_is_not_allowed_is_refused_in_one_sentence(given, said):
    with pytest.raises(settings.SettingsError) as refusal:
        settings.read_config(given)
    sentence = str(refusal.value)
    assert said in sentence
    assert "allowed" in sentence
    assert "\n" not in sentence


def test_a_sheet_is_read_with_its_types(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.tif").touch()
    row = {"sample": "a", "image": "a.tif", "channel": "1", "diameter": "4.5"}
    row |= {"voxel_size_z": "2", "voxel_size_y": "1e-1", "voxel_size_x": "0.1"}
    sheet = write_sheet(tmp_path / "samples.tsv", [row, {"sample": "b", "image": "a.tif"}])
    samples = settings.read_samples(str(sheet), "results")
    assert list(samples) == ["a", "b"]
    assert samples["a"].voxel_size == (2.0, 0.1, 0.1)
    assert (samples["a"].channel, samples["a"].diameter) == (1, 4.5)
    assert samples["b"].voxel_size is samples["b"].diameter is None
    assert (samples["b"].image, samples["b"].landscape) == ((Part("a.tif"),), ())
    assert samples["b"].channel == 0
    assert settings.read_samples(str(sheet), "results", channel=3)["b"].channel == 3


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
    (sample,) = settings.read_samples(str(sheet), "results").values()
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
    with pytest.raises(settings.SettingsError) as refusal:
        settings.read_samples(str(write_sheet(tmp_path / "samples.tsv", rows)), "results")
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
        ([{"sample": "a", "image": "a.tif", "diameter": "0"}], "diameter is 0.0"),
        ([{"sample": "a", "image": "a.tif", "diameter": "nan"}], "diameter is NaN"),
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
    with pytest.raises(settings.SettingsError) as refusal:
        settings.read_samples(str(sheet), "results")
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
    assert list(settings.read_samples(str(sheet), "results")) == ["a", "b"]


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
    with pytest.raises(settings.SettingsError, match=said):
        settings.read_samples(str(tmp_path / "samples.tsv"), "results")


def test_the_listing_of_a_folder_changes_with_a_file_in_it(tmp_path):
    (tmp_path / "ch0").mkdir()
    plane = tmp_path / "ch0" / "plane.tif"
    plane.write_bytes(b"one")
    first = settings.listing(str(tmp_path))
    assert settings.listing(str(tmp_path)) == first
    plane.write_bytes(b"other")
    assert settings.listing(str(tmp_path)) != first
    assert settings.listing(str(plane)) == ""


@pytest.mark.parametrize("content", [b"\xff\xfe\x00binary", None])
def test_what_is_no_table_with_tabs_is_refused(tmp_path, content):
    sheet = tmp_path / "samples.tsv"
    if content is not None:
        sheet.write_bytes(content)
    with pytest.raises(settings.SettingsError, match=r"samples\.tsv"):
        settings.read_samples(str(sheet), "results")


def sample(**given):
    known = {"name": "a", "image": (Part("a.tif"),), "landscape": (), "truth": ()}
    return settings.Sample(**known | {"voxel_size": None, "channel": 0, "diameter": None} | given)


LABELLED = {"image": "a.tif", "labels": "l.tif", "split": "train"}
OTHER = {"image": "b.tif", "labels": "l.tif", "split": "validation"}


def test_a_sheet_of_labelled_images_is_read_with_its_types(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.tif", "b.tif", "l.tif"):
        (tmp_path / name).touch()
    size = {f"voxel_size_{axis}": "0.5" for axis in "zyx"}
    rows = [LABELLED | size | {"diameter": "4", "channel": "1"}, OTHER]
    sheet = str(write_sheet(tmp_path / "sheet.tsv", rows))
    first, second = settings.read_training(sheet)
    assert (first["voxel_size"], first["diameter"], first["channel"]) == ((0.5, 0.5, 0.5), 4, 1)
    assert (second["voxel_size"], second["split"], second["channel"]) == (None, "validation", 0)
    (tmp_path / "b.tif").write_bytes(b"changed")
    assert settings.read_training(sheet)[0] == first
    assert settings.read_training(sheet)[1]["known"] != second["known"]
    assert settings.read_training(None) == []


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
    with pytest.raises(settings.SettingsError) as refusal:
        settings.read_training(str(sheet))
    assert said in str(refusal.value)
    assert re.search("allowed|needed", str(refusal.value))
    assert "\n" not in str(refusal.value)


def test_a_sheet_of_labelled_images_that_is_not_there_is_refused():
    with pytest.raises(settings.SettingsError, match=r"train\.data is 'nowhere\.tsv'.*allowed"):
        settings.read_training("nowhere.tsv")


def test_what_the_user_leaves_to_the_model_is_taken_from_its_card():
    config = settings.read_config({"segment": {"threshold": 0.5}})
    settings.fill_from_model(config, {"a": sample()}, CARD)
    assert (config["segment"]["threshold"], config["segment"]["persistence"]) == (0.5, 0.1)
    config = settings.read_config({"segment": {"top_model": "three_class"}})
    settings.fill_from_model(config, {"a": sample()}, CARD)
    assert (config["segment"]["threshold"], config["segment"]["persistence"]) == (0.6, 0.2)


def test_a_top_model_that_the_model_does_not_have_is_refused_where_it_is_needed():
    card = CARD | {"task": "three_class", "top_models": {"three_class": {}}}
    heights = {"threshold": 0.5, "persistence": 0.1}
    config = settings.read_config({"segment": heights})
    with pytest.raises(ValueError, match=r"is 'watershed'.*allowed is three_class: change"):
        settings.fill_from_model(config, {"a": sample()}, card)
    settings.fill_from_model(config, {"a": sample(landscape=(Part("l.tif"),))}, card)


def test_a_landscape_that_a_sample_brings_has_no_top_model():
    heights = {"threshold": 0.5, "persistence": 0.1}
    one, two = (
        settings.read_config({"segment": heights | {"top_model": name}})
        for name in ("watershed", "three_class")
    )
    brings = sample(landscape=(Part("l.tif"),))
    assert settings.origin(one, brings, CARD) == settings.origin(two, brings, CARD)
    assert settings.earlier("track", one, brings, CARD) == settings.earlier(
        "track", two, brings, CARD
    )
    assert settings.origin(one, sample(), CARD) != settings.origin(two, sample(), CARD)
    for stage, same in (("predict", True), ("segment", False)):
        found = [settings.earlier(stage, config, sample(), CARD) for config in (one, two)]
        assert (found[0] == found[1]) == same


def test_a_training_that_starts_from_a_model_keeps_what_that_is():
    train = settings.read_config({"train": {"start_from": "nuclei-2d", "steps": 5}})["train"]
    assert (train["dimensions"], train["nominal_diameter"], train["steps"]) == (2, 16, 5)
    assert train["channels"] == [16, 32, 64, 128]
    for given in ({"dimensions": 3}, {"channels": [16, 32, 64]}, {"task": "three_class"}):
        with pytest.raises(
            ValueError, match=r"train\.\w+ is .*training starts from nuclei-2d; all"
        ):
            settings.read_config({"train": {"start_from": "nuclei-2d"} | given})
    with pytest.raises(FileNotFoundError, match="there is no model 'nuclei-9d'"):
        settings.read_config({"train": {"start_from": "nuclei-9d"}})


def test_a_landscape_of_the_sample_needs_a_threshold_of_the_user():
    config = settings.read_config({"segment": {"persistence": 1}})
    with pytest.raises(settings.SettingsError, match=r"segment\.threshold is null"):
        settings.fill_from_model(config, {"a": sample(landscape=(Part("l.tif"),))}, CARD)


def test_the_diameter_of_a_sample_goes_before_that_of_the_configuration():
    config = settings.read_config({"predict": {"diameter": 9}})
    assert settings.diameter(config, sample()) == 9
    assert settings.diameter(config, sample(diameter=4.0)) == 4
    assert settings.diameter(config, sample(diameter=4.0, landscape=(Part("l.tif"),))) is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        ({"voxel": 2}, {"voxel": [2.0, 2.0, 2.0]}),
        ({"um": [0, 1, 0.5]}, {"um": [0.0, 1.0, 0.5]}),
        ({"um": 0}, None),
        ({"voxel": [0, 0, 0.0]}, None),
    ],
)
def test_a_sigma_is_given_for_each_axis_or_is_null(given, expected):
    config = settings.read_config({"segment": {"sigma": given}})
    assert config["segment"]["sigma"] == expected
    assert settings.read_config(config) == config


def test_a_sigma_too_large_for_the_voxels_of_the_sheet_is_refused():
    config = settings.read_config({"segment": {"sigma": {"um": 10}}})
    samples = {"a": sample(voxel_size=(1.0, 1.0, 1.0)), "b": sample()}
    settings.check_sigma(config, samples)
    samples["c"] = sample(name="c", voxel_size=(1.0, 1.0, 0.1))
    with pytest.raises(settings.SettingsError, match=r"sample 'c': sigma is \(10.*allowed.* 32"):
        settings.check_sigma(config, samples)


@pytest.mark.parametrize(
    ("segment", "of_sample", "needed"),
    [
        ({}, {}, False),
        ({}, {"diameter": 4.0}, True),
        ({"sigma": {"voxel": 1}}, {}, False),
        ({"sigma": {"um": 1}}, {}, True),
        ({"sigma": {"um": 1}}, {"landscape": "l.tif"}, True),
        ({"sigma": {"um": 1}}, {"voxel_size": (1.0, 1.0, 1.0)}, False),
        ({"sigma": {"um": 0}}, {}, False),
    ],
)
def test_a_sigma_or_diameter_in_um_needs_the_voxel_size_from_the_image_or_the_sheet(
    segment, of_sample, needed
):
    config = settings.read_config({"segment": segment})
    assert settings.needs_voxel_size(config, sample(**of_sample)) == needed


def test_tracking_needs_the_voxel_size_and_laptrack(monkeypatch):
    config = settings.read_config({"track": {"max_distance": 5}})
    assert config["track"]["gap_distance"] is None
    assert config["track"]["formats"] == ["ctc", "geff"]
    assert settings.needs_voxel_size(config, sample())
    assert not settings.needs_voxel_size(config, sample(voxel_size=(1.0, 1.0, 1.0)))
    monkeypatch.setattr(settings, "find_spec", lambda _: None)
    settings.check_track(settings.read_config({}))
    with pytest.raises(settings.SettingsError, match=r"laptrack is not installed.*pip "):
        settings.check_track(config)


@pytest.mark.parametrize(
    ("measure", "needed"),
    [
        ({"ring": {"um": 2}}, True),
        ({"ring": None}, False),
        ({"size_range": {"um3": [1, None]}}, True),
        ({"size_range": {"voxel": [1, 2]}}, False),
    ],
)
def test_a_ring_and_sizes_in_um_need_the_voxel_size(measure, needed):
    config = settings.read_config({"measure": measure})
    assert settings.needs_voxel_size(config, sample()) == needed
    assert not settings.needs_voxel_size(config, sample(voxel_size=(1.0, 1.0, 1.0)))


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        ({"plugins": {"a": "no_such_package:f"}}, "there is no module 'no_such_package'"),
        ({"plugins": {"a": "no_such_package.part:f"}}, "there is no module"),
        ({"ring": {"um": 9}}, "sample 'a': the ring is 90 voxels wide"),
        ({"size_range": {"voxel": [9, 3]}}, "size_range is from 9 to 3"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_an_image_is_opened(measure, said):
    config = settings.read_config({"measure": measure})
    with pytest.raises(settings.SettingsError, match=said) as refusal:
        settings.check_measure(config, {"a": sample(voxel_size=(1.0, 0.1, 0.1))})
    assert "allowed" in str(refusal.value)


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        ({"chanels": [0]}, "write 'channels' if that is meant"),
        ({"channels": [0, 0]}, r"measure.channels is \[0, 0\]; allowed is a list or null"),
        ({"ring": 3}, "measure.ring is 3; allowed is null, {um: ...} above 0 or {voxel"),
        ({"ring": {"voxel": 65}}, "measure.ring.voxel is 65; allowed is null, {um"),
        ({"size_range": [1, 2]}, "allowed is null, {um3: "),
        ({"texture": 1}, "measure.texture is 1; allowed is a whole number or null of at least 2"),
        ({"plugins": {"a": "numpy"}}, 'measure.plugins.a is "numpy"; allowed is null, or a module'),
    ],
)
def test_settings_of_measure_without_a_meaning_are_refused(measure, said):
    with pytest.raises(settings.SettingsError, match=said):
        settings.read_config({"measure": measure})


def test_table_and_report_say_by_how_much_was_smoothed():
    config = settings.read_config({"segment": {"sigma": {"um": [1, 0.5, 0.5]}}})
    said = json.loads(settings.origin(config, sample(), CARD)["parameters"])
    assert said["sigma"] == {"um": [1.0, 0.5, 0.5]}
    assert settings.facts(config, sample(), CARD)["Parameters"]["sigma"] == "1 x 0.5 x 0.5 um"


def test_the_origin_of_a_result_names_neither_tiles_nor_jobs():
    origins = [
        settings.origin(settings.read_config({"tile": tile}), sample(), CARD)
        for tile in ({}, {"shape": [8, 8, 8], "jobs": 2})
    ]
    assert origins[0] == origins[1]


def test_the_code_of_a_rule_is_all_that_its_script_imports_and_no_more():
    def names(script):
        return {path.stem for path in settings.library(script)}

    shared = {"tiles", "shards", "geometry", "records", "store", "progress"}
    cutting = {"cut", "segment", "segment_tensor", "smooth", "smooth_tensor", "frame", "pointers"}
    cutting |= {"passes", "merging", "rim"}
    assert names("segment") == shared | cutting
    assert "measure" not in names("predict") | names("segment") | names("stitch")
    assert "report" not in names("measure")


def test_every_rule_lists_the_code_of_its_own_script():
    for rules in sorted((ROOT / "workflow").glob("*.smk")):
        for rule in (
            rules.read_text(encoding="utf-8").replace("    rule ", "rule ").split("\nrule ")[1:]
        ):
            script = rule.split("../scripts/")[1].split(".py")[0]
            makes_something = "    output:\n" in rule
            assert (f'code=code("{script}")' in rule) == makes_something
