"""Checkpoints: all that a killed training needs to go on as if nothing had been.

Idea: weights, best weights, the optimiser's state and the looks so far are one safetensors file,
named by a fingerprint of all that they follow from: settings, images and code. A checkpoint of
another fingerprint is not continued.
"""

import hashlib
import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save as serialised
from torch import Tensor

from .curves import Look
from .dataset import LabelledImage
from .networks import Network

# On which weights depend; the watershed gives the same cells whatever its code.
CODE = ("augment", "choice", "classes", "dataset", "distance", "evaluate", "fields", "intensity")
CODE += ("loss", "networks", "predict", "pyramid", "resample", "synthetic/light")
CODE += (
    "synthetic/microscope",
    "synthetic/shapes",
    "synthetic/synthesis",
    "train",
    "unet",
    "volumes",
)


def content_of(pictures: list[LabelledImage]) -> str:
    """SHA-256 (hex) of all that training takes from labelled images."""
    seen = hashlib.sha256()
    for picture in pictures:
        _, image = picture.levels[0]
        known = [image.shape, picture.voxel_size, picture.diameter]
        seen.update(json.dumps(known).encode() + image.tobytes() + picture.labels.tobytes())
    return seen.hexdigest()


def fingerprint_of(settings: dict) -> str:
    """Names all that the state after a number of steps follows from: settings, images, code."""
    here = Path(__file__).parent
    code = [here / f"{name}.py" for name in CODE]
    text = json.dumps(settings, sort_keys=True).encode()
    return hashlib.sha256(text + b"".join(path.read_bytes() for path in code)).hexdigest()


def weights_of(net: Network) -> dict[str, Tensor]:
    """A copy of a network's weights on the CPU."""
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in net.state_dict().items()
    }


def save(
    path: Path,
    net: Network,
    optimiser: torch.optim.Optimizer,
    best: dict[str, Tensor],
    *,
    looks: list[Look],
    fingerprint: str,
) -> None:
    """Write a checkpoint: a kill leaves the old one or the new one, never half of one."""
    tensors = {f"net.{name}": tensor.contiguous() for name, tensor in net.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    for i, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{i}.{name}": t.contiguous() for name, t in state.items()}
    part = path.with_name(path.name + ".part")
    part.write_bytes(serialised(tensors, {"looks": json.dumps(looks), "fingerprint": fingerprint}))
    part.replace(path)


def load(
    path: Path, net: Network, optimiser: torch.optim.Optimizer, *, fingerprint: str
) -> tuple[dict[str, Tensor], list[Look]] | None:
    """Bring network and optimiser to where a checkpoint was taken.

    Returns
    -------
    best, looks
        The best weights and the looks so far; None if the checkpoint is of another fingerprint.
    """
    with safe_open(path, "pt") as file:
        if file.metadata()["fingerprint"] != fingerprint:
            return None
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
    return parts["best"], looks
