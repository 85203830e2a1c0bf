"""A record counts only if it is whole and was made from the same things."""

import json

import pytest

from mosaicell.records import (
    Records,
    fingerprint,
    fingerprint_of_files,
    read_job_record,
    write_job_record,
)
from mosaicell.store import DamagedError


def test_a_record_is_found_by_who_expects_the_same(tmp_path):
    Records(tmp_path, "same").add(3, {"checksum": 7})
    assert Records(tmp_path, "same").payload(3) == {"checksum": 7}
    assert Records(tmp_path, "same").payload(4) is None
    assert Records(tmp_path, "other").payload(3) is None


def test_a_new_record_takes_the_place_of_the_old(tmp_path):
    Records(tmp_path, "old").add(0, {"a": 1})
    Records(tmp_path, "new").add(0, {"a": 2})
    assert Records(tmp_path, "old").payload(0) is None
    assert Records(tmp_path, "new").payload(0) == {"a": 2}


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"fingerprint": "other"}', "\x00"])
def test_a_record_that_is_damaged_is_as_good_as_none(content, tmp_path):
    records = Records(tmp_path, "same")
    records.add(1, {})
    (file,) = tmp_path.iterdir()
    file.write_text(content)
    assert records.payload(1) is None


def test_a_fingerprint_follows_values_and_names_but_not_the_order_of_names():
    reference = fingerprint(a=1, b=[1, 2])
    assert fingerprint(b=[1, 2], a=1) == reference
    assert fingerprint(b=(1, 2), a=1) == reference
    others = [fingerprint(a=1, b=[2, 1]), fingerprint(a=1, c=[1, 2]), fingerprint(a="1", b=[1, 2])]
    assert len({reference, *others}) == 4


def test_a_fingerprint_of_files_follows_contents_order_and_borders(tmp_path):
    def of(*contents: bytes) -> str:
        paths = [tmp_path / f"{i}.py" for i in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        return fingerprint_of_files(paths)

    assert of(b"ab", b"c") == of(b"ab", b"c")
    assert len({of(b"ab", b"c"), of(b"a", b"bc"), of(b"c", b"ab"), of(b"ab")}) == 4


def test_a_record_that_lost_a_bit_anywhere_is_not_believed(tmp_path):
    records = Records(tmp_path, "same")
    records.add(1, {"stored": 12345, "planes": ["ab"]})
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    for at in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[at // 8] ^= 1 << at % 8
        file.write_bytes(damaged)
        # Another white space in its place says the same.
        assert records.payload(1) is None or json.loads(damaged) == json.loads(content)


def test_a_job_record_that_is_damaged_is_removed_so_that_its_job_runs_again(tmp_path):
    path = tmp_path / "ingest.json"
    write_job_record(path, shape=[1, 2, 3])
    assert read_job_record(path)["shape"] == [1, 2, 3]
    path.write_bytes(path.read_bytes().replace(b"3", b"4", 1))
    with pytest.raises(DamagedError, match="start the same command again"):
        read_job_record(path)
    assert not path.exists()
