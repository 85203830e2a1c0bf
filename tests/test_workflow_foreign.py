"""Networks made elsewhere in the workflow as users run it."""

import json

import numpy as np
import pytest
import tifffile
import yaml

from mosaicell import model
from mosaicell.store import open_array
from mosaicell.synthetic.synthesis import synthesise
from networks import card_of, exported, traced, zoo_folder
from running import configured, products, run

OURS = {"by": "limits", "clip": [0, 1.5]}


def torchscript(folder, name):
    """One of our models as TorchScript, with a card that says the same."""
    network, card = model.load(name)
    path = traced(network, folder / "it.pt", 1, 1, *[64] * network.dimensions)
    return _card(path, network, card)


def export(folder, name):
    network, card = model.load(name)
    shape = 1, 1, *[64] * network.dimensions
    return _card(exported(network, folder / "it.pt2", *shape, stride=network.stride), network, card)


def _card(path, network, card):
    return card_of(
        path,
        network.dimensions,
        stride=network.stride,
        halo=network.halo,
        window=card["window"],
        normalisation=OURS,
        top_models={"watershed": {"threshold": 0.2, "persistence": 0.1}},
    )


def zoo(folder, name):
    """The same as a BioImage.IO folder."""
    pytest.importorskip("bioimageio.spec", reason="pip install '.[bioimageio]'")
    network, card = model.load(name)
    said = zoo_folder(folder / "zoo", network, network.dimensions, version="0.5")
    for axis in said["inputs"][0]["axes"][2:]:
        axis["size"] = {"min": 8 * network.stride, "step": network.stride}
    for axis in said["outputs"][0]["axes"][2:]:
        del axis["halo"]
    said["config"]["mosaicell"] |= {"halo": network.halo, "window": card["window"]}
    (folder / "zoo" / "rdf.yaml").write_text(yaml.safe_dump(said))
    return folder / "zoo"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("write", "name", "shape"),
    [
        (torchscript, "nuclei-3d", (24, 40, 48)),
        (export, "nuclei-2d", (3, 90, 100)),
        (zoo, "nuclei-3d", (24, 40, 48)),
    ],
)
def test_a_network_made_elsewhere_cuts_cells_that_no_tiling_changes(tmp_path, write, name, shape):
    image, _ = synthesise(7, shape)
    grey = ((image - image.min()) / np.ptp(image) * 255).astype(np.uint8)
    tifffile.imwrite(tmp_path / "image.tif", grey, photometric="minisblack")
    row = {"sample": "a", "image": tmp_path / "image.tif"}
    path = write(tmp_path, name)
    found = {}
    for tile, jobs in (([64, 64, 64], 1), ([9, 20, 30], 2)):
        folder = tmp_path / f"jobs{jobs}"
        folder.mkdir()
        config = configured(
            folder, row, tile=tile, jobs=jobs, predict={"model": str(path)}, segment={"min_size": 5}
        )
        run(folder, config, "results/a/cells.parquet")
        found[jobs] = products(folder, "a")
        landscape = open_array(folder / "results/work/a/landscape.zarr")[:]
    assert found[1] == found[2]
    assert np.ptp(landscape) > 10000


@pytest.mark.slow
def test_another_channel_of_the_same_file_is_another_model(tmp_path):
    path = torchscript(tmp_path, "nuclei-2d")
    tifffile.imwrite(
        tmp_path / "image.tif", np.random.default_rng(0).integers(0, 99, (40, 50)).astype(np.uint8)
    )
    row = {"sample": "a", "image": tmp_path / "image.tif"}
    config = configured(tmp_path, row, tile=[64, 64, 64], predict={"model": str(path)})
    landscapes = []
    for one in (1, 0.5):
        card = json.loads(path.with_suffix(".json").read_text()) | {"landscape": {"one": one}}
        path.with_suffix(".json").write_text(json.dumps(card))
        run(tmp_path, config, "results/work/a/predict/0.json")
        landscapes.append(open_array(tmp_path / "results/work/a/landscape.zarr")[:].astype(int))
    assert landscapes[0].max() > 100
    assert np.abs(np.minimum(2 * landscapes[0], 65535) - landscapes[1]).max() <= 2


@pytest.mark.parametrize(
    ("fields", "sections", "says"),
    [
        ({"axes": "tyx"}, {}, "allowed is y and x"),
        ({"top_models": {}}, {"segment": {"min_size": 5}}, "recommends none"),
        ({}, {"predict": {"diameter": 8}}, "does not say which diameter it knows"),
        ({}, {"predict": {"model": "it.pth"}}, "there is no model 'it.pth'"),
        ({}, {"predict": {"model": "."}}, "the folder . is no model"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(tmp_path, fields, sections, says):
    (tmp_path / "it.pt").write_bytes(b"")
    card_of(tmp_path / "it.pt", 2, **fields)
    tifffile.imwrite(tmp_path / "image.tif", np.zeros((40, 50), np.uint8))
    row = {"sample": "a", "image": tmp_path / "image.tif"}
    sizes = {f"voxel_size_{axis}": 1 for axis in "zyx"}
    predict = {"model": str(tmp_path / "it.pt")} | sections.get("predict", {})
    config = configured(tmp_path, row | sizes, tile=[64, 64, 64])
    config |= sections | {"predict": predict}
    assert says in run(tmp_path, config, "-n", fails=True)


def test_a_pickle_is_refused_by_the_first_job_that_opens_it(tmp_path):
    import torch

    torch.save({"weights": torch.zeros(2)}, tmp_path / "it.pt")
    card_of(tmp_path / "it.pt", 2)
    tifffile.imwrite(tmp_path / "image.tif", np.zeros((40, 50), np.uint8))
    row = {"sample": "a", "image": tmp_path / "image.tif"}
    config = configured(
        tmp_path, row, tile=[64, 64, 64], predict={"model": str(tmp_path / "it.pt")}
    )
    assert "is a pickle of Python objects" in run(tmp_path, config, fails=True)
