"""The configuration: completed, or refused in one sentence."""

import pytest
import yaml

import checking
import settings
import sheets
from mosaicell import model
from mosaicell.composed import Part
from running import ROOT

CARD = {
    "name": "nuclei-3d",
    "task": "distance_three_class",
    "top_models": {
        "watershed": {"threshold": 0.3, "persistence": 0.1},
        "three_class": {"threshold": 0.6, "persistence": 0.2},
    },
    "nominal_diameter": 12.0,
    "sha256": "0" * 64,
}


def sample(**given):
    known = {"name": "a", "image": (Part("a.tif"),), "landscape": (), "truth": ()}
    return sheets.Sample(**known | {"voxel_size": None, "channel": 0, "diameter": None} | given)


def test_an_empty_configuration_is_completed_with_the_defaults_of_the_schema():
    config = settings.read_config({})
    assert config["tile"] == {"shape": [256, 256, 256], "jobs": 4}
    assert config["segment"]["top_model"] == "watershed"


def test_the_shipped_configuration_spells_out_the_defaults():
    text = (ROOT / "config/config.yaml").read_text(encoding="utf-8")
    assert settings.read_config(yaml.safe_load(text)) == settings.read_config({})


def test_what_the_user_leaves_to_the_model_is_taken_from_its_card():
    config = settings.read_config({"segment": {"threshold": 0.5}})
    settings.fill_from_model(config, {"a": sample()}, CARD)
    assert (config["segment"]["threshold"], config["segment"]["persistence"]) == (0.5, 0.1)
    config = settings.read_config({"segment": {"top_model": "three_class"}})
    settings.fill_from_model(config, {"a": sample()}, CARD)
    assert (config["segment"]["threshold"], config["segment"]["persistence"]) == (0.6, 0.2)


@pytest.mark.parametrize(("key", "for_all"), [("min_peak", 0.25), ("min_relative_peak", 0)])
def test_a_least_peak_is_that_of_the_user_or_the_model_or_one_that_all_cells_have(key, for_all):
    heights = CARD["top_models"]["watershed"]
    knows = CARD | {"top_models": {"watershed": heights | {key: 0.6}}}
    own, predicted = sample(landscape=(Part("l.tif"),)), sample()
    for given, card, one, expected in (
        (None, knows, predicted, 0.6),
        (None, CARD, predicted, for_all),
        (None, knows, own, for_all),
        (0.4, knows, predicted, 0.4),
        (0.4, knows, own, 0.4),
        (0, knows, predicted, 0),
    ):
        chosen = {"threshold": 0.25, "persistence": 0.1, key: given}
        config = settings.read_config({"segment": chosen})
        settings.fill_from_model(config, {"a": one}, card)
        assert settings.least_peaks(config, one, card)[key] == expected


@pytest.mark.parametrize(
    ("key", "refused", "allowed"),
    [("threshold", (1, 1.5, -0.1), (0, 0.99)), ("min_peak", (1.01, 70), (-1, 0, 0.6, 1))],
)
def test_heights_that_no_predicted_landscape_has_are_refused(key, refused, allowed):
    known = {"threshold": 0.5, "persistence": 0.1}
    predicted, own = {"a": sample()}, {"a": sample(landscape=(Part("l.tif"),))}
    for value in refused:
        config = settings.read_config({"segment": known | {key: value}})
        with pytest.raises(checking.SettingsError, match=rf"segment\.{key} is .*from 0 to 1; all"):
            settings.check_heights(config, predicted)
        settings.check_heights(config, own)
    for value in allowed:
        settings.check_heights(settings.read_config({"segment": known | {key: value}}), predicted)


def test_a_share_of_heights_below_0_is_refused():
    below = {"threshold": -0.5, "persistence": 0.1}
    own = {"a": sample(landscape=(Part("l.tif"),))}
    for share in (None, 0):
        config = settings.read_config({"segment": below | {"min_relative_peak": share}})
        settings.check_heights(config, own)
    config = settings.read_config({"segment": below | {"min_relative_peak": 0.5}})
    with pytest.raises(checking.SettingsError, match=r"min_relative_peak is 0\.5.*allowed is"):
        settings.check_heights(config, own)


def test_a_top_model_that_the_model_does_not_have_is_refused_where_it_is_needed():
    card = CARD | {"task": "three_class", "top_models": {"three_class": {}}}
    heights = {"threshold": 0.5, "persistence": 0.1}
    config = settings.read_config({"segment": heights})
    with pytest.raises(ValueError, match=r"is 'watershed'.*allowed is three_class: change"):
        settings.fill_from_model(config, {"a": sample()}, card)
    settings.fill_from_model(config, {"a": sample(landscape=(Part("l.tif"),))}, card)


def test_a_training_that_starts_from_a_model_keeps_what_that_is():
    train = settings.read_config({"train": {"start_from": "nuclei-2d", "steps": 5}})["train"]
    assert (train["dimensions"], train["nominal_diameter"], train["steps"]) == (2, 16, 5)
    assert train["channels"] == [16, 32, 64, 128]
    rim = settings.read_config({"train": {"start_from": "nuclei-3d"}})["train"]["rim"]
    assert rim == model.card(model.find("nuclei-3d")[0])["training"]["rim"] > 0
    for given in ({"dimensions": 3}, {"channels": [16, 32, 64]}, {"task": "three_class"}):
        with pytest.raises(
            ValueError, match=r"train\.\w+ is .*training starts from nuclei-2d; all"
        ):
            settings.read_config({"train": {"start_from": "nuclei-2d"} | given})
    with pytest.raises(FileNotFoundError, match="there is no model 'nuclei-9d'"):
        settings.read_config({"train": {"start_from": "nuclei-9d"}})


@pytest.mark.parametrize("given", ["auto", None])
def test_a_model_that_knows_no_diameter_takes_images_as_they_are(given):
    config = settings.read_config({"predict": {"diameter": given}})
    settings.fill_from_model(config, {"a": sample()}, CARD | {"nominal_diameter": None})
    assert config["predict"]["diameter"] is None


def test_a_diameter_of_which_the_model_knows_nothing_is_refused():
    config = settings.read_config({"predict": {"diameter": 8}})
    with pytest.raises(checking.SettingsError, match=r"a diameter came for sample .* set the diam"):
        settings.check_scale(config, {"a": sample()}, CARD | {"nominal_diameter": None})


def test_a_landscape_of_the_sample_needs_a_threshold_of_the_user():
    config = settings.read_config({"segment": {"persistence": 1}})
    with pytest.raises(checking.SettingsError, match=r"segment\.threshold is null"):
        settings.fill_from_model(config, {"a": sample(landscape=(Part("l.tif"),))}, CARD)


def test_the_diameter_of_a_sample_goes_before_that_of_the_configuration():
    config = settings.read_config({"predict": {"diameter": 9}})
    assert settings.diameter(config, sample()) == {"um": 9}
    assert settings.diameter(config, sample(diameter={"voxel": 4.0})) == {"voxel": 4}
    assert settings.diameter(config, sample(diameter="auto")) == "auto"
    assert settings.diameter(config, sample(diameter="null")) is None
    assert settings.diameter(config, sample(diameter="auto", landscape=(Part("l.tif"),))) is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("auto", "auto"),
        (None, None),
        (8, {"um": 8.0}),
        ({"um": 8}, {"um": 8}),
        ({"voxel": 20.5}, {"voxel": 20.5}),
    ],
)
def test_a_diameter_has_a_unit_or_is_auto_or_null(given, expected):
    config = settings.read_config({"predict": {"diameter": given}})
    assert config["predict"]["diameter"] == expected
    assert settings.read_config(config) == config


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
    with pytest.raises(checking.SettingsError, match=r"sample 'c': sigma is \(10.*allowed.* 32"):
        settings.check_sigma(config, samples)


@pytest.mark.parametrize(
    ("segment", "of_sample", "needed"),
    [
        ({}, {}, False),
        ({}, {"diameter": {"um": 4.0}}, True),
        ({}, {"diameter": {"voxel": 4.0}}, False),
        ({}, {"diameter": "auto"}, False),
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
    with pytest.raises(checking.SettingsError, match=r"laptrack is not installed.*pip "):
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
    with pytest.raises(checking.SettingsError, match=said) as refusal:
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
    with pytest.raises(checking.SettingsError, match=said):
        settings.read_config({"measure": measure})
