"""Train the U-Net on synthetic volumes to predict the normalised distance transform.

Idea: data without end. Each step sees volumes that no step saw before, so there is nothing to
memorise and nothing to augment beyond turning; what is drawn depends on the seed and the number
of the volume alone, never on the number of workers.

1. Draw: `synthesis.synthesise`, brightness normalised by its own histogram, as for a real image;
   the target is the normalised distance of its labels.
2. Step: cross entropy and absolute error, AdamW, a learning rate that warms up and then falls
   along a cosine, gradients of limited norm.
3. Look: every now and then F1 on volumes that are never trained on; a checkpoint, from which a
   killed training goes on.
4. Choose: the watershed's threshold and persistence that give the best F1 on other volumes that
   are never trained on. Save weights and card.

Limits: the numbers are the same for any number of workers and any interruption, but differ in
their last digits with the number of threads and the kind of machine, and in more of them where
it computes in bfloat16, which halves the time and is used where there are instructions for it.
A checkpoint of other settings or another code is not continued but overwritten.
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
from .distance import normalised_distance
from .evaluate import match, scores
from .synthesis import NOMINAL_DIAMETER, synthesise
from .unet import UNet
from .watershed import watershed

EDGE = 48  # voxels, of a training volume
HELD_OUT_EDGE = 64
TRAINING, VALIDATION, CHOICE = 0, 1, 2  # the first number of a volume's seed: never shared
N_VALIDATION, N_CHOICE = 8, 32  # volumes
# Share of the steps after which batch normalisation keeps its constants: a batch is so small that
# its own mean tells the network of the volume, which no later prediction will.
FREEZE_AT = 0.1
FOREGROUND_WEIGHT = 3.0  # most voxels of most volumes are background
THRESHOLD, PERSISTENCE = 0.2, 0.1  # while training; the final ones are chosen
THRESHOLDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
PERSISTENCES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
SECONDS_BETWEEN_LINES = 5.0


def _normalised(image: np.ndarray) -> np.ndarray:
    low, high = intensity.limits(intensity.histogram(image), image.dtype)
    return intensity.normalise(image, low, high)


class SyntheticVolumes(Dataset):
    """Volume number i of a training: image and target, each float32 of shape (1, z, y, x)."""

    def __init__(self, *, seed: int, first: int, last: int):
        self.seed, self.first, self.last = seed, first, last

    def __len__(self) -> int:
        return self.last - self.first

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        seed = (TRAINING, self.seed, self.first + index)
        image, labels = synthesise(seed, (EDGE,) * 3)
        volumes = np.stack([_normalised(image), normalised_distance(labels)])
        # Blur is strongest along z, so z stays z.
        rng = np.random.default_rng((*seed, 1))
        volumes = np.rot90(volumes, rng.integers(4), axes=(2, 3))
        volumes = np.flip(volumes, 1 + np.flatnonzero(rng.random(3) < 0.5))
        image, target = torch.from_numpy(np.ascontiguousarray(volumes))
        return image[None], target[None]


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
    """Cross entropy and absolute error, foreground weighted up; target (b, 1, z, y, x).

    Cross entropy keeps a gradient where the sigmoid is flat; the absolute error keeps peaks and
    valleys sharp where the squared kind would average them. Coarser levels learn the mean of the
    target over their voxels, and count half as much as the next finer level.
    """
    total = torch.zeros((), device=target.device)
    for level, of_level in enumerate(logits):  # (b, 1, z / 2^level, y / 2^level, x / 2^level)
        if level:
            target = nn.functional.avg_pool3d(target, 2)
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
        if isinstance(module, nn.BatchNorm3d):
            module.eval()


def predict_volume(net: UNet, image: np.ndarray) -> np.ndarray:
    """The landscape of a normalised volume, reflected at its borders, float32 (z, y, x)."""
    padded = np.pad(image, net.halo, mode="reflect")
    device = next(net.parameters()).device
    with torch.inference_mode():
        return net.core(torch.from_numpy(padded)[None, None].to(device))[0, 0].cpu().numpy()


def held_out(kind: int, n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Normalised images and labels of volumes that no training sees, whatever its seed."""
    volumes = (synthesise((kind, i), (HELD_OUT_EDGE,) * 3) for i in range(n))
    return [(_normalised(image), labels) for image, labels in volumes]


def f1_of(landscapes, truths, *, threshold: float, persistence: float, threads: int) -> dict:
    """Scores at IoU 0.5 of the watershed of many volumes, their cells counted together."""
    counts = np.zeros(3, int)
    for landscape, truth in zip(landscapes, truths, strict=True):
        labels = watershed(landscape, threshold=threshold, persistence=persistence, threads=threads)
        found = match(labels, truth)
        counts += [found[k] for k in ("true_positives", "false_positives", "false_negatives")]
    return scores(*counts.tolist())


def _fingerprint(settings: dict) -> str:
    """Names all that the state after a number of steps follows from: settings and code."""
    here = Path(__file__).parent
    code = [here / f"{name}.py" for name in ("distance", "intensity", "synthesis", "train", "unet")]
    text = json.dumps(settings, sort_keys=True).encode()
    return hashlib.sha256(text + b"".join(path.read_bytes() for path in code)).hexdigest()


def _save_checkpoint(path: Path, net: UNet, optimiser, *, step: int, fingerprint: str) -> None:
    tensors = {f"net.{name}": tensor.contiguous() for name, tensor in net.state_dict().items()}
    for i, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{i}.{name}": t.contiguous() for name, t in state.items()}
    part = path.with_name(path.name + ".part")
    part.write_bytes(serialised(tensors, {"step": str(step), "fingerprint": fingerprint}))
    part.replace(path)  # a kill leaves the old checkpoint or the new one, never half of one


def _load_checkpoint(path: Path, net: UNet, optimiser, *, fingerprint: str) -> int:
    """Bring network and optimiser to where a checkpoint was taken; the steps done by then."""
    if not path.exists():
        return 0
    with safe_open(path, "pt") as file:
        if file.metadata()["fingerprint"] != fingerprint:
            _say(f"{path} is of other settings or another code: training begins anew")
            return 0
        step = int(file.metadata()["step"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    state = {}
    for name, tensor in tensors.items():
        if name.startswith("optimiser."):
            _, i, key = name.split(".")
            state.setdefault(int(i), {})[key] = tensor
    net.load_state_dict({k[4:]: v for k, v in tensors.items() if k.startswith("net.")})
    optimiser.load_state_dict(optimiser.state_dict() | {"state": state})
    _say(f"training goes on from {path}, step {step}")
    return step


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def train(
    *,
    out: Path,
    steps: int,
    seed: int,
    channels: tuple[int, ...],
    batch: int,
    peak_learning_rate: float,
    weight_decay: float,
    validate_every: int,
    window: int,
    workers: int,
    threads: int,
    command: str,
) -> None:
    """Train a model on synthetic nuclei and save it with its card.

    Parameters
    ----------
    out : Path
        The weight file, `NAME.safetensors`; the card `NAME.json` goes beside it, and so does
        `NAME.checkpoint` until the training is complete.
    steps : int
        Optimiser steps.
    seed : int
        Of the weights and of all training volumes.
    channels : sequence of int
        Of the U-Net's levels, finest first.
    batch : int
        Volumes of 48^3 voxels per step.
    peak_learning_rate, weight_decay : float
        Of AdamW.
    validate_every : int
        Steps between two checkpoints; each comes with a validation.
    window : int
        Edge of the core of the windows in which the model will predict, in voxels.
    workers : int
        Processes that draw volumes ahead; the result does not depend on it.
    threads : int
        Threads of the CPU that compute; with a GPU they only segment for the validation.
    command : str
        How a user repeats the training, for the card.

    Notes
    -----
    I. Loshchilov, F. Hutter: Decoupled weight decay regularization (2019), arXiv 1711.05101.
    """
    settings = {
        "steps": steps,
        "seed": seed,
        "channels": list(channels),
        "batch": batch,
        "peak_learning_rate": peak_learning_rate,
        "weight_decay": weight_decay,
        "validate_every": validate_every,
    }
    fingerprint = _fingerprint(settings)
    out.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = out.with_suffix(".checkpoint")
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    halved = _computes_bfloat16(device)
    net = UNet(channels=tuple(channels)).to(device, memory_format=torch.channels_last_3d)
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=peak_learning_rate, weight_decay=weight_decay
    )
    first = _load_checkpoint(checkpoint, net, optimiser, fingerprint=fingerprint)
    volumes = SyntheticVolumes(seed=seed, first=first * batch, last=steps * batch)
    loader = DataLoader(
        volumes,
        batch_size=batch,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        multiprocessing_context="fork" if workers else None,
    )
    validation = held_out(VALIDATION, N_VALIDATION)

    losses, said_at, said_step = [], time.monotonic(), first
    for step, (image, target) in enumerate(loader, first):  # (b, 1, z, y, x) each
        net.train()
        if step >= FREEZE_AT * steps:
            freeze_normalisation(net)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps=steps, peak=peak_learning_rate)
        image = image.to(device).contiguous(memory_format=torch.channels_last_3d)
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
                f"step {done}/{steps}, loss {np.mean(losses):.4f}, "
                f"{(done - said_step) / elapsed:.2f} steps/s"
            )
            losses, said_at, said_step = [], time.monotonic(), done
        if done % validate_every == 0 and done < steps:
            _save_checkpoint(checkpoint, net, optimiser, step=done, fingerprint=fingerprint)
            net.eval()
            f1 = f1_of(
                [predict_volume(net, image) for image, _ in validation],
                [labels for _, labels in validation],
                threshold=THRESHOLD,
                persistence=PERSISTENCE,
                threads=threads,
            )["f1"]
            _say(f"step {done}/{steps}, validation F1 {f1:.3f}")
            said_at, said_step = time.monotonic(), done

    net.eval()
    choice = held_out(CHOICE, N_CHOICE)
    landscapes = [predict_volume(net, image) for image, _ in choice]
    truths = [labels for _, labels in choice]
    found = {
        (threshold, persistence): f1_of(
            landscapes, truths, threshold=threshold, persistence=persistence, threads=threads
        )
        for threshold in THRESHOLDS
        for persistence in PERSISTENCES
    }
    threshold, persistence = max(found, key=lambda pair: found[pair]["f1"])
    best = found[threshold, persistence]
    _say(f"F1 {best['f1']:.3f} with threshold {threshold} and persistence {persistence}")
    model.save(
        net,
        out,
        channels=channels,
        nominal_diameter=NOMINAL_DIAMETER,
        window=window,
        threshold=threshold,
        persistence=persistence,
        training={
            "command": command,
            "data": "synthetic nuclei",
            "edge": EDGE,
            "precision": "bfloat16" if halved else "float32",
            **settings,
        },
        scores={
            "data": f"{N_CHOICE} synthetic volumes of {HELD_OUT_EDGE}^3 voxels, not trained on",
            "iou": 0.5,
            **best,
        },
    )
    checkpoint.unlink(missing_ok=True)
