"""Products say what they were made from, logs and reports also by what code and where."""

import json
import subprocess

import pyarrow.parquet as pq
import pytest
import zarr

from mosaicell import __version__, provenance
from running import ROOT, configured, run, write_hills


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder in which a sample was done to the end, and the configuration."""
    folder = tmp_path_factory.mktemp("provenance")
    row = write_hills(folder, (16, 24, 32)) | {"truth": folder / "truth.tif"}
    (folder / "truth.tif").write_bytes((folder / "image.tif").read_bytes())
    config = configured(folder, row, tile=[16, 24, 32])
    run(folder, config)
    return folder, config


@pytest.mark.slow
def test_table_and_labels_say_the_same_of_their_origin(finished):
    store = zarr.open_group(finished[0] / "results/a/a.ome.zarr", mode="r")
    metadata = pq.read_schema(finished[0] / "results/a/cells.parquet").metadata
    said = {
        key.decode().removeprefix("mosaicell."): value.decode()
        for key, value in metadata.items()
        if key.startswith(b"mosaicell.")
    }
    assert store["labels/cells"].attrs["mosaicell"] == said
    assert {"version", "versions", "config", "model", "input", "landscape"} <= set(said)
    assert said["version"] == __version__
    assert {"numba", "numpy"} <= set(json.loads(said["versions"]))
    assert store.attrs["mosaicell"] == {"version": __version__, "input": said["input"]}


@pytest.mark.slow
def test_report_and_logs_name_the_code_and_the_report_all_hashes(finished):
    results = finished[0] / "results"
    page = (results / "a/report.html").read_text()
    summary = json.loads((results / "work/a/ingest.json").read_text())
    commit = provenance.code_state() or "none: not a git checkout"
    for told in (commit[:40], summary["content"], summary["landscape"]["content"]):
        assert told in page
    for log in (results / "work/a/logs").iterdir():
        assert log.read_text().startswith(f"mosaicell {__version__} (")


@pytest.mark.slow
def test_the_report_of_snakemake_has_captions_and_asks_for_nothing_on_the_network(finished):
    folder, config = finished
    run(folder, config, f"--report={folder / 'all.html'}")
    page = (folder / "all.html").read_text()
    assert "What was found in sample a" in page
    assert "How well the cells of sample a agree" in page
    assert "This run worked with threshold 0.25" in page
    assert 'src="http' not in page
    assert '<link href="http' not in page


def test_every_rule_has_a_log():
    for rules in sorted((ROOT / "workflow").glob("*.smk")):
        for rule in rules.read_text(encoding="utf-8").split("\nrule ")[1:]:
            assert "    log:\n" in rule, f"{rules.name}: {rule.split(':')[0]}"


def test_the_state_of_the_code_is_its_commit_and_whether_it_was_changed(tmp_path, monkeypatch):
    def state():
        provenance.code_state.cache_clear()
        return provenance.code_state()

    def git(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        called = ["git", "-C", str(tmp_path), *who, *arguments]
        return subprocess.run(called, check=True, capture_output=True, text=True).stdout.strip()

    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert state() == ""
    git("init")
    (tmp_path / "Snakefile").write_text("rule all:\n")
    assert state() == ""  # a checkout of something else, in which this is installed
    git("add", "Snakefile")
    git("commit", "--message", "first")
    commit = git("rev-parse", "HEAD")
    assert state() == commit
    (tmp_path / "README.md").write_text("not code")
    assert state() == commit
    (tmp_path / "Snakefile").write_text("rule other:\n")
    assert state() == f"{commit} and uncommitted changes"
    provenance.code_state.cache_clear()
