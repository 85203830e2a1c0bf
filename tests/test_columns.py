"""The data dictionary: one source for the documentation, the files and the order of columns."""

import re

import pandas as pd

import mosaicell
from mosaicell.columns import FRAMES, KEYS, NEIGHBOURS, TRACKS, cell_columns, markdown
from mosaicell.table import write_table
from phantoms import packed_cells
from running import ROOT


def test_the_documentation_is_the_dictionary():
    text = (ROOT / "docs/columns.md").read_text(encoding="utf-8")
    assert text == markdown(), "make docs/columns.md"


def test_every_column_has_one_definition():
    measured = cell_columns(range(3), texture=True, plugins={"a": ["b"]})
    for columns in (measured, NEIGHBOURS, FRAMES, TRACKS):
        names = [column.name for column in [*KEYS, *columns]]
        assert len(set(names)) == len(names)
        assert all(column.means for column in columns)


def test_a_name_says_its_unit():
    for column in [*cell_columns(["C"], texture=True), *NEIGHBOURS]:
        name = column.name.removesuffix("_C")
        assert column.unit.startswith("um") == ("_um" in name), column
        assert not column.unit.startswith("um") or name.endswith(column.unit.replace("^", ""))


def test_what_is_measured_are_the_columns_of_the_dictionary_in_their_order():
    labels = packed_cells((16, 16, 16), spacing=8, seed=0)
    table = mosaicell.measure(labels, labels, texture_levels=8)
    assert list(table) == [column.name for column in cell_columns([0], texture=True)]


def test_the_question_of_the_readme_is_answered(tmp_path, monkeypatch, capsys):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n([^`]*num_neighbours[^`]*)```", text)
    monkeypatch.chdir(tmp_path)
    for sample, seed in (("gonuclear", 0), ("lightsheet", 1)):
        labels = packed_cells((16, 24, 24), spacing=9, seed=seed, share=0.4)
        table = mosaicell.measure(labels)
        path = tmp_path / "results/demo" / sample / "cells.parquet"
        write_table(
            path, [table.assign(frame=0)], sample=sample, columns=cell_columns([]), metadata={}
        )
    exec(example)
    printed = capsys.readouterr().out
    for sample in ("gonuclear", "lightsheet"):
        cells = pd.read_parquet(tmp_path / "results/demo" / sample / "cells.parquet")
        touching = int((cells["num_neighbours"] > 0).sum())
        assert 0 < touching < len(cells)
        assert re.search(rf"{sample} +0 +{touching}\n", printed)
