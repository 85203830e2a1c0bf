"""The network: a U-Net in 2D or 3D whose receptive field is known.

Idea: what the network says of a voxel depends on the voxels around it up to a known distance and
on nothing else, so a volume may be predicted window by window. Therefore batch normalisation,
whose constants are fixed after training, and never instance or group normalisation, which would
look at the whole window.

1. Down: at each level two convolutions of 3^d (d = 2 or 3 dimensions), each with batch
   normalisation and ReLU; maximum pooling of 2^d leads to the next level.
2. Up: a convolution of 1^d brings the coarser level to this level's channels, its voxels are
   repeated 2^d times and joined with what this level knew on the way down; two convolutions.
3. A convolution of 1^d and a sigmoid: one number in [0, 1] per voxel. In training, the coarser
   levels give theirs too, or they would learn late to see more than the finest level sees.

A window must start at a multiple of `stride` on the global grid, as pooling pairs voxels, and
holds its core and a `halo` on all sides:

       halo      core      halo
    |rrrrrrrr|wwwwwwwwwwww|rrrrrrrr|

`UNet.core` computes the core alone and leaves out, on the way up, what does not reach it.

Limits: convolutions pad with zeros, so the outermost `halo` voxels of `forward` differ from what
a larger window would give.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}
NORMALISATION = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
POOLING = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
# In this order of memory, convolutions on a CPU take two thirds of the time.
MEMORY_FORMAT = {2: torch.channels_last, 3: torch.channels_last_3d}
N_CONVOLUTIONS = 2  # of 3^d, at each level on each way: each reaches one voxel further


def _block(n_in: int, n_out: int, dimensions: int) -> nn.Sequential:
    layers = []
    for n in (n_in, *[n_out] * (N_CONVOLUTIONS - 1)):
        layers += [
            CONVOLUTION[dimensions](n, n_out, 3, padding=1, bias=False),
            # A batch holds few volumes: a slow average gives steadier constants.
            NORMALISATION[dimensions](n_out, momentum=0.02),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def _needed(first: int, last: int, n_levels: int) -> tuple[int, int]:
    """First and last input voxel that the outputs `first` to `last` of a level depend on."""
    first, last = first - N_CONVOLUTIONS, last + N_CONVOLUTIONS
    if n_levels == 1:
        return first, last
    below = _needed(first // 2, last // 2, n_levels - 1)
    first, last = min(first, 2 * below[0]), max(last, 2 * below[1] + 1)
    return first - N_CONVOLUTIONS, last + N_CONVOLUTIONS


def receptive_radius(n_levels: int) -> int:
    """How far from a voxel its prediction looks, at most, in voxels.

    It differs with the position of the voxel in its pooling cell, so all positions are tried.
    """
    reach = 0
    for position in range(2 ** (n_levels - 1)):
        first, last = _needed(position, position, n_levels)
        reach = max(reach, position - first, last - position)
    return reach


def _cropped(features: Tensor, margin: int) -> Tensor:
    inner = slice(margin, -margin or None)
    return features[(..., *[inner] * (features.ndim - 2))]


class UNet(nn.Module):
    """A U-Net that predicts the normalised distance: one channel in [0, 1].

    Parameters
    ----------
    channels : sequence of int
        Number of feature channels at each level, finest first.
    dimensions : 2 or 3
        2 for a network that knows single planes: its tensors have no axis z.

    Attributes
    ----------
    architecture : dict
        With which the same network is made again.
    stride : int
        Windows start at multiples of it (voxels) and their edges are multiples of it.
    halo : int
        The receptive field's radius, rounded up to a multiple of `stride` (voxels).
    memory_format : torch.memory_format
        In which it is fastest.

    Notes
    -----
    After O. Ronneberger, P. Fischer, T. Brox: U-Net (2015), arXiv 1505.04597, and O. Cicek et
    al.: 3D U-Net (2016), arXiv 1606.06650.
    """

    task = "distance"
    targets = ("distance",)  # that it learns
    n_outputs = 1

    def __init__(self, *, channels: tuple[int, ...] = (16, 32, 64), dimensions: int = 3):
        super().__init__()
        self.architecture = {"channels": list(channels), "dimensions": dimensions}
        self.dimensions = dimensions
        self.memory_format = MEMORY_FORMAT[dimensions]
        self.stride = 2 ** (len(channels) - 1)
        self.halo = -(-receptive_radius(len(channels)) // self.stride) * self.stride
        self.pool = POOLING[dimensions](2)
        self.repeat = nn.Upsample(scale_factor=2, mode="nearest")
        pairs = list(pairwise(channels))
        self.down = nn.ModuleList(
            _block(n_in, n_out, dimensions) for n_in, n_out in [(1, channels[0]), *pairs]
        )
        convolution = CONVOLUTION[dimensions]
        self.narrow = nn.ModuleList(convolution(coarse, fine, 1) for fine, coarse in pairs)
        self.up = nn.ModuleList(_block(2 * fine, fine, dimensions) for fine, _ in pairs)
        self.heads = nn.ModuleList(convolution(n, self.n_outputs, 1) for n in channels)
        for module in self.modules():
            if isinstance(module, convolution):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def _features(self, x: Tensor, crops: list[int]) -> list[Tensor]:
        """What each level knows at last, finest first; level i loses `crops[i]` on all sides."""
        skips = []
        for level, block in enumerate(self.down):
            x = block(self.pool(x) if level else x)  # (b, channels[level], [z,] y, x)
            skips.append(_cropped(x, crops[level]))
        x = skips.pop()
        features = [x]
        for narrow, block in zip(reversed(self.narrow), reversed(self.up), strict=True):
            skip = skips.pop()
            x = self.repeat(narrow(x))
            # A level is cropped to an even width, which may be more than the finer one needs.
            x = _cropped(x, (x.shape[-1] - skip.shape[-1]) // 2)
            x = block(torch.cat([skip, x], 1))
            features.append(x)
        return features[::-1]

    def logits(self, x: Tensor) -> list[Tensor]:
        """What each level says before `landscape`, finest first: for training.

        Level i has a voxel per 2^i voxels along each axis; the first one is what `forward` gives.
        Deep supervision after C.-Y. Lee et al. (2015), arXiv 1409.5185.
        """
        features = self._features(x, [0] * len(self.down))
        return [head(x) for head, x in zip(self.heads, features, strict=True)]

    def by_target(self, x: Tensor) -> dict[str, list[Tensor]]:
        """The logits that learn each of `targets`."""
        return {self.targets[0]: self.logits(x)}

    def landscape(self, logits: Tensor) -> Tensor:
        """The finest level's logits as one number in [0, 1] per voxel, (batch, 1, [z,] y, x)."""
        return torch.sigmoid(logits)

    def forward(self, x: Tensor) -> Tensor:
        """Predict whole windows.

        Parameters
        ----------
        x : Tensor of float32, shape (batch, 1, z, y, x), in 2D (batch, 1, y, x)
            Normalised brightness; edges are multiples of `stride`.

        Returns
        -------
        Tensor of float32, same shape, in [0, 1]
            Not to be relied on within `halo` voxels of the border.
        """
        return self.landscape(self.heads[0](self._features(x, [0] * len(self.down))[0]))

    def core(self, x: Tensor) -> Tensor:
        """Predict the cores of windows: `forward` without the halo, and cheaper than that.

        Parameters
        ----------
        x : Tensor of float32, shape (batch, 1, z + 2 halo, y + 2 halo, x + 2 halo)
            In 2D without z, here and below.

        Returns
        -------
        Tensor of float32, shape (batch, 1, z, y, x), in [0, 1]
        """
        margin, crops = 0, []
        for level in range(len(self.down) - 1):
            # What the convolutions on the way up need around the core, in voxels of this level,
            # rounded up to whole voxels of the next.
            margin += N_CONVOLUTIONS
            margin += margin % 2
            crops.append((self.halo >> level) - margin)
            margin //= 2
        crops.append((self.halo >> len(self.down) - 1) - margin)
        finest = _cropped(self._features(x, crops)[0], self.halo - crops[0])
        return self.landscape(self.heads[0](finest))
