"""How far a network is from what it learns: the losses of training.

Idea: all levels of a U-Net are asked (see `UNet.logits`), the coarser ones for the mean of the
target over their voxels; each counts half as much as the next finer one. Most voxels of most
volumes are background, so the others may weigh more. But then what is uncertain is taken for a
cell: around cells that are hard to see the distance falls more slowly than around others.
"""

import torch
from torch import Tensor, nn

MEAN = {4: nn.functional.avg_pool2d, 5: nn.functional.avg_pool3d}  # by axes of a batch


def distance_loss(logits: list[Tensor], target: Tensor, *, foreground_weight: float) -> Tensor:
    """Cross entropy and absolute error of the distance; target (b, 1, [z,] y, x).

    Cross entropy keeps a gradient where the sigmoid is flat; the absolute error keeps peaks and
    valleys sharp where the squared kind would average them.
    """
    total = torch.zeros((), device=target.device)
    for level, of_level in enumerate(logits):  # (b, 1, [z / 2^level,] y / 2^level, x / 2^level)
        if level:
            target = MEAN[target.ndim](target, 2)
        of_level = of_level.float()
        entropy = nn.functional.binary_cross_entropy_with_logits(of_level, target, reduction="none")
        error = (torch.sigmoid(of_level) - target).abs()
        weight = 1 + (foreground_weight - 1) * (target > 0)
        total = total + 0.5**level * ((entropy + error) * weight).sum() / weight.sum()
    return total


def class_loss(logits: list[Tensor], target: Tensor, *, foreground_weight: float) -> Tensor:
    """Weighted cross entropy of the classes; target (b, 1, [z,] y, x) holds their numbers.

    Neither of cell and border is favoured, or one would grow at the other's cost.
    """
    total = torch.zeros((), device=target.device)
    # Of background, cell and border.
    weights = torch.tensor([1.0, foreground_weight, foreground_weight], device=target.device)
    shares = nn.functional.one_hot(target[:, 0].long(), len(weights))  # (b, [z,] y, x, 3)
    shares = shares.movedim(-1, 1).float()  # (b, 3, [z,] y, x)
    for level, of_level in enumerate(logits):  # (b, 3, [z / 2^level,] y / 2^level, x / 2^level)
        if level:
            shares = MEAN[shares.ndim](shares, 2)
        entropy = nn.functional.cross_entropy(
            of_level.float(), shares, weight=weights, reduction="sum"
        )
        # The weight of all voxels, each by the classes that it is of.
        weight = (shares.movedim(1, -1) @ weights).sum()
        total = total + 0.5**level * entropy / weight
    return total


LOSSES = {"distance": distance_loss, "classes": class_loss}


def loss_of(
    said: dict[str, list[Tensor]], batch: dict[str, Tensor], *, foreground_weight: float
) -> Tensor:
    """The sum of the losses of all that a network learns.

    Parameters
    ----------
    said : dict
        Logits by target, as `by_target` of a network gives them.
    batch : dict
        Targets by name, on the same device.
    foreground_weight : float
        Weight of a voxel of a cell; one of the background weighs 1.
    """
    return sum(
        LOSSES[target](logits, batch[target], foreground_weight=foreground_weight)
        for target, logits in said.items()
    )
