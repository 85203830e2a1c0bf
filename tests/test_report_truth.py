"""The part of the report about true cells: what it counts, what it shows, and what it holds."""

import re
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from mosaicell.columns import KINDS
from mosaicell.evaluate import joined, overlaps
from mosaicell.geometry import Box
from mosaicell.matches import by_iou, match_rows
from mosaicell.metrics import known, metrics
from mosaicell.pictures import cut, cut_alike, tinted
from mosaicell.report.page import report
from mosaicell.report.truth import PALETTE, Truth
from mosaicell.seams import straight_borders
from mosaicell.whole.measure import measure
from test_report import Page, balls, check_memory, stored


def page_of(folder, labels, truth, *, rows=5, voxel_size=(2.0, 0.5, 0.5)):
    """The report of a label image (z, y, x) or a movie of them (t, z, y, x), and its matches."""
    is_movie = labels.ndim == 4
    movie = [labels] if not is_movie else labels
    true = [truth] if not is_movie else truth
    noise = np.random.default_rng(0).integers(0, 50, np.shape(movie))
    image = (noise + 100 * (np.stack(movie) > 0)).astype(np.uint16)[:, None]
    frames = [
        measure(m, i, voxel_size=voxel_size).assign(frame=t)
        for t, (m, i) in enumerate(zip(movie, image, strict=True))
    ]
    found = [overlaps([pair]) for pair in zip(movie, true, strict=True)]
    matches = pd.concat(
        pd.DataFrame(match_rows(f, by_iou(f), frame=t, score="iou")) for t, f in enumerate(found)
    )
    page = report(
        sample="a",
        image=stored(folder / "image", image if is_movie else image[0]),
        labels=stored(folder / "labels", labels),
        factors=[(1, 1, 1)],
        channel=0,
        limits=[(0.0, 150.0)],
        voxel_size=voxel_size,
        cells=lambda columns: [frame[columns] for frame in frames],
        borders=straight_borders(
            movie[0], core=Box((0, 0, 0), movie[0].shape), volume=movie[0].shape
        ),
        tile=(64, 64, 64),
        facts={},
        timings=[],
        attempts={},
        num_cells=[len(frame) for frame in frames] if is_movie else None,
        truth=Truth(
            read=lambda frame, box: true[frame][box.slices],
            matches=lambda columns: [
                matches[columns][k : k + rows] for k in range(0, len(matches), rows)
            ],
            scores=known(metrics(joined(found))),
        ),
    )
    return page, matches


VOLUME = balls((24, 48, 72), every=12, radius=4)  # 2 x 4 x 6 balls
PLANE = balls((1, 60, 80), every=20, radius=6)
WRONG = VOLUME.copy()
WRONG[WRONG == 9] = 0
WRONG[WRONG == 11] = 10
WRONG[:, :, 60:] = np.where(WRONG[:, :, 60:] > 0, WRONG[:, :, 60:] + 50 * (np.arange(12) > 5), 0)
WRONG[0, 0, 0] = 200


@pytest.mark.parametrize(
    ("labels", "truth"),
    [
        (WRONG, VOLUME),
        (VOLUME, VOLUME),
        (VOLUME * 0, VOLUME),
        (VOLUME, VOLUME * 0),
        (VOLUME * 0, VOLUME * 0),
        (np.where(PLANE == 3, 0, PLANE), PLANE),
        (np.stack([VOLUME, WRONG, VOLUME * 0]), np.stack([VOLUME] * 3)),
        (np.stack([PLANE, PLANE * 0]), np.stack([PLANE] * 2)),
        (VOLUME.astype(np.uint64) + np.uint64(2**40) * (VOLUME > 0), VOLUME.astype(np.int16)),
    ],
    ids=[
        "wrong",
        "right",
        "none found",
        "none true",
        "nothing",
        "2D",
        "movie",
        "2D movie",
        "64 bit",
    ],
)
def test_the_legend_counts_what_the_table_says(tmp_path, labels, truth):
    page, matches = page_of(tmp_path, labels, truth)
    parsed = Page(page)
    assert "Do they agree with the true cells?" in parsed.texts
    for kind in KINDS:
        of_kind = matches[matches["kind"] == kind]["side"].value_counts()
        true, found = (f"{of_kind.get(side, 0):,}" for side in ("true", "found"))
        assert f"{kind} {true} {found} " in parsed.text
    ids, used = (re.findall(f' {name}="([^"]+)"', page) for name in ("id", "href"))
    assert len(set(ids)) == len(ids)
    shown = {name for name in ids if name.startswith("truth")}
    assert {f"#{name}" for name in shown} <= set(used)


def test_a_page_is_the_same_however_its_table_is_cut(tmp_path):
    pages = {page_of(tmp_path, WRONG, VOLUME, rows=rows)[0] for rows in (1, 7, 1000)}
    assert len(pages) == 1


def test_places_are_named_where_cells_are_wrong(tmp_path):
    labels = VOLUME.copy()
    labels[:, 36:, 60:] = 0  # the two balls in the last corner
    text = Page(page_of(tmp_path, labels, VOLUME)[0]).text
    assert "Around z, y, x = 6, 42, 66" in text
    assert "Around z, y, x = 18, 42, 66" in text
    assert text.count("Around z, y, x") == 2
    assert "Where most cells are wrong" not in Page(page_of(tmp_path, VOLUME, VOLUME)[0]).text


def test_scores_are_shown_by_iou(tmp_path):
    text = Page(page_of(tmp_path, np.where(VOLUME == 1, 0, VOLUME), VOLUME)[0]).text
    assert f"0.75 {94 / 95:.3f} {47 / 48:.3f} 1.000 {47 / 48:.3f} 47 1 0" in text
    assert "panoptic quality 0.989" in text


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("index", "shape"), [(5, (24, 40, 80)), (17, (30, 2100, 40))])
def test_a_volume_without_levels_is_read_at_the_voxels_of_one_that_has_them(
    tmp_path, monkeypatch, axis, index, shape
):
    monkeypatch.setattr("mosaicell.pictures.SLAB_VOXELS", 5000)
    volume = np.random.default_rng(2).integers(0, 99, shape).astype(np.uint8)
    factors = [(1, 1, 1), (1, 2, 2)]
    levels = stored(tmp_path, volume, steps=factors)
    at = {"axis": axis, "index": index}
    found = cut_alike(lambda box: volume[box.slices], levels, factors, **at)
    np.testing.assert_array_equal(found, cut(levels, factors, **at))


def test_cells_that_fit_are_outlined_and_others_filled_in_the_colours_of_their_kinds():
    labels = np.zeros((1000, 1000), np.int64)
    labels[100:200, 100:200], labels[300:400, 300:400] = 7, 2**40
    classes = np.where(labels == 7, 0, 3).astype(np.uint8)
    picture = tinted(labels, classes, PALETTE, size=(1.0, 1.0))
    inside = picture[150, 150], picture[350, 350]
    assert inside[0][3] == 0 < inside[1][3] < 255
    assert (picture[100, 150] == [*PALETTE[0], 255]).all()
    assert (picture[300, 350] == [*PALETTE[3], 255]).all()
    assert (inside[1][:3] == PALETTE[3]).all()
    assert not picture[labels == 0].any()


# What people see who lack one kind of cones (Machado et al. 2009, doi 10.1109/TVCG.2009.113).
SIGHTS = {
    "all cones": np.eye(3),
    "no red": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no green": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no blue": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


@pytest.mark.parametrize("sight", SIGHTS.values(), ids=SIGHTS.keys())
def test_colours_of_kinds_differ_also_to_the_colour_blind(sight):
    share = PALETTE / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(sight).T, 0, 1)
    seen = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    for a, b in combinations(rgb2lab(seen[None])[0], 2):
        assert deltaE_ciede2000(a, b) > 20  # one is where differences begin


def test_memory_is_bounded_whatever_the_volume(tmp_path):
    nothing = overlaps([(np.zeros((1, 1, 1), int),) * 2])
    wrong = overlaps([(np.zeros((1, 1, 1), int), np.ones((1, 1, 1), int), (50, 500, 500))])
    matches = pd.DataFrame(match_rows(wrong, by_iou(wrong), frame=0, score="iou"))
    truth = Truth(
        read=lambda _, box: np.ones(box.shape, np.uint8),
        matches=lambda columns: [matches[columns]] * 50,
        scores=known(metrics(nothing)),
    )
    check_memory(tmp_path, truth=truth)
