"""Tables in Parquet: what the columns mean, groups of rows, and who can read them."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from mosaicell.columns import KEYS, Column
from mosaicell.table import ROWS_PER_GROUP, write_table

COLUMNS = [Column("label", "", "its number"), Column("volume_um3", "um^3", "how large it is")]
N = 2 * ROWS_PER_GROUP + 17


def rows_of(n):
    volume = np.random.default_rng(0).random(n)
    volume[::1000] = np.nan
    return {"frame": np.arange(n) // 1000, "label": np.arange(1, n + 1), "volume_um3": volume}


def written(path, parts):
    write_table(path, parts, sample="a", columns=COLUMNS, metadata={"version": "1"})
    return path


def cut(rows, *at):
    edges = [0, *at, len(rows["label"])]
    for start, stop in pairwise(edges):
        yield {name: column[start:stop] for name, column in rows.items()}


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return written(tmp_path_factory.mktemp("large") / "cells.parquet", [rows_of(N)])


@pytest.mark.parametrize(
    "at", [(0,), (5, 5, 70_000), (ROWS_PER_GROUP,), (ROWS_PER_GROUP + 1, 2 * ROWS_PER_GROUP)]
)
def test_a_file_does_not_depend_on_the_parts_in_which_rows_came(tmp_path, large, at):
    path = written(tmp_path / "cells.parquet", cut(rows_of(N), *at))
    assert path.read_bytes() == large.read_bytes()


@pytest.mark.parametrize("n", [0, 1, ROWS_PER_GROUP, ROWS_PER_GROUP + 1])
def test_rows_leave_in_full_groups_and_a_rest(tmp_path, n):
    path = written(tmp_path / "cells.parquet", cut(rows_of(n), n // 3))
    file = pq.ParquetFile(path)
    groups = [file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)]
    full = max(0, (n - 1) // ROWS_PER_GROUP)
    assert groups == [ROWS_PER_GROUP] * full + [n - full * ROWS_PER_GROUP]
    pd.testing.assert_frame_equal(
        pd.read_parquet(path, columns=["frame", "label", "volume_um3"]), pd.DataFrame(rows_of(n))
    )


def test_fields_say_their_units_and_what_they_mean(large):
    schema = pq.read_schema(large)
    assert schema.metadata[b"mosaicell.version"] == b"1"
    for column in [*KEYS, *COLUMNS]:
        metadata = schema.field(column.name).metadata
        said = {b"unit": column.unit.encode(), b"means": column.means.encode()}
        assert {key: metadata[key] for key in said} == said


def test_a_failed_table_leaves_the_one_before(tmp_path):
    path = written(tmp_path / "cells.parquet", [rows_of(5)])
    before = path.read_bytes()

    def parts():
        yield rows_of(3)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        written(path, parts())
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["cells.parquet"]


def test_pyarrow_reads_it_group_by_group(large):
    file = pq.ParquetFile(large)
    counts = [len(file.read_row_group(k, columns=["label"])) for k in range(file.num_row_groups)]
    assert counts == [ROWS_PER_GROUP, ROWS_PER_GROUP, 17]


def test_polars_reads_it_lazily(large):
    polars = pytest.importorskip("polars")
    column = polars.col("volume_um3")
    found = polars.scan_parquet(large).filter(column.is_null()).select("label", "volume_um3")
    assert found.collect()["label"].to_list() == list(range(1, N + 1, 1000))


def test_duckdb_reads_it_without_loading_it(large):
    duckdb = pytest.importorskip("duckdb")
    connection = duckdb.connect()
    counted = connection.sql(
        f"select count(*), count(volume_um3), max(label) from '{large}' where label > {N - 17}"
    )
    assert counted.fetchall() == [(17, 17, N)]
    groups = connection.sql(f"select count(distinct row_group_id) from parquet_metadata('{large}')")
    assert groups.fetchall() == [(3,)]
