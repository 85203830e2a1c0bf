"""How fast a GPU cuts a landscape into fragments, and that they are those of the CPU.

    python tests/benchmarks/segment_gpu.py [--shape 256]

The landscape is timed from where it is: on the GPU, as after a prediction, and in memory, with the
way to the GPU. The CPU works on one thread. Needs a GPU.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "tests")]

from mosaicell.geometry import Box  # noqa: E402
from mosaicell.segment import segment  # noqa: E402
from mosaicell.segment_tensor import segment_tensor  # noqa: E402
from phantoms import ONE, landscape_of, packed_cells  # noqa: E402

RUNS = 5


def best_of_runs(run: Callable[[], object]) -> float:
    """Seconds of the fastest run, after one to warm up."""
    run()
    seconds = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, default=256, help="edge of the volume in voxels")
    edge = parser.parse_args().shape
    if not torch.cuda.is_available():
        print("No GPU here: nothing to measure.")
        return
    volume = (edge, edge, edge)
    cells = packed_cells(volume, spacing=17, seed=1)
    landscape = landscape_of(cells, seed=1, blur=1.5, noise=0.06)
    how = {"core": Box((0, 0, 0), volume), "volume": volume, "threshold": 0.12 * ONE}
    on_gpu = torch.from_numpy(landscape).cuda()

    fragments, graph = segment(landscape, **how)
    found, found_graph = segment_tensor(on_gpu, **how)
    np.testing.assert_array_equal(found, fragments)
    for name, expected in graph.arrays().items():
        np.testing.assert_array_equal(found_graph.arrays()[name], expected, err_msg=name)

    rows = {
        "CPU, one thread": lambda: segment(landscape, **how),
        "GPU, landscape in memory": lambda: segment_tensor(
            torch.from_numpy(landscape).cuda(), **how
        ),
        "GPU, landscape on it": lambda: segment_tensor(on_gpu, **how),
    }
    print(f"{torch.cuda.get_device_name()}, {edge}^3 voxels, {cells.max()} cells; results equal\n")
    print("| | seconds | Mvoxel/s |")
    print("|---|---|---|")
    for name, run in rows.items():
        seconds = best_of_runs(run)
        print(f"| {name} | {seconds:.3f} | {landscape.size / seconds / 1e6:.0f} |")


if __name__ == "__main__":
    main()
