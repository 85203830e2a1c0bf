"""Measuring: right, and the same whatever else is in the crop."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import elliprg
from skimage.measure import regionprops_table

import mosaicell
from mosaicell.columns import cell_columns
from mosaicell.features import batches, measure_cells
from mosaicell.geometry import Box
from mosaicell.ring import ring_of
from mosaicell.smooth import smooth
from mosaicell.wanted import Wanted, check_channels, sizes_in_voxels, wanted_of
from phantoms import ellipsoid, landscape_of, packed_cells

SIZE = (2.0, 0.5, 0.25)
AXES = "zyx"


def names(n_channels, **more):
    return [column.name for column in cell_columns(range(n_channels), **more)]


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
    shared = {
        "label": "label",
        "num_voxels": "num_pixels",
        "volume_um3": "area",
        "equivalent_diameter_um": "equivalent_diameter_area",
        "axis_major_um": "axis_major_length",
        "solidity": "solidity",
        "volume_convex_um3": "area_convex",
        "extent": "extent",
        "euler_number": "euler_number",
    }
    for i, a in enumerate(AXES):
        shared[f"bbox_min_{a}"] = f"bbox-{i}"
        shared[f"bbox_max_{a}"] = f"bbox-{i + 3}"
        shared[f"centroid_{a}_um"] = f"centroid-{i}"
        for c in range(2):
            shared[f"centroid_weighted_{a}_um_{c}"] = f"centroid_weighted-{i}-{c}"
        for j, b in enumerate(AXES[: i + 1]):
            shared[f"inertia_tensor_{b}{a}_um2"] = f"inertia_tensor-{i}-{j}"
    for c in range(2):
        for statistic in ("mean", "std", "min", "max", "median"):
            shared[f"intensity_{statistic}_{c}"] = f"intensity_{statistic}-{c}"
    properties = {name.split("-")[0] for name in shared.values()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its hulls of flat cells fail
        known = regionprops_table(
            labels, np.moveaxis(image, 0, -1), spacing=SIZE, properties=tuple(properties)
        )
    flat = known["area_convex"] == 0
    assert flat.sum() < 10
    for ours, theirs in shared.items():
        rows = ~flat if ours in ("solidity", "volume_convex_um3") else slice(None)
        np.testing.assert_allclose(
            table[ours][rows], known[theirs][rows], rtol=1e-9, atol=1e-9, err_msg=ours
        )


@pytest.mark.parametrize(
    ("half_axes", "voxel_size"),
    [((9.0, 5.0, 3.0), (1.5, 0.25, 0.1)), ((4, 12, 7), (1, 0.5, 0.5)), ((6, 6, 14), (0.5, 1, 1))],
)
def test_an_ellipsoid_has_its_volume_axes_inertia_and_shape(half_axes, voxel_size):
    row = mosaicell.measure(ellipsoid(half_axes, voxel_size), voxel_size=voxel_size).iloc[0]
    lengths = row[["axis_major_um", "axis_middle_um", "axis_minor_um"]].to_numpy(float)
    np.testing.assert_allclose(lengths, 2 * np.sort(half_axes)[::-1], rtol=0.04)
    assert row["volume_um3"] == pytest.approx(4 / 3 * np.pi * np.prod(half_axes), rel=0.03)
    direction = [row[f"axis_major_direction_{a}"] for a in AXES]
    np.testing.assert_allclose(direction, np.eye(3)[np.argmax(half_axes)], atol=1e-6)
    squares = np.square(half_axes)
    inertia = [row[f"inertia_tensor_{a}{a}_um2"] for a in AXES]
    np.testing.assert_allclose(inertia, (squares.sum() - squares) / 5, rtol=0.04)
    area = 4 * np.pi * elliprg(*(np.prod(half_axes) ** 2 / squares))
    assert row["surface_area_um2"] == pytest.approx(area, rel=0.1)
    ball = np.pi ** (1 / 3) * (6 * row["volume_um3"]) ** (2 / 3)
    assert row["sphericity"] == pytest.approx(ball / row["surface_area_um2"])
    assert 0.85 < row["solidity"] <= 1
    assert row["euler_number"] == 1
    assert np.isnan(row["perimeter_um"])


def test_an_image_of_one_plane_is_measured_in_its_plane():
    labels = ellipsoid((0.5, 20, 10), (1, 1, 1))[0]
    row = mosaicell.measure(labels, voxel_size=(1, 1)).iloc[0]
    assert row["axis_major_um"] == pytest.approx(40, rel=0.02)
    assert row["axis_minor_um"] == pytest.approx(20, rel=0.02)
    assert row["equivalent_diameter_um"] == pytest.approx(2 * np.sqrt(200), rel=0.02)
    assert row["perimeter_um"] == pytest.approx(96.9, rel=0.03)
    assert row["sphericity"] == pytest.approx(0.84, rel=0.06)
    assert np.isnan(row["axis_middle_um"])
    assert np.isnan(row["surface_area_um2"])
    assert not row["touches_border"]


def test_columns_in_um_and_what_follows_are_nan_where_the_voxel_size_is_not_known(cells):
    labels, image = cells
    table = mosaicell.measure(labels, image, landscape=labels, threshold=0)
    missing = {c.name for c in cell_columns(range(2)) if c.unit.startswith("um")}
    missing |= {name for name in names(2) if "direction" in name} | {"sphericity"}
    assert table[sorted(missing)].isna().all(axis=None)
    rest = [name for name in names(2) if name not in missing and "corrected" not in name]
    assert table[[name for name in rest if "background" not in name]].notna().all(axis=None)


def test_corrected_intensities_are_less_the_background_and_nan_without_one():
    labels = np.zeros((9, 9, 20), int)
    labels[3:6, 3:6, 3:6], labels[:, :, 12:] = 1, 2
    labels[:, :, 11] = 3
    image = np.where(labels == 1, 70, 20).astype(np.uint8)
    table = mosaicell.measure(labels, image, ring={"voxel": 1}).set_index("label")
    assert table["intensity_background_0"].tolist()[0] == 20
    assert table["intensity_mean_corrected_0"][1] == 50
    assert table["intensity_median_corrected_0"][1] == 50
    assert table["num_background_voxels"].tolist()[1] == 0
    assert np.isnan(table["intensity_background_0"][2])
    assert np.isnan(table["intensity_max_corrected_0"][2])
    without = mosaicell.measure(labels, image, ring=None)
    assert without["intensity_background_0"].isna().all()


def test_a_cell_that_touches_no_other_rises_above_the_threshold():
    labels = np.array([[1, 1, 2, 2, 0, 3]])
    landscape = np.array([[9.0, 5.0, 4.0, 7.0, 0.0, 3.0]])
    table = mosaicell.measure(labels, landscape=landscape, threshold=2.5)
    assert table["landscape_peak"].tolist() == [9, 7, 3]
    assert table["landscape_mean"].tolist() == [7, 5.5, 3]
    assert table["persistence"].tolist() == [5, 3, 0.5]
    assert table["num_neighbours"].tolist() == [1, 1, 0]
    assert mosaicell.measure(labels, landscape=landscape)["persistence"].isna().tolist()[2]


@given(st.integers(0, 2**31), st.sampled_from([0.02, 0.05, 0.1]))
def test_cells_that_touch_have_at_least_the_persistence_that_they_were_cut_with(seed, persistence):
    rng = np.random.default_rng(seed)
    noise = rng.random((10, 12, 14)).astype(np.float32)
    everything = {"box": Box((0, 0, 0), noise.shape), "volume": noise.shape}
    landscape = smooth(noise, sigma=(1.0, 0.7, 0.7), **everything)
    chosen = {"threshold": 0.45, "persistence": persistence, "min_size": 3}
    labels = mosaicell.watershed(landscape, **chosen)
    table = mosaicell.measure(labels, landscape=landscape, threshold=0.45)
    touching = table[table["num_neighbours"] > 0]
    assert (touching["persistence"] >= persistence).all()
    assert (table["persistence"] > 0).all()


def test_touching_areas_are_of_faces_in_um():
    labels = np.zeros((4, 4, 4), int)
    labels[:2], labels[2:, :2], labels[2:, 2:, 2:] = 1, 2, 3
    table = mosaicell.measure(labels, voxel_size=(2, 1, 0.5)).set_index("label")
    assert table["num_neighbours"].tolist() == [2, 2, 2]
    # 1-2: 8 faces across z; 1-3: 4; 2-3: 4 across y. Each is 1 x 0.5, or 2 x 0.5, um.
    assert table["touching_area_um2"].tolist() == [6, 8, 6]
    distance = np.linalg.norm([0, 2, 0.5])
    assert table["nearest_distance_um"][3] == pytest.approx(distance)


def test_sizes_out_of_range_and_outliers_are_flagged():
    labels = np.zeros((1, 40, 40), int)
    for i in range(18):
        labels[0, 4 * (i // 9), 4 * (i % 9) : 4 * (i % 9) + 2 + i % 2] = i + 1
    labels[0, 20:40, 20:40] = 19
    table = mosaicell.measure(labels)
    assert table.loc[table["outlier"], "label"].tolist() == [19]
    wanted = Wanted(volume=labels.shape, voxel_size=None, size_range=(3, 100))
    crop = {"ids": table["label"].to_numpy(), "origin": (0, 0, 0), "wanted": wanted}
    boxes = table[[f"bbox_{end}_{a}" for end in ("min", "max") for a in AXES]].to_numpy()
    flagged, _ = measure_cells(labels, np.empty((0, 1, 40, 40)), None, boxes=boxes, **crop)
    assert flagged.loc[flagged["too_large"], "label"].tolist() == [19]
    assert (flagged["too_small"] == (flagged["num_voxels"] < 3)).all()
    assert flagged["too_small"].sum() == 9


def test_a_cell_in_the_first_or_last_voxel_of_an_axis_touches_the_border():
    labels = np.zeros((5, 5, 5), int)
    labels[2, 2, 2], labels[0, 2, 2], labels[2, 2, 4] = 1, 2, 3
    touching = mosaicell.measure(labels)["touches_border"]
    assert touching.tolist() == [False, True, True]


def test_no_cells_give_a_table_without_rows_and_with_all_columns():
    table = mosaicell.measure(np.zeros((3, 4, 5), int), np.zeros((2, 3, 4, 5)), voxel_size=SIZE)
    assert len(table) == 0
    assert list(table) == names(2)


@given(st.integers(0, 2**31))
def test_a_cell_has_the_same_numbers_to_the_last_bit_in_any_crop(seed):
    rng = np.random.default_rng(seed)
    shape = (7, 8, 9)
    labels = rng.integers(0, 4, shape) * (rng.random(shape) < 0.7)
    image = rng.normal(1e4, 3e3, (2, *shape)).astype(np.float32)
    landscape = rng.random(shape).astype(np.float32)
    wanted = Wanted(
        volume=shape,
        voxel_size=SIZE,
        channels=(0, 1),
        threshold=0.0,
        ring=ring_of(um=1.0, voxel_size=SIZE),
        texture_levels=4,
        limits=((4e3, 16e3),) * 2,
    )
    ids = np.unique(labels[labels > 0])
    boxes = [[*np.argwhere(labels == i).min(0), *np.argwhere(labels == i).max(0) + 1] for i in ids]
    boxes = np.array(boxes, np.int64).reshape(-1, 6)
    whole, touching = measure_cells(
        labels, image, landscape, ids=ids, boxes=boxes, origin=(0, 0, 0), wanted=wanted
    )
    for index, (label, box) in enumerate(zip(ids, boxes, strict=True)):
        least = Box(tuple(box[:3]), tuple(box[3:])).grown(wanted.reach, shape)
        start = tuple(int(rng.integers(0, n + 1)) for n in least.start)
        stop = tuple(int(rng.integers(n, m + 1)) for n, m in zip(least.stop, shape, strict=True))
        crop = Box(start, stop).slices
        alone, contacts = measure_cells(
            labels[crop],
            image[(slice(None), *crop)],
            landscape[crop],
            ids=np.array([label]),
            boxes=box[np.newaxis],
            origin=start,
            wanted=wanted,
        )
        expected = whole.iloc[[index]].reset_index(drop=True)
        pd.testing.assert_frame_equal(alone, expected, check_exact=True)
        expected = touching[touching["label"] == label].reset_index(drop=True)
        pd.testing.assert_frame_equal(contacts, expected, check_exact=True)


def test_neighbours_say_of_both_cells_the_same():
    labels = packed_cells((30, 30, 30), spacing=9, seed=1).astype(int)
    landscape = landscape_of(labels, seed=0)
    wanted = Wanted(volume=labels.shape, voxel_size=SIZE, one=65535.0, threshold=0.0)
    table = mosaicell.measure(labels, voxel_size=SIZE)
    boxes = table[[f"bbox_{end}_{a}" for end in ("min", "max") for a in AXES]].to_numpy()
    crop = {"ids": table["label"].to_numpy(), "boxes": boxes, "origin": (0, 0, 0)}
    nothing = np.empty((0, *labels.shape))
    _, found = measure_cells(labels, nothing, landscape, wanted=wanted, **crop)
    assert len(found) > 50
    mirrored = found.rename(columns={"label": "neighbour", "neighbour": "label"})
    mirrored = mirrored.sort_values(["label", "neighbour"], ignore_index=True)[list(found)]
    pd.testing.assert_frame_equal(mirrored, found, check_exact=True)
    assert found["landscape_saddle"].between(0, 1).all()
    of_cell = found.groupby("label")
    counted = of_cell.size().reindex(table["label"], fill_value=0)
    np.testing.assert_array_equal(counted, table["num_neighbours"])
    area = of_cell["touching_area_um2"].sum().reindex(table["label"], fill_value=0)
    np.testing.assert_allclose(area, table["touching_area_um2"])


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
    assert list(table) == names(2)


def test_a_landscape_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"landscape has shape \(3,\).+allowed"):
        mosaicell.measure(np.zeros((3, 3), int), landscape=np.zeros(3))


@pytest.mark.parametrize(
    ("given", "voxel_size", "sizes"),
    [
        ({}, None, (0, np.inf)),
        ({"voxel": [10, None]}, None, (10, np.inf)),
        ({"voxel": [None, 10]}, (1, 1, 1), (0, 10)),
        ({"um3": [10, 40]}, (2, 1, 1), (5, 20)),
    ],
)
def test_a_range_of_sizes_becomes_voxels(given, voxel_size, sizes):
    assert sizes_in_voxels(**given, voxel_size=voxel_size) == sizes


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        (lambda: sizes_in_voxels(um3=[1, 2]), "neither the sample sheet nor"),
        (lambda: sizes_in_voxels(voxel=[3, 2]), "from 3 to 2"),
        (lambda: check_channels([0, 2], 2), "measure.channels has 2; allowed are 0 to 1"),
    ],
)
def test_what_an_image_cannot_be_measured_by_is_refused(refused, said):
    with pytest.raises(ValueError, match=said) as refusal:
        refused()
    assert "allowed" in str(refusal.value)


def test_channels_are_measured_in_their_order_under_their_own_numbers():
    wanted = wanted_of(
        channels=[2, 0],
        ring=None,
        size_range=None,
        texture=8,
        plugins=None,
        volume=(3, 3, 3),
        voxel_size=[1, 1, 1],
        dtype="uint8",
        limits=[(0, 1), (0, 2), (0, 3)],
        threshold=0.5,
        one=1,
    )
    assert wanted.channels == (0, 2)
    assert wanted.limits == ((0, 1), (0, 3))
    assert "texture_ASM_2" in wanted.names
    assert not [name for name in wanted.names if name.endswith("_1")]
