"""Stitching at scale: tiles of up to 10^8 cells without a voxel, through the real stages.

    python tests/benchmarks/stitch_simulation.py --cells 1e5 1e6 [--processes 4] [--exits 4]

1. Tiles of a volume that is made up (see `stitch_lattice.py`), in processes that share them as the
   jobs of `stitch_tiles` do: `contract_linked`, files, records. What it takes to make up the tiles
   is not counted.
2. `stitch_volume`, in one process with as many threads, whose memory is measured.
3. The result is compared with what was made up: the number of cells, and in some tiles, of which
   neighbours are among them, each fragment's cell, each cell's size, box and peak, and the order
   of the ids. Of small volumes all tiles are compared.

Limits: Linux. What segmenting writes (fragments, graphs, rims) is left out, and so is reading it.
"""

import argparse
import platform
import resource
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "workflow"))

from stitch_lattice import CELLS_PER_TILE, EDGE, PERSISTENCE, Lattice, linear, make_tile  # noqa: E402

from mosaicell.geometry import Grid, Triple  # noqa: E402
from mosaicell.jobs.stitch import stitch_volume  # noqa: E402
from mosaicell.jobs.tiles import fill_tiles, tile_file  # noqa: E402
from mosaicell.records import Records  # noqa: E402
from mosaicell.stitch import TileCells, contract_linked  # noqa: E402
from mosaicell.store import read_arrays, write_arrays  # noqa: E402

WHOLE = (24, 50, 50)  # tiles of 10^8 cells
MIN_SIZE = 4000  # voxels; drops about one cell in twenty
ALL_COMPARED = 200  # tiles; of more, so many


def fill(lattice: Lattice, folder: Path, job: int, jobs: int) -> tuple[int, float]:
    """A job's share of the tiles, as the stage does it; the fragments, and the seconds."""
    fragments, made_up = 0, 0.0
    begin = time.perf_counter()

    def compute(tile: int) -> None:
        nonlocal fragments, made_up
        start = time.perf_counter()
        graph, columns = make_tile(lattice, tile)
        fragments += graph.end.size
        made_up += time.perf_counter() - start
        basins = contract_linked(
            tile,
            graph,
            columns["link"][graph.is_exit],
            columns["is_known"],
            grid=lattice.grid,
            persistence=PERSISTENCE,
        )
        write_arrays(tile_file(folder, tile, "basins"), basins.arrays())

    fill_tiles(
        compute,
        folder,
        ("basins",),
        tiles=lattice.grid.share(job, jobs),
        records=Records(folder / "records", "a"),
        what=f"tiles {job + 1}/{jobs}",
        threads=1,
    )
    return fragments, time.perf_counter() - begin - made_up


def join(grid: Grid, folder: Path, threads: int) -> tuple[int, float, float]:
    """All tiles, as the stage does it; the cells, the seconds, the memory (GB) at its peak."""
    begin = time.perf_counter()
    stitched = stitch_volume(
        folder,
        grid=grid,
        persistence=PERSISTENCE,
        min_size=MIN_SIZE,
        min_peak=-np.inf,
        min_relative_peak=0.01,  # drops none, but all heights are looked at
        contracted=Records(folder / "records", "a"),
        what="stitch",
        threads=threads,
    )
    seconds = time.perf_counter() - begin
    return stitched.n_cells, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def compare(lattice: Lattice, folder: Path, n_cells: int) -> int:
    """Compare the result with the lattice; how many tiles were looked at."""
    grid = lattice.grid
    expected = sum(int((sizes >= MIN_SIZE).sum()) for sizes in lattice.sizes())
    check(n_cells == expected, f"there are {n_cells} cells instead of {expected}")
    tiles = range(len(grid))
    if len(grid) > ALL_COMPARED:
        block = np.indices((3, 3, 3)).reshape(3, -1) + lattice.counts // 2 - 1
        spread = np.linspace(0, len(grid) - 1, ALL_COMPARED).astype(int)
        tiles = sorted({*lattice.number(block).tolist(), *spread.tolist()})
    id_of: dict[int, int] = {}
    owned = []
    for tile in tiles:
        cells = TileCells(**read_arrays(tile_file(folder, tile, "cells")))
        graph, columns = make_tile(lattice, tile)
        has_voxels = graph.size > 0
        ids, cell = cells.ids[1:][has_voxels], columns["cell"][has_voxels]
        for name, number in zip(cell.tolist(), ids.tolist(), strict=True):
            check(id_of.setdefault(name, number) == number, f"cell {name} has two ids")
        compare_owned(lattice, tile, cells, np.unique(cell), id_of)
        owned.append((cells.peak, cells.label.astype(np.int64)))
    kept = [number for number in id_of.values() if number]
    check(len(set(kept)) == len(kept), "two cells have one id")
    peak, label = (np.concatenate(column) for column in zip(*owned, strict=True))
    label = label[np.argsort(peak)]
    check((np.diff(label) > 0).all(), "ids are not in the order of peaks")
    if len(tiles) == len(grid):
        check(np.array_equal(label, np.arange(1, n_cells + 1)), "ids are not 1..N")
    return len(tiles)


def compare_owned(lattice, tile, cells, names, id_of) -> None:
    """The cells of which a tile holds the peak: those that are large enough, and no others."""
    cell = np.array(np.unravel_index(names, lattice.shape))
    start, stop = lattice.box(cell)
    size, ids = (stop - start).prod(0), np.array([id_of[name] for name in names.tolist()])
    check(np.array_equal(ids > 0, size >= MIN_SIZE), f"wrong cells were dropped in tile {tile}")
    peak = lattice.summit(cell, lattice.main(cell))
    is_own = (peak // EDGE == lattice.position(tile)).all(0) & (ids > 0)
    own = np.flatnonzero(is_own)[np.argsort(ids[is_own])]
    expected = ids[own], linear(lattice, peak[:, own]), size[own], np.r_[start, stop].T[own]
    found = cells.label, cells.peak, cells.size, cells.bbox
    for what, a, b in zip(("labels", "peaks", "sizes", "boxes"), found, expected, strict=True):
        check(np.array_equal(a, b), f"{what} of tile {tile} are wrong")


def check(is_right: bool, otherwise: str) -> None:
    if not is_right:
        raise SystemExit(f"The result is wrong: {otherwise}.")


def counts_of(cells: float) -> Triple:
    """Tiles along each axis for about so many cells."""
    scale = (cells / CELLS_PER_TILE / np.prod(WHOLE)) ** (1 / 3)
    return tuple(max(1, round(n * scale)) for n in WHOLE)


def simulate(lattice: Lattice, folder: Path, processes: int) -> str:
    """One row of the table."""
    n_tiles = len(lattice.grid)
    jobs = range(4 * processes if n_tiles > 100 else processes)
    context = get_context("spawn")
    with ProcessPoolExecutor(processes, context) as pool:
        shares = [pool.submit(fill, lattice, folder, job, len(jobs)) for job in jobs]
        done = [share.result() for share in shares]
    fragments = sum(n for n, _ in done)
    tile_seconds = sum(seconds for _, seconds in done) / processes
    with ProcessPoolExecutor(1, context) as pool:  # one process of its own, to measure its memory
        n_cells, seconds, memory = pool.submit(join, lattice.grid, folder, processes).result()
    compared = compare(lattice, folder, n_cells)
    size = {
        kind: sum(path.stat().st_size for path in folder.glob(f"*.{kind}")) / n_cells
        for kind in ("basins", "cells")
    }
    return (
        f"| {n_cells:,} | {n_tiles:,} | {fragments:,} | {tile_seconds:.1f} | {seconds:.1f} "
        f"| {memory:.2f} | {size['basins']:.0f} | {size['cells']:.0f} | {compared:,} |"
    )


HEAD = """\
| cells | tiles | fragments | tiles (s) | stitch (s) | memory (GB) | .basins (B/cell) | \
.cells (B/cell) | tiles compared |
|---|---|---|---|---|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", nargs="+", type=float, default=[1e5, 1e6, 1e7, 1e8])
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument(
        "--exits",
        type=int,
        default=4,
        help="most fragments of a basin in a tile that does not hold its peak",
    )
    parser.add_argument("--folder", type=Path, help="where files are written and removed again")
    chosen = parser.parse_args()
    machine = f"{processor()}; {chosen.processes} processes, then as many threads"
    print(f"{machine}; up to {chosen.exits} exits\n\n{HEAD}", flush=True)
    for cells in chosen.cells:
        folder = Path(tempfile.mkdtemp(prefix="stitch-", dir=chosen.folder))
        try:
            lattice = Lattice(counts_of(cells), chosen.exits)
            print(simulate(lattice, folder, chosen.processes), flush=True)
        finally:
            shutil.rmtree(folder)


def processor() -> str:
    """The name of the machine's processor (Linux)."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {len(names)} cores"


if __name__ == "__main__":
    main()
