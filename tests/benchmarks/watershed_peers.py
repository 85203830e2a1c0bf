"""The watershed against its peers: speed, quality and memory in one run, printed as Markdown.

    python tests/benchmarks/watershed_peers.py [--shape 256] [--seed 0] [--quick]

1. Volumes: packed cells with their truth and a noisy landscape (`tests/phantoms.py`); smaller ones
   of another seed for the next step; and one in which cells fill about a tenth.
2. Tuning: for each contestant, on the smaller volume, the settings of its best F1 at an IoU of 0.5,
   once on the raw landscape and once with smoothing. All take the same threshold.
3. Runs: one after the other, each in a process of its own (`contestants.py`) that is held to its
   number of threads.
4. Tables: the contestants, and what smoothing and persistence do to the F1 of mosaicell.

bioimage-cpp lives in an environment of its own (`make bench` sets up `.venv-peers` from
`peers.txt`); without it, its rows are left out.

Limits: Linux; scikit-image takes most of the time. Other work on the machine disturbs the figures.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path

import numpy as np
from scipy.ndimage import maximum_filter

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "tests")]

from contestants import LONG, PATIENCE, RUNS  # noqa: E402

import mosaicell  # noqa: E402
from mosaicell.evaluate import match  # noqa: E402
from phantoms import ONE, landscape_of, packed_cells  # noqa: E402

PEERS = ROOT / ".venv-peers"
SPACING = 17  # voxels: about 3,600 cells in 256^3
BLUR, NOISE = 2.0, 0.06  # seven local maxima a cell
THRESHOLD = 0.12  # this and all heights below: shares of the deepest value
MIN_SIZE = 100  # voxels, a thirtieth of the mean cell
SPARSE = 0.13  # of the places for cells: a tenth of the volume
TUNING_EDGE = 96
THREADS = 4

SIGMAS = (0.0, 0.7, 1.0, 1.5)  # voxels; 0 is the raw landscape
PERSISTENCES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
GRIDS = {
    "mosaicell": [{"persistence": p * ONE} for p in PERSISTENCES],
    "scikit-image peaks": [{"min_distance": n} for n in (3, 4, 5, 6, 7)],
    "scikit-image h-maxima": [{"h": h * ONE} for h in (0.05, 0.1, 0.2)],
    "bioimage-cpp": [
        *({"level": level * ONE} for level in (0.4, 0.5, 0.6, 0.7)),
        *({"reach": reach / ONE} for reach in (8, 12, 18)),
    ],
}
FIRST, PEER = "scikit-image peaks", "bioimage-cpp"  # the ratios are over these two


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    contestant: str
    threads: int
    settings: dict
    seconds: float
    peak: int  # bytes
    labels: np.ndarray
    truth: np.ndarray


def measure(contestant: str, landscape: Path, settings: list[dict], *, threads=1, runs=1):
    """Run a contestant in a process of its own: its results, and the labels of each setting."""
    if contestant == "mosaicell":
        settings = [one | {"min_size": MIN_SIZE, "threads": threads} for one in settings]
    python = PEERS / "bin/python" if contestant.startswith(PEER) else sys.executable
    limits = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = os.environ | {name: str(threads) for name in limits}
    environment |= {"PYTHONPATH": str(ROOT / "workflow")} if python == sys.executable else {}
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{i}.npy" for i in range(len(settings))]
        job = {
            "contestant": contestant,
            "landscape": str(landscape),
            "settings": [one | {"threshold": THRESHOLD * ONE} for one in settings],
            "labels": paths,
            "runs": runs,
        }
        done = subprocess.run(
            [python, Path(__file__).with_name("contestants.py")],
            input=json.dumps(job),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env=environment,
        )
        return json.loads(done.stdout), [np.load(path) for path in paths]


def volume(folder: Path, edge: int, seed: int, share: float = 0.9) -> tuple[Path, np.ndarray]:
    """A landscape on disk, and the true labels."""
    truth = packed_cells((edge, edge, edge), spacing=SPACING, seed=seed, share=share)
    path = folder / f"{edge}_{seed}_{share}.npy"
    np.save(path, landscape_of(truth, seed=seed, blur=BLUR, noise=NOISE))
    return path, truth.astype(np.min_scalar_type(truth.max()))


def score(labels: np.ndarray, truth: np.ndarray) -> tuple[float, int]:
    """F1 at an IoU of 0.5, and cells; too small ones are dropped from everybody's labels."""
    sizes = np.bincount(labels.ravel().astype(np.int64))
    kept = np.where(sizes >= MIN_SIZE, np.arange(sizes.size), 0)
    kept = kept.astype(np.min_scalar_type(kept.max()))  # small numbers sort faster
    return match(kept[labels], truth)["f1"], np.count_nonzero(kept)


def tune(contestants: list[str], landscape: Path, truth: np.ndarray) -> dict[str, list]:
    """F1 of each contestant with each of its settings."""

    def scores(contestant):
        tried = [one | {"sigma": s} for s, one in product(SIGMAS, GRIDS[contestant])]
        _, labels = measure(contestant, landscape, tried)
        return [(score(one, truth)[0], s) for one, s in zip(labels, tried, strict=True)]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(contestants, pool.map(scores, contestants), strict=True))


def best(scores: list, *, smoothed: bool) -> dict:
    """The settings of the highest F1, the first of equal ones."""
    return max((s for s in scores if (s[1]["sigma"] > 0) == smoothed), key=lambda s: s[0])[1]


def time_one(
    contestant: str, landscape: Path, truth: np.ndarray, *, settings: dict, threads: int
) -> Row:
    """Time a contestant with its tuned settings."""
    [result], [labels] = measure(contestant, landscape, [settings], threads=threads, runs=RUNS)
    return Row(contestant, threads, settings, **result, labels=labels, truth=truth)


def copy_bandwidth(threads: int) -> float:
    """Bytes per second that copying reads and writes together."""
    source = np.ones(2**28, np.uint8)
    target = np.empty_like(source)
    parts = list(zip(np.split(source, threads), np.split(target, threads), strict=True))
    seconds = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(8):
            begin = time.perf_counter()
            list(pool.map(lambda part: np.copyto(part[1], part[0]), parts))
            seconds.append(time.perf_counter() - begin)
    return 2 * source.nbytes / min(seconds)


def said(settings: dict) -> str:
    """Settings in words; heights are shares of the deepest value."""
    shown = {"persistence": 1 / ONE, "h": 1 / ONE, "level": 1 / ONE, "reach": ONE}
    pairs = ((name, value * shown.get(name, 1)) for name, value in settings.items() if value)
    return ", ".join(f"{name} {value:.2g}" for name, value in pairs)


def table(title: str, rows: list[Row], bandwidth: dict[int, float]) -> str:
    """The rows as Markdown; ratios are over the peers among them."""
    seconds = {row.contestant: row.seconds for row in rows if row.threads == 1}
    lines = [
        f"\n**{title}**\n",
        "| | threads | s | Mvoxel/s | x scikit-image | x bioimage-cpp "
        "| F1 | cells | bytes/voxel | % of copying |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        scored = list(pool.map(lambda row: score(row.labels, row.truth), rows))
    for row, (f1, cells) in zip(rows, scored, strict=True):
        voxels = row.truth.size
        ratios = [
            f"{seconds[peer] / row.seconds:.1f}" if peer in seconds else "-"
            for peer in (FIRST, PEER)
        ]
        moved = voxels * (np.uint16().itemsize + np.uint32().itemsize) / row.seconds
        values = [
            f"{row.contestant} ({said(row.settings)})",
            row.threads,
            f"{row.seconds:.3f}",
            f"{voxels / row.seconds / 1e6:.1f}",
            *ratios,
            f"{f1:.3f}",
            cells,
            f"{row.peak / voxels:.1f}",
            f"{100 * moved / bandwidth[row.threads]:.1f}",
        ]
        lines.append("| " + " | ".join(map(str, values)) + " |")
    return "\n".join(lines)


def merging_table(scores: list) -> str:
    """F1 of mosaicell by sigma and persistence, as Markdown."""
    f1 = {(s["sigma"], s["persistence"]): value for value, s in scores}
    lines = [
        "\n**F1 of mosaicell by smoothing and persistence (the smaller volume)**\n",
        "| sigma | " + " | ".join(f"persistence {p}" for p in PERSISTENCES) + " |",
        "|---" * (len(PERSISTENCES) + 1) + "|",
    ]
    for sigma in SIGMAS:
        values = " | ".join(f"{f1[sigma, p * ONE]:.3f}" for p in PERSISTENCES)
        lines.append(f"| {sigma} | {values} |")
    return "\n".join(lines)


def machine(*, has_peer: bool) -> str:
    """The machine, the versions and what is missing, in one paragraph."""
    models = [
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    packages = ("numpy", "numba", "scipy", "scikit-image")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    pins = Path(__file__).with_name("peers.txt").read_text(encoding="utf-8").split()
    pins = [pin for pin in pins if pin.startswith((PEER, "numpy"))]  # nyxus is another's peer
    return (
        f"{time.strftime('%Y-%m-%d')}, {models[0] if models else platform.machine()}, "
        f"{os.cpu_count()} cores. mosaicell {mosaicell.__version__}, Python "
        f"{platform.python_version()}, {versions}"
    ) + (
        f"; in an environment of its own {', '.join(pins).replace('==', ' ')}."
        if has_peer
        else f".\nThe rows of {PEER} are left out, because its environment {PEERS} is missing: "
        "`make bench-watershed` sets it up."
    )


def facts(path: Path, truth: np.ndarray) -> str:
    """What is in a volume, in one phrase."""
    landscape = np.load(path)
    highest = maximum_filter(landscape, 3)
    maxima = np.count_nonzero((landscape == highest) & (landscape > THRESHOLD * ONE))
    cells = truth.max()
    return (
        f"{' x '.join(map(str, truth.shape))} voxels, {cells} cells in {(truth > 0).mean():.0%} "
        f"of them, {maxima / cells:.1f} local maxima a cell"
    )


def method(bandwidth: dict[int, float], crowded: str, sparse: str) -> str:
    """What was measured, as a list."""
    copied = ", ".join(f"{speed / 1e9:.1f} GB/s on {n}" for n, speed in bandwidth.items())
    return f"""
- Volume: {crowded}.
- Sparse volume: {sparse}.
- Timed: from the landscape in memory (uint16) to the labels in memory; seeds, smoothing and
  conversions count. After a warm-up, the best of {RUNS} runs, or of as many as fit into
  {PATIENCE:.0f} s but of two at least, or of one if that takes {LONG:.0f} s.
- Settings: those of each contestant's best F1 on a smaller volume of another seed.
- x: times faster than one thread of the peer in the same table, seeds included. The watersheds
  of both have no threads. "flood" is bioimage-cpp's watershed alone, seeds and heights given.
- F1: at an IoU of 0.5; cells of fewer than {MIN_SIZE} voxels are dropped from everybody's labels.
- Bytes/voxel: the peak of resident memory, less that with the landscape loaded; labels included.
- Copying: the landscape read once and labels (uint32) written once, as a share of what plain
  copies read and write in that time with as many threads ({copied})."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", type=int, default=256, help="edge of the volume in voxels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a volume of 128^3")
    chosen = parser.parse_args()
    edge = 128 if chosen.quick else chosen.shape

    has_peer = (PEERS / "ready").exists()
    contestants = [name for name in GRIDS if has_peer or name != PEER]
    timed = ["mosaicell", *contestants, *[f"{PEER} flood"] * has_peer]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        scores = tune(contestants, *volume(folder, min(edge, TUNING_EDGE), chosen.seed + 1))
        crowded = volume(folder, edge, chosen.seed)
        sparse = volume(folder, edge, chosen.seed, SPARSE)
        bandwidth = {threads: copy_bandwidth(threads) for threads in (1, THREADS)}
        print(f"## The watershed against its peers\n\n{machine(has_peer=has_peer)}")
        print(method(bandwidth, facts(*crowded), facts(*sparse)))
        for title, of, names, smoothed in [
            ("Raw landscape", crowded, timed, False),
            ("With smoothing", crowded, timed, True),
            ("Sparse volume, raw landscape", sparse, timed[:2], False),
            ("Sparse volume, with smoothing", sparse, timed[:2], True),
        ]:
            rows = [
                time_one(
                    name,
                    *of,
                    settings=best(scores[name.removesuffix(" flood")], smoothed=smoothed),
                    threads=THREADS if place == 1 else 1,
                )
                for place, name in enumerate(names)
            ]
            print(table(title, rows, bandwidth), flush=True)
        print(merging_table(scores["mosaicell"]))


if __name__ == "__main__":
    main()
