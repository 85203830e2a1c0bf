"""Train a network: on labelled images, synthetic ones, or both, from random weights or a model's.

Idea: data without end. Each step sees crops or synthetic volumes that no step saw before; what is
drawn depends on the seed and the number of the volume alone, never on the number of workers.

1. Draw a batch (`volumes`).
2. Step: the losses of all that the network learns (`loss`), AdamW, a learning rate that warms up
   and then falls along a cosine, gradients of limited norm.
3. Look: every now and then F1 on images that are never trained on, predicted as `predict` does;
   a checkpoint (`checkpoint`), from which a killed training goes on. If F1 has not risen for long,
   stop. A training that starts from a model looks at that first, so it never gives a worse one.
4. Choose: of all the weights that were looked at the best, and for each top model the watershed's
   threshold, persistence and least peaks (`choice`). Save weights, card and curves.

Labelled images for steps 3 and 4 are those of the split `validation`; without labelled images,
steps 3 and 4 have synthetic volumes, each its own.

Limits: the numbers are the same for any number of workers and any interruption, but differ in
their last digits with the number of threads and the kind of machine, and in more of them where
it computes in bfloat16, which halves the time and is used where there are instructions for it.
A checkpoint of other settings, images or code is not continued but overwritten.
"""

import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from . import checkpoint, model
from .choice import IOUS, choose, landscape_of, look
from .curves import Look, best_of, draw_curves, table
from .dataset import LabelledImage
from .loss import loss_of
from .networks import NETWORKS, Network, giving
from .progress import Progress
from .unet import NORMALISATION
from .volumes import CHOICE, SYNTHETIC_EDGE, VALIDATION, TrainingVolumes, held_out

N_VALIDATION, N_CHOICE = 8, 32  # synthetic volumes
# Share of the steps after which batch normalisation keeps its constants: a batch is so small that
# its own mean tells the network of the volume, which no later prediction will.
FREEZE_AT = 0.1
# Of a second network, whose input changes as long as the first one learns the rough of it. With 0.1
# for both, short trainings gave no classes at all.
FREEZE_TOP_AT = 0.5


def learning_rate(step: int, *, steps: int, peak: float) -> float:
    """Warm up over the first twentieth of the steps, then fall to 0 along a cosine.

    I. Loshchilov, F. Hutter: SGDR (2017), arXiv 1608.03983.
    """
    warm_up = max(1, steps // 20)
    if step < warm_up:
        return peak * (step + 1) / warm_up
    progress = (step - warm_up) / max(1, steps - warm_up)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))


def computes_bfloat16(device: torch.device) -> bool:
    """Whether the machine has instructions for it; without them it would be slower, not faster."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def freeze_normalisation(net: Network) -> None:
    """Let batch normalisation use the constants it has, from now until `net.train()`."""
    for module in net.modules():
        if isinstance(module, NORMALISATION[net.dimensions]):
            module.eval()


def is_settled(looks: list[Look], patience: int | None) -> bool:
    """Whether F1 has not risen in the last `patience` looks; None waits for ever."""
    return bool(looks) and patience is not None and len(looks) - 1 - best_of(looks) >= patience


def untrained(task: str, *, channels: tuple[int, ...], dimensions: int) -> Network:
    """A network with random weights.

    The second network of `distance_three_class` has half the channels: a distance is simpler than
    an image, and so the chain takes a quarter more work than the first network alone.
    """
    top = {"top_channels": [max(1, n // 2) for n in channels]}
    return NETWORKS[task](
        channels=channels, dimensions=dimensions, **top if task == "distance_three_class" else {}
    )


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def _check(*, channels: tuple[int, ...], edge: int, window: int) -> None:
    """Refuse what would fail after hours (ValueError)."""
    stride = 2 ** (len(channels) - 1)
    for name, value in (("edge", edge), ("window", window)):
        if value % stride:
            raise ValueError(
                f"train.{name} is {value}, and train.channels has {len(channels)} levels; allowed "
                f"is a multiple of {stride}: choose another {name} or fewer levels"
            )


def train(
    *,
    out: Path,
    curves: Path,
    training: list[LabelledImage],
    validation: list[LabelledImage],
    data: str | None,
    synthetic_share: float,
    task: str,
    start_from: str | None,
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
    foreground_weight: float,
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
    task : str
        What is learned: `distance`, `three_class` or `distance_three_class`, see `networks`.
    start_from : str or None
        Name or path of a model whose weights are the first ones; None takes random ones.
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
    foreground_weight : float
        Of a voxel of a cell in the loss; one of the background weighs 1.
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
        If settings do not fit each other, or the model that is started from.

    Notes
    -----
    I. Loshchilov, F. Hutter: Decoupled weight decay regularization (2019), arXiv 1711.05101.
    """
    _check(channels=channels, edge=edge, window=window)
    channels = list(channels)
    of_network = {"task": task, "dimensions": dimensions, "channels": channels}
    of_network |= {"nominal_diameter": nominal_diameter, "rim": rim}
    settings = {
        "data": data,
        "images": {"train": len(training), "validation": len(validation)},
        "content": {
            "train": checkpoint.content_of(training),
            "validation": checkpoint.content_of(validation),
        },
        "synthetic_share": synthetic_share if training else 1.0,
        "start_from": None,
        **of_network,
        "steps": steps,
        "seed": seed,
        "batch": batch,
        "edge": edge,
        "peak_learning_rate": peak_learning_rate,
        "weight_decay": weight_decay,
        "foreground_weight": foreground_weight,
        "validate_every": validate_every,
        "patience": patience,
        "window": window,
    }

    # The network, on its device, with the weights that it starts from.
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    if start_from is None:
        net = untrained(task, channels=channels, dimensions=dimensions)
    else:
        net, card = model.load(start_from)
        model.kept(card, of_network)
        settings["start_from"] = {"name": card["name"], "sha256": card["sha256"]}
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    halved = computes_bfloat16(device)
    net.to(device, memory_format=net.memory_format)
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=peak_learning_rate, weight_decay=weight_decay
    )

    # What an earlier run has left.
    out.parent.mkdir(parents=True, exist_ok=True)
    saved = out.with_suffix(".checkpoint")
    fingerprint = checkpoint.fingerprint_of(settings)
    best, looks = {}, []
    if saved.exists():
        found = checkpoint.load(saved, net, optimiser, fingerprint=fingerprint)
        if found is None:
            _say(f"{saved} is of other settings, images or code: training begins anew")
        else:
            best, looks = found
    first = looks[-1].step if looks else 0

    # Data: to train on, to look at, and to choose by.
    volumes = TrainingVolumes(
        images=training,
        synthetic_share=synthetic_share,
        seed=seed,
        first=first * batch,
        last=(first if is_settled(looks, patience) else steps) * batch,
        edge=edge,
        dimensions=dimensions,
        nominal_diameter=nominal_diameter,
        targets=net.targets,
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
    top_models = model.TOP_MODELS[task]

    def landscapes(top_model: str, pictures: list[LabelledImage]) -> list[np.ndarray]:
        part = giving(net, top_model).eval()
        found = [
            landscape_of(
                part, picture, nominal_diameter=nominal_diameter, window=window, threads=threads
            )
            for picture in pictures
        ]
        torch.set_num_threads(threads)  # `predict` computes with one
        return found

    def look_at(step: int, loss: float | None) -> None:
        """Add a look, and keep the weights if it is the best one. The last top model counts."""
        nonlocal best
        found = landscapes(top_models[-1], watched)
        f1 = look(found, watched, top_model=top_models[-1], threads=threads)
        looks.append(Look(step, loss, f1))
        if best_of(looks) == len(looks) - 1:
            best = checkpoint.weights_of(net)
        _say(f"step {step}/{steps}, validation F1 {f1:.3f}, best {looks[best_of(looks)].f1:.3f}")

    if start_from is not None and not looks:
        look_at(0, None)
    progress = Progress(f"train {out.stem}", steps, "steps")
    progress.skip(first)
    losses = []
    for step, volumes_of_step in enumerate(loader, first):  # each (b, 1, [z,] y, x)
        net.train()
        if step >= FREEZE_AT * steps:
            freeze_normalisation(giving(net, top_models[0]))
        if step >= FREEZE_TOP_AT * steps:
            freeze_normalisation(net)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps=steps, peak=peak_learning_rate)
        of_step = {name: volume.to(device) for name, volume in volumes_of_step.items()}
        image = of_step["image"].contiguous(memory_format=net.memory_format)
        with torch.autocast(device.type, torch.bfloat16, enabled=halved):
            said = net.by_target(image)
        loss = loss_of(said, of_step, foreground_weight=foreground_weight)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())

        done = step + 1
        seen = f", best F1 {looks[best_of(looks)].f1:.3f}" if looks else ""
        progress.advance(note=f"loss {np.mean(losses):.4f}{seen}")
        if done % validate_every == 0 or done == steps:
            look_at(done, float(np.mean(losses)))
            checkpoint.save(saved, net, optimiser, best, looks=looks, fingerprint=fingerprint)
            if is_settled(looks, patience):
                break
            losses = []

    _say("loss and validation F1\n" + table(looks))
    draw_curves(looks, curves)
    net.load_state_dict(best)
    judged = validation or held_out(CHOICE, N_CHOICE, dimensions=dimensions)
    chosen, scores = {}, {}
    for top_model in top_models:
        chosen[top_model], of_iou = choose(
            landscapes(top_model, judged),
            judged,
            top_model=top_model,
            # Real images are unlike synthetic ones, and a network is less sure of them.
            cautious=not validation,
            threads=threads,
        )
        scores[top_model] = {f"iou {iou}": said for iou, said in of_iou.items()}
        _say(
            f"{top_model}: "
            + ", ".join(f"{name} {value}" for name, value in chosen[top_model].items())
            + ": "
            + ", ".join(f"F1 {of_iou[iou]['f1']:.3f} at IoU {iou}" for iou in IOUS)
        )
    model.save(
        net,
        out,
        nominal_diameter=nominal_diameter,
        window=window,
        top_models=chosen,
        training={
            "command": command,
            "precision": "bfloat16" if halved else "float32",
            "best_step": looks[best_of(looks)].step,
            **settings,
        },
        scores={
            "data": (
                f"{len(validation)} images of the split validation, not trained on, but by which "
                "weights, threshold, persistence and least peaks were chosen"
                if validation
                else f"{N_CHOICE} synthetic images of edge {SYNTHETIC_EDGE}, not trained on, but "
                "by which threshold, persistence and least peaks were chosen"
            ),
            **scores,
        },
    )
    saved.unlink(missing_ok=True)
