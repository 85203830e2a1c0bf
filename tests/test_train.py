"""Training: data that no worker count changes, a schedule, a stop, a kill that leaves no trace."""

import inspect

import numpy as np
import pytest
import torch

import settings
from mosaicell import intensity, model, train
from mosaicell.curves import Look
from mosaicell.dataset import labelled
from mosaicell.resample import positions
from phantoms import landscape_of, packed_cells

SETTINGS = {
    "training": [],
    "validation": [],
    "data": None,
    "synthetic_share": 0.0,
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
    "validate_every": 2,
    "patience": None,
    "window": 32,
    "workers": 0,
    "threads": 1,
    "command": "none",
}


def picture(seed, dimensions=3):
    """A labelled image of packed cells, as a microscope might show them."""
    shape = (1, 48, 40) if dimensions == 2 else (12, 24, 28)
    labels = packed_cells(shape, spacing=10, seed=seed)
    image = landscape_of(labels, seed=seed, blur=1, noise=0.1) // 64 + 100
    return labelled(image, labels, dimensions=dimensions)


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
    monkeypatch.setattr(train, "HELD_OUT_EDGE", 28)
    monkeypatch.setattr(train, "N_VALIDATION", 1)
    monkeypatch.setattr(train, "N_CHOICE", 1)
    monkeypatch.setattr(train, "THRESHOLDS", (0.3, 0.5))
    monkeypatch.setattr(train, "LOOK_THRESHOLDS", (0.2,))
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def volumes(dimensions=3, share=0.0, seed=1, first=0, images=(), rim=0.0):
    return train.TrainingVolumes(
        images=list(images),
        synthetic_share=share,
        seed=seed,
        first=first,
        last=20,
        edge=16,
        dimensions=dimensions,
        nominal_diameter=12.0,
        rim=rim,
    )


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_volume_depends_on_seed_and_number_alone(dimensions, share):
    images = [picture(1, dimensions), picture(2, dimensions)]

    def volume(seed, number, first):
        taken = volumes(dimensions, share, seed, first, images)
        return taken[number - first]

    image, target = volume(1, 5, 0)
    assert image.shape == target.shape == (1, *[16] * dimensions)
    assert image.dtype == target.dtype == torch.float32
    for same, expected in zip(volume(1, 5, 3), (image, target), strict=True):
        assert torch.equal(same, expected)
    assert not torch.equal(volume(1, 6, 0)[0], image)
    assert not torch.equal(volume(2, 5, 0)[0], image)


def test_a_share_of_the_volumes_is_synthetic():
    images = [picture(1)]
    synthetic, mixed, real = (volumes(share=share, images=images) for share in (1.0, 0.5, 0.0))
    of_mixed = [
        [torch.equal(mixed[i][0], other[i][0]) for other in (synthetic, real)] for i in range(20)
    ]
    assert all(sum(which) == 1 for which in of_mixed)
    assert 3 < sum(is_synthetic for is_synthetic, _ in of_mixed) < 17


def test_a_rim_lifts_the_target_inside_of_cells_alone():
    for i in range(5):
        (image, plain), (same, lifted) = volumes()[i], volumes(rim=0.25)[i]
        assert torch.equal(image, same)
        assert torch.equal(lifted > 0, plain > 0)
        torch.testing.assert_close(lifted[plain > 0], 0.25 + 0.75 * plain[plain > 0])


def test_volumes_are_dimmed_as_parts_of_larger_images_and_keep_to_the_normalised_range():
    image = np.linspace(0, intensity.BRIGHTEST, 50, dtype=np.float32).reshape(2, 5, 5)
    seen = [train._as_of_a_larger_image(np.random.default_rng(i), image) for i in range(60)]
    assert any(np.array_equal(other, image) for other in seen)
    assert min(other.max() for other in seen) < 0.4 * intensity.BRIGHTEST
    assert max(other.max() for other in seen) == np.float32(intensity.BRIGHTEST)
    assert all(other.dtype == np.float32 and other.min() >= 0 for other in seen)


@pytest.mark.parametrize("shape", [(16, 16, 16), (1, 16, 16)], ids=str)
def test_an_image_that_ends_goes_on_as_predict_reads_it(shape):
    there = np.arange(np.prod(shape)).reshape(1, *shape)
    ended = 0
    for seed in range(40):
        seen = train._mirrored(np.random.default_rng(seed), there)
        assert seen.shape == there.shape
        for axis in (1, 2, 3):
            line = np.moveaxis(seen, axis, 0)[:, 0, 0, 0]
            n = int(np.argmax(line)) + 1
            ended += n < line.size
            beyond = positions(0, line.size, 1.0, n)
            assert np.array_equal(line, line[beyond.lower])
    assert 0 < ended < 40 * 3


def test_the_learning_rate_warms_up_and_falls_to_zero():
    rates = [train.learning_rate(step, steps=200, peak=1.0) for step in range(201)]
    assert rates[9] == max(rates) == 1
    assert np.all(np.diff(rates[:10]) > 0)
    assert np.all(np.diff(rates[10:]) < 0)
    assert rates[105] == pytest.approx(0.5)
    assert rates[200] == pytest.approx(0)


@pytest.mark.parametrize(
    "chosen", [SETTINGS, on_labelled(2), on_labelled(3)], ids=["synthetic", "2D", "3D"]
)
def test_a_killed_training_goes_on_as_if_nothing_had_been(tmp_path, monkeypatch, capsys, chosen):
    whole, killed = tmp_path / "whole.safetensors", tmp_path / "killed.safetensors"
    run(whole, **chosen)

    steps = []

    def loss_of(logits, target, real=train.loss_of):
        steps.append(1)
        if len(steps) == 4:
            raise KeyboardInterrupt
        return real(logits, target)

    with monkeypatch.context() as patch:
        patch.setattr(train, "loss_of", loss_of)
        with pytest.raises(KeyboardInterrupt):
            run(killed, **chosen)
    assert killed.with_suffix(".checkpoint").exists()
    assert not killed.exists()
    capsys.readouterr()
    run(killed, **chosen)
    assert "step 2" in capsys.readouterr().err
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

    def scores_of(*_, real=train.scores_of, **arguments):
        f1 = next(found, None)
        return real(*_, **arguments) if f1 is None else {train.IOUS[0]: {"f1": f1}}

    monkeypatch.setattr(train, "scores_of", scores_of)


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
    assert set(card["scores"]) == {"data", "iou 0.5", "iou 0.75"}


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"edge": 18}, "train.edge is 18, and train.channels has 3 levels; allowed is a multiple"),
        ({"window": 34}, "train.window is 34"),
        ({"nominal_diameter": 20.0}, "nominal_diameter is 20.0, and synthetic nuclei"),
        (on_labelled(3) | {"synthetic_share": 0.1}, "nominal_diameter is 9.0, and synthetic"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_the_first_step(tmp_path, other, said):
    with pytest.raises(ValueError, match="allowed") as refusal:
        run(tmp_path / "model.safetensors", **SETTINGS | other)
    assert said in str(refusal.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_validation_image_is_predicted_on_its_own_voxels_at_any_scale(dimensions):
    torch.manual_seed(0)
    net = train.UNet(channels=(8, 8), dimensions=dimensions).eval()
    for nominal in (4.0, 9.0, 20.0):
        one, two = (
            train.landscape_of(
                net, picture(1, dimensions), nominal_diameter=nominal, window=16, threads=threads
            )
            for threads in (1, 2)
        )
        assert one.shape == picture(1, dimensions).labels.shape
        assert 0 <= one.min() < one.max() <= 1
        np.testing.assert_array_equal(one, two)


@pytest.mark.slow
@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_network_learns_labelled_images(tmp_path, monkeypatch, dimensions):
    monkeypatch.setattr(train, "THRESHOLDS", (0.1, 0.2, 0.3))
    out = tmp_path / "model.safetensors"
    steps = {"steps": 150, "batch": 2, "validate_every": 50, "channels": (8, 16), "edge": 24}
    run(out, **on_labelled(dimensions) | steps)
    assert model.card(out)["scores"]["iou 0.5"]["f1"] > 0.7


@pytest.mark.parametrize("dimensions", [2, 3])
def test_after_a_share_of_the_steps_normalisation_keeps_its_constants(dimensions):
    net = train.UNet(channels=(2, 3), dimensions=dimensions).train()
    train.freeze_normalisation(net)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    net(torch.rand(2, 1, *[8] * dimensions))
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_the_section_train_of_the_configuration_is_what_train_takes():
    section = settings.schema("config")["properties"]["train"]["properties"]
    taken = set(inspect.signature(train.train).parameters)
    assert taken == set(section) | {
        "out",
        "curves",
        "training",
        "validation",
        "threads",
        "command",
    }
