"""Runs the real workflow in a folder of its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import tifffile
import yaml
import zarr

from mosaicell.omezarr import image_attributes, label_attributes

ROOT = Path(__file__).parents[1]
HILLS = {"threshold": 0.25, "persistence": 0.08, "min_size": 5}  # for `write_hills`


def write_sheet(path: Path, rows: list[dict]) -> Path:
    """A sample sheet with the columns that occur in the rows."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["\t".join(columns)]
    lines += ["\t".join(str(row.get(column, "")) for column in columns) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_hills(folder: Path, shape: tuple[int, int, int], seed: int = 3) -> dict:
    """A row of the sample sheet: a noisy landscape as float32 TIFF, and an image beside it."""
    noise = np.random.default_rng(seed).random(shape)
    smooth = sum(np.roll(noise, s, axis) for axis in range(3) for s in range(-2, 3))
    landscape = ((smooth - smooth.min()) / np.ptp(smooth)).astype(np.float32)
    tifffile.imwrite(folder / "landscape.tif", landscape)
    tifffile.imwrite(folder / "image.tif", (landscape * 250).astype(np.uint8))
    return {"sample": "a", "image": folder / "image.tif", "landscape": folder / "landscape.tif"}


def write_ome_zarr(path: Path, image: np.ndarray, labels: np.ndarray, *, voxel_size=None) -> None:
    """An image (c, z, y, x) as OME-Zarr, with its labels (z, y, x) in `labels/cells`."""
    known = {"name": "a", "voxel_size": voxel_size, "factors": [(1, 1, 1)]}
    attributes = image_attributes(**known, dtype=image.dtype, limits=[(0, 1)] * len(image))
    group = zarr.create_group(path, attributes=attributes)
    group.create_array("0", data=image)
    cells = group.create_group("labels/cells", attributes=label_attributes(**known))
    cells.create_array("0", data=labels)


def configured(folder: Path, row: dict, *, tile: list[int], jobs: int = 1, **sections) -> dict:
    """A configuration with one sample."""
    sheet = write_sheet(folder / "samples.tsv", [row])
    tiles = {"shape": tile, "jobs": jobs}
    return {"samples": str(sheet), "tile": tiles, "segment": HILLS, **sections}


def command(folder: Path, config: dict, *arguments: str) -> list[str]:
    """The call of Snakemake that a user would make in `folder` with this configuration."""
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return [
        sys.executable,
        "-m",
        "snakemake",
        f"--snakefile={ROOT / 'Snakefile'}",
        f"--workflow-profile={ROOT / 'profiles' / 'default'}",
        f"--directory={folder}",
        f"--configfile={folder / 'config.yaml'}",
        *arguments,
    ]


def run(folder: Path, config: dict, *arguments: str, fails: bool = False) -> str:
    """Run the workflow to its end and return what it printed."""
    done = subprocess.run(
        command(folder, config, *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert (done.returncode != 0) == fails, done.stdout
    return done.stdout


def run_and_kill(folder: Path, config: dict, *, when, timeout: float = 120) -> None:
    """Start the workflow and SIGKILL it with all its jobs as soon as `when()` is true."""
    with (folder / "killed.log").open("w") as log:
        process = subprocess.Popen(
            command(folder, config), stdout=log, stderr=log, start_new_session=True
        )
        begin = time.monotonic()
        while not when():
            assert process.poll() is None, (folder / "killed.log").read_text()
            assert time.monotonic() - begin < timeout, (folder / "killed.log").read_text()
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def files(folder: Path) -> dict[str, bytes]:
    """All files below a folder, by name."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def products(folder: Path, sample: str) -> dict[str, bytes]:
    """What a run promises to be byte-identical: the image with its labels, and the tables."""
    results = folder / "results" / sample
    stored = files(results / f"{sample}.ome.zarr")
    assert any(name.startswith("labels/cells/0/c/") for name in stored)
    tables = ("cells.parquet", "neighbours.parquet", "frames.parquet")
    return stored | {name: (results / name).read_bytes() for name in tables}
