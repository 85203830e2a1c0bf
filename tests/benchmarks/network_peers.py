"""Networks compared: the same data, the same threads, the same time for each.

Idea: what a method can do shows only beside others that were given the same. In 2D all are trained
on the DSB 2018 images and judged on the groups held out of them (`dsb2018.py` has the split); in 3D
all are trained on the same synthetic volumes, and judged on real ones that none has seen.

1. Bring all images to one diameter of cells, the median of the true ones: how a method finds the
   scale is not the question here.
2. Train each method for the same time: the plain three-class U-Net, distance + watershed and
   distance + three-class by `mosaicell.train`, whose number of steps is that which a short
   training has shown to fit into the time; StarDist in a process of its own (`network_stardist.py`).
3. Choose the thresholds of each by the same validation images, for IoU 0.5 and 0.75.
4. Predict the test images on their own grids, and score all instances of a data set together.

    python network_peers.py DATA --minutes 30 --threads 2

DATA is a folder with `dsb2018_fluo_2d/` (see `dsb2018.py`), `gonuclear_nuclei_3d/` and
`qcanet_mouse_embryo_3d/` (an image `*_image.tif` and its labels `*_label.tif` in each). Each method
leaves a folder under `--out`; what is there already is not done again, so a run that was stopped
goes on: remove a folder to do it anew.

Limits: a training that was stopped half-way goes on from its last look, and its minutes are those
since then. Time to choose thresholds and to predict is not limited.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile
import torch
from scipy.ndimage import zoom

import dsb2018

sys.path.insert(0, str(Path(__file__).parents[2] / "workflow"))

from mosaicell.augment import Change, crop, read_at, source_positions
from mosaicell.choice import landscape_of
from mosaicell.dataset import LabelledImage, labelled
from mosaicell.evaluate import Overlaps, joined, overlaps
from mosaicell.metrics import metrics
from mosaicell.model import load
from mosaicell.synthesis import synthesise
from mosaicell.train import train
from mosaicell.watershed import watershed

STARDIST = Path(__file__).parents[2] / ".venv-stardist/bin/python"
# The name of a method, what it learns, and from which landscape of it cells are cut.
METHODS = {
    "three-class U-Net": ("three_class", "three_class"),
    "distance + watershed": ("distance", "watershed"),
    "distance + three-class": ("distance_three_class", "three_class"),
}
SETTINGS = {
    2: {"nominal_diameter": 16, "channels": [16, 32, 64, 128], "edge": 128, "batch": 8},
    3: {"nominal_diameter": 12, "channels": [16, 32, 64], "edge": 48, "batch": 4},
}
WINDOW = {2: 256, 3: 96}
SEED = 1
N_LOOKS = 8
N_SYNTHETIC = {"train": 160, "validation": 16}
SYNTHETIC_EDGE = 64
VOLUMES = {  # with voxel sizes (z, y, x) in um
    "gonuclear_nuclei_3d": (0.2837, 0.1268, 0.1268),
    "qcanet_mouse_embryo_3d": (1.75, 0.8, 0.8),
}
# StarDist cannot draw a size anew for each patch, so it is given each image at several.
N_SIZES = 4
PROBES = (10, 40)  # steps of the two short trainings whose difference is the time of a step
IOUS = ("0.5", "0.7", "0.9")


def read(folder: Path, name: str) -> np.ndarray:
    """A plane or volume, (z, y, x)."""
    image = tifffile.imread(folder / f"{name}.tif")
    return image.reshape((1,) * (3 - image.ndim) + image.shape)


def planes(data: Path, split: str) -> dict[str, list[LabelledImage]]:
    """The images of a split, by their group."""
    folder = data / "dsb2018_fluo_2d"
    index = dsb2018.grouped(folder)
    index = index[index["split"] == split]
    return {
        f"group {group}": [
            labelled(read(folder / "images", name), read(folder / "labels", name), dimensions=2)
            for name in part["id"]
        ]
        for group, part in index.groupby("group")
    }


def synthetic(split: str) -> list[LabelledImage]:
    kind = list(N_SYNTHETIC).index(split)
    nominal = SETTINGS[3]["nominal_diameter"]
    return [
        labelled(
            *synthesise((kind, SEED, i), (SYNTHETIC_EDGE,) * 3), dimensions=3, diameter=nominal
        )
        for i in range(N_SYNTHETIC[split])
    ]


def volumes(data: Path) -> dict[str, list[LabelledImage]]:
    """The real volumes, by their names."""
    found = {}
    for name, voxel_size in VOLUMES.items():
        image, labels = (next((data / name).glob(f"*_{kind}.tif")) for kind in ("image", "label"))
        found[name] = [
            labelled(
                tifffile.imread(image), tifffile.imread(labels), dimensions=3, voxel_size=voxel_size
            )
        ]
    return found


def data_of(data: Path, dimensions: int) -> tuple[list, list, dict[str, list[LabelledImage]]]:
    """Images to train on, to choose by, and to judge by (by name)."""
    if dimensions == 3:
        return synthetic("train"), synthetic("validation"), volumes(data)
    training, validation = (
        [picture for part in planes(data, split).values() for picture in part]
        for split in ("train", "validation")
    )
    return training, validation, planes(data, "held out")


def seconds_of_a_step(
    settings: dict, training: list, validation: list, folder: Path, threads: int
) -> float:
    """From two short trainings that differ in the number of steps alone."""
    seconds = []
    for steps in PROBES:
        begin = time.monotonic()
        run_training(settings, training, validation[:1], folder, steps, steps, threads)
        seconds.append(time.monotonic() - begin)
    return (seconds[1] - seconds[0]) / (PROBES[1] - PROBES[0])


def run_training(
    settings: dict,
    training: list,
    validation: list,
    folder: Path,
    steps: int,
    validate_every: int,
    threads: int,
) -> None:
    train(
        out=folder / "model.safetensors",
        curves=folder / "model.png",
        training=training,
        validation=validation,
        data=None,
        synthetic_share=0.0,
        start_from=None,
        steps=steps,
        seed=SEED,
        peak_learning_rate=0.002,
        weight_decay=0.01,
        validate_every=validate_every,
        patience=None,
        workers=1,
        threads=threads,
        command="python tests/benchmarks/network_peers.py",
        **settings,
    )


def ours(
    method: str, dimensions: int, images: tuple, folder: Path, *, minutes: float, threads: int
) -> tuple[dict[str, list[np.ndarray]], dict]:
    """Train one of `METHODS`; the labels of the test images by name, and what is to be said."""
    training, validation, test = images
    task, top_model = METHODS[method]
    settings = SETTINGS[dimensions] | {"task": task, "dimensions": dimensions}
    settings["window"] = WINDOW[dimensions]
    said = folder / "training.json"
    if not said.exists():
        with tempfile.TemporaryDirectory() as probes:
            step = seconds_of_a_step(settings, training, validation, Path(probes), threads)
        steps = max(N_LOOKS, round(60 * minutes / step))
        begin = time.monotonic()
        run_training(settings, training, validation, folder, steps, steps // N_LOOKS, threads)
        spent = (time.monotonic() - begin) / 60
        said.write_text(json.dumps({"steps": steps, "minutes": spent}) + "\n", encoding="utf-8")
    network, card = load(folder / "model.safetensors", top_model=top_model)
    heights = card["top_models"][top_model]
    grid = {key: card[key] for key in ("nominal_diameter", "window")}
    found = {
        name: [
            watershed(landscape_of(network, picture, **grid, threads=threads), **heights)
            for picture in pictures
        ]
        for name, pictures in test.items()
    }
    return found, json.loads(said.read_text(encoding="utf-8")) | heights


def at_model_scale(
    picture: LabelledImage, nominal_diameter: float, size: float = 1.0
) -> dict[str, np.ndarray]:
    """The whole image and its labels on the model's grid, cells `size` times the nominal one."""
    per_axis = np.array(picture.scale(nominal_diameter))
    shape = tuple(
        max(1, round(n * s * size)) if n > 1 else 1
        for n, s in zip(picture.labels.shape, per_axis, strict=True)
    )
    centre = tuple((n - 1) / 2 for n in picture.labels.shape)
    place = {"shape": shape, "centre": centre}
    change = Change(scale=size)
    image = crop(picture, change, nominal_diameter=nominal_diameter, **place)[0]
    positions = source_positions(change, scale=tuple(per_axis), **place)
    return {"image": image, "labels": read_at(picture.labels, positions, order=0)}


def at_least(arrays: dict[str, np.ndarray], edge: int) -> dict[str, np.ndarray]:
    """Mirrored as far as a patch of StarDist needs."""
    missing = [max(0, edge - n) if n > 1 else 0 for n in arrays["image"].shape]
    around = [(m // 2, m - m // 2) for m in missing]
    return {kind: np.pad(values, around, mode="symmetric") for kind, values in arrays.items()}


def stardist(
    dimensions: int, images: tuple, folder: Path, *, minutes: float, threads: int
) -> tuple[dict[str, list[np.ndarray]], dict]:
    """As `ours`, for StarDist."""
    training, validation, test = images
    settings = SETTINGS[dimensions]
    nominal, edge = settings["nominal_diameter"], settings["edge"]
    planar = 3 - dimensions

    def save(name: str, rows: list[dict[str, np.ndarray]]) -> None:
        named = {f"{kind}_{i}": v for i, row in enumerate(rows) for kind, v in row.items()}
        np.savez(folder / f"{name}.npz", **named)

    def flat(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {kind: values[0] if planar else values for kind, values in arrays.items()}

    if not (folder / "found.npz").exists():
        rng = np.random.default_rng(SEED)
        # Sizes as in `augment.draw`.
        sizes = np.exp(rng.uniform(np.log(0.4), np.log(2.5), (len(training), N_SIZES)))
        sizes[:, 0] = 1.0
        rows = [
            flat(at_least(at_model_scale(picture, nominal, size), edge))
            for picture, of_picture in zip(training, sizes, strict=True)
            for size in of_picture
        ]
        save("train", rows)
        rows = [at_least(at_model_scale(picture, nominal), edge) for picture in validation]
        save("validation", [flat(row) for row in rows])
        rows = []
        for picture in (picture for pictures in test.values() for picture in pictures):
            scale = np.array(picture.scale(nominal))
            image = picture.levels[0][1]
            if (scale < 1).any():
                # StarDist does not smooth what it makes smaller: it is given what has been.
                small = at_model_scale(picture, nominal)["image"]
                image = zoom(
                    small,
                    np.divide(image.shape, small.shape),
                    order=1,
                    grid_mode=True,
                    mode="nearest",
                )
            rows.append(flat({"image": image}) | {"scale": scale[planar:]})
        save("test", rows)
        known = {"dimensions": dimensions, "edge": edge, "batch": settings["batch"], "seed": SEED}
        (folder / "settings.json").write_text(json.dumps(known), encoding="utf-8")
        subprocess.run(
            [
                STARDIST,
                Path(__file__).with_name("network_stardist.py"),
                folder,
                str(minutes),
                str(threads),
            ],
            check=True,
        )
    with np.load(folder / "found.npz") as file:
        labels = iter([file[f"labels_{i}"] for i in range(len(file.files))])
        found = {
            name: [next(labels).reshape(picture.labels.shape) for picture in pictures]
            for name, pictures in test.items()
        }
    return found, json.loads((folder / "stardist.json").read_text(encoding="utf-8"))


def scored(found: dict[str, list[np.ndarray]], test: dict[str, list[LabelledImage]]) -> dict:
    """Scores by name, and of all images together."""
    counted: dict[str, list[Overlaps]] = {
        name: [
            overlaps([(labels, picture.labels)])
            for labels, picture in zip(found[name], pictures, strict=True)
        ]
        for name, pictures in test.items()
    }
    every = [of_image for part in counted.values() for of_image in part]
    return {name: metrics(joined(part)) for name, part in {**counted, "all": every}.items()}


def table(scores: dict[str, dict], names: list[tuple[str, str]]) -> str:
    """Rows of methods under a title for each data set."""
    columns = [f"{kind}_{iou}" for kind in ("f1", "ap") for iou in IOUS] + ["seg"]
    head = [f"{kind} {iou}" for kind in ("F1", "AP") for iou in IOUS] + ["SEG"]
    lines = [f"| | minutes | {' | '.join(head)} |", f"|{'---|' * (len(head) + 2)}"]
    for name, title in names:
        lines.append(f"| **{title}** |{' |' * (len(head) + 1)}")
        for method, said in scores.items():
            values = [f"{said['scores'][name][column]:.2f}" for column in columns]
            lines.append(f"| {method} | {said['minutes']:.1f} | {' | '.join(values)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("results/networks"))
    parser.add_argument("--minutes", type=float, default=30, help="of training, for each method")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dimensions", type=int, nargs="+", choices=[2, 3], default=[2, 3])
    parser.add_argument("--groups", action="store_true", help="2D: each group's scores, too")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    spent = {"minutes": given.minutes, "threads": given.threads}
    for dimensions in given.dimensions:
        methods, scores = list(METHODS), {}
        if STARDIST.exists():
            methods.append("StarDist")
        else:
            print("StarDist is left out: `make .venv-stardist/ready` sets it up")
        images = None
        for method in methods:
            folder = given.out / f"{dimensions}d" / method.replace(" ", "_")
            folder.mkdir(parents=True, exist_ok=True)
            result = folder / "scores.json"
            if not result.exists():
                images = images or data_of(given.data, dimensions)
                if method in METHODS:
                    found, said = ours(method, dimensions, images, folder, **spent)
                else:
                    found, said = stardist(dimensions, images, folder, **spent)
                said["scores"] = scored(found, images[2])
                result.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
            scores[method] = json.loads(result.read_text(encoding="utf-8"))
        known = next(iter(scores.values()))["scores"]
        names = [("all", "DSB 2018, groups held out")] if dimensions == 2 else []
        if dimensions == 3 or given.groups:
            names += [(name, name) for name in known if name != "all"]
        print(f"\n{table(scores, names)}", flush=True)


if __name__ == "__main__":
    main()
