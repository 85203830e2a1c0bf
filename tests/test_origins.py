"""What a result comes from: told completely, and nothing else."""

import json

import origins
import settings
from mosaicell.composed import Part
from running import ROOT
from test_settings import CARD, sample


def test_a_landscape_that_a_sample_brings_has_no_top_model():
    heights = {"threshold": 0.5, "persistence": 0.1}
    one, two = (
        settings.read_config({"segment": heights | {"top_model": name}})
        for name in ("watershed", "three_class")
    )
    brings = sample(landscape=(Part("l.tif"),))
    assert origins.origin(one, brings, CARD) == origins.origin(two, brings, CARD)
    assert origins.earlier("track", one, brings, CARD) == origins.earlier(
        "track", two, brings, CARD
    )
    assert origins.origin(one, sample(), CARD) != origins.origin(two, sample(), CARD)
    for stage, same in (("predict", True), ("segment", False)):
        found = [origins.earlier(stage, config, sample(), CARD) for config in (one, two)]
        assert (found[0] == found[1]) == same


def test_table_and_report_say_by_how_much_was_smoothed():
    config = settings.read_config({"segment": {"sigma": {"um": [1, 0.5, 0.5]}}})
    said = json.loads(origins.origin(config, sample(), CARD)["parameters"])
    assert said["sigma"] == {"um": [1.0, 0.5, 0.5]}
    assert origins.facts(config, sample(), CARD)["Parameters"]["sigma"] == "1 x 0.5 x 0.5 um"


def test_the_origin_of_a_result_names_neither_tiles_nor_jobs():
    said = [
        origins.origin(settings.read_config({"tile": tile}), sample(), CARD)
        for tile in ({}, {"shape": [8, 8, 8], "jobs": 2})
    ]
    assert said[0] == said[1]


def test_the_code_of_a_rule_is_all_that_its_script_imports_and_no_more():
    def names(script):
        return {path.stem for path in origins.library(script)}

    shared = {"tiles", "shards", "geometry", "records", "store", "progress"}
    cutting = {"cut", "segment", "segment_tensor", "sigma", "smooth", "smooth_tensor", "frame"}
    cutting |= {"pointers", "passes", "merging", "rim"}
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
