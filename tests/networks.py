"""Networks as other people bring them: files and folders that tests write."""

import hashlib
import json
import warnings
from pathlib import Path

import torch

from mosaicell.unet import NORMALISATION, UNet

EDGE = 64  # of the example that a network is exported with


def lively(dimensions: int, seed: int = 0) -> UNet:
    """A small U-Net with random weights whose output varies over its range."""
    torch.manual_seed(seed)
    network = UNet(channels=(4, 6, 8), dimensions=dimensions)
    example = torch.rand(1, 1, *[32] * dimensions)
    for module in network.modules():
        if isinstance(module, NORMALISATION[dimensions]):
            module.momentum = 1.0  # its constants become those of the example
    with torch.no_grad():
        network(example)
        network.eval()
        network.heads[0].weight.div_(network.logits(example)[0].std())
    return network


def traced(network: torch.nn.Module, path: Path, *shape: int) -> Path:
    """Write a network as TorchScript."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch advises to export, and tells what tracing fixes
        torch.jit.trace(network, torch.rand(shape)).save(str(path))
    return path


def exported(network: torch.nn.Module, path: Path, *shape: int, stride: int | None = 4) -> Path:
    """Write a network with torch.export, for edges that are multiples of `stride`, or for one."""
    sizes = None
    if stride:
        axes = range(2, len(shape))
        sizes = ({i: stride * torch.export.Dim(f"n{i}", min=2, max=512) for i in axes},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(network, (torch.rand(shape),), dynamic_shapes=sizes)
        torch.export.save(program, path)
    return path


def card_of(path: Path, dimensions: int, **fields) -> Path:
    """Write the card of a file with a network of `lively`; `...` takes a field out."""
    card = {
        "axes": "bc" + "zyx"[-dimensions:],
        "stride": 4,
        "halo": 24,
        "window": 32,
        "normalisation": {"by": "limits", "clip": [0, 1.5]},
        "landscape": {},
        "top_models": {"watershed": {"threshold": 0.4, "persistence": 0.1}},
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    } | fields
    beside = path.with_suffix(".json")
    beside.write_text(json.dumps({k: v for k, v in card.items() if v is not ...}))
    return path
