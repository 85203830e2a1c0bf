"""Hand-over: the real programs take what a run leaves, by the very lines of the docs."""

import json
import re
import subprocess
from importlib.metadata import version
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from movies import dividing_cells, tracked
from running import ROOT

pytestmark = pytest.mark.trackers
pytest.importorskip("laptrack", reason="laptrack is not installed: make test-trackers")
BLOCKS = dict(
    re.findall(
        r"```python\n# (\w+)\n(.*?)```",
        (ROOT / "docs/trackers.md").read_text(encoding="utf-8"),
        re.DOTALL,
    )
)


@pytest.fixture(scope="module")
def movie():
    return dividing_cells()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, movie):
    folder = tmp_path_factory.mktemp("handover")
    tracked(folder, movie)
    return folder


@pytest.fixture
def run_block(folder, monkeypatch):
    """Run the piece of Python that begins with `# name` in the docs; gives its variables."""
    monkeypatch.chdir(folder)

    def run(name):
        variables = {}
        exec(compile(BLOCKS[name], f"docs/trackers.md, {name}", "exec"), variables)
        return variables

    return run


@pytest.fixture
def run_elsewhere(folder, monkeypatch):
    """Run such a piece in the environment of programs that need one of their own."""
    monkeypatch.chdir(folder)

    def run(environment, name, shows, lines=""):
        python = ROOT / f".venv-{environment}/bin/python"
        if not python.exists():
            pytest.skip(f"{python} is not there: make test-trackers")
        code = [
            BLOCKS[name],
            lines,
            "import json",
            f"open('shown', 'w').write(json.dumps({shows}))",
        ]
        done = subprocess.run(
            [python, "-c", "\n".join(code)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads((folder / "shown").read_text(encoding="utf-8"))

    return run


def true_links(movie):
    """Pairs of labels that are one cell, or mother and daughter, in two frames in a row."""
    label_of = {
        (frame, track): movie.labels[frame][movie.tracks[frame] == track][0]
        for frame in range(len(movie.labels))
        for track in np.unique(movie.tracks[frame])
        if track
    }
    parent = {track: parent for track, _, _, parent in movie.lines}
    links = set()
    for (frame, track), label in label_of.items():
        before = label_of.get((frame - 1, track), label_of.get((frame - 1, parent[track])))
        if before:
            links.add((int(before), int(label)))
    return links


def test_our_own_tracks_are_the_true_ones(run_block, movie):
    found = run_block("tracks")
    assert len(found["divisions"]) == movie.divisions == 4
    tracks = found["tracks"]
    linked = tracks[tracks.previous_label > 0]
    assert set(zip(linked.previous_label, linked.label, strict=True)) == true_links(movie)
    assert len(found["cells"]) == movie.labels.max()


def test_laptrack_takes_the_table(run_block, movie):
    found = run_block("laptrack")
    assert found["divisions"].parent_track_id.nunique() == movie.divisions
    assert found["tracks"].track_id.nunique() == len(movie.lines)
    assert len(found["tracks"]) == movie.labels.max()


def test_btrack_takes_the_table(run_elsewhere, folder, movie):
    (folder / "cell_config.json").write_text(json.dumps(btrack_config()), encoding="utf-8")
    tracks = run_elsewhere("btrack", "btrack", "[t.properties['cell'].tolist() for t in tracks]")
    links = {link for track in tracks for link in pairwise(map(int, track))}
    # Told nothing of divisions, it follows one of the daughters.
    assert links < true_links(movie)
    assert len(true_links(movie)) - len(links) == movie.divisions


def test_ultrack_takes_the_labels(run_elsewhere, movie):
    rows, graph = run_elsewhere("ultrack", "ultrack", "[tracks.to_numpy().tolist(), graph]")
    assert len(rows) == movie.labels.max()
    assert len(set(graph.values())) == movie.divisions
    # A track of ultrack lies in one of the movie's, and the other way round.
    pairs = {
        (int(track), int(movie.tracks[int(t), round(z), round(y), round(x)]))
        for track, t, z, y, x, *_ in rows
    }
    assert len(pairs) == len(movie.lines)


def test_napari_reads_points_and_takes_tracks(run_elsewhere, movie):
    shows = "[points.data.tolist(), points.features['label'].tolist(), layer.data.tolist(), graph]"
    lines = "graph = {int(k): [int(p) for p in v] for k, v in layer.graph.items()}"
    points, labels, tracks, graph = run_elsewhere("ultrack", "napari", shows, lines)
    cells = pd.read_parquet("results/movie/cells.parquet")
    position = ["frame", *(f"centroid_{axis}_um" for axis in "zyx")]
    np.testing.assert_allclose(points, cells[position])
    np.testing.assert_array_equal(labels, cells.label)
    assert len(tracks) == len(cells)
    assert len(graph) == 2 * movie.divisions


def btrack_config():
    """Cells that move by about 1 um a frame in any direction."""
    step = np.eye(6)
    step[:3, 3:] = np.eye(3)
    return {
        "TrackerConfig": {
            "MotionModel": {
                "name": "wandering",
                "dt": 1.0,
                "measurements": 3,
                "states": 6,
                "accuracy": 7.5,
                "prob_not_assign": 0.001,
                "max_lost": 1,
                "A": {"matrix": step.ravel().tolist()},
                "H": {"matrix": np.eye(3, 6).ravel().tolist()},
                "P": {"sigma": 10.0, "matrix": np.eye(6).ravel().tolist()},
                "G": {"sigma": 1.0, "matrix": [0.5, 0.5, 0.5, 1, 1, 1]},
                "R": {"sigma": 1.0, "matrix": np.eye(3).ravel().tolist()},
            }
        }
    }


# trackastra leaves its own files open
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_trackastra_takes_masks_and_images(run_block, folder, movie):
    import torch
    import yaml
    from trackastra.data import get_features
    from trackastra.model import TrackingTransformer

    torch.manual_seed(0)
    model = TrackingTransformer(
        coord_dim=3, feat_dim=12, d_model=16, nhead=2, num_encoder_layers=1, num_decoder_layers=1,
        pos_embed_per_dim=4, window=3,
    )  # fmt: skip
    model.save(folder / "model")
    (folder / "model/train_config.yaml").write_text(yaml.safe_dump({"features": "wrfeat"}))
    found = run_block("trackastra")
    assert found["tracked"].shape == movie.labels.shape
    features = get_features(found["masks"], found["images"], ndim=3)
    cells = pd.read_parquet("results/movie/cells.parquet")
    for frame, feature in enumerate(features):
        of_frame = cells[cells.frame == frame]
        np.testing.assert_array_equal(feature.labels, of_frame.label)
        np.testing.assert_allclose(
            feature.coords, of_frame[[f"centroid_{a}" for a in "zyx"]], rtol=1e-5
        )


@pytest.mark.parametrize("path", ["export/geff/cells.geff", "tracks/geff/tracks.geff"])
def test_geff_validates_the_graph(folder, path):
    import geff
    from geff.core_io import read_to_memory
    from geff.validate.data import ValidationConfig, validate_data

    path = folder / "results/movie" / path
    geff.validate_structure(path)
    content = read_to_memory(path)
    validate_data(content, ValidationConfig(graph=True, tracklet=True, lineage=True))
    cells = pd.read_parquet(folder / "results/movie/cells.parquet")
    np.testing.assert_array_equal(content["node_ids"], cells.label)
    sources = {"t": "frame", "y": "centroid_y_um", "volume_um3": "volume_um3"}
    for name, source in sources.items():
        np.testing.assert_array_equal(content["node_props"][name]["values"], cells[source])
    (related,) = content["metadata"].related_objects
    assert (path / related.path / "0/zarr.json").is_file()


def test_geff_reads_tracks_as_a_graph(run_block, movie):
    graph = run_block("geff")["graph"]
    assert set(graph.edges) == true_links(movie)


def test_the_cell_tracking_challenge_scores_tracks_as_perfect(run_block, movie):
    found = run_block("ctc")
    assert found["scores"]["Valid"] == 1
    for measure in ("TRA", "DET", "SEG", "LNK"):
        assert found["scores"][measure] == pytest.approx(1), measure
    assert found["data"].graph.number_of_edges() == len(true_links(movie))


def test_the_cell_tracking_challenge_sees_what_is_wrong(folder, tmp_path):
    """Without divisions tracks are worse than with them, so perfect scores mean something."""
    from ctc_metrics.scripts.evaluate import evaluate_sequence

    from mosaicell.columns import TRACKS
    from mosaicell.exports.ctc import write_tracks
    from mosaicell.store import open_array
    from mosaicell.table import Table, write_table
    from mosaicell.track import COLUMNS, track

    results = folder / "results/movie"
    cells = Table(results / "cells.parquet")
    found = track(cells.read(COLUMNS), max_distance=5)
    write_table(
        tmp_path / "tracks.parquet",
        [found],
        sample="movie",
        columns=TRACKS,
        metadata=cells.metadata,
    )
    labels = open_array(results / "movie.ome.zarr/labels/cells/0")
    write_tracks(tmp_path, tracks=Table(tmp_path / "tracks.parquet"), labels=labels)
    truth = str(folder / "truth/01_GT")
    scores = evaluate_sequence(str(tmp_path), truth, metrics=["Valid", "TRA", "DET"], threads=1)
    assert scores["Valid"] == scores["DET"] == 1
    assert scores["TRA"] < 1


def test_docs_say_the_versions_that_are_tested():
    text = (ROOT / "docs/trackers.md").read_text(encoding="utf-8")
    for name in ("laptrack", "trackastra", "geff", "py-ctcmetrics", "traccuracy"):
        assert f" {version(name)}" in text, name
    pins = (ROOT / "tests/trackers").glob("*.txt")
    lines = [line for path in pins for line in path.read_text(encoding="utf-8").splitlines()]
    for name in ("btrack", "ultrack", "napari"):
        (pin,) = [line.split("==")[1] for line in lines if line.startswith(f"{name}==")]
        assert f"| {pin} |" in text, name
