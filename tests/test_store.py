"""Stores keep what fits, replace what does not, notice damage, and write files whole or not."""

import os

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from mosaicell.geometry import Box
from mosaicell.store import (
    DamagedError,
    checksum,
    checksum_of_files,
    lay_out,
    open_array,
    read,
    read_arrays,
    read_json,
    remove_group,
    shard_grid,
    write_arrays,
    write_file,
    write_group,
    write_json,
    write_shards,
)

LAYOUT = {
    "shape": (2, 10, 20, 30),
    "dtype": np.dtype(np.uint16),
    "chunks": (1, 4, 4, 4),
    "shards": (1, 8, 8, 8),
    "dimension_names": ("c", "z", "y", "x"),
}
WHOLE = Box((0, 0, 0), (10, 20, 30))


def test_laying_out_again_keeps_what_is_stored(tmp_path):
    array = lay_out(tmp_path / "a", **LAYOUT)
    array[1, 3, 4, 5] = 7
    again = lay_out(tmp_path / "a", **LAYOUT)
    assert again[1, 3, 4, 5] == 7
    again[0, 0, 0, 0] = 1  # it may be written


@pytest.mark.parametrize(
    "change",
    [
        {"shape": (2, 10, 20, 31)},
        {"dtype": np.dtype(np.int16)},
        {"chunks": (1, 2, 4, 4)},
        {"shards": (1, 4, 8, 8)},
    ],
)
def test_laying_out_otherwise_starts_anew(change, tmp_path):
    lay_out(tmp_path / "a", **LAYOUT)[1, 3, 4, 5] = 7
    array = lay_out(tmp_path / "a", **(LAYOUT | change))
    assert not array[...].any()
    assert {name: getattr(array, name) for name in change} == change


def test_chunks_whose_metadata_are_missing_stay(tmp_path):
    lay_out(tmp_path / "a", **LAYOUT)[...] = 3
    (tmp_path / "a" / "zarr.json").unlink()
    assert (lay_out(tmp_path / "a", **LAYOUT)[...] == 3).all()


def test_the_shard_grid_is_that_of_the_last_three_axes(tmp_path):
    grid = shard_grid(lay_out(tmp_path / "a", **LAYOUT))
    assert (grid.shape, grid.tile) == ((10, 20, 30), (8, 8, 8))


def filled(path) -> zarr.Array:
    array = lay_out(path, **LAYOUT)
    array[...] = np.random.default_rng(0).integers(1, 9, LAYOUT["shape"])
    return array


@pytest.mark.parametrize("harm", ["delete", "alter", "shorten"])
def test_a_checksum_notices_a_shard_that_was_touched_and_no_other(harm, tmp_path):
    array = filled(tmp_path / "a")
    grid = shard_grid(array)
    before = [checksum(array, box, (1,)) for box in grid]
    other_channel = checksum(array, WHOLE, (0,))
    shard = tmp_path / "a" / "c" / "1" / "0" / "1" / "2"
    content = bytearray(shard.read_bytes())
    if harm == "delete":
        shard.unlink()
    elif harm == "alter":
        content[5] ^= 1
        shard.write_bytes(content)
    else:
        shard.write_bytes(content[:-1])
    after = [checksum(array, box, (1,)) for box in grid]
    changed = [i for i, pair in enumerate(zip(before, after, strict=True)) if len(set(pair)) > 1]
    assert [grid[i].start for i in changed] == [(0, 8, 16)]
    assert checksum(array, WHOLE, (0,)) == other_channel


def test_a_checksum_of_the_same_values_is_the_same(tmp_path):
    first, second = filled(tmp_path / "a"), filled(tmp_path / "b")
    assert checksum(first, WHOLE, (0,)) == checksum(second, WHOLE, (0,))


def test_a_damaged_shard_at_the_border_can_be_written_again(tmp_path):
    array = filled(tmp_path / "a")
    values = array[1]
    box = Box((8, 16, 24), (10, 20, 30))
    (tmp_path / "a" / "c" / "1" / "1" / "2" / "3").write_bytes(b"damaged" * 100)
    write_shards(array, box, values[box.slices], (1,))
    np.testing.assert_array_equal(open_array(tmp_path / "a")[1], values)


def test_writing_zeros_removes_what_was_there(tmp_path):
    array = filled(tmp_path / "a")
    write_shards(array, WHOLE, np.zeros(WHOLE.shape, np.uint16), (0,))
    assert not array[0].any()
    assert array[1].all()


def test_a_group_can_be_written_and_removed_around_its_arrays(tmp_path):
    filled(tmp_path / "group" / "0")
    write_group(tmp_path / "group", {"a": [1, 2]})
    assert zarr.open_group(tmp_path / "group", mode="r").attrs["a"] == [1, 2]
    remove_group(tmp_path / "group")
    remove_group(tmp_path / "group")
    assert not (tmp_path / "group" / "zarr.json").exists()
    assert open_array(tmp_path / "group" / "0")[...].all()


def test_a_file_is_replaced_whole_or_left_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "folder" / "a.json"
    write_file(path, b"old")

    def fail(_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_json_is_written_alike_whatever_the_order_of_its_keys(tmp_path):
    write_json(tmp_path / "a", {"x": 1, "y": [1.5, None]})
    write_json(tmp_path / "b", {"y": [1.5, None], "x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_json(tmp_path / "a") == {"x": 1, "y": [1.5, None]}


def test_arrays_come_back_from_a_file_and_damage_is_refused(tmp_path):
    arrays = {"a": np.arange(5), "b": np.ones((2, 3), np.float32)}
    write_arrays(tmp_path / "a", arrays)
    back = read_arrays(tmp_path / "a")
    assert list(back) == list(arrays)
    for name, values in arrays.items():
        np.testing.assert_array_equal(back[name], values)
        assert back[name].dtype == values.dtype
    content = bytearray((tmp_path / "a").read_bytes())
    for damaged in (content[:-9], content[:20] + b"\x00\xff" + content[22:]):
        (tmp_path / "a").write_bytes(damaged)
        with pytest.raises(ValueError, match="is damaged"):
            read_arrays(tmp_path / "a")


DTYPES = ["?", "u1", "<u2", ">i4", "<i8", "<f4", "<f8", "<U3", "S2"]


@given(
    arrays=st.dictionaries(
        st.text(max_size=4),
        st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 4), max_size=3), st.booleans()),
        max_size=4,
    )
)
def test_arrays_of_any_type_shape_and_order_come_back_and_can_be_changed(tmp_path_factory, arrays):
    path = tmp_path_factory.getbasetemp() / "any.arrays"
    rng = np.random.default_rng(0)
    made = {
        name: np.asarray(rng.integers(0, 99, shape), order="F" if is_turned else "C").astype(dtype)
        for name, (dtype, shape, is_turned) in arrays.items()
    }
    write_arrays(path, made)
    found = read_arrays(path)
    assert list(found) == list(made)
    for name, array in made.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert np.array_equal(found[name], array)
        assert found[name].flags.writeable
        assert found[name].flags.aligned


def test_a_file_of_arrays_that_lost_a_bit_anywhere_is_refused_or_says_the_same(tmp_path):
    path, ids = tmp_path / "a", np.arange(7)
    write_arrays(path, {"ids": ids, "empty": np.empty((0, 3))})
    content = path.read_bytes()
    for at in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[at // 8] ^= 1 << at % 8
        path.write_bytes(damaged)
        try:
            found = read_arrays(path)
        except DamagedError:
            continue
        assert list(found) == ["ids", "empty"]
        assert np.array_equal(found["ids"], ids)


def test_arrays_of_objects_are_refused(tmp_path):
    with pytest.raises(ValueError, match="arrays of objects came; allowed are"):
        write_arrays(tmp_path / "a", {"a": np.array([{}])})


def test_the_checksum_of_files_follows_content_and_order_and_needs_all(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"1")
    second.write_bytes(b"2")
    assert checksum_of_files([first, second]) == checksum_of_files([first, second])
    assert checksum_of_files([first, second]) != checksum_of_files([second, first])
    assert checksum_of_files([first, tmp_path / "c"]) is None


@pytest.mark.parametrize("value", [0, 7])
def test_a_missing_or_damaged_shard_is_not_read_even_if_it_held_zeros_alone(tmp_path, value):
    array = lay_out(
        tmp_path / "a.zarr",
        shape=(2, 8, 8, 8),
        dtype=np.uint8,
        chunks=(1, 4, 4, 4),
        shards=(1, 8, 8, 8),
        dimension_names=("c", "z", "y", "x"),
    )
    array[:] = value
    everything = Box((0, 0, 0), (8, 8, 8))
    for leading in [(1,), (slice(None),), (slice(1, 2),)]:
        assert (read(array, everything, leading) == value).all()
    shard = tmp_path / "a.zarr/c/1/0/0/0"
    content = bytearray(shard.read_bytes())
    content[2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DamagedError, match="damaged"):
        read(array, everything, (1,))
    shard.unlink()
    for leading in [(1,), (slice(None),)]:
        with pytest.raises(DamagedError, match="missing"):
            read(array, everything, leading)
    assert (read(array, everything, (0,)) == value).all()


@pytest.mark.parametrize(("old", "new"), [(b"10", b"11"), (b"uint16", b"uint17"), (b"zstd", b"")])
def test_an_array_whose_metadata_are_damaged_is_not_opened_and_keeps_its_chunks(tmp_path, old, new):
    values = filled(tmp_path / "a")[...]
    metadata = tmp_path / "a" / "zarr.json"
    content = metadata.read_bytes()
    assert old in content
    metadata.write_bytes(content.replace(old, new, 1))
    with pytest.raises(DamagedError, match=r"zarr\.json is damaged"):
        open_array(tmp_path / "a")
    np.testing.assert_array_equal(lay_out(tmp_path / "a", **LAYOUT)[...], values)
    assert metadata.read_bytes() == content


def test_a_shard_of_zeros_is_stored_by_whoever_opened_the_array(tmp_path):
    lay_out(tmp_path / "a", **LAYOUT)
    array = open_array(tmp_path / "a", "r+")
    write_shards(array, WHOLE, np.zeros(WHOLE.shape, np.uint16), (1,))
    assert not read(array, WHOLE, (1,)).any()
