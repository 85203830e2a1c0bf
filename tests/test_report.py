"""The report: what it says, what it shows, and that it never needs more than itself."""

import re
import tracemalloc
from html.parser import HTMLParser

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

import mosaicell
from mosaicell import pictures
from mosaicell.charts import profile
from mosaicell.curves import Look, draw_curves
from mosaicell.geometry import Box
from mosaicell.pictures import colours, cut, grey, outlines, project
from mosaicell.quantiles import quantiles
from mosaicell.report.cells import nearest, tally
from mosaicell.report.page import report
from mosaicell.seams import straight_borders
from mosaicell.store import lay_out
from mosaicell.whole.measure import measure

VOID = {"meta", "br", "img", "link", "hr", "input"}


class Page(HTMLParser):
    """Collects a page's text, its addresses and its tags, and checks that tags are closed."""

    def __init__(self, page: str):
        super().__init__()
        self.open, self.tags, self.addresses, self.texts = [], [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.note(attributes)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.note(attributes)

    def note(self, attributes):
        named = dict(attributes)
        assert len(named) == len(attributes)
        self.addresses += [named[key] for key in ("href", "src") if key in named]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts.append(" ".join(data.split()))

    @property
    def text(self) -> str:
        return " ".join(filter(None, self.texts))


def stored(path, array: np.ndarray, *, steps=((1, 1, 1),)) -> list:
    """A pyramid of an array with axes (..., z, y, x), thinned out by each of the steps."""
    levels = []
    for k, step in enumerate(steps):
        level = array[(..., *(slice(None, None, s) for s in step))]
        chunks = (1,) * (level.ndim - 3) + (16, 128, 128)
        levels.append(
            lay_out(
                path / str(k),
                shape=level.shape,
                dtype=level.dtype,
                chunks=chunks,
                shards=chunks,
                dimension_names=("t", "c", "z", "y", "x")[-level.ndim :],
            )
        )
        levels[-1][...] = level
    return levels


def balls(shape, *, every: int, radius: float, dtype=np.uint32) -> np.ndarray:
    """Labels of balls on a grid."""
    z, y, x = np.indices(shape)
    number = np.zeros(shape, dtype)
    steps = [max(1, n // every) for n in shape]
    centres = [np.minimum(i // every, s - 1) for i, s in zip((z, y, x), steps, strict=True)]
    number[...] = 1 + (centres[0] * steps[1] + centres[1]) * steps[2] + centres[2]
    middle = [every // 2 if n >= every else 0 for n in shape]
    squares = sum(
        (i - c * every - m) ** 2 for i, c, m in zip((z, y, x), centres, middle, strict=True)
    )
    return np.where(squares <= radius**2, number, 0).astype(dtype)


@pytest.fixture
def page_of(tmp_path):
    """Makes the report of a label image."""

    def make(
        labels,
        *,
        image=None,
        sample="embryo",
        voxel_size=(2.0, 0.5, 0.5),
        n_channels=1,
        timings=(),
        facts=None,
        attempts=None,
        curves=None,
        rows=7,
        tile=(64, 64, 64),
    ):
        if image is None:
            noise = np.random.default_rng(0).integers(0, 50, (n_channels, *labels.shape))
            image = (noise + 100 * (labels > 0)).astype(np.uint16)
        cells = measure(labels, image, voxel_size=voxel_size).assign(frame=0)

        def parts(columns):  # as a table of such row groups is read; one without cells has none
            return [cells[columns][k : k + rows] for k in range(0, len(cells), rows)]

        return report(
            sample=sample,
            image=stored(tmp_path / "image", image),
            labels=stored(tmp_path / "labels", labels),
            factors=[(1, 1, 1)],
            channel=n_channels - 1,
            limits=[(0.0, 150.0)] * n_channels,
            voxel_size=voxel_size,
            cells=parts,
            borders=straight_borders(
                labels, core=Box((0, 0, 0), labels.shape), volume=labels.shape
            ),
            tile=tile,
            facts=facts or {},
            timings=list(timings),
            attempts=attempts or {},
            curves=curves,
        )

    return make


LABELS = balls((24, 48, 72), every=12, radius=4)  # 2 x 4 x 6 balls
BARS = re.compile(r"<title>([\d,]+): [^<]* to [^<]*</title>")
CHARTS = re.compile(r'<figure class="card">.*?</figure>', re.DOTALL)


def test_the_page_shows_how_the_model_was_trained_where_that_is_known(page_of, tmp_path):
    draw_curves([Look(1, 0.5, 0.8)], tmp_path / "model.png")
    content = (tmp_path / "model.png").read_bytes()
    page = page_of(LABELS, curves=content)
    assert pictures.packed(content, "png") in Page(page).addresses
    assert "Training of the model" in page
    assert "Training of the model" not in page_of(LABELS)


def test_the_page_needs_no_other_file_and_no_script(page_of):
    page = page_of(LABELS, n_channels=2)
    parsed = Page(page)
    assert not {"script", "link", "iframe", "object"} & set(parsed.tags)
    assert len(parsed.addresses) > 10
    assert all(a.startswith(("#", "data:image/")) for a in parsed.addresses)
    assert "http" not in page
    assert "@import" not in page
    assert "url(" not in page


def test_every_picture_that_is_shown_again_is_on_the_page(page_of):
    page = page_of(LABELS)
    ids = re.findall(r' id="([^"]+)"', page)
    used = re.findall(r'href="#([^"]+)"', page)
    assert sorted(ids) == sorted(used)
    assert len(set(ids)) == len(ids) == 5  # three planes, two projections


def test_the_headline_gives_counts_and_sizes(page_of):
    text = Page(page_of(LABELS)).text
    size = int((LABELS == 1).sum())
    diameter = (6 / np.pi * size * 0.5) ** (1 / 3)
    assert "cells 48 " in text
    assert f"median diameter {diameter:.2f}".rstrip("0") in text
    assert "touch the border 0 %" in text
    assert f"of the volume is cells {100 * 48 * size / LABELS.size:.1f} %" in text
    assert "imaged 41,472 µm³" in text


def test_names_and_values_are_escaped(page_of):
    page = page_of(LABELS, sample='<b>&"', facts={"<i>": {"<u>": "<script>alert(1)</script>"}})
    assert "<title>&lt;b&gt;&amp;&#34;" in page
    parsed = Page(page)
    assert not {"b", "i", "u", "script"} & set(parsed.tags)
    assert '<b>&"' in parsed.texts
    assert "<script>alert(1)</script>" in parsed.texts


NONE = np.zeros((24, 48, 72), np.uint32)
ONE = np.where(LABELS == 9, LABELS, 0)
PLANE = balls((1, 60, 80), every=20, radius=6)
HUGE = np.where(LABELS > 0, LABELS + np.uint64(2**40), 0).astype(np.uint64)
CASES = {
    "no cells": (NONE, {}, ["No cells were found", "segment.threshold"], ["Distributions"]),
    "no cells, no size": (NONE, {"voxel_size": None}, ["No cells", "voxel_size_z"], ["mm³"]),
    "one cell": (ONE, {}, ["cell 1 ", "Distributions"], ["No cells", "90 % within"]),
    "one plane": (PLANE, {}, ["cells per mm²", "Area of a cell"], ["Plane y", "along z", "³"]),
    "one plane, no size": (
        PLANE,
        {"voxel_size": None},
        ["pixels in the median cell", "80 pixels (y, x)"],
        ["µm", "nan"],
    ),
    "no size": (
        LABELS,
        {"voxel_size": None},
        ["voxels in the median cell", "voxel_size_z", "Cells along z plane"],
        ["µm", "nan", "Diameter"],
    ),
    "three channels": (
        LABELS,
        {"n_channels": 3},
        ["3 channels", "Channel 2, segmented", "Mean intensity, channel 1"],
        [],
    ),
    "fifteen channels": (PLANE, {"n_channels": 15}, ["the first 12 of 15"], ["Channel 12"]),
    "64-bit labels": (HUGE, {}, ["cells 48 "], []),
}


@pytest.mark.parametrize(
    ("labels", "options", "said", "not_said"), CASES.values(), ids=CASES.keys()
)
def test_unusual_samples_read_sensibly(page_of, labels, options, said, not_said):
    text = Page(page_of(labels, **options)).text
    assert [words for words in said if words not in text] == []
    assert [words for words in not_said if words in text] == []


def test_the_same_input_gives_the_same_page_however_its_table_is_cut(page_of):
    assert page_of(LABELS) == page_of(LABELS) == page_of(LABELS, rows=1) == page_of(LABELS, rows=99)


def test_every_chart_holds_every_cell_even_outliers(page_of):
    image = np.random.default_rng(1).normal(100, 5, (1, *LABELS.shape)).astype(np.float32)
    image[0][LABELS == 17] = 1e30
    image[0][LABELS == 20] = -1e30
    page = page_of(LABELS, image=image)
    charts = [chart for chart in CHARTS.findall(page) if "Histogram." in chart]
    assert len(charts) == 4  # volume, diameter, along z, intensity
    for chart in charts:
        assert sum(int(count) for count in BARS.findall(chart)) == 48
    assert "2 beyond the axis" in charts[3]
    assert len(BARS.findall(charts[3])) > 5  # the outliers did not squeeze the others into one


def test_suspicious_cells_are_pointed_at(page_of):
    labels = LABELS.copy()
    labels[:, :, 36:] = 4  # several in one
    labels[0, :30:2, 0] = np.arange(100, 115)  # debris
    text = Page(page_of(labels)).text
    assert "Cell 4 at z, y, x = 12, 24, 54 is" in text
    assert "lower segment.persistence" in text
    assert "raise segment.min_size" in text
    assert not re.search(r"Cell \d+ at|segment\.min_size", Page(page_of(LABELS)).text)


# Cells of a random landscape, and the same cut in two where x = 30.
NOISE = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((24, 48, 72)), 2)
CELLS = mosaicell.watershed(NOISE, threshold=-0.02, persistence=0.02)
SPLIT = np.where(CELLS > 0, CELLS + CELLS.max() * (np.indices(CELLS.shape)[2] >= 30), 0)


@pytest.mark.parametrize(
    ("labels", "tile", "said", "not_said"),
    [
        (CELLS, (24, 48, 72), ["there is no tile border to look at", "one tile"], ["no seam)"]),
        (CELLS, (6, 6, 6), ["tiles are too thin", "meet at 6, 12, 18"], ["no seam)", "visible"]),
        (CELLS, (24, 48, 30), ["No seam is visible", "tiles meet at 30, 60"], ["Many cells"]),
        (SPLIT, (24, 48, 30), ["Seams are visible where tiles meet, most of all at x = 30."], []),
        (SPLIT, (24, 24, 72), ["No seam is visible", "straight face at x = 30, where no"], []),
        (NONE, (12, 24, 36), [], ["seam"]),
    ],
)
def test_seams_are_told_and_shown(page_of, labels, tile, said, not_said):
    page = page_of(labels, tile=tile)
    text = Page(page).text
    assert [words for words in said if words not in text] == []
    assert [words for words in not_said if words in text] == []
    marks = sum(-(-n // t) - 1 for n, t in zip(labels.shape, tile, strict=True))
    assert page.count('class="mark"') == (marks if labels.any() else 0)


def test_a_profile_of_many_planes_keeps_the_highest():
    counts = np.zeros((2, 20_000), np.int64)
    counts[0, 12_345] = 80
    drawn = profile("", "", "", counts, marks=np.array([12_345]))
    assert len(drawn.area) < 10_000
    height = [float(y) for y in re.findall(r"V([\d.]+)", drawn.area)]
    assert min(height) == 0
    assert drawn.y_ticks[-1] == (100, "80")
    assert min(float(y) for y in re.findall(r"V([\d.]+)", drawn.line)) == 100
    at = float(drawn.area.split("V0H")[0].split("H")[-1])
    assert abs(at - drawn.marks[0]) < 0.5


def test_the_time_of_each_stage_is_shown(page_of):
    text = Page(
        page_of(
            LABELS,
            timings=[
                {"stage": "predict", "jobs": 4, "seconds": 3725.0, "max_rss_mb": 2048.0},
                {"stage": "stitch", "jobs": 1, "seconds": 1.25, "max_rss_mb": float("nan")},
            ],
        )
    ).text
    assert "predict 4 1 h 02 min 2.0 GB" in text
    assert "stitch 1 1.2 s unknown" in text


def test_large_images_get_a_close_up_at_full_resolution(page_of):
    large = balls((1, 700, 900), every=20, radius=6)
    page = page_of(large)
    assert "Close-up" in page
    assert "Around y, x = 350, 450" in page
    assert "Close-up" not in page_of(PLANE)


def check_memory(tmp_path, **more):
    """Write the report of a large, empty volume, and see that it is never in memory."""
    shape = (96, 1024, 1024)
    image, labels = (
        [
            lay_out(
                tmp_path / name,
                shape=(*leading, *shape),
                dtype=dtype,
                chunks=(*leading, 64, 64, 64),
                shards=(*leading, 64, 256, 256),
                dimension_names=("c", "z", "y", "x")[-len(leading) - 3 :],
            )
        ]
        for name, leading, dtype in (("image", (1,), np.uint16), ("labels", (), np.uint32))
    )
    for (array,) in (image, labels):
        array[...] = 0
    cells = measure(np.ones((1, 1, 1), np.uint8), np.ones((1, 1, 1))).assign(frame=0)
    tracemalloc.start()
    with zarr.config.set({"async.concurrency": 1}):  # as in a job with one thread
        page = report(
            sample="large",
            image=image,
            labels=labels,
            factors=[(1, 1, 1)],
            channel=0,
            limits=[(0.0, 1.0)],
            voxel_size=None,
            cells=lambda columns: [cells[columns]],
            borders=[np.zeros((2, n), np.int64) for n in shape],
            tile=(64, 256, 256),
            facts={},
            timings=[],
            attempts={},
            **more,
        )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.1 * np.prod(shape) * (2 + 4)
    assert len(page) < 3_000_000


def test_memory_is_bounded_whatever_the_volume(tmp_path):
    check_memory(tmp_path)


@given(
    parts=st.lists(
        st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-3, 3), max_size=9),
        min_size=1,
        max_size=5,
    ).filter(any),
    shares=st.lists(st.floats(0, 1), min_size=1, max_size=5),
)
def test_quantiles_found_part_by_part_are_those_of_all_values(parts, shares):
    values = [np.array(part, np.float64) for part in parts]
    with np.errstate(all="ignore"):
        expected = np.quantile(np.concatenate(values), shares)
    found = quantiles(lambda: values, shares)
    assert np.array_equal(found, expected, equal_nan=True)


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_what_is_counted_part_by_part_is_what_the_whole_table_says(rows):
    labels = np.random.default_rng(4).integers(0, 60, (9, 12, 15))
    labels[:, :6, :6] = 1
    whole = measure(labels, np.zeros((1, *labels.shape)), voxel_size=(2.0, 0.5, 0.5))
    whole["frame"] = 0

    def parts(columns):
        return [whole[columns][k : k + rows] for k in range(0, len(whole), rows)]

    found, sizes = tally(parts, labels.shape), whole["num_voxels"]
    largest = whole.iloc[sizes.argmax()]
    assert found.n == len(whole)
    assert found.voxels == (labels > 0).sum()
    assert found.touching == whole["touches_border"].sum()
    assert found.median_voxels == sizes.median()
    assert found.small == (sizes < sizes.median() / 10).sum()
    assert found.largest == {name: largest[name] for name in found.largest}
    for axis, name in enumerate("zyx"):
        first, last = whole[f"bbox_min_{name}"], whole[f"bbox_max_{name}"]
        assert found.extent[axis] == (last - first).median()
        for plane in range(labels.shape[axis]):
            assert found.crossing[axis][plane] == ((first <= plane) & (plane < last)).sum()
    centroids = whole[[f"centroid_{axis}" for axis in "zyx"]].to_numpy()
    squares = (((centroids - (3, 5, 9)) * (2.0, 0.5, 0.5)) ** 2).sum(axis=1)
    assert np.array_equal(nearest(parts, (3, 5, 9), (2.0, 0.5, 0.5)), centroids[squares.argmin()])


TRIED = {
    "stitch": [
        {
            "begin": "2026-11-22 10:00:00",
            "end": "2026-11-22 10:00:05",
            "node": "n1",
            "slurm_job": "",
            "seconds": 5.0,
            "error": "",
        }
    ],
    "predict-3": [
        {"begin": "2026-11-22 09:00:00", "node": "n2", "slurm_job": "17"},
        {
            "begin": "2026-11-22 09:10:00",
            "end": "2026-11-22 09:20:00",
            "node": "n3",
            "slurm_job": "18",
            "seconds": 600.0,
            "error": "the disk is full",
        },
        {
            "begin": "2026-11-22 09:30:00",
            "end": "2026-11-22 09:31:00",
            "node": "n1",
            "slurm_job": "19",
            "seconds": 60.0,
            "error": "",
            "found": 30,
            "computed": 10,
        },
    ],
}


def test_jobs_that_were_tried_again_are_told_attempt_by_attempt(page_of):
    text = Page(page_of(LABELS, attempts=TRIED)).text
    assert "1 job was tried more than once." in text
    assert (
        "predict-3 1 of 3 2026-11-22 09:00:00 n2, SLURM job 17 unknown ended without a word: "
        "killed, cancelled, out of memory or out of time "
        "predict-3 2 of 3 2026-11-22 09:10:00 n3, SLURM job 18 10 min 00 s the disk is full "
        "predict-3 3 of 3 2026-11-22 09:30:00 n1, SLURM job 19 1 min 00 s done; of 40 pieces of "
        "work 30 were there already"
    ) in text
    assert "stitch 1 of" not in text
    assert "No job was tried twice." in Page(page_of(LABELS)).text


def test_outlines_are_where_cells_end_in_the_colour_of_each():
    labels = np.zeros((1000, 1000), np.uint32)
    labels[100:200, 100:200] = 7
    labels[100:200, 200:300] = 8
    picture = outlines(labels, size=(1.0, 1.0))
    assert picture.shape == (1000, 1000, 4)
    expected = np.zeros((1000, 1000), np.uint32)
    for label, span in ((7, slice(100, 200)), (8, slice(200, 300))):
        cell = np.zeros((1000, 1000), bool)
        cell[100:200, span] = True
        inner = np.zeros_like(cell)
        inner[101:199, span.start + 1 : span.stop - 1] = True
        expected[cell & ~inner] = label
    assert np.array_equal(picture[..., 3] > 0, expected > 0)
    for label in (7, 8):
        colour = colours(np.array([label]))[0]
        assert (picture[expected == label, :3] == colour).all()
    assert not np.array_equal(*colours(np.array([7, 8])))


def test_outlines_of_few_pixels_are_drawn_finer_at_true_aspect():
    labels = np.zeros((10, 20), np.uint64)
    labels[4:6, 5:15] = 2**60 + 1
    picture = outlines(labels, size=(20 * 0.5, 20 * 0.25))  # planes are four times as thick
    assert picture.shape == (1000, 500, 4)
    assert picture[400:600, 125:375, 3].any()
    assert not picture[:400, :, 3].any()
    assert not picture[:, :125, 3].any()
    assert not picture[450:550, 150:350, 3].any()  # within the cell
    drawn = picture[..., 3] > 0
    assert drawn[:, 250].sum() == drawn[500].sum() == 6  # three pixels on each side


@pytest.mark.parametrize(
    ("axis", "index", "pixels", "level", "step"),
    [(0, 5, 80, 0, 1), (0, 5, 40, 1, 1), (1, 33, 20, 1, 2), (2, 79, 30, 1, 1), (0, 23, 7, 1, 6)],
)
def test_a_cut_is_read_from_the_finest_level_that_fits(tmp_path, axis, index, pixels, level, step):
    volume = np.random.default_rng(2).integers(0, 99, (1, 24, 40, 80)).astype(np.uint8)
    factors = [(1, 1, 1), (1, 2, 2)]
    levels = stored(tmp_path, volume, steps=factors)
    found = cut(levels, factors, axis=axis, index=index, leading=(0,), pixels=pixels)
    plane = np.take(levels[level][0], index // factors[level][axis], axis)
    strides = [-(-n // pixels) for n in plane.shape]
    assert max(strides) == step
    assert np.array_equal(found, plane[:: strides[0], :: strides[1]])


@pytest.mark.parametrize("slab", [1, 5000, 10**9])
def test_projections_do_not_depend_on_the_slabs(tmp_path, monkeypatch, slab):
    volume = np.random.default_rng(3).integers(0, 10**6, (2, 24, 40, 80)).astype(np.uint32)
    monkeypatch.setattr(pictures, "SLAB_VOXELS", slab)
    found = project(stored(tmp_path, volume), leading=(1,))
    assert np.array_equal(found[0], volume[1].max(axis=0))
    assert np.array_equal(found[1], volume[1].max(axis=1))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64", "bool"])
def test_greys_end_at_the_limits_even_for_extreme_values(dtype):
    kind = np.dtype(dtype)
    if kind.kind == "b":
        values = np.array([False, True])
    else:
        info = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
        values = np.array([info.min, 0, 1, info.max], kind)
    assert grey(values, 0.0, 1.0).tolist() == [255 * int(v > 0) for v in values]
