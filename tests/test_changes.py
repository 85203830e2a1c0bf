"""What a change costs: config key by key, which stages run again, and what they leave as it is."""

import hashlib
import json
import os
import re
import shutil
import subprocess

import pytest
import tifffile
import torch

import checking
from mosaicell import model
from mosaicell.networks import DistanceThreeClass
from mosaicell.synthetic.synthesis import synthesise
from running import ROOT, command, files, products, write_sheet

pytestmark = pytest.mark.slow

MEASURE_CELLS = {"measure_cells", "measure", "report"}
CHECK_MEASURE = {"check_measure"} | MEASURE_CELLS
MEASURE = {"measure_labels"} | MEASURE_CELLS
STITCH = {"stitch"} | MEASURE
STITCH_TILES = {"stitch_tiles"} | STITCH
SEGMENT = {"segment"} | STITCH_TILES
PREDICT = {"predict"} | SEGMENT
ESTIMATE = {"estimate_diameter"} | PREDICT
INGEST = {"ingest"} | ESTIMATE
EVERYTHING = {"check_measure"} | INGEST

# Key, another value for it, and the rules that run again.
KEYS = [
    ("samples", "copy.tsv", set()),
    ("results", "elsewhere", EVERYTHING),
    ("tile.shape", [16, 12, 16], SEGMENT),
    ("tile.jobs", 2, PREDICT),
    ("predict.model", "other.safetensors", ESTIMATE),
    ("predict.channel", 1, INGEST),
    ("predict.diameter", 7.0, PREDICT),
    ("segment.top_model", "three_class", ESTIMATE),
    ("segment.sigma", {"voxel": 1}, SEGMENT),
    ("segment.threshold", 0.3, SEGMENT),
    ("segment.persistence", 0.2, STITCH_TILES),
    ("segment.min_size", 30, STITCH),
    ("segment.min_peak", 0.5, STITCH),
    ("segment.min_relative_peak", 0.5, STITCH),
    ("measure.channels", [], CHECK_MEASURE),
    ("measure.ring", {"voxel": 2}, CHECK_MEASURE),
    ("measure.size_range", {"um3": [50, None]}, CHECK_MEASURE),
    ("measure.texture", 8, CHECK_MEASURE),
    ("measure.plugins", {"mine": "numpy:shape"}, CHECK_MEASURE),
    ("evaluate.shapes", "thin", set()),
    ("export", ["geff"], {"export"}),
    ("track", {"max_distance": 3}, {"track", "track_export"}),
    ("train.data", None, set()),
    ("train.task", "three_class", set()),
    ("train.start_from", None, set()),  # a model would contradict the others
    ("train.synthetic_share", 0.5, set()),
    ("train.dimensions", 2, set()),
    ("train.nominal_diameter", 20, set()),
    ("train.steps", 7, set()),
    ("train.seed", 7, set()),
    ("train.channels", [2, 4, 8], set()),
    ("train.batch", 1, set()),
    ("train.edge", 64, set()),
    ("train.peak_learning_rate", 0.1, set()),
    ("train.weight_decay", 0.1, set()),
    ("train.rim", 0.3, set()),
    ("train.foreground_weight", 1, set()),
    ("train.validate_every", 3, set()),
    ("train.patience", 3, set()),
    ("train.window", 16, set()),
    ("train.workers", 0, set()),
]
# Library module whose code changes, and the rules that import it.
MODULES = [
    ("predict.py", ESTIMATE),
    ("diameter.py", ESTIMATE),
    ("smooth.py", ESTIMATE),  # it also cuts what the estimate looks at
    ("jobs/segment.py", SEGMENT),
    ("jobs/stitch.py", STITCH_TILES),
    ("jobs/measure.py", MEASURE_CELLS),
    ("hull.py", MEASURE_CELLS),
    ("pictures.py", {"report"}),
    ("evaluate.py", set()),
    ("train.py", set()),
    ("version.py", set()),
]


class Run:
    """A sample that was done to the end by a copy of the workflow, so that its code can change."""

    def __init__(self, folder):
        self.folder = folder
        self.workflow = folder / "workflow"
        for name in ("Snakefile", "workflow", "scripts", "envs", "profiles", "config/config.yaml"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
            (self.workflow / name).parent.mkdir(parents=True, exist_ok=True)
            copy(ROOT / name, self.workflow / name)
        image, _ = synthesise(7, (16, 24, 32))
        low, high = image.min(), image.max()
        image = ((image - low) / (high - low) * 60000).astype("uint16")
        tifffile.imwrite(folder / "image.tif", image)
        sizes = {f"voxel_size_{axis}": 1.0 for axis in "zyx"}
        self.row = {"sample": "a", "image": folder / "image.tif", **sizes}
        for sheet in ("samples.tsv", "copy.tsv"):
            write_sheet(folder / sheet, [self.row])
        self.model = folder / "model.safetensors"
        for name in ("model", "other"):
            save_chain(folder / f"{name}.safetensors")
        change_model(folder / "other.safetensors")
        self.config = {
            "samples": str(folder / "samples.tsv"),
            "tile": {"shape": [8, 12, 16], "jobs": 1},
            "predict": {"model": str(self.model)},
            "segment": {"threshold": 0.25, "persistence": 0.08},
        }

    def call(self, *arguments, config=None, folder=None):
        called = command(folder or self.folder, config or self.config, *arguments)
        # Not the interpreter: its environment may lie in the repository too.
        rest = [argument.replace(f"{ROOT}/", f"{self.workflow}/") for argument in called[1:]]
        called = [called[0], *rest]
        done = subprocess.run(
            called, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def planned(self, **changes):
        """Names of the rules that would run, and of the samples for which they would."""
        said = self.call("--dry-run", **changes)
        rules = set(re.findall(r"^(?:local)?rule (\w+):", said, re.MULTILINE)) - {"all"}
        return rules, set(re.findall(r"wildcards: .*sample=(\w+)", said))


def save_chain(path):
    """A model with both top models: that of nuclei, and after it a network that knows nothing."""
    net, card = model.load("nuclei-3d")
    torch.manual_seed(0)
    chain = DistanceThreeClass(**net.architecture, top_channels=[2, 2, 2])
    chain.distance.load_state_dict(net.state_dict())
    heights = {"threshold": 0.25, "persistence": 0.08}
    model.save(
        chain,
        path,
        nominal_diameter=card["nominal_diameter"],
        window=card["window"],
        top_models={"watershed": heights, "three_class": heights},
        training={},
        scores={},
    )


def change_model(weights):
    """Give a model other content: the last bit of its weights, and the hash in its card."""
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    card = weights.with_suffix(".json")
    known = json.loads(card.read_text()) | {"sha256": hashlib.sha256(content).hexdigest()}
    card.write_text(json.dumps(known))


def changed(config: dict, key: str, value: object) -> dict:
    """A configuration with another value of a key."""
    section, _, name = key.rpartition(".")
    return config | (
        {section: config.get(section, {}) | {name: value}} if section else {key: value}
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    done = Run(tmp_path_factory.mktemp("changes"))
    done.call()
    assert done.planned() == (set(), set())
    return done


@pytest.fixture
def again(finished, tmp_path):
    """A copy of that run's folder, for running in it."""
    folder = tmp_path / "again"
    shutil.copytree(finished.folder, folder, ignore=shutil.ignore_patterns("workflow"))
    return folder


def test_the_table_has_every_key_of_the_configuration():
    def keys(rules, before=""):
        for key, rule in rules["properties"].items():
            if rule.get("type") == "object":
                yield from keys(rule, f"{before}{key}.")
            else:
                yield before + key

    assert [key for key, _, _ in KEYS] == list(keys(checking.schema("config")))


@pytest.mark.parametrize(
    ("key", "value", "rules"), [row for row in KEYS if not row[0].startswith("train.")]
)
def test_another_value_of_a_key_has_just_these_rules_run_again(finished, key, value, rules):
    if key == "track":
        pytest.importorskip("laptrack", reason="tracking needs laptrack: make test-trackers")
    if isinstance(value, str) and (finished.folder / value).exists():
        value = str(finished.folder / value)
    assert finished.planned(config=changed(finished.config, key, value))[0] == rules


def test_what_training_is_told_changes_no_sample(finished):
    config = finished.config
    for key, value, rules in KEYS:
        if key.startswith("train."):
            assert not rules
            config = changed(config, key, value)
    assert finished.planned(config=config) == (set(), set())


@pytest.mark.parametrize(("module", "rules"), MODULES)
def test_other_code_has_just_the_rules_run_again_that_import_it(finished, module, rules):
    path = finished.workflow / "workflow/mosaicell" / module
    before, known = path.read_text(), path.stat()
    path.write_text(before + "\n# Changed.\n")
    try:
        assert finished.planned()[0] == rules
    finally:
        path.write_text(before)
        # Back to the second, as if nothing had been.

        os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns))


def test_one_more_sample_does_not_touch_the_others(finished):
    sheet = write_sheet(finished.folder / "two.tsv", [finished.row, finished.row | {"sample": "b"}])
    config = finished.config | {"samples": str(sheet)}
    assert finished.planned(config=config) == (EVERYTHING, {"b"})


def test_a_model_with_new_content_predicts_again(finished):
    weights, card = finished.model, finished.model.with_suffix(".json")
    before = [(path, path.read_bytes(), path.stat()) for path in (weights, card)]
    change_model(weights)
    try:
        assert finished.planned()[0] == ESTIMATE
    finally:
        for path, content, known in before:
            path.write_bytes(content)

            os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns))


def tile_records(folder):
    """What the records of all tiles, slabs and shards say, by unit of work."""
    work = folder / "results/work/a"
    units = ("ingest/level0", "predict/shards", "segment/tiles", "stitch_tiles/tiles")
    units += ("labels/shards", "measure/tiles")
    return {unit: {path.stat().st_mtime_ns for path in (work / unit).iterdir()} for unit in units}


def test_another_persistence_predicts_and_cuts_no_tile_again(finished, again):
    before = tile_records(again)
    finished.call(folder=again, config=changed(finished.config, "segment.persistence", 0.2))
    after = tile_records(again)
    same = {unit for unit in before if before[unit] == after[unit]}
    assert same == {"ingest/level0", "predict/shards", "segment/tiles"}
    finished.call(folder=again)
    assert products(again, "a") == products(finished.folder, "a")


def test_another_number_of_jobs_computes_no_tile_again(finished, again):
    before, expected = tile_records(again), products(again, "a")
    finished.call(folder=again, config=changed(finished.config, "tile.jobs", 2))
    assert tile_records(again) == before
    assert products(again, "a") == expected
    logs = files(again / "results/work/a/logs")
    assert all(b"mosaicell" in text for text in logs.values())
    assert {name.split("-")[0] for name in logs} >= {"predict", "segment", "measure.log"}
