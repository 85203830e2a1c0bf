"""Measuring as users run it: equal tables for all tilings, and refusals before the work."""

import pandas as pd
import pyarrow.parquet as pq
import pytest

from mosaicell.columns import KEYS, NEIGHBOURS, cell_columns
from running import HILLS, configured, products, run, write_hills

pytestmark = pytest.mark.slow
SIZES = {"voxel_size_z": 2.0, "voxel_size_y": 0.5, "voxel_size_x": 0.5}
MEASURE = {"ring": {"um": 1}, "size_range": {"um3": [5, None]}, "texture": 4}
LARGE = {"segment": HILLS | {"sigma": {"voxel": 1}, "threshold": 0.48, "persistence": 0.01}}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Products of two runs whose tiles differ much, and the folder of the first."""
    folders = [tmp_path_factory.mktemp(name) for name in ("one", "many")]
    made = []
    for folder, tile, jobs in zip(folders, ([64, 64, 64], [5, 9, 11]), (1, 2), strict=True):
        row = write_hills(folder, (20, 36, 44)) | SIZES
        config = configured(folder, row, tile=tile, jobs=jobs, measure=MEASURE, **LARGE)
        run(folder, config, "results/a/cells.parquet")
        made.append(products(folder, "a"))
    return made, folders[0] / "results/a"


def test_tables_of_cells_larger_than_tiles_are_byte_identical(results):
    made, folder = results
    assert made[0] == made[1]
    cells = pd.read_parquet(folder / "cells.parquet")
    edges = [cells[f"bbox_max_{a}"] - cells[f"bbox_min_{a}"] for a in "zyx"]
    assert max(edges[0]) > 2 * 5
    assert max(edges[2]) > 11
    assert cells["num_neighbours"].max() > 3
    assert cells["intensity_background_0"].notna().any()
    touching = cells[cells["num_neighbours"] > 0]
    assert touching["persistence"].min() >= 0.01
    assert (cells["too_small"] == (cells["volume_um3"] < 5)).all()
    assert cells["nearest_distance_um"].gt(0).all()


def test_files_say_what_the_dictionary_says(results):
    for name, columns in (
        ("cells.parquet", cell_columns([0], texture=True)),
        ("neighbours.parquet", NEIGHBOURS),
    ):
        said = [
            (field.name, field.metadata[b"unit"].decode(), field.metadata[b"means"].decode())
            for field in pq.read_schema(results[1] / name)
        ]
        assert said == [(c.name, c.unit, c.means) for c in [*KEYS, *columns]]


def test_every_contact_belongs_to_two_cells(results):
    cells = pd.read_parquet(results[1] / "cells.parquet")
    found = pd.read_parquet(results[1] / "neighbours.parquet")
    pairs = set(zip(found["label"], found["neighbour"], strict=True))
    assert pairs == {(other, one) for one, other in pairs}
    assert set(found["label"]) <= set(cells["label"])


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        ({"channels": [1]}, "measure.channels has 1; allowed are 0 to 0"),
        ({"ring": {"um": 1}}, "how large a voxel is"),
        ({"plugins": {"mine": "numpy:no_such_function"}}, "cannot be imported"),
        ({"plugins": {"mine": "numpy:shape"}}, "failed on a cell of shape"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_the_work(tmp_path, measure, said):
    row = write_hills(tmp_path, (6, 8, 10))
    config = configured(tmp_path, row, tile=[8, 8, 8], measure=measure)
    printed = run(tmp_path, config, fails=True)
    assert said in printed
    assert not list((tmp_path / "results/work/a").glob("segment/*.json"))
