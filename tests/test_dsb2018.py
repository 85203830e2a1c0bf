"""The split by groups: images that are alike never judge what was trained on their kind."""

import sys

import numpy as np
import pandas as pd
import pytest

from running import ROOT

sys.path.insert(0, str(ROOT / "tests/benchmarks"))

import dsb2018


@pytest.fixture
def data(tmp_path):
    """An index of made-up images: of two sizes, from ten kinds of fields each."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 10, 200)
    index = pd.DataFrame(
        {
            "id": [f"{i:03}" for i in rng.permutation(200)],
            "height": np.where(np.arange(200) % 2, 256, 520),
            "width": np.where(np.arange(200) % 2, 256, 696),
            "median_bg": 3.0 + 4 * (kinds % 3),
            "nuc_median_area_px": 100 * 2.0 ** (kinds // 3) * rng.uniform(0.98, 1.02, 200),
        }
    )
    index.to_csv(tmp_path / "index.csv", index=False)
    return tmp_path


def test_images_that_are_alike_are_in_one_group_and_groups_in_one_split(data):
    index = dsb2018.grouped(data)
    assert index["group"].nunique() == 20
    for _, part in index.groupby("group"):
        assert part["split"].nunique() == part["height"].nunique() == 1
        assert part["nuc_median_area_px"].max() < 1.05 * part["nuc_median_area_px"].min()
        assert part["median_bg"].nunique() == 1
    assert set(index["split"]) == {"train", "validation", "held out"}
    sizes = index["group"].value_counts().sort_index()
    assert (np.diff(sizes) <= 0).all()


def test_the_order_of_the_index_does_not_matter_and_what_is_held_out_is_not_in_the_sheet(data):
    index = dsb2018.grouped(data)
    pd.read_csv(data / "index.csv", dtype={"id": str}).iloc[::-1].to_csv(
        data / "index.csv", index=False
    )
    pd.testing.assert_frame_equal(dsb2018.grouped(data), index)
    dsb2018.split(data, data / "sheet.tsv", final=False)
    rows = pd.read_csv(data / "sheet.tsv", sep="\t")
    named = {path.split("/")[-1].removesuffix(".tif") for path in rows["image"]}
    held_out = set(index.loc[index["split"] == "held out", "id"])
    assert len(named) + len(held_out) == 200
    assert not named & held_out


def test_a_final_training_is_given_half_of_validation_and_nothing_that_is_held_out(data):
    index = dsb2018.grouped(data).set_index("id")
    dsb2018.split(data, data / "sheet.tsv", final=True)
    rows = pd.read_csv(data / "sheet.tsv", sep="\t")
    was = index.loc[[path.split("/")[-1].removesuffix(".tif") for path in rows["image"]]]
    assert not (was["split"] == "held out").any()
    assert len(rows) == (index["split"] != "held out").sum()
    moved = was[(was["split"].to_numpy() != rows["split"].to_numpy())]
    assert set(moved["split"]) == {"validation"}
    n_validation = (index["split"] == "validation").sum()
    assert len(moved) == n_validation // 2
    for _, part in was[was["split"] == "validation"].groupby("group"):
        assert abs(part.index.isin(moved.index).sum() - len(part) / 2) <= 1
