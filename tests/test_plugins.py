"""Plug-ins: their numbers become columns; what cannot be used is refused before there is work."""

import numpy as np
import pytest

from mosaicell.features import measure_cells
from mosaicell.plugins import load_plugins
from mosaicell.wanted import Wanted
from phantoms import packed_cells
from test_contacts import boxes_of

MADE_UP = {"n_channels": 2, "dtype": np.dtype("u2"), "is_2d": False, "voxel_size": (2.0, 1.0, 1.0)}
HERE = "plugins_for_tests"


def table_with(chosen, voxel_size=(2.0, 1.0, 1.0)):
    labels = packed_cells((24, 24, 24), spacing=10, seed=0)
    image = np.random.default_rng(0).integers(0, 60000, (2, *labels.shape)).astype(np.uint16)
    ids, boxes = boxes_of(labels)
    plugins = load_plugins(chosen, **MADE_UP | {"voxel_size": voxel_size})
    wanted = Wanted(volume=labels.shape, voxel_size=voxel_size, channels=(0, 1), plugins=plugins)
    crop = {"ids": ids, "boxes": boxes, "origin": (0, 0, 0)}
    table, _ = measure_cells(labels, image, None, wanted=wanted, **crop)
    assert set(wanted.names) - set(table) == {"outlier", "nearest_distance_um"}
    return table


def test_what_a_plugin_returns_becomes_columns():
    table = table_with({"mine": f"{HERE}:extremes"})
    spread = table["intensity_max_0"] - table["intensity_min_0"]
    np.testing.assert_array_equal(table["mine_range"], spread)
    np.testing.assert_array_equal(table["mine_voxels"], table["num_voxels"])
    assert (table["mine_size"] == 2).all()
    assert table_with({"mine": f"{HERE}:extremes"}, None)["mine_size"].isna().all()


def test_a_function_of_cp_measure_becomes_columns():
    pytest.importorskip("cp_measure")
    table = table_with({"cp": f"{HERE}:zernike"})
    assert table["cp_Zernike_0_0"].between(0, 2).all()
    assert len([name for name in table if name.startswith("cp_")]) == 30


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("no_such_package:f", "cannot be imported"),
        (f"{HERE}:missing", "cannot be imported"),
        (f"{HERE}:NO_FUNCTION", "no function"),
        (f"{HERE}:texts", "returned str for 'name'"),
        (f"{HERE}:several", "returned tuple for 'shape'"),
        (f"{HERE}:spaced", "the key 'my key'"),
        (f"{HERE}:number", "returned float"),
        (f"{HERE}:too_few", "failed on a cell of shape"),
    ],
)
def test_what_is_no_plugin_is_refused_before_there_is_work(where, said):
    with pytest.raises(ValueError, match=f"plug-in 'mine'.*{said}") as refusal:
        load_plugins({"mine": where}, **MADE_UP)
    assert "allowed" in str(refusal.value)


def test_other_keys_than_at_the_trial_are_refused():
    with pytest.raises(ValueError, match="for some cells only; allowed are the same keys"):
        table_with({"mine": f"{HERE}:changing"})


def test_a_plugin_is_known_by_its_code():
    origins = [
        load_plugins({"mine": f"{HERE}:{name}"}, **MADE_UP)["mine"].origin
        for name in ("extremes", "extremes", "changing")
    ]
    assert origins[0] == origins[1] != origins[2]
