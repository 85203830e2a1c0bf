"""A network made elsewhere as `predict` wants it: windows in, the landscape of their cores out.

Idea: whatever the order of its axes and the meaning of its outputs, what is asked of a network is
one number in [0, 1] for each voxel of a core. Windows lie on one global grid of the volume and
each is computed alone, one in a batch, so tiles and jobs cannot change a result, whatever the
network does inside of a window.

1. The window, core and halo, is widened at its far ends to a size that the network takes, by
   repeating its last voxels, and its axes are brought into the network's order.
2. The network runs, and its output is brought back: one channel, or the difference of two.
3. The values that the card says become 0 and 1, the rest is cut off, and so is the halo.

Windows fit together without seams only if nothing beyond the halo matters to the core. This is
tried when a network is loaded: two windows that differ beyond the halo alone must give the same
core, to `TOLERANCE`. A network that normalises by its window (instance or group normalisation), or
looks at all of it, cannot; its card may say `sees_beyond_halo`, and then its windows (not: tiles)
may be seen in the landscape, always at the same places.

Limits: a trial on noise finds what reaches beyond the halo by more than `TOLERANCE`, no less.
"""

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

from .archive import open_archive

# Of the landscape's range: less than what makes or breaks a cell.
TOLERANCE = 0.01
SEED = 0  # of the noise on which a network is tried


class Foreign(nn.Module):
    """A network with a card.

    Parameters
    ----------
    module : Module
        Takes and gives tensors as the card says.
    about : dict
        The card, see `card.complete`.

    Attributes
    ----------
    dimensions, stride, halo, memory_format
        As those of `unet.UNet`.
    """

    def __init__(self, module: nn.Module, about: dict):
        super().__init__()
        self.module, self.about = module, about
        self.dimensions = about["architecture"]["dimensions"]
        self.stride, self.halo = about["stride"], about["halo"]
        self.memory_format = torch.contiguous_format

    def core(self, x: Tensor) -> Tensor:
        """Predict the cores of windows.

        Parameters
        ----------
        x : Tensor of float32, shape (batch, 1, z + 2 halo, y + 2 halo, x + 2 halo)
            In 2D without z, here and below.

        Returns
        -------
        Tensor of float32, shape (batch, 1, z, y, x), in [0, 1]

        Raises
        ------
        ValueError
            If the network cannot take such a window, or its output is not what the card says.
        """
        return torch.stack([self._core(window) for window in x])

    def _core(self, window: Tensor) -> Tensor:
        """(1, [z,] y, x) with halo to the same without."""
        edges = window.shape[1:]
        taken = [
            _fitting(edge, *pair) for edge, pair in zip(edges, self.about["sizes"], strict=True)
        ]
        for axis, (edge, wide) in enumerate(zip(edges, taken, strict=True), start=1):
            at = torch.arange(wide, device=window.device).clamp(max=edge - 1)
            window = window.index_select(axis, at)
        landscape = self._landscape(self._run(window))
        lost = {wide - got for wide, got in zip(taken, landscape.shape, strict=True)}
        if len(lost) > 1 or not 0 <= (cut := lost.pop()) <= 2 * self.halo or cut % 2:
            raise self._unlike(
                f"gave {tuple(landscape.shape)} voxels for {tuple(taken)}",
                "the same number, or fewer by an equal part of the halo on all sides",
            )
        first = self.halo - cut // 2
        return landscape[tuple(slice(first, first + edge - 2 * self.halo) for edge in edges)][None]

    def _run(self, window: Tensor) -> Tensor:
        """(1, [z,] y, x) to all channels of the output, (c, [z,] y, x)."""
        spatial, said = "zyx"[-self.dimensions :], self.about["landscape"]
        x = window.expand(self.about["channels"], *window.shape[1:])
        x = _ordered(x, "c" + spatial, self.about["axes"]).contiguous()
        # Optimised by what it has seen, TorchScript would round the first windows otherwise.
        with torch.jit.optimized_execution(False):
            try:
                outputs = self.module(x)
            except (RuntimeError, AssertionError) as error:
                reason = str(error).strip().rpartition("\n")[2]
                raise self._unlike(
                    f"failed on a window of shape {tuple(x.shape)} ({reason})",
                    "a window as its card says, see axes, channels, sizes and window there",
                ) from error
        alone = isinstance(outputs, Tensor)
        try:
            output = (outputs,)[said["output"]] if alone else outputs[said["output"]]
        except (IndexError, KeyError, TypeError) as error:
            raise self._unlike(f"has no output {said['output']!r}", "one that it gives") from error
        if not isinstance(output, Tensor) or output.ndim != len(said["axes"]):
            raise self._unlike(
                f"gave {getattr(output, 'ndim', 'no')} axes in output {said['output']!r}",
                f"as many as landscape.axes has, {len(said['axes'])}",
            )
        return _ordered(output, said["axes"], "c" + spatial).float()

    def _landscape(self, output: Tensor) -> Tensor:
        """(c, [z,] y, x) to ([z,] y, x) in [0, 1]."""
        said = self.about["landscape"]
        if said["activation"] == "sigmoid":
            output = torch.sigmoid(output)
        elif said["activation"] == "softmax":
            output = torch.softmax(output, 0)
        if max(said["channel"], said["minus"] or 0) >= output.shape[0]:
            raise self._unlike(
                f"gave {output.shape[0]} channels", "more of them than the card's landscape names"
            )
        values = output[said["channel"]]
        if said["minus"] is not None:
            values = values - output[said["minus"]]
        values = (values - said["zero"]) / (said["one"] - said["zero"])
        if values.isnan().any():
            raise self._unlike("gave values that are no numbers (NaN)", "a number for each voxel")
        return values.clamp(0, 1)

    def _unlike(self, came: str, allowed: str) -> ValueError:
        return ValueError(
            f"the network {self.about['name']} {came}; allowed is {allowed}: correct its card"
        )


def _fitting(edge: int, least: int, step: int) -> int:
    """The smallest edge that a network takes and that holds `edge`."""
    if step == 0 or edge <= least:
        return least
    return least + -(-(edge - least) // step) * step


def _ordered(x: Tensor, given: str, wanted: str) -> Tensor:
    """Bring axes into another order. One that is not wanted has one element; a new one gets one."""
    for axis in set(given) - set(wanted):
        x = x.select(given.index(axis), 0)
        given = given.replace(axis, "")
    for axis in set(wanted) - set(given):
        x = x.unsqueeze(-1)
        given += axis
    return x.permute([given.index(axis) for axis in wanted])


def beyond_halo(network: Foreign) -> float:
    """How much of the landscape's range what lies beyond the halo changes in a core, at most.

    Two windows of noise are computed whose cores of one stride and halos are the same.
    """
    halo, stride = network.halo, network.stride
    edges = [
        _fitting(2 * halo + 3 * stride, *pair) for pair in network.about["sizes"]
    ]  # a stride before the halo, at least one after
    noise = torch.rand((1, 1, *edges), generator=torch.Generator().manual_seed(SEED))
    known = (..., *[slice(stride, 2 * (halo + stride))] * network.dimensions)
    low, high = network.about["normalisation"]["becomes"]
    cores = []
    for beyond in (torch.zeros_like(noise), 1 - noise):
        beyond[known] = noise[known]
        cores.append(network.core(low + (high - low) * beyond))
    inner = (..., *[slice(stride, 2 * stride)] * network.dimensions)
    return float((cores[0][inner] - cores[1][inner]).abs().max())


def load(path: Path, about: dict) -> Foreign:
    """A network made elsewhere, ready to predict on the CPU.

    Parameters
    ----------
    path : Path
        The TorchScript (`.pt`) or torch.export (`.pt2`) file.
    about : dict
        Its card, see `card.complete`.

    Raises
    ------
    ValueError
        If the file is not the one that the card describes, could run Python when it is opened,
        does not do what the card says, or looks beyond its halo and the card does not say so.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != about["weights_sha256"]:
        raise ValueError(
            f"the network {path} has the SHA-256 {found}; allowed is what its card says, "
            f"{about['weights_sha256']}: copy the file that the card describes"
        )
    network = Foreign(open_archive(path), about)
    with torch.inference_mode():
        change = beyond_halo(network)
    if change > TOLERANCE and not about["sees_beyond_halo"]:
        raise ValueError(
            f"the network {about['name']} looks farther than its halo of {network.halo} voxels: "
            f"what lies beyond changes {change:.2g} of the landscape's range; allowed is "
            f"{TOLERANCE}: raise halo, or say sees_beyond_halo = true and accept that borders of "
            "windows may show"
        )
    return network
