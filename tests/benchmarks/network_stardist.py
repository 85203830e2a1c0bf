"""StarDist (Schmidt et al. 2018, arXiv 1806.03535; Weigert et al. 2020, arXiv 1908.03636), trained
for a given time and asked for instances: a process of its own, in an environment of its own.

Idea: StarDist as its users have it, but for two things that make it comparable: it stops when the
time is up, and its learning rate falls along a cosine over that time, where by default it falls
when the loss stalls, which a short training would never see.

    python network_stardist.py FOLDER MINUTES THREADS

1. Read `train.npz`, `validation.npz` and `test.npz` of FOLDER, which `network_data.py` wrote.
2. Train; flips, quarter turns, brightness, blur and noise come from `augmented`, other sizes with
   the data.
3. Choose both thresholds on the validation data, by StarDist's own search.
4. Predict the test images at their scale and write `labels.npz` and `training.json`.

Limits: of this project nothing is imported. The time begins after the first step, in which
TensorFlow builds its graph.
"""

import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from csbdeep.utils import normalize
from scipy.ndimage import gaussian_filter
from stardist import Rays_GoldenSpiral
from stardist.models import Config2D, Config3D, StarDist2D, StarDist3D

PERCENTILES = 1, 99.8  # as in StarDist's examples
IOUS = 0.5, 0.75  # by which Mosaicell chooses, too
PEAK_LEARNING_RATE = 3e-4  # StarDist's default
STEPS_PER_EPOCH = 50
CHANGED = 0.2  # share of the patches for each kind of change of brightness, as in `augment`
EPOCHS = 100_000  # more than any time suffices for


class UntilTime(tf.keras.callbacks.Callback):
    """Stop after a number of seconds; until then the learning rate falls along a cosine to 0."""

    def __init__(self, seconds: float):
        super().__init__()
        self.seconds, self.begin, self.steps = seconds, None, 0

    def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
        self.steps += 1
        if self.begin is None:
            self.begin = time.monotonic()
        done = min((time.monotonic() - self.begin) / self.seconds, 1.0)
        rate = PEAK_LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * done))
        self.model.optimizer.learning_rate.assign(rate)
        self.model.stop_training = done == 1.0

    def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002
        spent = (time.monotonic() - self.begin) / 60
        print(f"StarDist: {self.steps} steps, {spent:.1f} minutes", file=sys.stderr, flush=True)


def read(path: Path) -> list[dict]:
    """The arrays `KIND_NUMBER` of a file, by number and kind; images are normalised."""
    rows = {}
    with np.load(path) as file:
        for name in file.files:
            kind, _, number = name.partition("_")
            rows.setdefault(int(number), {})[kind] = file[name]
    rows = [rows[number] for number in sorted(rows)]
    for row in rows:
        row["image"] = normalize(row["image"], *PERCENTILES)
    return rows


def augmented(image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A patch turned and mirrored in the plane, and changed in brightness, at random."""
    rng = np.random.default_rng(np.random.randint(2**31))  # noqa: NPY002 what StarDist seeds

    def sometimes(low: float, high: float, otherwise: float) -> float:
        return rng.uniform(low, high) if rng.random() < CHANGED else otherwise

    turns, flips = rng.integers(4), np.flatnonzero(rng.random(image.ndim) < 0.5)
    image, labels = (np.rot90(part, turns, (-2, -1)) for part in (image, labels))
    image, labels = (np.flip(part, flips) for part in (image, labels))
    image = np.sign(image) * np.abs(image) ** np.exp(sometimes(-0.7, 0.7, 0))
    image = np.exp(sometimes(-0.4, 0.4, 0)) * image + sometimes(-0.1, 0.2, 0)
    image = gaussian_filter(image, sometimes(0, 1.5, 0))
    return image + sometimes(0, 0.15, 0) * rng.standard_normal(image.shape), labels


def new_model(dimensions: int, edge: int, batch: int, folder: Path):
    """StarDist as in its examples for 2D and 3D, with a grid of 2 for nuclei of 12 to 16 pixels."""
    patch = (edge,) * dimensions
    given = {"train_patch_size": patch, "train_batch_size": batch, "grid": (2,) * dimensions}
    given |= {"train_epochs": EPOCHS, "train_steps_per_epoch": STEPS_PER_EPOCH}
    given |= {"train_learning_rate": PEAK_LEARNING_RATE, "train_reduce_lr": None}
    given |= {"train_tensorboard": False, "use_gpu": False}
    if dimensions == 2:
        return StarDist2D(Config2D(n_rays=32, **given), name="stardist", basedir=str(folder))
    rays = Rays_GoldenSpiral(96)
    return StarDist3D(Config3D(rays=rays, **given), name="stardist", basedir=str(folder))


def main(folder: Path, minutes: float, threads: int) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    train, validation, test = (read(folder / f"{s}.npz") for s in ("train", "validation", "test"))
    settings = json.loads((folder / "settings.json").read_text())
    np.random.seed(settings["seed"])  # noqa: NPY002
    tf.keras.utils.set_random_seed(settings["seed"])
    model = new_model(settings["dimensions"], settings["edge"], settings["batch"], folder)
    model.prepare_for_training()
    until = UntilTime(60 * minutes)
    model.callbacks.append(until)
    begin = time.monotonic()
    model.train(
        [row["image"] for row in train],
        [row["labels"] for row in train],
        validation_data=(
            [row["image"] for row in validation],
            [row["labels"] for row in validation],
        ),
        augmenter=augmented,
    )
    trained = time.monotonic() - begin
    model.optimize_thresholds(
        [row["image"] for row in validation],
        [row["labels"] for row in validation],
        iou_threshs=IOUS,
    )
    found = {
        f"labels_{i}": model.predict_instances(row["image"], scale=tuple(row["scale"]))[0]
        for i, row in enumerate(test)
    }
    np.savez_compressed(folder / "labels.npz", **found)
    said = {"minutes": trained / 60, "steps": until.steps, **model.thresholds._asdict()}
    (folder / "training.json").write_text(json.dumps(said) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
