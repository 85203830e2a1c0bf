"""Volumes that a network is trained on, without end, and synthetic images to judge it by.

Idea: volume number i follows from the seed of the training and from i alone, so neither the number
of workers nor an interruption changes it. It is a changed crop of a labelled image (`augment`), or
a volume of `synthesis`, turned, and normalised by its own histogram as a real image would be.

Limits: a synthetic volume ends at its border: what would touch it there from outside is not known
to its targets.
"""

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from . import intensity
from .augment import augmented
from .classes import classes_of
from .dataset import LabelledImage, labelled
from .distance import normalised_distance
from .synthetic.shapes import MAX_RADIUS, NOMINAL_DIAMETER
from .synthetic.synthesis import synthesise

HELD_OUT_EDGE = 64  # voxels, of a synthetic volume that is not trained on
TRAINING, VALIDATION, CHOICE = 0, 1, 2  # the first number of a volume's seed: never shared
MIRRORED = 0.25  # share of the synthetic volumes, per axis, in which the image ends
TARGETS = {"distance": normalised_distance, "classes": classes_of}


def _normalised(image: np.ndarray) -> np.ndarray:
    low, high = intensity.limits(intensity.histogram(image), image.dtype)
    return intensity.normalise(image, low, high)


def _synthetic(seed, edge: int, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Image and labels of a cube; in 2D of the middle plane of a slab, (1, y, x)."""
    if dimensions == 3:
        return synthesise(seed, (edge,) * 3)
    half = round(MAX_RADIUS)
    image, labels = synthesise(seed, (2 * half + 1, edge, edge))
    return image[half : half + 1], labels[half : half + 1]


def _as_of_a_larger_image(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """A normalised volume as it would be in an image that has brighter and darker places, too."""
    if rng.random() < 0.5:
        image = image * np.float32(np.exp(rng.uniform(np.log(0.3), 0.2)))
    if rng.random() < 0.3:
        image = image + np.float32(rng.uniform(0, 0.2))
    return np.minimum(image, np.float32(intensity.BRIGHTEST))


def _mirrored(rng: np.random.Generator, volumes: np.ndarray) -> np.ndarray:
    """Let the image end inside of the volume, (n, z, y, x), as `predict` goes on beyond its ends.

    A nucleus that the image cuts is seen with its mirror image, which no other volume shows.
    """
    for axis in (1, 2, 3):
        n = volumes.shape[axis]
        if n > 1 and rng.random() < MIRRORED:
            at = n - int(rng.integers(1, n // 2))  # voxels of the image along this axis
            there = np.r_[:at, at - 2 : 2 * at - n - 2 : -1]
            volumes = volumes.take(there, axis)
    return volumes


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
            shape = (1,) * (3 - self.dimensions) + (self.edge,) * self.dimensions
            picture = self.images[rng.integers(len(self.images))]
            volumes = np.stack(
                augmented(
                    picture,
                    seed=(*seed, 3),
                    shape=shape,
                    nominal_diameter=self.nominal_diameter,
                    targets=self.targets,
                )
            )
        else:
            volumes = self._turned(seed)
        tensors = torch.from_numpy(volumes.copy())  # flipped, it may have negative strides
        tensors = tensors.reshape(len(volumes), 1, *volumes.shape[-self.dimensions :])
        volume = dict(zip(("image", *self.targets), tensors, strict=True))
        if "distance" in volume:
            distance = volume["distance"]
            volume["distance"] = torch.where(distance > 0, self.rim + (1 - self.rim) * distance, 0)
        return volume

    def _turned(self, seed) -> np.ndarray:
        """A synthetic image and targets, (n, z, y, x). Blur is strongest along z: it stays z."""
        image, labels = _synthetic(seed, self.edge, self.dimensions)
        targets = [TARGETS[name](labels).astype(np.float32) for name in self.targets]
        rng = np.random.default_rng((*seed, 1))
        image = _as_of_a_larger_image(rng, _normalised(image))
        volumes = _mirrored(rng, np.stack([image, *targets]))
        volumes = np.rot90(volumes, rng.integers(4), axes=(2, 3))
        return np.flip(volumes, 1 + np.flatnonzero(rng.random(3) < 0.5))


def held_out(kind: int, n: int, *, dimensions: int) -> list[LabelledImage]:
    """Synthetic images that no training sees, whatever its seed."""
    return [
        labelled(
            *_synthetic((kind, i), HELD_OUT_EDGE, dimensions),
            dimensions=dimensions,
            diameter=NOMINAL_DIAMETER,
        )
        for i in range(n)
    ]
