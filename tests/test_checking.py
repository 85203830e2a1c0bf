"""What is not allowed is refused in one sentence, and every key is described."""

import pytest

import checking
import settings
from running import ROOT


def keys(rules, before=""):
    for name, rule in rules["properties"].items():
        yield before + name, rule
        if "properties" in rule and "maxProperties" not in rule:
            yield from keys(rule, f"{before}{name}.")


@pytest.mark.parametrize("name", ["config", "samples"])
def test_every_key_is_described_in_the_schema_and_in_the_readme(name):
    readme = (ROOT / "config/README.md").read_text(encoding="utf-8")
    for key, rule in keys(checking.schema(name)):
        assert rule["description"], key
        if rule.get("type") != "object":
            assert f"`{key}`" in readme, key
    for key, rule in keys(checking.schema("config")):
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
        ({"predict": {"diameter": 0}}, "predict.diameter is 0; allowed is auto, a number above 0"),
        (
            {"predict": {"diameter": "atuo"}},
            'predict.diameter is "atuo"; allowed is auto, a number',
        ),
        ({"predict": {"diameter": True}}, "predict.diameter is true; allowed is auto, a number"),
        ({"predict": {"diameter": {}}}, "predict.diameter is {}; allowed is auto, a number"),
        ({"predict": {"diameter": {"um": 0}}}, "predict.diameter.um is 0; allowed is auto, a"),
        (
            {"predict": {"diameter": {"um": 1, "voxel": 2}}},
            'diameter is {"um": 1, "voxel": 2}; all',
        ),
        ({"predict": {"diameter": {"voxels": 2}}}, "write 'voxel' if that is meant"),
        (
            {"predict": {"diameter": {"voxel": "2"}}},
            'predict.diameter.voxel is "2"; allowed is auto',
        ),
        ({"samples": 3}, "samples is 3; allowed is text"),
        ({"train": {"channels": [4]}}, "channels is [4]; allowed is a list of 2 to 5 values, each"),
        ({"train": {"dimensions": 4}}, "dimensions is 4; allowed is 2 or 3"),
        ({"train": {"synthetic_share": 2}}, "synthetic_share is 2; allowed is a number of at"),
    ],
)
def test_a_configuration_that_is_not_allowed_is_refused_in_one_sentence(given, said):
    with pytest.raises(checking.SettingsError) as refusal:
        settings.read_config(given)
    sentence = str(refusal.value)
    assert said in sentence
    assert "allowed" in sentence
    assert "\n" not in sentence
