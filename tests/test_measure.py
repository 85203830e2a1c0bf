"""Measuring: right, and the same whatever else is in the crop."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.measure import regionprops_table

import mosaicell
from mosaicell.measure import batches, measure_cells, units

SIZE = (2.0, 0.5, 0.25)


def ellipsoid(half_axes, shape, voxel_size=(1, 1, 1)):
    """A filled ellipsoid in the middle of a volume; half axes in um."""
    grids = np.indices(shape).reshape(3, -1).T - (np.array(shape) - 1) / 2
    inside = ((grids * voxel_size / np.array(half_axes)) ** 2).sum(-1) <= 1
    return inside.reshape(shape).astype(np.uint8)


@pytest.fixture
def cells():
    """Blobs of many shapes as labels, with an image of two channels."""
    rng = np.random.default_rng(0)
    labels = np.zeros((20, 30, 40), np.uint32)
    for label in rng.permutation(np.arange(1, 25)):
        z, y, x = (rng.integers(0, n - 4) for n in labels.shape)
        dz, dy, dx = rng.integers(1, 8, 3)
        labels[z : z + dz, y : y + dy, x : x + dx] = label
    image = rng.integers(0, 60000, (2, *labels.shape)).astype(np.uint16)
    return labels, image


def test_columns_that_scikit_image_knows_have_its_values(cells):
    labels, image = cells
    table = mosaicell.measure(labels, image, voxel_size=SIZE)
    known = regionprops_table(
        labels,
        np.moveaxis(image, 0, -1),
        spacing=SIZE,
        properties=(
            "label",
            "num_pixels",
            "area",
            "bbox",
            "centroid",
            "equivalent_diameter_area",
            "intensity_mean",
            "intensity_std",
            "intensity_min",
            "intensity_max",
        ),
    )
    pairs = {"label": "label", "num_voxels": "num_pixels", "volume_um3": "area"}
    pairs |= {f"bbox_min_{a}": f"bbox-{i}" for i, a in enumerate("zyx")}
    pairs |= {f"bbox_max_{a}": f"bbox-{i + 3}" for i, a in enumerate("zyx")}
    pairs |= {f"centroid_{a}_um": f"centroid-{i}" for i, a in enumerate("zyx")}
    pairs |= {"equivalent_diameter_um": "equivalent_diameter_area"}
    pairs |= {
        f"intensity_{s}_{c}": f"intensity_{s}-{c}"
        for c in range(2)
        for s in ("mean", "std", "min", "max")
    }
    for ours, theirs in pairs.items():
        np.testing.assert_allclose(table[ours], known[theirs], rtol=1e-12, err_msg=ours)


def test_principal_axes_are_those_of_the_ellipsoid():
    half_axes = (9.0, 5.0, 3.0)
    labels = ellipsoid(half_axes, (15, 61, 81), (1.5, 0.25, 0.1))
    row = mosaicell.measure(labels, voxel_size=(1.5, 0.25, 0.1)).iloc[0]
    lengths = row[["axis_major_um", "axis_middle_um", "axis_minor_um"]].to_numpy(float)
    np.testing.assert_allclose(lengths, 2 * np.array(half_axes), rtol=0.03)
    assert row["volume_um3"] == pytest.approx(4 / 3 * np.pi * np.prod(half_axes), rel=0.03)
    direction = [row[f"axis_major_direction_{a}"] for a in "zyx"]
    np.testing.assert_allclose(direction, [1, 0, 0], atol=1e-6)


def test_an_image_of_one_plane_is_measured_in_its_plane():
    labels = ellipsoid((0.5, 20, 10), (1, 61, 61))[0]
    row = mosaicell.measure(labels, voxel_size=(1, 1)).iloc[0]
    assert row["axis_major_um"] == pytest.approx(40, rel=0.02)
    assert row["axis_minor_um"] == pytest.approx(20, rel=0.02)
    assert np.isnan(row["axis_middle_um"])
    assert row["equivalent_diameter_um"] == pytest.approx(2 * np.sqrt(200), rel=0.02)
    assert not row["touches_border"]


def test_columns_in_um_are_nan_where_the_voxel_size_is_not_known(cells):
    table = mosaicell.measure(*cells)
    in_um = [name for name, unit in units(2).items() if unit.startswith("um")]
    assert table[in_um].isna().all(axis=None)
    rest = [name for name in units(2) if name not in in_um and "direction" not in name]
    assert table[rest].notna().all(axis=None)


def test_a_cell_in_the_first_or_last_voxel_of_an_axis_touches_the_border():
    labels = np.zeros((5, 5, 5), int)
    labels[2, 2, 2], labels[0, 2, 2], labels[2, 2, 4] = 1, 2, 3
    touching = mosaicell.measure(labels)["touches_border"]
    assert touching.tolist() == [False, True, True]


def test_no_cells_give_a_table_without_rows_and_with_all_columns():
    table = mosaicell.measure(np.zeros((3, 4, 5), int), np.zeros((2, 3, 4, 5)), voxel_size=SIZE)
    assert len(table) == 0
    assert list(table) == list(units(2))


@given(st.integers(0, 2**31))
def test_a_cell_has_the_same_numbers_to_the_last_bit_in_any_crop(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, (7, 8, 9)) * (rng.random((7, 8, 9)) < 0.7)
    image = rng.normal(1e4, 3e3, (1, 7, 8, 9)).astype(np.float32)
    whole = mosaicell.measure(labels, image, voxel_size=SIZE)
    for index, row in whole.iterrows():
        box = row[[f"bbox_{end}_{a}" for end in ("min", "max") for a in "zyx"]].to_numpy(int)
        start = tuple(int(rng.integers(0, n + 1)) for n in box[:3])
        stop = tuple(int(rng.integers(n, m + 1)) for n, m in zip(box[3:], (7, 8, 9), strict=True))
        crop = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        alone = measure_cells(
            labels[crop],
            image[(slice(None), *crop)],
            ids=np.array([row["label"]], np.int64),
            boxes=box[None],
            origin=start,
            volume=labels.shape,
            voxel_size=SIZE,
        )
        expected = whole.iloc[[index]].reset_index(drop=True)
        pd.testing.assert_frame_equal(alone, expected, check_exact=True)


@given(st.integers(0, 30), st.integers(1, 3000), st.integers(0, 2**31))
def test_batches_hold_their_cells_and_are_bounded(n, max_voxels, seed):
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, 50, (n, 3))
    boxes = np.concatenate((starts, starts + rng.integers(1, 12, (n, 3))), axis=1)
    seen = []
    for run, box in batches(boxes, max_voxels=max_voxels):
        members = boxes[run]
        seen += range(run.start, run.stop)
        assert (members[:, :3] >= box.start).all()
        assert (members[:, 3:] <= box.stop).all()
        assert box.size <= max_voxels or len(members) == 1
    assert seen == list(range(n))


@pytest.mark.parametrize(
    ("labels", "image", "said"),
    [
        (np.zeros((3, 3)), None, "labels are float64"),
        (np.zeros((2, 2, 2, 2), int), None, "4 axes"),
        (np.full((3, 3), -1), None, "labels go down to -1"),
        (np.zeros((3, 3), int), np.zeros((3, 4)), "image has shape"),
        (np.zeros((3, 3), int), np.zeros((1, 1, 3, 3)), "image has shape"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_sentence(labels, image, said):
    with pytest.raises(ValueError, match=said) as refusal:
        mosaicell.measure(labels, image)
    assert "allowed" in str(refusal.value)


@pytest.mark.parametrize(
    ("shape", "voxel_size"),
    [
        ((3, 3, 3), (1, 1)),
        ((3, 3, 3), (1,)),
        ((3, 3), (1,)),
        ((3, 3, 3), (0, 1, 1)),
        ((3, 3, 3), (1, -1, 1)),
        ((3, 3, 3), (1, np.nan, 1)),
        ((3, 3, 3), (1, 1, np.inf)),
    ],
)
def test_a_voxel_size_without_a_meaning_is_refused(shape, voxel_size):
    with pytest.raises(ValueError, match="voxel_size is"):
        mosaicell.measure(np.ones(shape, int), voxel_size=voxel_size)


def test_an_empty_volume_has_no_cells_to_measure():
    table = mosaicell.measure(np.zeros((0, 5, 5), int), np.zeros((2, 0, 5, 5)))
    assert len(table) == 0
    assert list(table) == list(units(2))
