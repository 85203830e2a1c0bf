"""BioImage.IO model folders: read without a connection, used as they say, or refused."""

import copy
import shutil
import socket
import sys
from functools import reduce

import numpy as np
import pytest
import torch
import yaml

from mosaicell import intensity, model
from networks import HEIGHTS, lively, zoo_folder
from running import ROOT


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A model folder of each number of dimensions, its network and its descriptions by version."""
    made = {}
    for dimensions in (2, 3):
        network, folder = lively(dimensions), tmp_path_factory.mktemp(f"zoo{dimensions}")
        said = {v: zoo_folder(folder, network, dimensions, version=v) for v in ("0.4", "0.5")}
        for version in said:  # each has written its weights: the last ones stay
            said[version]["weights"] = said["0.5"]["weights"]
        made[dimensions] = folder, network, said
    return made


@pytest.fixture
def offline(monkeypatch):
    """No connection can be made."""
    pytest.importorskip("bioimageio.spec", reason="pip install '.[bioimageio]'")

    def refuse(*_, **__):
        raise AssertionError("a connection was tried")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def write(folders, offline):  # noqa: ARG001
    """Writes the description of the 2D model, changed at one place; `...` takes that out."""
    folder, _, said = folders[2]

    def change(version, where="name", value="m", name="rdf.yaml"):
        for other in ("rdf.yaml", "bioimageio.yaml"):
            (folder / other).unlink(missing_ok=True)
        description = copy.deepcopy(said[version])
        *way, last = [int(key) if key.isdigit() else key for key in where.split(".")]
        inner = reduce(lambda at, key: at[key], way, description)
        if value is ...:
            del inner[last]
        else:
            inner[last] = value
        (folder / name).write_text(yaml.safe_dump(description))
        return folder

    return change


@pytest.mark.parametrize("name", ["rdf.yaml", "bioimageio.yaml"])
@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.usefixtures("offline")
def test_a_folder_is_used_as_its_description_says(folders, version, dimensions, name):
    folder, network, said = folders[dimensions]
    for other in ("rdf.yaml", "bioimageio.yaml"):
        (folder / other).unlink(missing_ok=True)
    (folder / name).write_text(yaml.safe_dump(said[version]))
    assert model.find(folder) == (folder / "weights.pt", folder / name)
    assert model.find(folder / "weights.pt") == model.find(folder)
    loaded, card = model.load(folder)
    assert card["name"] == "a model of the zoo"
    assert card["architecture"]["dimensions"] == dimensions
    assert (card["stride"], card["halo"]) == (4, 24)  # 22 was said
    assert card["window"] == {2: 256, 3: 96}[dimensions]
    assert card["sizes"] == [[48, 4]] * dimensions
    assert card["normalisation"] == {
        "by": "percentiles",
        "low": 1,
        "high": 99.8,
        "becomes": [0, 1],
        "clip": None,
    }
    assert card["top_models"] == {"watershed": HEIGHTS}
    x = torch.rand(1, 1, *[64] * dimensions)
    inner = (..., *[slice(24, -24)] * dimensions)
    with torch.inference_mode():
        assert torch.equal(loaded.core(x), network(x)[inner])


STEPS = "inputs.0.preprocessing"
AFTER = "outputs.0.postprocessing"


def step(name, version="0.5", **kwargs):
    return {"id" if version == "0.5" else "name": name, "kwargs": kwargs}


@pytest.mark.parametrize(
    ("version", "steps", "expected"),
    [
        ("0.5", [], {"by": "fixed", "becomes": [0, 1]}),
        ("0.5", [step("zero_mean_unit_variance")], {"by": "mean_and_deviation"}),
        (
            "0.4",
            [step("zero_mean_unit_variance", "0.4", mode="per_dataset", axes="yx")],
            {"by": "mean_and_deviation"},
        ),
        (
            "0.4",
            [step("zero_mean_unit_variance", "0.4", mode="fixed", axes="yx", mean=10, std=5)],
            {"by": "fixed", "becomes": [-2, -1.8]},
        ),
        (
            "0.5",
            [step("fixed_zero_mean_unit_variance", mean=10, std=5)],
            {"by": "fixed", "becomes": [-2, -1.8]},
        ),
        (
            "0.5",
            [step("scale_linear", gain=1 / 255, offset=0), step("clip", min=0, max=1)],
            {"by": "fixed", "becomes": [0, 1 / 255], "clip": [0, 1]},
        ),
        (
            "0.5",
            [
                step("scale_linear", gain=3, offset=1),
                step("scale_range", min_percentile=0, max_percentile=99.9),
                step("clip", min=0, max=1),
                step("scale_linear", gain=-2, offset=1),
                step("ensure_dtype", dtype="float32"),
            ],
            {"by": "percentiles", "low": 0, "high": 99.9, "becomes": [1, -1], "clip": [-1, 1]},
        ),
    ],
    ids=str,
)
def test_preprocessing_becomes_a_line_through_two_global_intensities(
    write, version, steps, expected
):
    found = model.card(write(version, STEPS, steps))["normalisation"]
    assert {key: found[key] for key in expected} == {
        key: value if isinstance(value, str) else pytest.approx(value)
        for key, value in expected.items()
    }


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([step("sigmoid")], {"activation": "sigmoid", "zero": 0, "one": 1}),
        (
            [step("scale_linear", gain=0.5, offset=0.5), step("clip", min=0, max=1)],
            {"activation": "none", "zero": -1, "one": 1},
        ),
    ],
    ids=str,
)
def test_postprocessing_becomes_an_activation_and_two_values(write, steps, expected):
    for entry in steps:
        if entry["id"] == "sigmoid":
            del entry["kwargs"]
    found = model.card(write("0.5", AFTER, steps))["landscape"]
    assert {key: found[key] for key in expected} == expected


def test_the_section_of_ours_goes_first(write):
    ours = {
        "halo": 32,
        "window": 64,
        "stride": 8,
        "nominal_diameter": 20,
        "sees_beyond_halo": True,
        "landscape": {"zero": 0.1},
    }
    card = model.card(write("0.5", "config", {"mosaicell": ours}))
    assert {key: card[key] for key in ours if key != "landscape"} == {
        key: value for key, value in ours.items() if key != "landscape"
    }
    assert card["landscape"]["zero"] == 0.1
    assert card["top_models"]["watershed"]["threshold"] is None


SPACE = {"type": "space", "id": "y"}


@pytest.mark.parametrize(
    ("version", "where", "value", "says"),
    [
        ("0.5", "weights.torchscript.sha256", "0" * 64, "SHA-256 .* allowed is what its card"),
        ("0.5", "weights.torchscript.sha256", ..., "does not say the sha256"),
        ("0.4", "weights.torchscript.sha256", ..., "does not say the sha256"),
        ("0.5", "weights.torchscript.source", "../weights.pt", "at ../weights.pt"),
        ("0.5", "weights.torchscript.source", "https://example.com/w.pt", "nothing is downloaded"),
        (
            "0.4",
            "weights",
            {"onnx": {"source": "weights.onnx", "opset_version": 15}},
            "has weights as onnx; allowed is TorchScript",
        ),
        ("0.5", "format_version", "0.7.0", "format 0.4 or 0.5"),
        ("0.5", "inputs", [], "is not as bioimageio.spec knows it"),
        ("0.5", "type", "dataset", "is not as bioimageio.spec knows it"),
        ("0.5", "config", {"mosaicell": {"colour": 1}}, "config.mosaicell with colour"),
        ("0.5", "config", {"mosaicell": {"landscape": {"output": 1}}}, "a number from 0 to 0"),
        (
            "0.5",
            "outputs.0.axes.1.channel_names",
            ["cell", "border"],
            "gives 2 channels .*config.mosaicell.landscape.channel",
        ),
        ("0.5", "outputs.0.axes.2.scale", 0.5, "another resolution"),
        (
            "0.5",
            STEPS,
            [step("zero_mean_unit_variance", axes=["x"])],
            "zero_mean_unit_variance, measured for each y alone",
        ),
        (
            "0.5",
            STEPS,
            [step("clip", min=0, max=9), step("scale_range", min_percentile=1)],
            "scale_range, which is measured after another change",
        ),
        ("0.5", STEPS, [step("ensure_dtype", dtype="uint8")], "ensure_dtype, which .* rounds"),
        ("0.5", STEPS, [step("binarize", threshold=1)], "binarize, which is not known"),
        ("0.5", AFTER, [step("binarize", threshold=1)], "after binarize, which is no landscape"),
        ("0.5", AFTER, [step("zero_mean_unit_variance")], "no landscape or depends on the window"),
        ("0.5", AFTER, [step("clip", min=0.5, max=1)], "after clip"),
        ("0.5", "inputs.0.axes.2.size", 56, "takes edges of 56 voxels alone"),
    ],
)
def test_what_cannot_be_kept_to_is_refused(write, version, where, value, says):
    with pytest.raises(ValueError, match=says):
        model.load(write(version, where, value))


def test_a_network_of_one_size_has_windows_that_fit(write):
    card = model.card(write("0.5", "inputs.0.axes.2.size", 128))
    assert (card["window"], card["stride"], card["sizes"]) == (72, 4, [[128, 0], [48, 4]])


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"rdf\.yaml or bioimageio\.yaml in it"):
        model.find(tmp_path)


@pytest.mark.usefixtures("offline")
@torch.inference_mode()
def test_a_network_made_elsewhere_gives_what_its_makers_say_it_gives():
    folder = ROOT / "tests/data/zoo"
    network, card = model.load(folder)
    with np.load(folder / "test_tensors.npz") as tensors:
        image, said = tensors["input"], tensors["output"]
    counts = intensity.histogram(image)
    known = {"limits": intensity.limits(counts, image.dtype)}
    known |= intensity.statistics(counts, image.dtype)
    ends, clip = intensity.limits_and_clip(known, card["normalisation"])
    core = network.core(torch.from_numpy(intensity.normalise(image, *ends, clip)))
    inner = slice(card["halo"], -card["halo"])
    assert said[..., inner, inner].std() > 0.3
    np.testing.assert_allclose(core, said[..., inner, inner], atol=1e-5)


def test_weights_of_a_folder_may_have_any_ending_and_other_files_are_none_of_it(write):
    folder = write("0.5", "weights.torchscript.source", "deep/it.torchscript")
    (folder / "deep").mkdir()
    weights = shutil.copy(folder / "weights.pt", folder / "deep" / "it.torchscript")
    assert model.find(weights) == model.find(folder)
    assert model.load(weights)[1] == model.card(folder)
    for other in ("weights.pt", "README.md"):
        with pytest.raises(FileNotFoundError, match=r"no card|there is no model"):
            model.find(folder / other)


def test_a_folder_without_its_weights_is_refused(write):
    with pytest.raises(FileNotFoundError, match="nothing is downloaded"):
        model.find(write("0.5", "weights.torchscript.source", "other.pt"))


def test_yaml_that_would_make_objects_is_refused(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write("0.5") / "rdf.yaml"
    path.write_text(path.read_text() + "evil: !!python/object/apply:pathlib.Path.touch [mark]\n")
    with pytest.raises(ValueError, match="is not as bioimageio"):
        model.card(path.parent)
    assert not (tmp_path / "mark").exists()


def test_without_bioimageio_spec_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bioimageio.spec", None)
    (tmp_path / "rdf.yaml").write_text("type: model\n")
    with pytest.raises(ValueError, match=r"bioimageio\.spec is not installed.*\[bioimageio\]"):
        model.card(tmp_path)
