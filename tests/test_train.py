"""Training: a schedule, a stop, a start from a model, a kill that leaves no trace."""

import inspect

import numpy as np
import pytest
import torch

import checking
from mosaicell import choice, model, train, volumes
from mosaicell.curves import Look
from mosaicell.networks import NETWORKS
from test_volumes import picture

SETTINGS = {
    "training": [],
    "validation": [],
    "data": None,
    "synthetic_share": 0.0,
    "task": "distance",
    "start_from": None,
    "dimensions": 3,
    "nominal_diameter": 12.0,
    "steps": 4,
    "seed": 3,
    "channels": (2, 3, 4),
    "batch": 1,
    "edge": 16,
    "peak_learning_rate": 1e-2,
    "weight_decay": 1e-2,
    "rim": 0.0,
    "foreground_weight": 3.0,
    "validate_every": 2,
    "patience": None,
    "window": 32,
    "workers": 0,
    "threads": 1,
    "command": "none",
}


def on_labelled(dimensions):
    """Settings of a training on labelled images of their own size."""
    return SETTINGS | {
        "dimensions": dimensions,
        "nominal_diameter": 9.0,
        "data": "sheet.tsv",
        "training": [picture(1, dimensions), picture(2, dimensions)],
        "validation": [picture(3, dimensions)],
    }


def run(out, **settings):
    train.train(out=out, curves=out.with_suffix(".png"), **settings)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(volumes, "SYNTHETIC_EDGE", 28)
    monkeypatch.setattr(train, "N_VALIDATION", 1)
    monkeypatch.setattr(train, "N_CHOICE", 1)
    for top_model in choice.LOOK:
        monkeypatch.setitem(choice.THRESHOLDS, top_model, (0.3, 0.5))
        monkeypatch.setitem(choice.LOOK, top_model, ((0.2,), (0.1,), (0.0,)))
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_learning_rate_warms_up_and_falls_to_zero():
    rates = [train.learning_rate(step, steps=200, peak=1.0) for step in range(201)]
    assert rates[9] == max(rates) == 1
    assert np.all(np.diff(rates[:10]) > 0)
    assert np.all(np.diff(rates[10:]) < 0)
    assert rates[105] == pytest.approx(0.5)
    assert rates[200] == pytest.approx(0)


@pytest.mark.parametrize(
    "chosen",
    [
        SETTINGS,
        on_labelled(2),
        on_labelled(3),
        on_labelled(2) | {"task": "three_class"},
        on_labelled(2) | {"task": "distance_three_class"},
        on_labelled(2) | {"start_from": "first.safetensors"},
    ],
    ids=["synthetic", "2D", "3D", "three_class", "distance_three_class", "start_from"],
)
def test_a_killed_training_goes_on_as_if_nothing_had_been(tmp_path, monkeypatch, capsys, chosen):
    whole, killed = tmp_path / "whole.safetensors", tmp_path / "killed.safetensors"
    if chosen["start_from"]:
        run(tmp_path / chosen["start_from"], **on_labelled(2) | {"seed": 1})
        chosen = chosen | {"start_from": str(tmp_path / chosen["start_from"])}
    run(whole, **chosen)

    steps = []

    def loss_of(logits, target, real=train.loss_of, **weight):
        steps.append(1)
        if len(steps) == 4:
            raise KeyboardInterrupt
        return real(logits, target, **weight)

    with monkeypatch.context() as patch:
        patch.setattr(train, "loss_of", loss_of)
        with pytest.raises(KeyboardInterrupt):
            run(killed, **chosen)
    assert killed.with_suffix(".checkpoint").exists()
    assert not killed.exists()
    capsys.readouterr()
    run(killed, **chosen)
    assert "2 of 4 steps were done by an earlier run" in capsys.readouterr().err
    assert killed.read_bytes() == whole.read_bytes()
    assert killed.with_suffix(".png").read_bytes() == whole.with_suffix(".png").read_bytes()
    assert model.card(killed) == model.card(whole) | {"name": "killed"}
    assert not killed.with_suffix(".checkpoint").exists()


@pytest.mark.parametrize(
    "other",
    [{"seed": 4}, {"training": [picture(1, 2)]}, {"patience": 7}],
    ids=["seed", "images", "patience"],
)
def test_a_checkpoint_of_other_settings_or_images_is_not_continued(
    tmp_path, monkeypatch, capsys, other
):
    out, chosen = tmp_path / "model.safetensors", on_labelled(2)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train, "draw_curves", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(out, **chosen)
    assert out.with_suffix(".checkpoint").exists()
    run(out, **chosen | other)
    assert "begins anew" in capsys.readouterr().err


def stopping_at_once(monkeypatch, scores):
    """Have each look find the next of some F1."""
    found = iter(scores)
    monkeypatch.setattr(train, "look", lambda *_, **__: next(found))


def test_training_stops_when_f1_no_longer_rises_and_keeps_the_best_weights(
    tmp_path, monkeypatch, capsys
):
    chosen = on_labelled(2) | {"steps": 9, "validate_every": 1, "patience": 2}
    out, best = tmp_path / "model.safetensors", tmp_path / "best.safetensors"
    stopping_at_once(monkeypatch, [0.1, 0.5, 0.5, 0.4])
    run(out, **chosen)
    said = capsys.readouterr().err
    assert "step 4/9" in said
    assert "step 5/9" not in said
    assert model.card(out)["training"]["best_step"] == 2
    # The same weights as of a training that looks no further.
    stopping_at_once(monkeypatch, [0.1, 0.5])
    monkeypatch.setattr(train, "is_settled", lambda looks, _: len(looks) == 2)
    run(best, **chosen)
    assert best.read_bytes() == out.read_bytes()


def test_a_training_that_was_killed_after_its_last_step_takes_no_further_one(
    tmp_path, monkeypatch, capsys
):
    chosen = on_labelled(2) | {"steps": 9, "validate_every": 1, "patience": 1}
    out = tmp_path / "model.safetensors"

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train, "draw_curves", interrupted)
        stopping_at_once(patch, [0.5, 0.4])
        with pytest.raises(KeyboardInterrupt):
            run(out, **chosen)
    capsys.readouterr()
    run(out, **chosen)
    assert "step 3/9" not in capsys.readouterr().err
    assert model.card(out)["training"]["best_step"] == 1


@pytest.mark.parametrize(
    ("f1s", "patience", "settled"),
    [
        ([], 1, False),
        ([0.5], 1, False),
        ([0.5, 0.5], 1, True),
        ([0.5, 0.6, 0.5], 2, False),
        ([0.6, 0.5, 0.5], 2, True),
        ([0.6, 0.5, 0.5], None, False),
    ],
)
def test_patience_counts_looks_since_the_best_one(f1s, patience, settled):
    looks = [Look(i, 1.0, f1) for i, f1 in enumerate(f1s)]
    assert train.is_settled(looks, patience) == settled


def test_the_card_says_what_a_model_was_made_of_and_how_good_it_is(tmp_path):
    out = tmp_path / "model.safetensors"
    run(out, **on_labelled(2))
    card = model.card(out)
    assert card["architecture"] == {"channels": [2, 3, 4], "dimensions": 2}
    assert card["nominal_diameter"] == 9
    assert card["training"]["data"] == "sheet.tsv"
    assert card["training"]["images"] == {"train": 2, "validation": 1}
    assert card["training"]["seed"] == 3
    assert card["training"]["command"] == "none"
    assert "1 images of the split validation, not trained on" in card["scores"]["data"]
    assert set(card["scores"]) == {"data", "watershed"}
    assert set(card["scores"]["watershed"]) == {"iou 0.5", "iou 0.75"}


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("task", NETWORKS)
def test_each_task_gives_a_model_with_its_top_models(tmp_path, task, dimensions):
    out = tmp_path / "model.safetensors"
    run(out, **on_labelled(dimensions) | {"task": task, "validate_every": 4})
    card = model.card(out)
    assert card["task"] == card["training"]["task"] == task
    assert set(card["top_models"]) == set(card["scores"]) - {"data"} == set(model.TOP_MODELS[task])
    if task == "distance_three_class":
        assert card["architecture"]["top_channels"] == [1, 1, 2]
    for top_model in card["top_models"]:
        net, _ = model.load(out, top_model=top_model)
        assert net.core(torch.rand(1, 1, *[2 * net.halo + 4] * dimensions)).shape[1] == 1


def test_a_training_that_starts_from_a_model_gives_none_that_is_worse(tmp_path, monkeypatch):
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    run(first, **on_labelled(2))
    looks = iter([0.9, 0.8, 0.7])
    monkeypatch.setattr(train, "look", lambda *_, **__: next(looks))
    run(second, **on_labelled(2) | {"start_from": str(first)})
    assert second.read_bytes() == first.read_bytes()
    card = model.card(second)
    assert card["training"]["best_step"] == 0
    assert card["training"]["start_from"] == {
        "name": "first",
        "sha256": model.card(first)["sha256"],
    }


@pytest.mark.parametrize("other", [{"channels": (2, 3)}, {"task": "three_class"}])
def test_a_start_from_a_model_of_another_kind_is_refused(tmp_path, other):
    first = tmp_path / "first.safetensors"
    run(first, **on_labelled(2))
    with pytest.raises(ValueError, match=r"training starts from first; allowed is"):
        run(tmp_path / "second.safetensors", **on_labelled(2) | {"start_from": str(first)} | other)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"edge": 18}, "train.edge is 18, and train.channels has 3 levels; allowed is a multiple"),
        ({"window": 34}, "train.window is 34"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_the_first_step(tmp_path, other, said):
    with pytest.raises(ValueError, match="allowed") as refusal:
        run(tmp_path / "model.safetensors", **SETTINGS | other)
    assert said in str(refusal.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.networks
@pytest.mark.parametrize("task", NETWORKS)
@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_network_learns_labelled_images(tmp_path, monkeypatch, dimensions, task):
    for top_model in choice.LOOK:
        monkeypatch.setitem(choice.THRESHOLDS, top_model, (0.1, 0.2, 0.3))
    out = tmp_path / "model.safetensors"
    steps = {"steps": 150, "batch": 2, "validate_every": 50, "channels": (8, 16), "edge": 24}
    run(out, **on_labelled(dimensions) | steps | {"task": task})
    for top_model in model.TOP_MODELS[task]:
        assert model.card(out)["scores"][top_model]["iou 0.5"]["f1"] > 0.7


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("task", NETWORKS)
def test_a_gpu_computes_in_half_the_precision_and_saves_whole_weights(tmp_path, task):
    out = tmp_path / "model.safetensors"
    run(out, **on_labelled(2) | {"task": task})
    assert model.card(out)["training"]["precision"] == "bfloat16"
    net, _ = model.load(out)
    assert {p.dtype for p in net.parameters()} == {torch.float32}


@pytest.mark.parametrize("dimensions", [2, 3])
def test_after_a_share_of_the_steps_normalisation_keeps_its_constants(dimensions):
    net = train.untrained("distance_three_class", channels=(2, 3), dimensions=dimensions).train()
    train.freeze_normalisation(net)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    net(torch.rand(2, 1, *[8] * dimensions))
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_the_section_train_of_the_configuration_is_what_train_takes():
    section = checking.schema("config")["properties"]["train"]["properties"]
    taken = set(inspect.signature(train.train).parameters)
    assert taken == set(section) | {
        "out",
        "curves",
        "training",
        "validation",
        "threads",
        "command",
    }
