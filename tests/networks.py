"""Networks as other people bring them: files and folders that tests write."""

import hashlib
import json
import warnings
from pathlib import Path

import torch

from mosaicell.unet import NORMALISATION, UNet

EDGE = 64  # of the example that a network is exported with
HEIGHTS = {"threshold": 0.4, "persistence": 0.1}


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


def hash_of(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def card_of(path: Path, dimensions: int, **fields) -> Path:
    """Write the card of a file with a network of `lively`; `...` takes a field out."""
    card = {
        "axes": "bc" + "zyx"[-dimensions:],
        "stride": 4,
        "halo": 24,
        "window": 32,
        "normalisation": {"by": "limits", "clip": [0, 1.5]},
        "landscape": {},
        "top_models": {"watershed": HEIGHTS},
        "sha256": hash_of(path),
    } | fields
    beside = path.with_suffix(".json")
    beside.write_text(json.dumps({k: v for k, v in card.items() if v is not ...}))
    return path


def zoo_folder(folder: Path, network: torch.nn.Module, dimensions: int, *, version: str) -> dict:
    """The weights of a BioImage.IO model and a plain description of them, which is not written."""
    folder.mkdir(exist_ok=True)
    edge = EDGE if dimensions == 2 else 32
    weights = traced(network, folder / "weights.pt", 1, 1, *[edge] * dimensions)
    said = {
        "type": "model",
        "name": "a model of the zoo",
        "description": "for tests",
        "authors": [{"name": "Nobody"}],
        "cite": [{"text": "none", "url": "https://example.com"}],
        "license": "MIT",
        "documentation": "README.md",
        "timestamp": "2026-01-01T00:00:00",
        "config": {"mosaicell": {"top_models": {"watershed": HEIGHTS}}},
        "weights": {
            "torchscript": {
                "source": "weights.pt",
                "sha256": hash_of(weights),
                "pytorch_version": "2.13",
            }
        },
    }
    (folder / "README.md").write_text("# A model\n\n## Validation\nnone\n")
    if version == "0.4":
        axes = "bc" + "zyx"[-dimensions:]
        same = [1, 1, *[1] * dimensions], [0] * (2 + dimensions)
        return said | {
            "format_version": "0.4.10",
            "test_inputs": ["in.npy"],
            "test_outputs": ["out.npy"],
            "inputs": [
                {
                    "name": "raw",
                    "axes": axes,
                    "data_type": "float32",
                    "shape": {"min": [1, 1, *[48] * dimensions], "step": [0, 0, *[4] * dimensions]},
                    "preprocessing": [
                        {
                            "name": "scale_range",
                            "kwargs": {
                                "axes": axes[2:],
                                "mode": "per_sample",
                                "min_percentile": 1,
                                "max_percentile": 99.8,
                            },
                        }
                    ],
                }
            ],
            "outputs": [
                {
                    "name": "distance",
                    "axes": axes,
                    "data_type": "float32",
                    "shape": {"reference_tensor": "raw", "scale": same[0], "offset": same[1]},
                    "halo": [0, 0, *[22] * dimensions],
                }
            ],
        }
    space = [{"type": "space", "id": axis} for axis in "zyx"[-dimensions:]]
    first = [{"type": "batch"}, {"type": "channel", "channel_names": ["it"]}]
    sizes = {"size": {"min": 48, "step": 4}}
    return said | {
        "format_version": "0.5.3",
        "inputs": [
            {
                "id": "raw",
                "axes": [*first, *[axis | sizes for axis in space]],
                "data": {"type": "float32"},
                "test_tensor": {"source": "in.npy"},
                "preprocessing": [
                    {
                        "id": "scale_range",
                        "kwargs": {
                            "axes": [axis["id"] for axis in space],
                            "min_percentile": 1,
                            "max_percentile": 99.8,
                        },
                    }
                ],
            }
        ],
        "outputs": [
            {
                "id": "distance",
                "axes": [
                    *first,
                    *[
                        axis | {"size": {"tensor_id": "raw", "axis_id": axis["id"]}, "halo": 22}
                        for axis in space
                    ],
                ],
                "data": {"type": "float32"},
                "test_tensor": {"source": "out.npy"},
            }
        ],
    }
