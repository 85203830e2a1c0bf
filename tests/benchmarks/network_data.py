"""The images on which networks are compared, and files of them for a method in another process.

Idea: every method is given the same. In 2D these are the DSB 2018 images, split by groups
(`dsb2018.py`); in 3D synthetic volumes, always the same ones, to train on and to choose by, and
real volumes to judge by. All are brought to one diameter of cells, the median of the true ones.

Mosaicell's own training does that by itself (`LabelledImage.scale`). For the other process
(`write`), images to train on and to choose by are brought to the model's grid here, and those to
judge by keep their own, with the scale beside them.

Limits: what the other process cannot draw anew for each patch, the size of cells, it is given in
the data: each image once as it is, and parts of it at other sizes.
"""

import json
import sys
from itertools import count, islice
from pathlib import Path

import dsb2018
import numpy as np
import tifffile
from scipy.ndimage import zoom

sys.path.insert(0, str(Path(__file__).parents[2] / "workflow"))

from mosaicell.augment import SCALES, Change, crop, read_at, source_positions
from mosaicell.dataset import LabelledImage, labelled
from mosaicell.synthetic.synthesis import synthesise

SEED = 1
N_SYNTHETIC = {"train": 160, "validation": 16}
SYNTHETIC_EDGE = 64
VOLUMES = {  # with voxel sizes (z, y, x) in um
    "gonuclear_nuclei_3d": (0.2837, 0.1268, 0.1268),
    "qcanet_mouse_embryo_3d": (1.75, 0.8, 0.8),
}
N_PARTS = 3  # of each image, at other sizes

Pictures = list[LabelledImage]


def data_of(data: Path, dimensions: int) -> tuple[Pictures, Pictures, dict[str, Pictures]]:
    """Images to train on, to choose by, and to judge by (by group or volume)."""
    if dimensions == 3:
        return synthetic("train"), synthetic("validation"), volumes(data)
    training, validation = (
        [picture for part in planes(data, split).values() for picture in part]
        for split in ("train", "validation")
    )
    return training, validation, planes(data, "held out")


def planes(data: Path, split: str) -> dict[str, Pictures]:
    """The DSB 2018 images of a split, by their group."""
    folder = data / "dsb2018_fluo_2d"
    index = dsb2018.grouped(folder)
    index = index[index["split"] == split]

    def read(kind: str, name: str) -> np.ndarray:
        return tifffile.imread(folder / kind / f"{name}.tif")[None]

    return {
        f"group {group}": [
            labelled(read("images", name), read("labels", name), dimensions=2)
            for name in part["id"]
        ]
        for group, part in index.groupby("group")
    }


def synthetic(split: str) -> Pictures:
    """The first volumes of `synthesis` in which there are cells, by a seed for each split."""
    kind = list(N_SYNTHETIC).index(split)
    drawn = (synthesise((kind, SEED, i), (SYNTHETIC_EDGE,) * 3) for i in count())
    with_cells = (volume for volume in drawn if volume[1].any())
    return [labelled(*volume, dimensions=3) for volume in islice(with_cells, N_SYNTHETIC[split])]


def volumes(data: Path) -> dict[str, Pictures]:
    """The real volumes, by their names."""
    found = {}
    for name, voxel_size in VOLUMES.items():
        image, labels = (
            tifffile.imread(next((data / name).glob(f"*_{kind}.tif")))
            for kind in ("image", "label")
        )
        found[name] = [labelled(image, labels, dimensions=3, voxel_size=voxel_size)]
    return found


def at_model_scale(
    picture: LabelledImage,
    nominal_diameter: float,
    *,
    size: float = 1.0,
    centre: tuple[float, float, float] | None = None,
    edge: int | None = None,
) -> dict[str, np.ndarray]:
    """Image and labels on the model's grid, cells `size` times the nominal one.

    The whole image, or a part of it around a centre.
    """
    scale = picture.scale(nominal_diameter)
    shape = tuple(
        max(1, round(n * s * size)) if n > 1 else 1
        for n, s in zip(picture.labels.shape, scale, strict=True)
    )
    if edge is not None:
        shape = tuple(min(n, edge) for n in shape)
    if centre is None:
        centre = tuple((n - 1) / 2 for n in picture.labels.shape)
    change = Change(scale=size)
    image, _ = crop(picture, change, shape=shape, centre=centre, nominal_diameter=nominal_diameter)
    positions = source_positions(change, shape=shape, centre=centre, scale=scale)
    labels = read_at(picture.labels, positions, order=0)
    return {"image": image, "labels": labels.astype(np.uint16)}


def on_own_grid(picture: LabelledImage, nominal_diameter: float) -> dict[str, np.ndarray]:
    """The image, smoothed where it will be made smaller, and its scale along each axis."""
    image, scale = picture.levels[0][1], np.array(picture.scale(nominal_diameter))
    if (scale < 1).any():
        small = at_model_scale(picture, nominal_diameter)["image"]
        larger = np.divide(image.shape, small.shape)
        image = zoom(small, larger, order=1, mode="nearest", grid_mode=True)
    return {"image": image, "scale": scale}


def write(
    folder: Path,
    images: tuple[Pictures, Pictures, dict[str, Pictures]],
    *,
    nominal_diameter: float,
    edge: int,
    batch: int,
) -> None:
    """What `network_stardist.py` reads: `train`, `validation`, `test` and `settings`.

    Parameters
    ----------
    folder : Path
    images : tuple
        See `data_of`.
    nominal_diameter : float
    edge : int
        Of a patch, in voxels of the model; what is smaller is mirrored that far.
    batch : int
    """
    training, validation, test = images
    dimensions = 2 if training[0].labels.shape[0] == 1 else 3
    rng = np.random.default_rng(SEED)

    def parts(picture: LabelledImage) -> list[dict[str, np.ndarray]]:
        drawn = [at_model_scale(picture, nominal_diameter)]
        for _ in range(N_PARTS):
            size = float(np.exp(rng.uniform(*np.log(SCALES))))
            centre = tuple(rng.choice(picture.centres))
            part = {"size": size, "centre": centre, "edge": 2 * edge}
            drawn.append(at_model_scale(picture, nominal_diameter, **part))
        return drawn

    def at_least(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        missing = [max(0, edge - n) if n > 1 else 0 for n in arrays["image"].shape]
        around = [(m // 2, m - m // 2) for m in missing]
        return {kind: np.pad(values, around, mode="symmetric") for kind, values in arrays.items()}

    def save(name: str, rows: list[dict[str, np.ndarray]]) -> None:
        planar = 3 - dimensions  # axes that StarDist does not see
        named = {
            f"{kind}_{i}": values[planar:] if values.ndim == 1 else values[(0,) * planar]
            for i, row in enumerate(rows)
            for kind, values in row.items()
        }
        np.savez(folder / f"{name}.npz", **named)

    save("train", [at_least(part) for picture in training for part in parts(picture)])
    save("validation", [at_least(at_model_scale(each, nominal_diameter)) for each in validation])
    every = [picture for pictures in test.values() for picture in pictures]
    save("test", [on_own_grid(picture, nominal_diameter) for picture in every])
    known = {"dimensions": dimensions, "edge": edge, "batch": batch, "seed": SEED}
    (folder / "settings.json").write_text(json.dumps(known), encoding="utf-8")
