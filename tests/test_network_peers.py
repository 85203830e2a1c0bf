"""The comparison of networks trains, scores and goes on; what a peer is given is the same."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
import tifffile

from mosaicell.dataset import median_diameter
from phantoms import packed_cells
from running import ROOT

sys.path.insert(0, str(ROOT / "tests/benchmarks"))

import network_data
import network_peers

NOMINAL = 10


@pytest.fixture
def data(tmp_path):
    """A folder with eight made-up planes, each a group of its own."""
    folder = tmp_path / "dsb2018_fluo_2d"
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(8):
        labels = packed_cells((3, 64, 64), spacing=12, seed=i)[1].astype(np.uint16)
        image = 100 * (labels > 0) + rng.integers(0, 50, labels.shape)
        tifffile.imwrite(folder / f"images/{i}.tif", image.astype(np.uint8))
        tifffile.imwrite(folder / f"labels/{i}.tif", labels)
    index = {"id": range(8), "height": 64, "width": 64, "median_bg": 4.0 ** np.arange(8)}
    index = pd.DataFrame(index | {"nuc_median_area_px": 100})
    index.to_csv(folder / "index.csv", index=False)
    return tmp_path


@pytest.mark.slow
@pytest.mark.networks
def test_every_method_is_trained_once_and_scored_per_group(data, monkeypatch, capsys):
    small = {"nominal_diameter": NOMINAL, "channels": [4, 8], "edge": 32, "batch": 2}
    monkeypatch.setitem(network_peers.SETTINGS, 2, small)
    monkeypatch.setattr(network_peers, "STARDIST", data / "none")
    monkeypatch.setattr(network_peers, "PROBES", (1, 3))
    out = data / "out"
    command = ["network_peers.py", str(data), "--out", str(out), "--minutes", "0.01", "--groups"]
    monkeypatch.setattr(sys, "argv", [*command, "--dimensions", "2"])
    network_peers.main()
    first = capsys.readouterr().out
    assert "StarDist is left out" in first
    for method in network_peers.METHODS:
        said = json.loads((out / "2d" / method.replace(" ", "_") / "scores.json").read_text())
        assert set(said["scores"]) == {"group 1", "group 5", "all"}
        assert first.count(f"| {method} |") == 3
    weights = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    assert len(weights) == 3
    network_peers.main()
    assert capsys.readouterr().out == first
    assert all(path.stat().st_mtime_ns == then for path, then in weights.items())


def test_another_process_is_given_the_same_images_at_the_scale_of_the_model(data):
    training, validation, test = network_data.data_of(data, 2)
    folder = data / "files"
    folder.mkdir()
    given = {"nominal_diameter": NOMINAL, "edge": 32, "batch": 2}
    network_data.write(folder, (training, validation, test), **given)
    with np.load(folder / "train.npz") as file:
        assert len(file.files) == 2 * len(training) * (1 + network_data.N_PARTS)
        assert {file[name].ndim for name in file.files} == {2}
        diameter = median_diameter(file["labels_0"].astype(np.int32)[None])
        assert diameter == pytest.approx(NOMINAL, rel=0.1)
    with np.load(folder / "test.npz") as file:
        for i, picture in enumerate(picture for part in test.values() for picture in part):
            assert file[f"image_{i}"].shape == picture.labels.shape[1:]
            np.testing.assert_allclose(file[f"scale_{i}"], picture.scale(NOMINAL)[1:])
    assert json.loads((folder / "settings.json").read_text())["dimensions"] == 2


def test_images_smaller_than_a_patch_are_mirrored_that_far(data):
    images = network_data.data_of(data, 2)
    network_data.write(data, images, nominal_diameter=NOMINAL, edge=96, batch=2)
    with np.load(data / "train.npz") as file:
        assert all(min(file[name].shape) >= 96 for name in file.files)
        image = file["image_0"]
    around = (96 - network_data.at_model_scale(images[0][0], NOMINAL)["image"].shape[1]) // 2
    assert around > 2
    np.testing.assert_array_equal(image[:around], image[around : 2 * around][::-1])
