"""Training: data that no worker count changes, a schedule, a kill that leaves no trace."""

import inspect

import numpy as np
import pytest
import torch

import settings
from mosaicell import model, train

SETTINGS = {
    "steps": 4,
    "seed": 3,
    "channels": (2, 3, 4),
    "batch": 1,
    "peak_learning_rate": 1e-2,
    "weight_decay": 1e-2,
    "validate_every": 2,
    "window": 32,
    "workers": 0,
    "threads": 1,
    "command": "none",
}


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(train, "EDGE", 16)
    monkeypatch.setattr(train, "HELD_OUT_EDGE", 28)
    monkeypatch.setattr(train, "N_VALIDATION", 1)
    monkeypatch.setattr(train, "N_CHOICE", 1)
    monkeypatch.setattr(train, "THRESHOLDS", (0.3, 0.5))
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_volume_depends_on_seed_and_number_alone():
    def volume(seed, number, first):
        volumes = train.SyntheticVolumes(seed=seed, first=first, last=9)
        return volumes[number - first]

    image, target = volume(1, 5, 0)
    assert image.shape == target.shape == (1, 16, 16, 16)
    assert image.dtype == target.dtype == torch.float32
    for same, expected in zip(volume(1, 5, 3), (image, target), strict=True):
        assert torch.equal(same, expected)
    assert not torch.equal(volume(1, 6, 0)[0], image)
    assert not torch.equal(volume(2, 5, 0)[0], image)


def test_the_learning_rate_warms_up_and_falls_to_zero():
    rates = [train.learning_rate(step, steps=200, peak=1.0) for step in range(201)]
    assert rates[9] == max(rates) == 1
    assert np.all(np.diff(rates[:10]) > 0)
    assert np.all(np.diff(rates[10:]) < 0)
    assert rates[105] == pytest.approx(0.5)
    assert rates[200] == pytest.approx(0)


def test_a_killed_training_goes_on_as_if_nothing_had_been(tmp_path, monkeypatch, capsys):
    whole, killed = tmp_path / "whole.safetensors", tmp_path / "killed.safetensors"
    train.train(out=whole, **SETTINGS)

    steps = []

    def loss_of(logits, target, real=train.loss_of):
        steps.append(1)
        if len(steps) == 4:
            raise KeyboardInterrupt
        return real(logits, target)

    with monkeypatch.context() as patch:
        patch.setattr(train, "loss_of", loss_of)
        with pytest.raises(KeyboardInterrupt):
            train.train(out=killed, **SETTINGS)
    assert killed.with_suffix(".checkpoint").exists()
    assert not killed.exists()
    capsys.readouterr()
    train.train(out=killed, **SETTINGS)
    assert "step 2" in capsys.readouterr().err
    assert killed.read_bytes() == whole.read_bytes()
    assert model.card(killed) == model.card(whole) | {"name": "killed"}
    assert not killed.with_suffix(".checkpoint").exists()


def test_a_checkpoint_of_other_settings_is_not_continued(tmp_path, monkeypatch, capsys):
    out = tmp_path / "model.safetensors"

    def held_out(kind, n, real=train.held_out):
        if kind == train.CHOICE:
            raise KeyboardInterrupt
        return real(kind, n)

    with monkeypatch.context() as patch:
        patch.setattr(train, "held_out", held_out)
        with pytest.raises(KeyboardInterrupt):
            train.train(out=out, **SETTINGS)
    assert out.with_suffix(".checkpoint").exists()
    train.train(out=out, **SETTINGS | {"seed": 4})
    assert "begins anew" in capsys.readouterr().err
    assert model.card(out)["training"]["seed"] == 4


def test_after_a_share_of_the_steps_normalisation_keeps_its_constants():
    net = train.UNet(channels=(2, 3)).train()
    train.freeze_normalisation(net)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    net(torch.rand(2, 1, 8, 8, 8))
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_the_section_train_of_the_configuration_is_what_train_takes():
    section = settings.schema("config")["properties"]["train"]["properties"]
    taken = set(inspect.signature(train.train).parameters)
    assert taken == set(section) | {"out", "threads", "command"}
