"""Measuring cells against scikit-image and nyxus, on the columns that both have, as Markdown.

    python tests/benchmarks/measure_peers.py [--shape 256] [--seed 0]

1. Volume: packed cells (`tests/phantoms.py`) and an image of noise, in memory.
2. Each contestant measures all cells on one thread, once to compile and then up to `RUNS` times;
   the best time counts. scikit-image runs once, as it takes minutes.
3. Columns that both have are compared, so that equal work is timed.

nyxus lives in an environment of its own (`make bench` sets up `.venv-peers` from `peers.txt`) and
reads 3D volumes from files alone, here uncompressed NIfTI, reading included; without it, its rows
are left out. Its surface, hull and axes do not agree with those of the others on such cells, so
only its intensities are compared.

Limits: times are of the processor, so that other work on the machine disturbs them less.
"""

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"
ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "tests")]

from skimage.measure import regionprops_table  # noqa: E402

import mosaicell  # noqa: E402
from mosaicell.brightness import brightness  # noqa: E402
from mosaicell.hull import hull_voxels  # noqa: E402
from mosaicell.moments import covariance, position_sums, principal_axes  # noqa: E402
from mosaicell.surface import count_crossings  # noqa: E402
from phantoms import packed_cells  # noqa: E402

PEERS = ROOT / ".venv-peers"
SPACING = 17  # voxels: about 3,600 cells in 256^3
SIZE = np.array([2.0, 0.5, 0.5])  # um
RUNS = 3
INTENSITIES = {f"intensity_{s}-0": f"intensity_{s}_0" for s in ("mean", "std", "min", "max")}
INTENSITIES |= {"intensity_median-0": "intensity_median_0"}
INTENSITIES |= {
    f"centroid_weighted-{i}-0": f"centroid_weighted_{a}_um_0" for i, a in enumerate("zyx")
}
SHARED = INTENSITIES | {
    "num_pixels": "num_voxels",
    "area": "volume_um3",
    "equivalent_diameter_area": "equivalent_diameter_um",
    "axis_major_length": "axis_major_um",
    "extent": "extent",
    "euler_number": "euler_number",
    **{f"bbox-{i}": f"bbox_min_{a}" for i, a in enumerate("zyx")},
    **{f"centroid-{i}": f"centroid_{a}_um" for i, a in enumerate("zyx")},
    **{f"inertia_tensor-{i}-{i}": f"inertia_tensor_{a}{a}_um2" for i, a in enumerate("zyx")},
}
HULL = {"solidity": "solidity", "area_convex": "volume_convex_um3"}
NYXUS = {
    "3MEAN": "intensity_mean_0",
    "3STANDARD_DEVIATION_BIASED": "intensity_std_0",
    "3MIN": "intensity_min_0",
    "3MAX": "intensity_max_0",
    "3MEDIAN": "intensity_median_0",
}
# Run by the python of `.venv-peers`.
NYXUS_CODE = """
import json, sys, time
import nyxus
image, labels, features = sys.argv[1], sys.argv[2], sys.argv[3].split()
measurer = nyxus.Nyxus3D(features, n_feature_calc_threads=1)
seconds = []
for _ in range(3):
    begin = time.process_time()
    table = measurer.featurize_files([image], [labels], False)
    seconds.append(time.process_time() - begin)
columns = {name: table[name].tolist() for name in ("ROI_label", *features)}
print(json.dumps({"seconds": min(seconds), "columns": columns}))
"""


def best(call, runs=RUNS):
    """What a call returns, and the shortest of its times in seconds of the processor."""
    seconds = []
    for _ in range(runs):
        begin = time.process_time()
        result = call()
        seconds.append(time.process_time() - begin)
    return result, min(seconds)


def shared_columns(labels, image, ids, boxes, *, hull):
    """The library's passes for the columns that scikit-image has too, and no others."""
    crop = {"ids": ids, "boxes": boxes}
    moments = covariance(position_sums(labels, **crop), SIZE)
    principal_axes(moments, is_2d=False)
    count_crossings(labels, **crop)
    if hull:
        hull_voxels(labels, **crop)
    brightness(image[np.newaxis], labels, background=np.full((ids.size, 1), np.nan), **crop)


def scikit_image(labels, image, columns):
    """Its table of these columns."""
    properties = {name.partition("-")[0] for name in columns}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return regionprops_table(
            labels, image[..., np.newaxis], spacing=tuple(SIZE), properties=("label", *properties)
        )


def compare(ours, theirs, columns, rtol):
    """Stop if columns differ: then the times would be of different things."""
    for name, own in columns.items():
        np.testing.assert_allclose(theirs[name], ours[own], rtol=rtol, atol=1e-6, err_msg=name)


def write_nifti(path: Path, volume: np.ndarray) -> None:
    """An uncompressed NIfTI-1 file of uint16."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *volume.shape[::-1], 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 512, 16)
    struct.pack_into("<8f", header, 76, *[1.0] * 8)
    struct.pack_into("<2f", header, 108, 352, 1)
    header[344:348] = b"n+1\0"
    path.write_bytes(bytes(header) + volume.astype("<u2").tobytes())


def nyxus(labels, image):
    """Its table and time; None without its environment."""
    python = PEERS / "bin/python"
    if not python.exists():
        return None
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("image.nii", "labels.nii")]
        for path, volume in zip(paths, (image, labels), strict=True):
            write_nifti(path, volume)
        done = subprocess.run(
            [python, "-c", NYXUS_CODE, *map(str, paths), " ".join(NYXUS)],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, default=256, help="edge of the volume in voxels")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    shape = (chosen.shape,) * 3
    labels = packed_cells(shape, spacing=SPACING, seed=chosen.seed)
    image = np.random.default_rng(chosen.seed).integers(0, 60000, shape).astype(np.uint16)
    measure = {"voxel_size": tuple(SIZE)}
    mosaicell.measure(labels[:40, :40, :40], image[:40, :40, :40], **measure)
    table, of_all = best(lambda: mosaicell.measure(labels, image, **measure))
    n = len(table)
    ids = table["label"].to_numpy()
    boxes = table[[f"bbox_{end}_{a}" for end in ("min", "max") for a in "zyx"]].to_numpy()
    rows = [(f"mosaicell, all {table.shape[1]} columns", "", of_all, "")]

    def add(peer, what, count, own, seconds):
        rows.append((f"mosaicell, {what}", count, own, ""))
        rows.append((f"{peer}, {what}", count, seconds, f"{seconds / own:.0f}"))

    for columns, hull in ((SHARED, False), (SHARED | HULL, True)):
        _, own = best(lambda hull=hull: shared_columns(labels, image, ids, boxes, hull=hull))
        theirs, seconds = best(lambda columns=columns: scikit_image(labels, image, columns), 1)
        compare(table, theirs, columns, 1e-9)
        what = "columns of both" if hull else "columns of both but convex hulls"
        add("scikit-image", what, len(columns), own, seconds)
    found = nyxus(labels, image)
    if found is not None:
        compare(table, {k: np.array(v) for k, v in found["columns"].items()}, NYXUS, 1e-6)
        crop = {"ids": ids, "boxes": boxes, "background": np.full((n, 1), np.nan)}
        _, own = best(lambda: brightness(image[np.newaxis], labels, **crop))
        add("nyxus", "intensities of both", len(NYXUS), own, found["seconds"])
    print(f"{n:,} cells in {' x '.join(map(str, shape))} voxels, one thread each\n")
    print("| | columns | s | cells/s | times slower |\n|---|---|---|---|---|")
    for name, count, seconds, ratio in rows:
        print(f"| {name} | {count} | {seconds:.3f} | {n / seconds:,.0f} | {ratio} |")
    if found is None:
        print("\nnyxus is left out: `make .venv-peers/ready` sets it up.")


if __name__ == "__main__":
    main()
