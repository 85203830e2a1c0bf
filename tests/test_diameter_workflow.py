"""`predict.diameter: auto` in the workflow: estimated once a sample, then as if it were given."""

import json

import numpy as np
import pytest
import tifffile

from running import ROOT, configured, files, products, run
from scaled import rescaled

pytestmark = pytest.mark.slow

ESTIMATE = "results/work/a/diameter.json"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run on a plane of real nuclei at twice their size, and its configuration."""
    folder = tmp_path_factory.mktemp("auto")
    plane = tifffile.imread(ROOT / "tests/data/dsb2018/images.tif")[5:6]
    image, _ = rescaled(plane, np.zeros(plane.shape, np.uint8), 2.0)
    tifffile.imwrite(folder / "image.tif", image[0])
    row = {"sample": "a", "image": folder / "image.tif"}
    model = {"predict": {"model": "nuclei-2d"}, "segment": {}}
    config = configured(folder, row, tile=[1, 512, 512], **model)
    run(folder, config)
    return folder, config


def labels_of(folder):
    labels = files(folder / "results/a/a.ome.zarr/labels")
    return {name: content for name, content in labels.items() if "/c/" in name}


def test_tiles_and_jobs_change_neither_the_estimate_nor_a_byte_of_the_result(finished, tmp_path):
    folder, config = finished
    other = config | {"tile": {"shape": [1, 200, 170], "jobs": 3}}
    run(tmp_path, other, "results/a/cells.parquet")
    estimates = [json.loads((at / ESTIMATE).read_text()) for at in (folder, tmp_path)]
    for key in ("diameter", "n_cells", "confidence"):
        assert estimates[0][key] == estimates[1][key]
    assert products(tmp_path, "a") == products(folder, "a")


def test_an_estimate_is_as_if_it_had_been_given_and_stands_in_the_report(finished, tmp_path):
    folder, config = finished
    estimate = json.loads((folder / ESTIMATE).read_text())["diameter"]
    assert 1.4 * 16 < estimate < 4 * 16  # the nuclei have about twice the 16 pixels of the model
    given = config["predict"] | {"diameter": {"voxel": estimate}}
    run(tmp_path, config | {"predict": given}, "results/a/cells.parquet")
    assert not (tmp_path / ESTIMATE).exists()
    assert labels_of(tmp_path) == labels_of(folder)
    assert len(labels_of(folder)) > 0
    said = f"auto: {estimate:.1f} voxels along y and x, by "
    assert said in (folder / "results/a/report.html").read_text()
    assert (
        said.removeprefix("auto: ")
        in (folder / "results/work/a/logs/estimate_diameter.log").read_text()
    )
    assert "Nothing to be done" in run(folder, config)


def test_an_image_without_cells_is_taken_as_it_is_and_the_report_says_so(tmp_path):
    image = np.full((40, 50), 9, np.uint8)
    tifffile.imwrite(tmp_path / "empty.tif", image)
    row = {"sample": "a", "image": tmp_path / "empty.tif", "diameter": "auto"}
    config = configured(tmp_path, row, tile=[1, 64, 64])
    config |= {"predict": {"model": "nuclei-2d", "diameter": {"um": 3}}, "segment": {}}
    run(tmp_path, config)
    assert json.loads((tmp_path / ESTIMATE).read_text())["diameter"] is None
    report = (tmp_path / "results/a/report.html").read_text()
    assert "auto: no diameter was confirmed" in report
