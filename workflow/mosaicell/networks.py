"""The networks of the three tasks: image to distance, to classes, or to classes by the distance.

Idea: every network ends in one landscape, so that whatever follows need not know which it was.

* `distance`: `unet.UNet`. The predicted distance is the landscape (top model `watershed`).
* `three_class`: a U-Net from the image to background, cell and border. The landscape is
  P(cell) - P(border), clipped at 0 (top model `three_class`).
* `distance_three_class`: a U-Net to the distance, and a second one from the predicted distance to
  the classes, trained together: what tells cells apart must then be in the distance. It has both
  top models; for `watershed` the first network is enough.

A chain of two networks looks as far as both together: the core of the first one is the second
one's window.

       halo 1   halo 2     core     halo 2   halo 1
    |rrrrrrrrr|rrrrrrrr|wwwwwwwwww|rrrrrrrr|rrrrrrrrr|
"""

import torch
from torch import Tensor, nn

from .unet import UNet


class ThreeClass(UNet):
    """A U-Net that tells background, cell and border; see `classes`."""

    task = "three_class"
    targets = ("classes",)
    n_outputs = 3

    def landscape(self, logits: Tensor) -> Tensor:
        _, cell, border = torch.softmax(logits, 1).split(1, 1)  # (b, 1, [z,] y, x) each
        return (cell - border).clamp(min=0)


class DistanceThreeClass(nn.Module):
    """Two U-Nets in a row: image to distance, distance to classes.

    Parameters
    ----------
    channels, top_channels : sequence of int
        Of the levels of the first and the second network; as many of each.
    dimensions : 2 or 3

    Attributes
    ----------
    architecture, stride, halo, memory_format
        See `UNet`; the halo is that of both together.

    Notes
    -----
    W. Zamora-Cardenas et al. (2021), arXiv 2106.05843.
    """

    task = "distance_three_class"
    targets = ("distance", "classes")

    def __init__(
        self, *, channels: tuple[int, ...], top_channels: tuple[int, ...], dimensions: int = 3
    ):
        super().__init__()
        self.distance = UNet(channels=channels, dimensions=dimensions)
        self.classes = ThreeClass(channels=top_channels, dimensions=dimensions)
        self.architecture = self.distance.architecture | {"top_channels": list(top_channels)}
        self.dimensions, self.stride = dimensions, self.distance.stride
        self.memory_format = self.distance.memory_format
        self.halo = self.distance.halo + self.classes.halo

    def by_target(self, x: Tensor) -> dict[str, list[Tensor]]:
        distance = self.distance.logits(x)
        # The second network is to learn from what it will be given, which has full precision.
        given = self.distance.landscape(distance[0].float())
        return {"distance": distance, "classes": self.classes.logits(given)}

    def forward(self, x: Tensor) -> Tensor:
        return self.classes(self.distance(x))

    def core(self, x: Tensor) -> Tensor:
        return self.classes.core(self.distance.core(x))


Network = UNet | DistanceThreeClass
NETWORKS = {network.task: network for network in (UNet, ThreeClass, DistanceThreeClass)}


def giving(network: Network, top_model: str) -> Network:
    """What of a network is needed for the landscape of one of its top models."""
    if top_model == "watershed" and isinstance(network, DistanceThreeClass):
        return network.distance
    return network
