"""Networks made elsewhere: as their cards say, tile-exact, and nothing in a file is executed."""

import json
import pickle
import re
import shutil
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter

from mosaicell import model
from mosaicell.foreign.bioimageio import OURS
from mosaicell.foreign.card import ACTIVATIONS, DEFAULTS, LANDSCAPE, NEEDED, NORMALISATIONS
from mosaicell.foreign.network import Foreign, _fitting, _ordered, beyond_halo
from mosaicell.intensity import histogram, limits, limits_and_clip, normalise, statistics
from mosaicell.predict import ONE
from networks import EDGE, HEIGHTS, card_of, exported, hash_of, lively, traced
from test_predict import landscape_of as predicted


def example(dimensions):
    return 1, 1, *[EDGE if dimensions == 2 else 48] * dimensions


@pytest.fixture(scope="module", params=[(2, ".pt"), (2, ".pt2"), (3, ".pt"), (3, ".pt2")], ids=str)
def made(request, tmp_path_factory):
    """A network of ours, the path of the file it was written to, and its dimensions."""
    dimensions, suffix = request.param
    network = lively(dimensions)
    path = tmp_path_factory.mktemp("made") / f"it{suffix}"
    write = traced if suffix == ".pt" else exported
    return network, card_of(write(network, path, *example(dimensions)), dimensions), dimensions


class Whole(torch.nn.Module):
    """A U-Net whose cores are computed with their halos, as a file of it must."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.dimensions, self.stride, self.halo = network.dimensions, network.stride, network.halo

    def core(self, x):
        inner = slice(self.halo, -self.halo)
        return self.network(x)[(..., *[inner] * self.dimensions)]


def landscape_of(network, image, *, threads=1, order=1):
    """The landscape of a volume in shards of 32 voxels, in their order or in the opposite one."""
    return predicted(image, network, shard=(32, 32, 32), window=16, threads=threads, order=order)


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 1000, (6, 16, 40)).astype(np.uint16)


def test_a_file_gives_the_landscape_of_the_network_that_was_written(made, image):
    network, path, _ = made
    loaded, _ = model.load(path)
    found = landscape_of(loaded, image)
    assert np.ptp(found) > ONE // 4
    np.testing.assert_array_equal(found, landscape_of(Whole(network), image))
    # Our own way to compute a core leaves out what the halo alone needs, and rounds otherwise.
    assert np.abs(found - landscape_of(network, image).astype(int)).max() <= 1


def test_neither_order_nor_threads_change_a_bit(made, image):
    loaded, _ = model.load(made[1])
    again, _ = model.load(made[1])
    np.testing.assert_array_equal(
        landscape_of(loaded, image), landscape_of(again, image, threads=2, order=-1)
    )


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_halo_that_is_too_small_is_refused_unless_the_card_says_so(tmp_path, dimensions):
    path = traced(lively(dimensions), tmp_path / "it.pt", *example(dimensions))
    card_of(path, dimensions, halo=8)
    with pytest.raises(ValueError, match=r"farther than its halo of 8 voxels.*sees_beyond_halo"):
        model.load(path)
    card_of(path, dimensions, halo=8, sees_beyond_halo=True)
    assert model.load(path)[0].halo == 8


class Averaged(torch.nn.Module):
    """Normalises by its window, as instance normalisation does."""

    def forward(self, x):
        return torch.sigmoid(x - x.mean(dim=(2, 3), keepdim=True))


def test_a_network_that_looks_at_its_whole_window_is_told_by_any_halo(tmp_path):
    path = traced(Averaged(), tmp_path / "it.pt", *example(2))
    with pytest.raises(ValueError, match="farther than its halo of 24"):
        model.load(card_of(path, 2))


class Odd(torch.nn.Module):
    """No batch, channels last, two outputs; the second has three channels, of which two count."""

    def forward(self, x):
        y = torch.stack([x[..., 0] * 4, x[..., 1], x.sum(2)])
        return {"other": x, "scores": y.permute(2, 0, 1)}


class Cropping(torch.nn.Module):
    """Gives less than it is given, as convolutions without padding do."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 5), torch.nn.Conv2d(2, 1, 5))

    def forward(self, x):
        return (x[:, :, 2:-2, 2:-2], self.layers(x))


def test_axes_channels_outputs_and_values_are_as_the_card_says():
    about = {
        "name": "odd",
        "axes": "yxc",
        "channels": 2,
        "stride": 2,
        "halo": 2,
        "architecture": {"dimensions": 2},
        "sizes": [[16, 0], [2, 6]],
        "landscape": {
            "output": "scores",
            "axes": "xcy",
            "activation": "softmax",
            "channel": 0,
            "minus": 1,
            "zero": -1,
            "one": 1,
        },
    }
    x = torch.rand(1, 1, 12, 18)
    found = Foreign(Odd(), about).core(x)
    v = x[:, :, 2:-2, 2:-2]
    scores = torch.softmax(torch.cat([4 * v, v, 2 * v], 1), 1)
    torch.testing.assert_close(found, (scores[:, :1] - scores[:, 1:2] + 1) / 2)


@pytest.mark.parametrize("number", [0, 1])
def test_an_output_without_its_halo_is_taken_as_it_is(tmp_path, number):
    torch.manual_seed(0)
    network = Cropping().eval()
    path = traced(network, tmp_path / "it.pt", 1, 1, 32, 32)
    said = {"output": number, "zero": -3, "one": 3}
    loaded, _ = model.load(card_of(path, 2, halo=4, landscape=said))
    x = torch.rand(1, 1, 24, 32)
    with torch.inference_mode():
        expected = (x[:, :, 4:-4, 4:-4], network(x)[1])[number]
        torch.testing.assert_close(loaded.core(x), ((expected + 3) / 6).clamp(0, 1))


def test_a_network_of_one_size_predicts_windows_of_any(tmp_path):
    network = lively(2)
    path = exported(network, tmp_path / "it.pt2", *[1, 1, 96, 96], stride=None)
    loaded, _ = model.load(card_of(path, 2, sizes=[[96, 0], [96, 0]]))
    x = torch.rand(1, 1, 72, 96)
    with torch.inference_mode():
        found, expected = loaded.core(x), Whole(network).core(x)
    # In a window of another size sums may be split otherwise.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@given(st.integers(1, 200), st.integers(1, 100), st.integers(0, 20))
def test_a_fitting_edge_is_the_smallest_that_is_taken(edge, least, step):
    found = _fitting(edge, least, step)
    if step == 0:
        assert found == least
    else:
        taken = range(least, edge + least + 2 * step, step)
        assert found == min(size for size in taken if size >= edge)


@given(st.permutations("bczyx"), st.permutations("zyxbc"))
def test_axes_come_back_from_any_order(there, back):
    x = torch.arange(24).reshape(1, 1, 2, 3, 4)
    turned = _ordered(x, "bczyx", "".join(there))
    assert torch.equal(
        _ordered(_ordered(turned, "".join(there), "".join(back)), "".join(back), "zyx"), x[0, 0]
    )


# Normalisation


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_statistics_of_a_histogram_are_those_of_the_values(dtype):
    values = np.random.default_rng(1).normal(100, 20, 5000).astype(dtype)
    known = statistics(histogram(values), np.dtype(dtype))
    width = 0 if np.dtype(dtype).kind in "iu" else 200 / 2048
    assert known["mean"] == pytest.approx(values.mean(dtype=float), abs=width + 1e-9)
    assert known["deviation"] == pytest.approx(values.std(dtype=float), abs=width + 1e-9)
    ends = np.sort(values)[[0, 2500, 4990, -1]]
    found = [known["percentiles"][i] for i in (0, 500, 998, 1000)]
    np.testing.assert_allclose(found, ends, atol=width)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"by": "limits"}, lambda v, k: (v - k["limits"][0]) / (k["limits"][1] - k["limits"][0])),
        ({"by": "mean_and_deviation"}, lambda v, _: (v - v.mean()) / v.std()),
        (
            {"by": "percentiles", "low": 0, "high": 100, "becomes": [-1, 1]},
            lambda v, _: 2 * (v - v.min()) / (v.max() - v.min()) - 1,
        ),
        ({"by": "fixed", "low": 50, "high": 150, "becomes": [1, 0]}, lambda v, _: 1.5 - v / 100),
        (
            {"by": "fixed", "low": 0, "high": 1, "clip": [100, None]},
            lambda v, _: np.maximum(v, 100),
        ),
    ],
    ids=lambda x: x["by"] if isinstance(x, dict) else "",
)
def test_brightness_is_normalised_as_the_card_says(wanted, expected):
    values = np.random.default_rng(1).normal(100, 20, 5000).astype(np.uint16)
    counts = histogram(values)
    known = {"limits": limits(counts, values.dtype), **statistics(counts, values.dtype)}
    ends, clip = limits_and_clip(known, {"becomes": [0, 1], "clip": None} | wanted)
    np.testing.assert_allclose(
        normalise(values, *ends, clip), expected(values.astype(float), known), atol=1e-5
    )


def test_our_own_normalisation_can_be_asked_for_to_the_bit():
    values = np.random.default_rng(1).normal(100, 20, 5000).astype(np.float32)
    counts = histogram(values)
    known = {"limits": limits(counts, values.dtype), **statistics(counts, values.dtype)}
    ours = {"by": "limits", "becomes": [0, 1], "clip": [0, 1.5]}
    assert limits_and_clip(known, ours) == limits_and_clip(known, None)


# Refusals


@pytest.fixture
def written(tmp_path):
    """A small TorchScript file with a card that fits."""
    return card_of(traced(Averaged(), tmp_path / "it.pt", 1, 1, 8, 8), 2, sees_beyond_halo=True)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"axes": ...}, "lacks the field 'axes'"),
        ({"axes": "tyx"}, 'axes = "tyx"; allowed is y and x'),
        ({"axes": "yy"}, "allowed is y and x"),
        ({"axes": 3}, "axes = 3"),
        ({"axes": "yx", "channels": 2}, "channels = 2; allowed is 1"),
        ({"channels": 0}, "channels = 0"),
        ({"stride": 0}, "stride = 0"),
        ({"halo": 6}, "halo = 6; allowed is 0 or a multiple of the stride, 4"),
        ({"window": 30}, "window = 30; allowed is a multiple"),
        ({"window": True}, "window = true"),
        ({"sizes": [[64, 4]]}, "a list of 2 pairs"),
        ({"sizes": [[64, 0], [64, 4]]}, "window = 32; allowed is at most 8"),
        ({"nominal_diameter": 0}, "nominal_diameter = 0"),
        ({"nominal_diameter": "12"}, "a number above 0"),
        ({"sees_beyond_halo": 1}, "true or false"),
        ({"notes": 1}, "notes = 1"),
        ({"colour": "red"}, "unknown field 'colour'"),
        ({"sha256": "abc"}, "64 digits"),
        ({"sha256": "0" * 64}, "has the SHA-256 .* allowed is what its card says, 0000"),
        ({"top_models": {"watershed": {"threshold": 0.5}}}, "top_models ="),
        ({"top_models": {"watershed": {"threshold": 2, "persistence": 0}}}, "top_models ="),
        ({"top_models": {"watershed": HEIGHTS | {"min_peak": 2}}}, "top_models ="),
        ({"top_models": {"watershed": HEIGHTS | {"min_relative_peak": 2}}}, "top_models ="),
        ({"top_models": {"watershed": HEIGHTS | {"min_size": 1}}}, "top_models ="),
        ({"normalisation": "none"}, "with one of limits, percentiles"),
        ({"normalisation": {"by": "tile"}}, "with one of limits, percentiles"),
        ({"normalisation": {"by": "percentiles", "low": 1}}, "by percentiles with low, high"),
        ({"normalisation": {"by": "percentiles", "low": 0.05, "high": 99}}, "steps of 0.1"),
        ({"normalisation": {"by": "fixed", "low": 2, "high": 1}}, "by fixed with low, high"),
        ({"normalisation": {"by": "limits", "becomes": [1, 1]}}, "becomes and clip"),
        ({"normalisation": {"by": "limits", "clip": [1, 0]}}, "becomes and clip"),
        ({"normalisation": {"by": "limits", "low": 1}}, "by limits with"),
        ({"landscape": 0}, "landscape = 0; allowed is an object"),
        ({"landscape": {"colour": 1}}, "an object with output"),
        ({"landscape": {"output": -1}}, "landscape.output = -1"),
        ({"landscape": {"output": 2}}, "has no output 2"),
        ({"landscape": {"axes": "bczyx"}}, "an order of x, y"),
        ({"landscape": {"axes": "byx"}}, "gave 4 axes"),
        ({"landscape": {"activation": "tanh"}}, "none or sigmoid or softmax"),
        ({"landscape": {"channel": 1}}, "gave 1 channels"),
        ({"landscape": {"axes": "byx", "channel": 1}}, "no axis c"),
        ({"landscape": {"minus": "border"}}, "null or the number"),
        ({"landscape": {"zero": 1}}, "another value"),
        ({"axes": "yx"}, "failed on a window of shape"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(written, fields, says):
    with pytest.raises(ValueError, match=says):
        model.load(card_of(written, 2, **{"sees_beyond_halo": True} | fields))


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_card_that_is_no_json_object_is_refused(written, text):
    written.with_suffix(".json").write_text(text)
    with pytest.raises(ValueError, match=r"it\.json"):
        model.card(written)


def test_a_file_without_a_card_or_a_card_without_a_file_is_refused(written):
    written.with_suffix(".json").rename(written.with_name("other.json"))
    with pytest.raises(FileNotFoundError, match=r"no card it\.json"):
        model.find(written)
    with pytest.raises(FileNotFoundError, match=r"there is no model .*\.pt or \.pt2"):
        model.find(written.with_name("other.pt"))


def test_a_changed_file_is_refused(written):
    content = bytearray(written.read_bytes())
    content[len(content) // 2] ^= 1
    written.write_bytes(content)
    with pytest.raises(ValueError, match="SHA-256"):
        model.load(written)


def test_a_network_that_gives_no_numbers_is_refused(tmp_path):
    class Divides(torch.nn.Module):
        def forward(self, x):
            return x / 0 * 0

    path = card_of(traced(Divides(), tmp_path / "it.pt", 1, 1, 8, 8), 2)
    with pytest.raises(ValueError, match="no numbers"):
        model.load(path)


def test_reading_a_card_says_what_the_stages_need(written):
    card = model.card(written)
    assert card["name"] == "it"
    assert card["top_models"] == {"watershed": HEIGHTS}
    assert card["architecture"]["dimensions"] == 2
    other = model.card(card_of(written, 2, landscape={"channel": 0, "zero": 0.1}))
    assert other["sha256"] != card["sha256"]
    assert other["weights_sha256"] == card["weights_sha256"]
    named = model.card(card_of(written, 2, sees_beyond_halo=True, name="new", notes="n"))
    assert named["sha256"] == card["sha256"]


# What the docs say

DOCS = (Path(__file__).parents[1] / "docs/other_networks.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("block", "name"), [("trace", "nuclei.pt"), ("export", "nuclei.pt2")])
def test_what_the_docs_export_is_taken_with_the_card_of_the_docs(
    tmp_path, monkeypatch, block, name
):
    class Classes(torch.nn.Module):
        """Background, cell and border, halved and doubled four times."""

        def __init__(self):
            super().__init__()
            self.layers = torch.nn.Sequential(
                torch.nn.AvgPool2d(16),
                torch.nn.Conv2d(1, 3, 3, padding=1),
                torch.nn.Upsample(scale_factor=16),
            )

        def forward(self, x):
            return self.layers(x)

    monkeypatch.chdir(tmp_path)
    code = re.search(rf"```python\n# {block}\n(.*?)```", DOCS, re.DOTALL)[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(code, {"network": Classes()})
    said = json.loads(re.search(r"```json\n(.*?)```", DOCS, re.DOTALL)[1])
    network, about = model.load(card_of(Path(name), 2, **said | {"sha256": hash_of(Path(name))}))
    assert network.core(torch.rand(1, 1, 160, 192)).shape == (1, 1, 64, 96)
    assert about["top_models"]["watershed"]["threshold"] == 0.3


def test_the_docs_name_every_field():
    for name in (*NEEDED, *DEFAULTS, "name"):
        assert f"| `{name}` |" in DOCS
    for name in (*NORMALISATIONS, *ACTIVATIONS, *LANDSCAPE, *OURS):
        assert f"`{name}" in DOCS or f'"{name}"' in DOCS


# Files that could run Python when they are opened


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return Path.touch, (Path(self.mark),)


class Saves(torch.nn.Module):
    """TorchScript that writes a file."""

    def forward(self, x):
        torch.save(x, "mark")
        return x


def _doctored(path, changes):
    """A torch.export archive with files changed or added."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    root = next(iter(content)).partition("/")[0]
    for name, change in changes.items():
        known = content.get(f"{root}/{name}", b"")
        content[f"{root}/{name}"] = change(known) if callable(change) else change
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def _text(old, new):
    def change(content):
        assert old in content.decode()
        return content.decode().replace(old, new).encode()

    return change


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    return exported(lively(2), tmp_path_factory.mktemp("export") / "it.pt2", *example(2))


GRAPH, WEIGHTS = "models/model.json", "data/weights/model_weights_config.json"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"data/sample_inputs/model.pt": pickle.dumps(Evil("mark"))},
            "examples that are no tensors",
        ),
        ({"data/constants/opaque_obj_0": pickle.dumps(Evil("mark"))}, "opaque_obj_0"),
        ({"data/weights/model.pt": pickle.dumps(Evil("mark"))}, "data/weights/model.pt"),
        ({"data/aotinductor/model/x.so": b"\x7fELF"}, "aotinductor"),
        ({WEIGHTS: _text('"use_pickle": false', '"use_pickle": true')}, "opened by pickle"),
        ({GRAPH: _text("torch.ops.aten.relu_.default", "torch.os.system")}, "calls 'torch.os.sys"),
        (
            {GRAPH: _text("torch.ops.aten.relu_.default", "torch.ops.aten.from_file.out")},
            "from_file",
        ),
        ({GRAPH: _text("Integer(2)", "open(2)")}, "formula"),
        ({GRAPH: _text("Integer(2)", "Integer(2).real.__class__")}, "formula"),
        ({GRAPH: _text('"name": "sigmoid"', '"name": "x = 1; import os"')}, "has the text"),
        ({GRAPH: _text("builtins.tuple", "collections.defaultdict")}, "takes or gives"),
        ({GRAPH: b"[]"}, "cannot be read"),
    ],
    ids=lambda given: given if isinstance(given, str) else next(iter(given)),
)
def test_an_export_that_needs_more_than_tensors_and_known_functions_is_refused(
    export, tmp_path, monkeypatch, changes, says
):
    monkeypatch.chdir(tmp_path)
    path = Path(shutil.copy(export, tmp_path))
    _doctored(path, {})
    model.load(card_of(path, 2))  # packed by another program it is still the same
    _doctored(path, changes)
    with pytest.raises(ValueError, match=says):
        model.load(card_of(path, 2))
    assert not Path("mark").exists()


def test_guards_of_an_export_are_not_evaluated(export, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path(shutil.copy(export, tmp_path))

    def change(content):
        return json.dumps(json.loads(content) | {"guards_code": ["open('mark', 'w')"]}).encode()

    _doctored(path, {GRAPH: change})
    model.load(card_of(path, 2))
    assert not Path("mark").exists()


def _eager(path):
    torch.save({"state": torch.zeros(2)}, path)


def _of_old(path):
    torch.save({"state": torch.zeros(2)}, path, _use_new_zipfile_serialization=False)


def _evil(path):
    path.write_bytes(pickle.dumps(Evil("mark")))


def _text_file(path):
    path.write_text("version https://git-lfs.github.com/spec/v1")


def _evil_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("it/data.pkl", pickle.dumps(Evil("mark")))


@pytest.mark.parametrize("write", [_eager, _of_old, _evil, _text_file, _evil_zip])
@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
def test_a_pickle_is_refused_unopened(tmp_path, monkeypatch, write, suffix):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"it{suffix}"
    write(path)
    with pytest.raises(ValueError, match=r"allowed are archives of torch\.jit\.save"):
        model.load(card_of(path, 2))
    assert not Path("mark").exists()


def test_a_script_that_writes_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Saves()).save("it.pt")
    with pytest.raises(ValueError, match="uses 'save'"):
        model.load(card_of(tmp_path / "it.pt", 2))
    assert not Path("mark").exists()


MEAN = {
    "name": "mean",
    "axes": "bcyx",
    "channels": 1,
    "stride": 1,
    "halo": 2,
    "architecture": {"dimensions": 2},
    "sizes": [[1, 1], [1, 1]],
    "normalisation": {"becomes": [0, 1]},
    "landscape": {"output": 0, "axes": "bcyx", "activation": "none", "channel": 0, "minus": None}
    | {"zero": 0, "one": 1},
}


def test_a_mean_over_five_voxels_looks_two_voxels_far():
    mean = torch.nn.AvgPool2d(5, 1, 2)
    assert beyond_halo(Foreign(mean, MEAN)) == 0
    assert beyond_halo(Foreign(mean, MEAN | {"halo": 1})) > 0.01


def test_a_network_with_a_stride_of_one_voxel_is_predicted_without_seams(image):
    found = landscape_of(Foreign(torch.nn.AvgPool2d(5, 1, 2), MEAN), image[:1])
    expected = uniform_filter(image[0] / 1000, 5, mode="mirror")
    np.testing.assert_allclose(found[0] / ONE, expected, atol=2 / ONE)
