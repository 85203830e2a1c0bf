"""Train the U-Net to predict the normalised distance: on labelled images, synthetic ones, or both.

Idea: data without end. Each step sees crops or synthetic volumes that no step saw before; what is
drawn depends on the seed and the number of the volume alone, never on the number of workers.

1. Draw: a changed crop of a labelled image (`augment`), or a volume of `synthesis`, turned, and
   normalised by its own histogram as a real image would be.
2. Step: cross entropy and absolute error, AdamW, a learning rate that warms up and then falls
   along a cosine, gradients of limited norm.
3. Look: every now and then F1 on images that are never trained on, predicted as `predict` does;
   a checkpoint, from which a killed training goes on. If F1 has not risen for long, stop.
4. Choose: of all the weights that were looked at the best, and the watershed's threshold and
   persistence that give the best mean of F1 at IoU 0.5 and 0.75. Save weights, card and curves.

Labelled images for step 3 and 4 are those of the split `validation`; without labelled images, steps
3 and 4 have synthetic volumes, each its own.

Limits: the numbers are the same for any number of workers and any interruption, but differ in
their last digits with the number of threads and the kind of machine, and in more of them where
it computes in bfloat16, which halves the time and is used where there are instructions for it.
A checkpoint of other settings, images or code is not continued but overwritten.
"""

import hashlib
import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save as serialised
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from . import intensity, model
from .augment import augmented
from .curves import Look, best_of, draw_curves, table
from .dataset import LabelledImage, labelled
from .distance import normalised_distance
from .evaluate import match, scores
from .geometry import Box
from .predict import ONE, Channel, choose_level, predict
from .pyramid import level_factors
from .resample import model_grid
from .synthesis import synthesise
from .synthetic_shapes import MAX_RADIUS, NOMINAL_DIAMETER
from .unet import NORMALISATION, UNet
from .watershed import watershed

HELD_OUT_EDGE = 64  # voxels, of a synthetic volume that is not trained on
TRAINING, VALIDATION, CHOICE = 0, 1, 2  # the first number of a volume's seed: never shared
N_VALIDATION, N_CHOICE = 8, 32  # synthetic volumes
# Share of the steps after which batch normalisation keeps its constants: a batch is so small that
# its own mean tells the network of the volume, which no later prediction will.
FREEZE_AT = 0.1
MIRRORED = 0.25  # share of the synthetic volumes, per axis, in which the image ends
FOREGROUND_WEIGHT = 3.0  # most voxels of most volumes are background
# While training; the final ones are chosen. The best threshold moves as a network learns: with one
# alone, F1 would rather tell how near that is.
LOOK_THRESHOLDS, LOOK_PERSISTENCE = (0.1, 0.2, 0.3), 0.1
THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
PERSISTENCES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
IOUS = (0.5, 0.75)  # the first watches the training; both choose threshold and persistence
SECONDS_BETWEEN_LINES = 5.0
# On which weights depend; the watershed gives the same cells whatever its code.
CODE = ("augment", "dataset", "distance", "evaluate", "fields", "intensity", "microscope")
CODE += ("predict", "pyramid", "resample", "synthesis", "synthetic_light", "synthetic_shapes")
CODE += ("train", "unet")


def _normalised(image: np.ndarray) -> np.ndarray:
    low, high = intensity.limits(intensity.histogram(image), image.dtype)
    return intensity.normalise(image, low, high)


def _synthetic(seed, edge: int, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Image and labels of a cube; in 2D of the middle plane of a slab, (1, y, x)."""
    if dimensions == 3:
        return synthesise(seed, (edge,) * 3)
    half = round(MAX_RADIUS)
    image, labels = synthesise(seed, (2 * half + 1, edge, edge))
    return image[half : half + 1], labels[half : half + 1]


def _as_of_a_larger_image(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """A normalised volume as it would be in an image that has brighter and darker places, too."""
    if rng.random() < 0.5:
        image = image * np.float32(np.exp(rng.uniform(np.log(0.3), 0.2)))
    if rng.random() < 0.3:
        image = image + np.float32(rng.uniform(0, 0.2))
    return np.minimum(image, np.float32(intensity.BRIGHTEST))


def _mirrored(rng: np.random.Generator, volumes: np.ndarray) -> np.ndarray:
    """Let the image end inside of the volume, (n, z, y, x), as `predict` goes on beyond its ends.

    A nucleus that the image cuts is seen with its mirror image, which no other volume shows.
    """
    for axis in (1, 2, 3):
        n = volumes.shape[axis]
        if n > 1 and rng.random() < MIRRORED:
            at = n - int(rng.integers(1, n // 2))  # voxels of the image along this axis
            there = np.r_[:at, at - 2 : 2 * at - n - 2 : -1]
            volumes = volumes.take(there, axis)
    return volumes


class TrainingVolumes(Dataset):
    """Volume number i of a training: image and target, each float32 of shape (1, [z,] y, x).

    Parameters
    ----------
    images : list of LabelledImage
        Without any, all volumes are synthetic.
    synthetic_share : float
        Share of synthetic volumes otherwise.
    seed : int
    first, last : int
        Numbers of the volumes: from the first up to, not including, the last.
    edge : int
        Of a volume.
    dimensions : 2 or 3
    nominal_diameter : float
    rim : float
        See `train`.
    """

    def __init__(
        self,
        *,
        images: list[LabelledImage],
        synthetic_share: float,
        seed: int,
        first: int,
        last: int,
        edge: int,
        dimensions: int,
        nominal_diameter: float,
        rim: float,
    ):
        self.images, self.synthetic_share, self.seed = images, synthetic_share, seed
        self.first, self.last, self.edge = first, last, edge
        self.dimensions, self.nominal_diameter, self.rim = dimensions, nominal_diameter, rim

    def __len__(self) -> int:
        return self.last - self.first

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        seed = (TRAINING, self.seed, self.first + index)
        rng = np.random.default_rng((*seed, 2))
        if self.images and rng.random() >= self.synthetic_share:
            shape = (1,) * (3 - self.dimensions) + (self.edge,) * self.dimensions
            picture = self.images[rng.integers(len(self.images))]
            volumes = np.stack(
                augmented(
                    picture, seed=(*seed, 3), shape=shape, nominal_diameter=self.nominal_diameter
                )
            )
        else:
            volumes = self._turned(seed)
        tensors = torch.from_numpy(np.ascontiguousarray(volumes))
        image, target = tensors.reshape(2, 1, *volumes.shape[-self.dimensions :])
        return image, torch.where(target > 0, self.rim + (1 - self.rim) * target, 0)

    def _turned(self, seed) -> np.ndarray:
        """A synthetic image and its target, (2, z, y, x). Blur is strongest along z: it stays z."""
        image, labels = _synthetic(seed, self.edge, self.dimensions)
        rng = np.random.default_rng((*seed, 1))
        image = _as_of_a_larger_image(rng, _normalised(image))
        volumes = _mirrored(rng, np.stack([image, normalised_distance(labels)]))
        volumes = np.rot90(volumes, rng.integers(4), axes=(2, 3))
        return np.flip(volumes, 1 + np.flatnonzero(rng.random(3) < 0.5))


def learning_rate(step: int, *, steps: int, peak: float) -> float:
    """Warm up over the first twentieth of the steps, then fall to 0 along a cosine.

    I. Loshchilov, F. Hutter: SGDR (2017), arXiv 1608.03983.
    """
    warm_up = max(1, steps // 20)
    if step < warm_up:
        return peak * (step + 1) / warm_up
    progress = (step - warm_up) / max(1, steps - warm_up)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))


def loss_of(logits: list[Tensor], target: Tensor) -> Tensor:
    """Cross entropy and absolute error, foreground weighted up; target (b, 1, [z,] y, x).

    Cross entropy keeps a gradient where the sigmoid is flat; the absolute error keeps peaks and
    valleys sharp where the squared kind would average them. Coarser levels learn the mean of the
    target over their voxels, and count half as much as the next finer level.
    """
    total = torch.zeros((), device=target.device)
    mean = {4: nn.functional.avg_pool2d, 5: nn.functional.avg_pool3d}[target.ndim]
    for level, of_level in enumerate(logits):  # (b, 1, [z / 2^level,] y / 2^level, x / 2^level)
        if level:
            target = mean(target, 2)
        of_level = of_level.float()
        entropy = nn.functional.binary_cross_entropy_with_logits(of_level, target, reduction="none")
        error = (torch.sigmoid(of_level) - target).abs()
        weight = 1 + (FOREGROUND_WEIGHT - 1) * (target > 0)
        total = total + 0.5**level * ((entropy + error) * weight).sum() / weight.sum()
    return total


def _computes_bfloat16(device: torch.device) -> bool:
    """Whether the machine has instructions for it; without them it would be slower, not faster."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def freeze_normalisation(net: UNet) -> None:
    """Let batch normalisation use the constants it has, from now until `net.train()`."""
    for module in net.modules():
        if isinstance(module, NORMALISATION[net.dimensions]):
            module.eval()


def landscape_of(
    net: UNet, picture: LabelledImage, *, nominal_diameter: float, window: int, threads: int
) -> np.ndarray:
    """The landscape of an image on its own voxels, as `predict` gives it, float32 (z, y, x)."""
    shape = picture.labels.shape
    grid = model_grid(
        shard=shape,
        scale=picture.scale(nominal_diameter),
        window=window,
        stride=net.stride,
        dimensions=net.dimensions,
    )
    # An ingested image has no levels below these.
    levels = dict(picture.levels[: len(level_factors(shape, picture.voxel_size))])
    factors = list(levels)[choose_level(list(levels), grid.scale)]
    channel = Channel(
        read=lambda _, box: levels[factors][box.slices],
        shape=levels[factors].shape,
        factors=factors,
        limits=(0.0, 1.0),
    )
    device = next(net.parameters()).device
    values = predict(
        0,
        Box((0, 0, 0), shape),
        channel=channel,
        grid=grid,
        network=net,
        device=device,
        threads=threads,
    )
    return values.astype(np.float32) / ONE


def held_out(kind: int, n: int, *, dimensions: int) -> list[LabelledImage]:
    """Synthetic images that no training sees, whatever its seed."""
    return [
        labelled(
            *_synthetic((kind, i), HELD_OUT_EDGE, dimensions),
            dimensions=dimensions,
            diameter=NOMINAL_DIAMETER,
        )
        for i in range(n)
    ]


def scores_of(
    landscapes: list[np.ndarray],
    pictures: list[LabelledImage],
    *,
    threshold: float,
    persistence: float,
    threads: int,
) -> dict[float, dict]:
    """Scores by IoU of the watershed of many landscapes, their cells counted together."""
    counts = {iou: np.zeros(3, int) for iou in IOUS}
    for landscape, picture in zip(landscapes, pictures, strict=True):
        cells = watershed(landscape, threshold=threshold, persistence=persistence, threads=threads)
        for iou in IOUS:
            found = match(cells, picture.labels, iou=iou)
            counts[iou] += [
                found[k] for k in ("true_positives", "false_positives", "false_negatives")
            ]
    return {iou: scores(*count.tolist()) for iou, count in counts.items()}


def _content(pictures: list[LabelledImage]) -> str:
    """SHA-256 (hex) of all that training takes from labelled images."""
    seen = hashlib.sha256()
    for picture in pictures:
        _, image = picture.levels[0]
        known = [image.shape, picture.voxel_size, picture.diameter]
        seen.update(json.dumps(known).encode() + image.tobytes() + picture.labels.tobytes())
    return seen.hexdigest()


def _fingerprint(settings: dict) -> str:
    """Names all that the state after a number of steps follows from: settings, images, code."""
    here = Path(__file__).parent
    code = [here / f"{name}.py" for name in CODE]
    text = json.dumps(settings, sort_keys=True).encode()
    return hashlib.sha256(text + b"".join(path.read_bytes() for path in code)).hexdigest()


def _save_checkpoint(
    path: Path,
    net: UNet,
    optimiser,
    best: dict[str, Tensor],
    *,
    looks: list[Look],
    fingerprint: str,
) -> None:
    tensors = {f"net.{name}": tensor.contiguous() for name, tensor in net.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    for i, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{i}.{name}": t.contiguous() for name, t in state.items()}
    part = path.with_name(path.name + ".part")
    part.write_bytes(serialised(tensors, {"looks": json.dumps(looks), "fingerprint": fingerprint}))
    part.replace(path)  # a kill leaves the old checkpoint or the new one, never half of one


def _load_checkpoint(
    path: Path, net: UNet, optimiser, *, fingerprint: str
) -> tuple[dict[str, Tensor], list[Look]]:
    """Bring network and optimiser to where a checkpoint was taken; the best weights and looks."""
    if not path.exists():
        return {}, []
    with safe_open(path, "pt") as file:
        if file.metadata()["fingerprint"] != fingerprint:
            _say(f"{path} is of other settings, images or code: training begins anew")
            return {}, []
        looks = [Look(*look) for look in json.loads(file.metadata()["looks"])]
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    parts = {"net": {}, "best": {}, "optimiser": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    state = {}
    for name, tensor in parts["optimiser"].items():
        i, key = name.split(".")
        state.setdefault(int(i), {})[key] = tensor
    net.load_state_dict(parts["net"])
    optimiser.load_state_dict(optimiser.state_dict() | {"state": state})
    _say(f"training goes on from {path}, step {looks[-1].step}")
    return parts["best"], looks


def is_settled(looks: list[Look], patience: int | None) -> bool:
    """Whether F1 has not risen in the last `patience` looks; None waits for ever."""
    return bool(looks) and patience is not None and len(looks) - 1 - best_of(looks) >= patience


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def _check(
    *,
    training: list[LabelledImage],
    synthetic_share: float,
    nominal_diameter: float,
    channels: tuple[int, ...],
    edge: int,
    window: int,
) -> None:
    """Refuse what would fail after hours (ValueError)."""
    stride = 2 ** (len(channels) - 1)
    for name, value in (("edge", edge), ("window", window)):
        if value % stride:
            raise ValueError(
                f"train.{name} is {value}, and train.channels has {len(channels)} levels; allowed "
                f"is a multiple of {stride}: choose another {name} or fewer levels"
            )
    if nominal_diameter != NOMINAL_DIAMETER and (synthetic_share > 0 or not training):
        raise ValueError(
            f"train.nominal_diameter is {nominal_diameter}, and synthetic nuclei are trained on; "
            f"allowed is {NOMINAL_DIAMETER:g}, which these have: set it, or give data and set "
            "train.synthetic_share to 0"
        )


def train(
    *,
    out: Path,
    curves: Path,
    training: list[LabelledImage],
    validation: list[LabelledImage],
    data: str | None,
    synthetic_share: float,
    dimensions: int,
    nominal_diameter: float,
    steps: int,
    seed: int,
    channels: tuple[int, ...],
    batch: int,
    edge: int,
    peak_learning_rate: float,
    weight_decay: float,
    rim: float,
    validate_every: int,
    patience: int | None,
    window: int,
    workers: int,
    threads: int,
    command: str,
) -> None:
    """Train a model and save it with its card.

    Parameters
    ----------
    out : Path
        The weight file, `NAME.safetensors`; the card `NAME.json` goes beside it, and so does
        `NAME.checkpoint` until the training is complete.
    curves : Path
        PNG file for loss and validation F1 against steps.
    training, validation : list of LabelledImage
        Without any, all is synthetic.
    data : str or None
        What the labelled images are called, for the card.
    synthetic_share : float
        Share of synthetic volumes among those that are trained on, if there are labelled images.
    dimensions : 2 or 3
        2 for a network of single planes.
    nominal_diameter : float
        To which cells are brought, in voxels.
    steps : int
        Optimiser steps, at most.
    seed : int
        Of the weights and of all training volumes.
    channels : sequence of int
        Of the U-Net's levels, finest first.
    batch : int
        Volumes per step.
    edge : int
        Of a volume, in voxels.
    peak_learning_rate, weight_decay : float
        Of AdamW.
    rim : float, in [0, 1)
        What the network learns to say at a cell's surface: the distance begins there instead of at
        0, so that the surface is a step, which a threshold finds in the same place whether the
        image is sharp or blurred.
    validate_every : int
        Steps between two looks at validation F1; each comes with a checkpoint.
    patience : int or None
        Looks without a better F1 after which training stops; None takes all steps.
    window : int
        Edge of the core of the windows in which the model will predict, in voxels.
    workers : int
        Processes that draw volumes ahead; the result does not depend on it.
    threads : int
        Threads of the CPU that compute; with a GPU they only read and segment.
    command : str
        How a user repeats the training, for the card.

    Raises
    ------
    ValueError
        If settings do not fit each other.

    Notes
    -----
    I. Loshchilov, F. Hutter: Decoupled weight decay regularization (2019), arXiv 1711.05101.
    """
    _check(
        training=training,
        synthetic_share=synthetic_share,
        nominal_diameter=nominal_diameter,
        channels=channels,
        edge=edge,
        window=window,
    )
    settings = {
        "data": data,
        "images": {"train": len(training), "validation": len(validation)},
        "content": {"train": _content(training), "validation": _content(validation)},
        "synthetic_share": synthetic_share if training else 1.0,
        "dimensions": dimensions,
        "nominal_diameter": nominal_diameter,
        "steps": steps,
        "seed": seed,
        "channels": list(channels),
        "batch": batch,
        "edge": edge,
        "peak_learning_rate": peak_learning_rate,
        "weight_decay": weight_decay,
        "rim": rim,
        "validate_every": validate_every,
        "patience": patience,
        "window": window,
    }
    fingerprint = _fingerprint(settings)
    out.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = out.with_suffix(".checkpoint")
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    halved = _computes_bfloat16(device)
    net = UNet(channels=tuple(channels), dimensions=dimensions)
    net.to(device, memory_format=net.memory_format)
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=peak_learning_rate, weight_decay=weight_decay
    )
    best, looks = _load_checkpoint(checkpoint, net, optimiser, fingerprint=fingerprint)
    first = looks[-1].step if looks else 0
    volumes = TrainingVolumes(
        images=training,
        synthetic_share=synthetic_share,
        seed=seed,
        first=first * batch,
        last=(first if is_settled(looks, patience) else steps) * batch,
        edge=edge,
        dimensions=dimensions,
        nominal_diameter=nominal_diameter,
        rim=rim,
    )
    loader = DataLoader(
        volumes,
        batch_size=batch,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        multiprocessing_context="fork" if workers else None,
    )
    watched = validation or held_out(VALIDATION, N_VALIDATION, dimensions=dimensions)

    def landscapes(pictures: list[LabelledImage]) -> list[np.ndarray]:
        net.eval()
        found = [
            landscape_of(
                net, picture, nominal_diameter=nominal_diameter, window=window, threads=threads
            )
            for picture in pictures
        ]
        torch.set_num_threads(threads)  # `predict` computes with one
        return found

    losses, said_at, said_step = [], time.monotonic(), first
    for step, (image, target) in enumerate(loader, first):  # (b, 1, [z,] y, x) each
        net.train()
        if step >= FREEZE_AT * steps:
            freeze_normalisation(net)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps=steps, peak=peak_learning_rate)
        image = image.to(device).contiguous(memory_format=net.memory_format)
        with torch.autocast(device.type, torch.bfloat16, enabled=halved):
            logits = net.logits(image)
        loss = loss_of(logits, target.to(device))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())

        done = step + 1
        if (elapsed := time.monotonic() - said_at) > SECONDS_BETWEEN_LINES:
            _say(
                f"step {done}/{steps}, loss {np.mean(losses[said_step - done :]):.4f}, "
                f"{(done - said_step) / elapsed:.2f} steps/s"
            )
            said_at, said_step = time.monotonic(), done
        if done % validate_every == 0 or done == steps:
            of_watched = landscapes(watched)
            f1 = max(
                scores_of(
                    of_watched,
                    watched,
                    threshold=threshold,
                    persistence=LOOK_PERSISTENCE,
                    threads=threads,
                )[IOUS[0]]["f1"]
                for threshold in LOOK_THRESHOLDS
            )
            looks.append(Look(done, float(np.mean(losses)), f1))
            if best_of(looks) == len(looks) - 1:
                best = {
                    name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
                    for name, tensor in net.state_dict().items()
                }
            _save_checkpoint(checkpoint, net, optimiser, best, looks=looks, fingerprint=fingerprint)
            _say(
                f"step {done}/{steps}, validation F1 {f1:.3f}, best {looks[best_of(looks)].f1:.3f}"
            )
            if is_settled(looks, patience):
                break
            losses, said_at, said_step = [], time.monotonic(), done

    _say("loss and validation F1\n" + table(looks))
    draw_curves(looks, curves)
    net.load_state_dict(best)
    judged = validation or held_out(CHOICE, N_CHOICE, dimensions=dimensions)
    of_judged = landscapes(judged)
    found = {
        (threshold, persistence): scores_of(
            of_judged, judged, threshold=threshold, persistence=persistence, threads=threads
        )
        for threshold in THRESHOLDS
        for persistence in PERSISTENCES
    }
    threshold, persistence = max(
        found, key=lambda pair: sum(of_iou["f1"] for of_iou in found[pair].values())
    )
    best_scores = found[threshold, persistence]
    _say(
        f"threshold {threshold} and persistence {persistence}: "
        + ", ".join(f"F1 {said['f1']:.3f} at IoU {iou}" for iou, said in best_scores.items())
    )
    model.save(
        net,
        out,
        channels=channels,
        nominal_diameter=nominal_diameter,
        window=window,
        threshold=threshold,
        persistence=persistence,
        training={
            "command": command,
            "precision": "bfloat16" if halved else "float32",
            "best_step": looks[best_of(looks)].step,
            **settings,
        },
        scores={
            "data": (
                f"{len(validation)} images of the split validation, not trained on, but by which "
                "weights, threshold and persistence were chosen"
                if validation
                else f"{N_CHOICE} synthetic images of edge {HELD_OUT_EDGE}, not trained on, but "
                "by which threshold and persistence were chosen"
            ),
            **{f"iou {iou}": said for iou, said in best_scores.items()},
        },
    )
    checkpoint.unlink(missing_ok=True)
