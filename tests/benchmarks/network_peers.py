"""Networks compared: the same data, the same threads, the same time for each.

Idea: what a method can do shows only beside others that were given the same. In 2D all are trained
on the DSB 2018 images and judged on the groups held out of them (`dsb2018.py` has the split); in 3D
all are trained on the same synthetic volumes, and judged on real ones that none has seen.

1. Bring all images to one diameter of cells, the median of the true ones: how a method finds the
   scale is not the question here.
2. Train each method for the same time: the plain three-class U-Net, distance + watershed and
   distance + three-class by `mosaicell.train`, whose number of steps is that which a short
   training has shown to fit into the time; StarDist in a process of its own (`network_stardist.py`
   beside this file).
3. Choose the thresholds of each on images for validation, for IoU 0.5 and 0.75. In 2D these are the
   same for all. In 3D they are synthetic: Mosaicell then draws its own, as it knows that it must
   be cautious about them.
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
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import network_data
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "workflow"))

from mosaicell.choice import landscape_of
from mosaicell.dataset import LabelledImage
from mosaicell.evaluate import Overlaps, joined, overlaps
from mosaicell.metrics import metrics
from mosaicell.model import load
from mosaicell.train import train
from mosaicell.whole.watershed import watershed

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
N_LOOKS = 8
PROBES = (10, 40)  # steps of the two short trainings whose difference is the time of a step
IOUS = ("0.5", "0.7", "0.9")


def seconds_of_a_step(
    settings: dict, training: list, validation: list, folder: Path, threads: int
) -> float:
    """From two short trainings that differ in the number of steps alone."""
    # The first training compiles, and reads files that no later one waits for.
    run_training(settings, training, validation[:1], folder, 1, 1, threads)
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
        rim=0.0,
        foreground_weight=3.0,
        steps=steps,
        seed=network_data.SEED,
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
        chosen_by = validation if dimensions == 2 else []  # see 3.
        begin = time.time()
        run_training(settings, training, chosen_by, folder, steps, steps // N_LOOKS, threads)
        # The curves are drawn after the last step; what follows is the choice of thresholds.
        spent = ((folder / "model.png").stat().st_mtime - begin) / 60
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


def stardist(
    dimensions: int, images: tuple, folder: Path, *, minutes: float, threads: int
) -> tuple[dict[str, list[np.ndarray]], dict]:
    """As `ours`, for StarDist."""
    labels, said = folder / "labels.npz", folder / "training.json"
    if not said.exists():
        settings = {key: SETTINGS[dimensions][key] for key in ("nominal_diameter", "edge", "batch")}
        network_data.write(folder, images, **settings)
        script = Path(__file__).with_name("network_stardist.py")
        # Its search for the best of overlapping instances takes as many threads as this says.
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        command = [STARDIST, script, folder, str(minutes), str(threads)]
        # What is written to stdout are bars of Keras, for terminals alone.
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    with np.load(labels) as file:
        found = iter([file[f"labels_{i}"] for i in range(len(file.files))])
    test = {
        name: [next(found).reshape(picture.labels.shape) for picture in pictures]
        for name, pictures in images[2].items()
    }
    return test, json.loads(said.read_text(encoding="utf-8"))


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
    lines = [f"| | minutes | steps | {' | '.join(head)} |", f"|{'---|' * (len(head) + 3)}"]
    for name, title in names:
        lines.append(f"| **{title}** |{' |' * (len(head) + 2)}")
        for method, said in scores.items():
            values = [f"{said['scores'][name][column]:.2f}" for column in columns]
            spent = f"{said['minutes']:.1f} | {said['steps']}"
            lines.append(f"| {method} | {spent} | {' | '.join(values)} |")
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
                images = images or network_data.data_of(given.data, dimensions)
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
