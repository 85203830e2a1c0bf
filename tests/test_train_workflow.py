"""The rule train: labelled images in, a model out, with which predict is as exact as ever."""

import json
from base64 import b64encode

import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile

from phantoms import landscape_of, packed_cells
from running import products, run, write_ome_zarr, write_sheet

TRAIN = {
    "data": "training.tsv",
    "task": "distance_three_class",
    "dimensions": 2,
    "nominal_diameter": 9,
    "steps": 150,
    "channels": [8, 16],
    "peak_learning_rate": 0.01,
    "batch": 2,
    "edge": 32,
    "validate_every": 50,
    "window": 32,
    "workers": 0,
}


def write_images(folder, names):
    """Planes of cells with their labels; the rows of a sheet that name them."""
    rows = []
    for seed, (name, split) in enumerate(names.items()):
        labels = packed_cells((1, 70, 90), spacing=10, seed=seed)
        image = landscape_of(labels, seed=seed, blur=1, noise=0.05)
        if name.endswith(".zarr"):
            write_ome_zarr(folder / name, image[None], labels.astype(np.uint32))
            rows.append({"image": name, "labels": f"{name}/labels/cells", "split": split})
            continue
        tifffile.imwrite(folder / f"{name}.tif", image[0])
        tifffile.imwrite(folder / f"{name}-labels.tif", labels[0].astype(np.uint16))
        rows.append({"image": f"{name}.tif", "labels": f"{name}-labels.tif", "split": split})
    return rows


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with three labelled planes, one as OME-Zarr, a sample of another, and a model."""
    folder = tmp_path_factory.mktemp("train")
    rows = write_images(folder, {"a": "train", "b.ome.zarr": "train", "c": "validation"})
    write_sheet(folder / "training.tsv", rows)
    write_sheet(folder / "samples.tsv", [{"sample": "c", "image": "c.tif"}])
    config = {"samples": "samples.tsv", "train": TRAIN}
    run(folder, config, "--cores=1", "results/models/flat.safetensors")
    return folder


def test_labelled_images_give_weights_card_and_curves(trained):
    models = trained / "results/models"
    assert {path.name for path in models.iterdir()} == {
        "flat.safetensors",
        "flat.json",
        "flat.png",
        "flat.log",
    }
    card = json.loads((models / "flat.json").read_text())
    assert card["architecture"] == {"channels": [8, 16], "dimensions": 2, "top_channels": [4, 8]}
    assert card["training"]["command"] == "snakemake --cores all results/models/flat.safetensors"
    assert card["training"]["data"] == "training.tsv"
    assert card["training"]["images"] == {"train": 2, "validation": 1}
    assert set(card["top_models"]) == {"watershed", "three_class"}
    for top_model in card["top_models"]:
        assert card["scores"][top_model]["iou 0.5"]["f1"] > 0.5
    assert "validation F1" in (models / "flat.log").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("top_model", "tilings"), [("watershed", 2), ("three_class", 3)])
def test_a_2d_network_gives_the_same_cells_for_any_tiles_jobs_and_threads(
    trained, tmp_path, top_model, tilings
):
    found = []
    for shape, jobs in (([1, 512, 512], 1), ([1, 16, 24], 2), ([3, 40, 33], 3))[:tilings]:
        folder = tmp_path / f"jobs{jobs}"
        folder.mkdir()
        write_sheet(folder / "samples.tsv", [{"sample": "c", "image": trained / "c.tif"}])
        config = {
            "samples": "samples.tsv",
            "tile": {"shape": shape, "jobs": jobs},
            "predict": {
                "model": str(trained / "results/models/flat.safetensors"),
                "diameter": {"voxel": 9},
            },
            "segment": {"top_model": top_model},
        }
        run(folder, config, f"--cores={jobs}")
        found.append(products(folder, "c"))
    assert all(other == found[0] for other in found[1:])
    cells = pq.read_table(folder / "results/c/cells.parquet")
    assert cells.num_rows > 20
    page = (folder / "results/c/report.html").read_text()
    curves = (trained / "results/models/flat.png").read_bytes()
    assert f"data:image/png;base64,{b64encode(curves).decode()}" in page
    parameters = json.loads(cells.schema.metadata[b"mosaicell.parameters"])
    card = json.loads((trained / "results/models/flat.json").read_text())
    assert parameters["top_model"] == top_model
    assert card["top_models"][top_model].items() <= parameters.items()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "a-labels.tif").unlink(), "does not exist"),
        (
            lambda folder: tifffile.imwrite(folder / "a-labels.tif", np.ones((5, 5), np.uint16)),
            "the label image has the shape (1, 5, 5)",
        ),
    ],
    ids=["before any work", "before the first step"],
)
def test_images_that_do_not_fit_are_refused_in_one_sentence(tmp_path, change, said):
    rows = write_images(tmp_path, {"a": "train", "b": "validation"})
    write_sheet(tmp_path / "training.tsv", rows)
    write_sheet(tmp_path / "samples.tsv", [{"sample": "b", "image": "b.tif"}])
    change(tmp_path)
    config = {"samples": "samples.tsv", "train": TRAIN}
    printed = run(tmp_path, config, "--cores=1", "results/models/flat.safetensors", fails=True)
    assert said in printed
    assert "a-labels.tif" in printed
    assert "Traceback" not in printed
    assert "step 1/" not in printed
