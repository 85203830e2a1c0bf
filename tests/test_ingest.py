"""An ingested image is the image, is named by its voxels, resumes, and stays out of memory."""

import dataclasses
import json
import shutil
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st

from mosaicell import ingest as module
from mosaicell.geometry import Box, cube
from mosaicell.ingest import ingest, ingest_landscape
from mosaicell.intensity import histogram, limits, statistics
from mosaicell.omezarr import label_attributes, labels_attributes
from mosaicell.pyramid import halve, level_factors
from mosaicell.sources import open_source
from mosaicell.store import CHUNK_VOXELS, SHARD_VOXELS, write_group
from test_sources import (
    ONE_CHANNEL_FORMATS,
    TWO_CHANNEL_FORMATS,
    TWO_CHANNELS,
    VOLUME,
    write_imagej,
)


def run(source, folder: Path, *, voxel_size=None, code="code", threads=1) -> dict:
    return ingest(
        source,
        folder / "a.ome.zarr",
        name="a",
        voxel_size=voxel_size,
        records_folder=folder / "records",
        code=code,
        threads=threads,
    )


def run_landscape(source, folder: Path) -> dict:
    return ingest_landscape(
        source, folder / "landscape.zarr", records_folder=folder / "records", code="code"
    )


def source_of(volume: np.ndarray, folder: Path):
    """The source that a volume (c, z, y, x) makes."""
    shutil.rmtree(folder / "input.zarr", ignore_errors=True)
    zarr.create_array(folder / "input.zarr", data=volume)
    return open_source(folder / "input.zarr")


def level(folder: Path, number: int) -> np.ndarray:
    return zarr.open_array(folder / "a.ome.zarr" / str(number), mode="r")[...]


def counting(source, stop_at: int | None = None):
    """A source that lists what is read from it, and breaks down at a certain read."""
    reads: list[tuple[int, Box]] = []

    def fill(frame, channel, box, out):
        if len(reads) == stop_at:
            raise KeyboardInterrupt
        reads.append((channel, box))
        source.fill(frame, channel, box, out)

    return dataclasses.replace(source, fill=fill), reads


@pytest.fixture
def thin_slabs(monkeypatch):
    """Chunks and shards so small that a small volume has several slabs and bands."""
    monkeypatch.setattr(module, "CHUNK_VOXELS", 8 * 8 * 8)
    monkeypatch.setattr(module, "SHARD_VOXELS", 8 * 16 * 16)
    monkeypatch.setattr(module, "level_factors", partial(level_factors, largest_top=16))


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> dict:
    """What ingesting the volume of all formats gives."""
    folder = tmp_path_factory.mktemp("reference")
    return run(source_of(VOLUME[None], folder), folder, voxel_size=(2, 0.5, 0.25))


SMALL = np.random.default_rng(2).integers(0, 65536, (2, 21, 37, 50)).astype(np.uint16)


@pytest.mark.parametrize("write", ONE_CHANNEL_FORMATS.values(), ids=ONE_CHANNEL_FORMATS)
def test_the_content_is_named_alike_whatever_the_format(write, reference, tmp_path):
    (tmp_path / "input").mkdir()
    source = open_source(write(tmp_path / "input"))
    assert run(source, tmp_path, voxel_size=(2, 0.5, 0.25)) == reference
    np.testing.assert_array_equal(level(tmp_path, 0)[0], VOLUME)


@pytest.mark.parametrize("write", TWO_CHANNEL_FORMATS.values(), ids=TWO_CHANNEL_FORMATS)
def test_channels_are_kept_and_named_alike_whatever_the_format(write, tmp_path):
    (tmp_path / "input").mkdir()
    (tmp_path / "reference").mkdir()
    summary = run(open_source(write(tmp_path / "input")), tmp_path)
    assert summary == run(source_of(TWO_CHANNELS, tmp_path), tmp_path / "reference")
    np.testing.assert_array_equal(level(tmp_path, 0), TWO_CHANNELS)


def test_one_voxel_one_dtype_or_one_axis_changes_the_content_name(tmp_path):
    other = SMALL.copy()
    other[1, 20, 36, 49] ^= 1
    variants = [SMALL, other, SMALL.astype(np.int32), SMALL[:1], SMALL.transpose(0, 1, 3, 2)]
    names = {run(source_of(v, tmp_path), tmp_path)["content"] for v in variants}
    assert len(names) == len(variants)


@pytest.mark.usefixtures("thin_slabs")
@pytest.mark.parametrize("shape", [(2, 21, 37, 50), (1, 1, 40, 90), (1, 60, 5, 3), (3, 9, 8, 17)])
def test_every_level_is_made_of_the_one_before(shape, tmp_path):
    volume = np.random.default_rng(1).integers(0, 2**16, shape).astype(np.uint16)
    summary = run(source_of(volume, tmp_path), tmp_path, voxel_size=(2, 1, 1), threads=3)
    expected = volume
    for number, factors in enumerate(summary["levels"]):
        if number:
            before = summary["levels"][number - 1]
            step = tuple(b // a for a, b in zip(before, factors, strict=True))
            expected = np.stack([halve(channel, step) for channel in expected])
        np.testing.assert_array_equal(level(tmp_path, number), expected)
    assert len(summary["levels"]) > 1


@pytest.mark.usefixtures("thin_slabs")
def test_limits_and_statistics_are_those_of_the_whole_channel(tmp_path):
    summary = run(source_of(SMALL, tmp_path), tmp_path)
    counts = [(histogram(channel), channel.dtype) for channel in SMALL]
    assert summary["channels"] == [
        {"limits": list(limits(*known)), **statistics(*known)} for known in counts
    ]


@pytest.mark.usefixtures("thin_slabs")
def test_the_summary_survives_json_and_the_group_is_written_last(tmp_path):
    broken, _ = counting(source_of(SMALL, tmp_path), stop_at=5)
    with pytest.raises(KeyboardInterrupt):
        run(broken, tmp_path)
    assert not (tmp_path / "a.ome.zarr" / "zarr.json").exists()
    summary = run(source_of(SMALL, tmp_path), tmp_path)
    assert (tmp_path / "a.ome.zarr" / "zarr.json").exists()
    assert json.loads(json.dumps(summary)) == summary


@pytest.mark.usefixtures("thin_slabs")
def test_a_run_that_breaks_down_resumes_and_equals_a_fresh_one(tmp_path):
    source = source_of(SMALL, tmp_path)
    (tmp_path / "fresh").mkdir()
    (tmp_path / "resumed").mkdir()
    full, all_reads = counting(source)
    expected = run(full, tmp_path / "fresh")
    broken, first_reads = counting(source, stop_at=8)
    with pytest.raises(KeyboardInterrupt):
        run(broken, tmp_path / "resumed")
    rest, last_reads = counting(source)
    assert run(rest, tmp_path / "resumed") == expected
    # Only the slab that was in work is read again: three bands of rows at most.
    assert len(all_reads) <= len(first_reads) + len(last_reads) <= len(all_reads) + 2
    for number in range(len(expected["levels"])):
        np.testing.assert_array_equal(
            level(tmp_path / "fresh", number), level(tmp_path / "resumed", number)
        )


@pytest.mark.usefixtures("thin_slabs")
def test_a_complete_run_reads_nothing_again_unless_input_or_code_changed(tmp_path):
    source = source_of(SMALL, tmp_path)
    run(source, tmp_path)
    again, reads = counting(source)
    run(again, tmp_path)
    assert not reads
    run(again, tmp_path, code="other code")
    assert len(reads) > 0
    reads.clear()
    run(dataclasses.replace(again, identity="another file"), tmp_path, code="other code")
    assert len(reads) > 0


@pytest.mark.parametrize("harm", ["delete", "alter"])
@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.usefixtures("thin_slabs")
def test_a_shard_that_was_deleted_or_altered_is_written_again(harm, number, tmp_path):
    source = source_of(SMALL, tmp_path)
    run(source, tmp_path)
    expected = level(tmp_path, number)
    shard = tmp_path / "a.ome.zarr" / str(number) / "c" / "1" / "0" / "0" / "0"
    if harm == "delete":
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[::-1])
    again, reads = counting(source)
    run(again, tmp_path)
    np.testing.assert_array_equal(level(tmp_path, number), expected)
    assert {(channel, box.start[0]) for channel, box in reads} == (
        {(1, 0)} if number == 0 else set()
    )


@pytest.mark.usefixtures("thin_slabs")
def test_another_image_in_the_same_place_replaces_the_first(tmp_path):
    run(source_of(SMALL, tmp_path), tmp_path)
    other = np.zeros((1, 12, 30, 40), np.uint8)  # nothing to store: old shards must go
    run(source_of(other, tmp_path), tmp_path)
    np.testing.assert_array_equal(level(tmp_path, 0), other)
    same_layout = np.zeros_like(SMALL)
    run(source_of(SMALL, tmp_path), tmp_path)
    run(source_of(same_layout, tmp_path), tmp_path)
    np.testing.assert_array_equal(level(tmp_path, 0), same_layout)


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [("?", "u1"), ("u1", "u1"), ("i1", "i1"), ("i2", "i2"), ("u4", "u4"), ("i4", "i4"),
     ("f2", "f4"), ("f4", "f4"), ("f8", "f4")],
)  # fmt: skip
def test_dtypes_are_kept_but_floats_become_float32(dtype, stored, tmp_path):
    volume = (np.arange(2 * 3 * 4).reshape(1, 2, 3, 4) % 2).astype(dtype)
    summary = run(source_of(volume, tmp_path), tmp_path)
    assert summary["dtype"] == np.dtype(stored).name
    assert level(tmp_path, 0).dtype == np.dtype(stored)
    np.testing.assert_array_equal(level(tmp_path, 0), volume.astype(stored))


@pytest.mark.usefixtures("thin_slabs")
def test_planes_that_unpack_only_as_a_whole_are_unpacked_once(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", SMALL[0], compression="zlib", rowsperstrip=37)
    source, reads = counting(open_source(tmp_path / "a.tif"))
    run(source, tmp_path)
    assert sorted(box.start[0] for _, box in reads) == list(range(21))
    np.testing.assert_array_equal(level(tmp_path, 0)[0], SMALL[0])


@pytest.mark.parametrize(
    ("given", "stated", "expected"),
    [
        ((2, 1, 1), (3.0, 3.0, 3.0), (2.0, 1.0, 1.0)),
        ((None, None, None), (2.0, 0.5, 0.25), (2.0, 0.5, 0.25)),
        (None, (2.0, 0.5, 0.25), (2.0, 0.5, 0.25)),
        ((5.0, None, None), (2.0, 0.5, 0.25), (5.0, 0.5, 0.25)),
        ((None, None, None), None, None),
    ],
)
def test_the_given_voxel_size_goes_before_that_of_the_file(given, stated, expected, tmp_path):
    source = dataclasses.replace(source_of(SMALL, tmp_path), voxel_size=stated)
    summary = run(source, tmp_path, voxel_size=given)
    assert summary["voxel_size"] == (None if expected is None else list(expected))
    axes = zarr.open_group(tmp_path / "a.ome.zarr").attrs["ome"]["multiscales"][0]["axes"]
    assert [axis.get("unit") for axis in axes[1:]] == [expected and "micrometer"] * 3
    assert open_source(tmp_path / "a.ome.zarr").voxel_size == expected


def test_what_was_ingested_can_be_ingested_again(tmp_path):
    (tmp_path / "input").mkdir()
    (tmp_path / "second").mkdir()
    first = run(open_source(write_imagej(tmp_path / "input")), tmp_path)
    assert first["voxel_size"] == pytest.approx([2.0, 0.5, 0.25])
    assert run(open_source(tmp_path / "a.ome.zarr"), tmp_path / "second") == first


def with_value(dtype: str, value: float) -> np.ndarray:
    volume = np.zeros((1, 3, 4, 5), dtype)
    volume[0, 1, 2, 3] = value
    return volume


@pytest.mark.parametrize(
    ("volume", "voxel_size", "words"),
    [
        (np.zeros((1, 1, 2, 2), "u8"), None, "uint64; allowed are integers of up to 32 bits"),
        (with_value("f4", np.nan), None, r"\(1, 2, 3\) is nan; allowed are finite numbers"),
        (with_value("f4", -np.inf), None, r"\(1, 2, 3\) is -inf; allowed are finite numbers"),
        (with_value("f8", 1e300), None, r"\(1, 2, 3\) is 1e\+300; .* in the range of float32"),
        (SMALL, (1, None, 1), r"\(1, None, 1\) um.*complete it in the sample sheet"),
    ],
)
def test_an_image_that_cannot_be_ingested_is_refused(volume, voxel_size, words, tmp_path):
    with pytest.raises(ValueError, match=words) as refusal:
        run(source_of(volume, tmp_path), tmp_path, voxel_size=voxel_size)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "a.ome.zarr" / "zarr.json").exists()


@pytest.mark.usefixtures("thin_slabs")
@pytest.mark.parametrize("dtype", ["u1", "u2", "f2", "f4", "f8"])
def test_a_landscape_is_copied_as_it_is(dtype, tmp_path):
    landscape = (SMALL[:1] % 256 / 16).astype(dtype)
    summary = run_landscape(source_of(landscape, tmp_path), tmp_path)
    array = zarr.open_array(tmp_path / "landscape.zarr", mode="r")
    kept = np.dtype("f4" if dtype == "f2" else dtype)
    assert summary["dtype"] == kept.name == array.dtype.name
    assert summary["shape"] == list(landscape.shape[1:])
    np.testing.assert_array_equal(array[...], landscape[0].astype(kept))
    again, reads = counting(source_of(landscape, tmp_path))
    assert run_landscape(again, tmp_path)["content"] == summary["content"]
    assert len(reads) > 0  # the input was written anew: another identity


@pytest.mark.parametrize(
    ("volume", "words"),
    [
        (SMALL, "2 channels; allowed is one"),
        (SMALL[:1].astype("u8"), "uint64; allowed are integers of up to 32 bits"),
        (with_value("f8", np.nan), r"\(1, 2, 3\) is nan; .* in the range of float64"),
        (with_value("f2", np.inf), r"\(1, 2, 3\) is inf; .* in the range of float32"),
    ],
)
def test_a_landscape_that_cannot_be_used_is_refused(volume, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        run_landscape(source_of(volume, tmp_path), tmp_path)


@given(
    shape=st.tuples(st.integers(1, 3000), *[st.integers(1, 100_000)] * 2),
    dtype=st.sampled_from(["u1", "u2", "f4"]),
)
def test_a_band_is_within_its_budget_or_one_chunk_high(shape, dtype):
    chunk = cube(shape, CHUNK_VOXELS)
    depth, height, width = module._flat_shard(shape, chunk, np.dtype(dtype))
    assert depth == chunk[0]
    assert height % chunk[1] == width % chunk[2] == 0
    assert depth * height * width <= SHARD_VOXELS
    band = depth * height * shape[2] * np.dtype(dtype).itemsize
    assert band <= module.BAND_BYTES or height == chunk[1]


@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "rowsperstrip": 1024}])
def test_a_volume_is_never_in_memory_as_a_whole(options, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BAND_BYTES", 4 * 2**20)
    shape = (192, 1024, 1024)
    planes = (np.full(shape[1:], z, np.uint8) for z in range(shape[0]))
    with tifffile.TiffWriter(tmp_path / "a.tif", bigtiff=True) as file:
        file.write(planes, shape=shape, dtype=np.uint8, **options)
    source = open_source(tmp_path / "a.tif")
    tracemalloc.start()
    try:
        run(source, tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40e6 < 200e6 < np.prod(shape)


@pytest.mark.usefixtures("thin_slabs")
@pytest.mark.parametrize("voxel_size", [None, (2.0, 0.5, 0.5)])
def test_the_metadata_follow_the_ome_zarr_specification(voxel_size, tmp_path):
    v05 = pytest.importorskip("ome_zarr_models.v05")
    run(source_of(SMALL, tmp_path), tmp_path, voxel_size=voxel_size)
    store = tmp_path / "a.ome.zarr"
    image = v05.Image.from_zarr(zarr.open_group(store, mode="r"))
    assert [axis.name for axis in image.ome_attributes.multiscales[0].axes] == list("czyx")

    attributes = label_attributes(name="cells", voxel_size=voxel_size, factors=[(1, 1, 1)])
    write_group(store / "labels" / "cells", attributes)
    zarr.create_array(
        store / "labels" / "cells" / "0",
        data=SMALL[0].astype(np.uint32),
        dimension_names=("z", "y", "x"),
    )
    label = v05.ImageLabel.from_zarr(zarr.open_group(store / "labels" / "cells", mode="r"))
    assert label.ome_attributes.image_label.source.image == "../../"
    assert v05.labels.LabelsAttrs(**labels_attributes(["cells"])["ome"]).labels == ["cells"]
