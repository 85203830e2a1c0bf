"""Volumes that a network is trained on, without end, and synthetic images to judge it by.

Idea: volume number i follows from the seed of the training and from i alone, so neither the number
of workers nor an interruption changes it. It is a changed crop (`augment`) of a labelled image or
of a volume of `synthesis`, which is normalised and brought to the model's scale as a real image is:
a network then meets synthetic cells as it will meet real ones.

Limits: a synthetic volume ends at its border: what would touch it there from outside is not known
to its targets.
"""

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .augment import augmented
from .dataset import LabelledImage, labelled
from .synthetic.shapes import MAX_RADIUS, NOMINAL_DIAMETER
from .synthetic.synthesis import synthesise

SYNTHETIC_EDGE = 64  # voxels, of a synthetic volume; that of a crop if it is larger
TRAINING, VALIDATION, CHOICE = 0, 1, 2  # the first number of a volume's seed: never shared


def _synthetic(seed, *, edge: int, dimensions: int) -> LabelledImage:
    """A cube of synthetic nuclei; in 2D the middle plane of a slab."""
    if dimensions == 3:
        image, labels = synthesise(seed, (edge,) * 3)
    else:
        half = round(MAX_RADIUS)
        image, labels = synthesise(seed, (2 * half + 1, edge, edge))
        image, labels = image[half : half + 1], labels[half : half + 1]
    # Where no nucleus lies, there is none to measure.
    diameter = None if labels.any() else NOMINAL_DIAMETER
    return labelled(image, labels, dimensions=dimensions, diameter=diameter)


class TrainingVolumes(Dataset):
    """Volume number i of a training: `image` and targets, each float32 of shape (1, [z,] y, x).

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
    targets : tuple of str
        What is to be learned, of `distance` and `classes`.
    rim : float
        See `train.train`.
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
        targets: tuple[str, ...],
        rim: float,
    ):
        self.images, self.synthetic_share, self.seed = images, synthetic_share, seed
        self.first, self.last, self.edge = first, last, edge
        self.dimensions, self.nominal_diameter = dimensions, nominal_diameter
        self.targets, self.rim = targets, rim

    def __len__(self) -> int:
        return self.last - self.first

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        seed = (TRAINING, self.seed, self.first + index)
        rng = np.random.default_rng((*seed, 2))
        if self.images and rng.random() >= self.synthetic_share:
            picture = self.images[rng.integers(len(self.images))]
        else:
            edge = max(self.edge, SYNTHETIC_EDGE)
            picture = _synthetic(seed, edge=edge, dimensions=self.dimensions)
        volumes = np.stack(
            augmented(
                picture,
                seed=(*seed, 3),
                shape=(1,) * (3 - self.dimensions) + (self.edge,) * self.dimensions,
                nominal_diameter=self.nominal_diameter,
                targets=self.targets,
            )
        )
        tensors = torch.from_numpy(volumes)
        tensors = tensors.reshape(len(volumes), 1, *volumes.shape[-self.dimensions :])
        volume = dict(zip(("image", *self.targets), tensors, strict=True))
        if "distance" in volume:
            distance = volume["distance"]
            volume["distance"] = torch.where(distance > 0, self.rim + (1 - self.rim) * distance, 0)
        return volume


def held_out(kind: int, n: int, *, dimensions: int) -> list[LabelledImage]:
    """Synthetic images that no training sees, whatever its seed."""
    return [_synthetic((kind, i), edge=SYNTHETIC_EDGE, dimensions=dimensions) for i in range(n)]
