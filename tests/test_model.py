"""Models on disk: what is saved is loaded, what does not fit is refused."""

import json
import subprocess
import sys

import numpy as np
import pytest

from mosaicell import model
from running import ROOT

CHANNELS = (2, 3, 4)
HEIGHTS = {"threshold": 0.3, "persistence": 0.1}
CARD = {
    "nominal_diameter": 12.0,
    "window": 32,
    "top_models": {"watershed": HEIGHTS},
    "training": {"command": "none"},
    "scores": {},
}


@pytest.fixture
def saved(tmp_path):
    """A tiny model: the path of its weights, and the network that was saved."""
    import torch

    from mosaicell.unet import UNet

    torch.manual_seed(0)
    net = UNet(channels=CHANNELS)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.normal_()
    path = tmp_path / "tiny.safetensors"
    model.save(net, path, **CARD)
    return path, net.eval()


def change(path, **fields):
    """Overwrite fields of a card; `...` takes one out."""
    card = path.with_suffix(".json")
    content = json.loads(card.read_text()) | fields
    card.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}))


def test_what_was_saved_is_loaded(saved):
    import torch

    path, net = saved
    loaded, card = model.load(path)
    x = torch.rand(1, 1, 16, 16, 16)
    with torch.inference_mode():
        assert torch.equal(loaded(x), net(x))
    assert not loaded.training
    assert set(card) == set(model.FIELDS)
    assert card["name"] == "tiny"
    assert card["architecture"] == {"channels": [2, 3, 4], "dimensions": 3}
    assert card == model.card(str(path))


def test_a_card_that_does_not_say_the_dimensions_is_of_a_volume(saved):
    path, _ = saved
    change(path, architecture={"channels": [2, 3, 4]})
    loaded, card = model.load(path)
    assert loaded.dimensions == card["architecture"]["dimensions"] == 3


def test_a_network_of_planes_is_loaded_as_such(tmp_path):
    import torch

    from mosaicell.unet import UNet

    net = UNet(channels=CHANNELS, dimensions=2).eval()
    model.save(net, tmp_path / "flat.safetensors", **CARD)
    loaded, card = model.load(tmp_path / "flat.safetensors")
    assert card["architecture"]["dimensions"] == 2
    with torch.inference_mode():
        x = torch.rand(1, 1, 16, 16)
        # Another order of memory may round the last digit otherwise.
        torch.testing.assert_close(loaded(x), net(x), rtol=0, atol=1e-6)


@pytest.fixture
def chain(tmp_path):
    """A tiny model of two networks in a row."""
    from mosaicell.networks import DistanceThreeClass

    net = DistanceThreeClass(channels=(2, 3), top_channels=(1, 2), dimensions=2).eval()
    both = {
        "watershed": HEIGHTS | {"min_peak": 0.5, "min_relative_peak": 0.8},
        "three_class": {"threshold": 0.5, "persistence": 0.2},
    }
    model.save(net, tmp_path / "chain.safetensors", **CARD | {"top_models": both})
    return tmp_path / "chain.safetensors", net


def test_of_two_networks_in_a_row_each_top_model_gets_what_it_needs(chain):
    import torch

    path, net = chain
    x = torch.rand(1, 1, 16, 16)
    with torch.inference_mode():
        for top_model, expected in (
            (None, net(x)),
            ("three_class", net(x)),
            ("watershed", net.distance(x)),
        ):
            loaded, card = model.load(path, top_model=top_model)
            torch.testing.assert_close(loaded(x), expected, rtol=0, atol=1e-6)
            assert loaded.halo == (10 if top_model == "watershed" else 20)
            assert card["task"] == "distance_three_class"
            assert card["halo"] == 20


@pytest.mark.parametrize(
    "architecture",
    [
        {"channels": [2, 3], "dimensions": 2},
        {"channels": [2, 3], "top_channels": [1, 2, 3], "dimensions": 2},
        {"channels": [2, 3], "top_channels": 1, "dimensions": 2},
    ],
)
def test_a_chain_needs_the_channels_of_both_networks(chain, architecture):
    change(chain[0], architecture=architecture)
    with pytest.raises(ValueError, match="channels and top_channels, a list"):
        model.card(chain[0])


def test_a_top_model_that_a_model_does_not_have_is_refused(saved):
    path, _ = saved
    with pytest.raises(ValueError, match="the model tiny is of the task distance; allowed is wate"):
        model.load(path, top_model="three_class")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"task": "three_class"}, "train.task is three_class, and training starts from tiny"),
        ({"dimensions": 2}, "train.dimensions is 2"),
        ({"channels": [2, 3]}, r"train.channels is \[2, 3\].*allowed is \[2, 3, 4\]"),
        ({"nominal_diameter": 20}, "train.nominal_diameter is 20"),
        ({"rim": 0.1}, "train.rim is 0.1, .*allowed is 0.2"),
    ],
)
def test_a_training_that_contradicts_the_model_that_it_starts_from_is_refused(saved, given, says):
    card = model.card(saved[0]) | {"training": {"rim": 0.2}}
    same = {"task": "distance", "dimensions": 3, "channels": [2, 3, 4], "nominal_diameter": 12}
    same["rim"] = 0.2
    assert model.kept(card, {}) == model.kept(card, same) == same
    with pytest.raises(ValueError, match=says):
        model.kept(card, same | given)


def test_saving_twice_gives_the_same_bytes(saved):
    path, net = saved
    before = path.read_bytes(), path.with_suffix(".json").read_bytes()
    model.save(net, path, **CARD)
    assert (path.read_bytes(), path.with_suffix(".json").read_bytes()) == before
    assert sorted(p.name for p in path.parent.iterdir()) == ["tiny.json", "tiny.safetensors"]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": ...}, "lacks the field 'name'"),
        ({"colour": "red"}, "unknown field 'colour'"),
        ({"name": 3}, "name = 3"),
        ({"nominal_diameter": "12"}, "nominal_diameter = '12'"),
        ({"nominal_diameter": 0}, "above 0"),
        ({"nominal_diameter": float("nan")}, "above 0"),
        ({"window": 32.0}, "window = 32.0"),
        ({"window": True}, "window = True"),
        ({"window": 30}, "a multiple of 4"),
        ({"window": -4}, "above 0"),
        ({"halo": 20}, "24, by its architecture"),
        ({"threshold": 0.3}, "unknown field 'threshold'"),
        ({"top_models": {}}, "top_models = {}; allowed is watershed, by its task"),
        ({"top_models": {"three_class": HEIGHTS}}, "allowed is watershed, by its task"),
        ({"top_models": {"watershed": 0.3}}, "top_models.watershed = 0.3"),
        ({"top_models": {"watershed": {"threshold": 0.3}}}, "threshold, persistence and"),
        ({"top_models": {"watershed": HEIGHTS | {"threshold": None}}}, "from 0 to 1"),
        ({"top_models": {"watershed": HEIGHTS | {"threshold": 1.5}}}, "from 0 to 1"),
        ({"top_models": {"watershed": HEIGHTS | {"persistence": -0.1}}}, "from 0 to 1"),
        ({"top_models": {"watershed": HEIGHTS | {"min_peak": 1.5}}}, "from 0 to 1"),
        ({"top_models": {"watershed": HEIGHTS | {"min_size": 1}}}, "from 0 to 1"),
        ({"task": "three_class"}, "allowed is three_class, by its task"),
        ({"task": "boundaries"}, "task = 'boundaries'"),
        ({"architecture": {}}, "channels, a list"),
        ({"architecture": {"channels": [2, 3, 4], "norm": "group"}}, "channels, a list"),
        ({"architecture": {"channels": [2, -3, 4]}}, "channels, a list"),
        ({"architecture": {"channels": [2, 3, 4], "dimensions": 4}}, "dimensions, 2 or 3"),
        ({"architecture": {"channels": [2, 3, 4], "dimensions": True}}, "dimensions, 2 or 3"),
        ({"architecture": {"channels": [2, 3, 4], "dimensions": 2}}, "do not fit the architecture"),
        ({"architecture": {"channels": [2, 3, 5]}}, "do not fit the architecture"),
        ({"architecture": {"channels": [2, 3, 4], "top_channels": [1, 1, 1]}}, "channels, a list"),
        ({"sha256": "0" * 64}, "0000; allowed|allowed is what their card says, 0000"),
        ({"sha256": 0}, "sha256 = 0"),
        ({"training": []}, r"training = \[\]"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(saved, fields, says):
    path, _ = saved
    change(path, **fields)
    with pytest.raises(ValueError, match=says):
        model.load(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_a_card_that_is_no_json_object_is_refused(saved, text):
    path, _ = saved
    path.with_suffix(".json").write_text(text)
    with pytest.raises(ValueError, match=r"tiny\.json"):
        model.load(path)


def test_changed_weights_are_refused(saved):
    path, _ = saved
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="SHA-256"):
        model.load(path)


def test_a_card_that_would_be_refused_is_not_saved_silently(saved):
    path, net = saved
    with pytest.raises(ValueError, match="window = 30"):
        model.save(net, path, **CARD | {"window": 30})


@pytest.mark.parametrize("name", ["no-such-model", "/nowhere/x.safetensors", "", "../x"])
def test_an_unknown_model_is_refused(name):
    with pytest.raises(FileNotFoundError, match="nuclei-3d"):
        model.find(name)


def test_weights_without_a_card_are_refused(saved):
    path, _ = saved
    path.with_suffix(".json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no card tiny\.json"):
        model.load(path)


def test_there_is_a_shipped_model():
    assert "nuclei-3d" in model.shipped()


@pytest.mark.parametrize("name", model.shipped())
def test_a_shipped_model_loads_and_predicts(name):
    import torch

    net, card = model.load(name)
    weights, _ = model.find(name)
    assert card["name"] == name
    assert card["license"] == "MIT"
    assert card["training"]["command"].startswith("snakemake ")
    assert weights.stat().st_size < 10e6
    edge = net.stride * 8
    axes = np.ogrid[(slice(edge),) * net.dimensions]
    away = np.sqrt(sum((g - edge / 2) ** 2 for g in axes))
    ball = torch.from_numpy((away < card["nominal_diameter"] / 2).astype(np.float32))
    with torch.inference_mode():
        found = net(ball[None, None])[0, 0].numpy()
    threshold = card["top_models"]["watershed"]["threshold"]
    assert found[(edge // 2,) * net.dimensions] > 2 * threshold
    assert found[away > card["nominal_diameter"]].max() < threshold


def test_reading_a_card_does_not_import_torch():
    code = (
        "import sys; from mosaicell import model; "
        "[model.card(name) for name in model.shipped()]; print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "workflow",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"


def test_a_training_does_not_start_from_a_network_made_elsewhere():
    with pytest.raises(ValueError, match=r"train\.start_from is other, a network made elsewhere"):
        model.kept({"name": "other", "weights_sha256": "0" * 64}, {})
