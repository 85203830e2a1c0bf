"""docs/synthetic.md: synthetic volumes beside real ones, chosen by a rule and not by eye.

1. Bring crops of the demo's images to the scale that `nuclei-3d` knows, as `predict` does.
2. Describe each crop and the first `N_VOLUMES` synthetic volumes by numbers: quantiles of their
   brightness, and how much brightness changes over 1 to 8 voxels along z and x.
3. Draw each real crop beside the synthetic volumes nearest to it in these numbers, and the first
   synthetic volumes as they come, with outlines. Say whether real crops lie outside of what is
   synthetic: no farther from it than synthetic volumes lie from each other.

    python synthetic_gallery.py docs/synthetic.md
"""

import sys
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from skimage.segmentation import find_boundaries

sys.path.insert(0, str(Path(__file__).parents[2] / "workflow"))

from mosaicell import intensity
from mosaicell.predict import choose_level, ideal_scale
from mosaicell.pyramid import halve, level_factors
from mosaicell.resample import interpolate, positions
from mosaicell.synthetic.shapes import NOMINAL_DIAMETER
from mosaicell.synthetic.synthesis import synthesise

EDGE = 36  # voxels of the model: as many as the smallest real image has
N_VOLUMES, N_NEAREST = 400, 4
ROWS, COLUMNS = 5, 6
ZOOM, GAP = 3, 4
DATA = Path(__file__).parents[2] / "config/demo/data"
# Voxel size and diameter (um) as in config/demo/samples.tsv; corners of the crops (model voxels).
REAL = {
    "ovule": (DATA / "gonuclear/image.tif", (0.2837, 0.1268, 0.1268), 4.1, [(0, 0, 0), (46, 0, 0)]),
    "brain": (DATA / "lightsheet/ch0", (5.0, 2.0, 2.0), 14.0, [(36, 144, 144), (0, 108, 72)]),
}
TEXT = """# Synthetic nuclei

`nuclei-3d` was trained on volumes like these and on no real image. A volume is drawn at random,
from shapes to camera: `shapes.py`, `light.py` and `microscope.py` in
`workflow/mosaicell/synthetic/`. In training each is then brought to the model's scale and changed
once more, as labelled images are (`augment.py`). This page is made by `make docs/synthetic.md`.

## The first volumes, as they come

Of each volume ({edge} voxels wide) a plane in y and x, below it one in z and x; on the right with
outlines of the nuclei that the network is to find. Some can hardly be seen: it is to learn how sure
it may be, too. An outline goes where people draw it: at some level of brightness, which is farther
out around a bright nucleus than around a dim one, and along z, where light is blurred most. What is
much fainter than the rest has none.

![{n_first} synthetic volumes](synthetic/first.png)

## Beside real images

On the left real crops, brought to the scale of the model: twice the plant ovule of the demo, twice
the mouse brain. Right of each, the {n_nearest} of {n_volumes} synthetic volumes that are most like
it by brightness and by how that changes over 1 to 8 voxels. They need not have nuclei in the same
places, nor as many.

![real crops and the synthetic volumes nearest to them](synthetic/nearest.png)

From a synthetic volume to the nearest other one it is less than {median:.2f} for half of them, and
less than {far:.2f} for 95 %. From the crops it is: {distances}. Nothing here has the branches of
the brain's cells, nor planes that lie four voxels apart and differ in brightness by steps.
"""


def real_crops() -> list[tuple[str, np.ndarray]]:
    """Crops at the model's scale, as `predict` would read them; with their names.

    Each is normalised by itself, as the synthetic volumes are.
    """
    crops = []
    for name, (path, voxel_size, diameter, corners) in REAL.items():
        files = sorted(path.glob("*.tif")) if path.is_dir() else [path]
        image = np.squeeze(np.stack([tifffile.imread(file) for file in files]))
        scale = ideal_scale(voxel_size, diameter, NOMINAL_DIAMETER)
        levels = level_factors(image.shape, voxel_size, largest_top=16)
        factors = levels[choose_level(levels, scale)]
        image = halve(image.astype(np.float32), factors)
        for corner in corners:
            at = [
                positions(a, a + EDGE, s * f, n)
                for a, s, f, n in zip(corner, scale, factors, image.shape, strict=True)
            ]
            crops.append((name, normalised(interpolate(image, *at))))
    return crops


def normalised(image: np.ndarray) -> np.ndarray:
    low, high = intensity.limits(intensity.histogram(image), image.dtype)
    return intensity.normalise(image, low, high)


def synthetic(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A synthetic volume, normalised, and its labels."""
    image, labels = synthesise(seed, (EDGE,) * 3)
    return normalised(image), labels


def description(image: np.ndarray) -> np.ndarray:
    """Numbers that are alike for images that look alike, (18,)."""
    changes = []
    for axis in (0, 2):
        lines = np.moveaxis(image, axis, 0)
        changes += [np.log(np.std(lines[n:] - lines[:-n]) + 0.01) for n in (1, 2, 4, 8)]
    return np.r_[np.quantile(image, np.linspace(0.05, 0.95, 10)), changes]


def panel(image: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
    """The middle planes of a volume, one above the other; with labels outlined on the right."""
    grey = np.concatenate([image[EDGE // 2], image[:, EDGE // 2]])
    grey = np.kron(np.round(255 * np.clip(grey, 0, 1) ** 0.7), np.ones((ZOOM, ZOOM)))
    seen = np.repeat(grey.astype(np.uint8)[..., None], 3, 2)
    if labels is not None:
        cut = np.concatenate([labels[EDGE // 2], labels[:, EDGE // 2]])
        lines = find_boundaries(np.kron(cut, np.ones((ZOOM, ZOOM), int)), mode="inner")
        outlined = seen.copy()
        outlined[lines] = (46, 230, 150)
        seen = np.concatenate([seen, outlined], 1)
    return np.pad(seen, ((0, GAP), (0, GAP), (0, 0)), constant_values=255)


def write(rows: list[list[np.ndarray]], path: Path) -> None:
    """Rows of panels as one picture of 64 colours."""
    picture = np.concatenate([np.concatenate(row, 1) for row in rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).quantize(64).save(path, optimize=True)


def main(page: Path) -> None:
    pictures = page.with_suffix("")
    volumes = [synthetic(seed) for seed in range(N_VOLUMES)]
    first = [panel(*volume) for volume in volumes[: ROWS * COLUMNS]]
    write([first[i : i + COLUMNS] for i in range(0, len(first), COLUMNS)], pictures / "first.png")

    known = np.stack([description(image) for image, _ in volumes])
    spread = known.std(0)
    away = np.linalg.norm((known[:, None] - known) / spread, axis=2)
    nearest_other = np.sort(away, 1)[:, 1]
    rows, distances = [], []
    for name, crop in real_crops():
        away = np.linalg.norm((known - description(crop)) / spread, axis=1)
        order = np.argsort(away)[:N_NEAREST]
        white = np.full_like(panel(crop)[:, : 4 * GAP], 255)
        rows.append([panel(crop), white, *(panel(*volumes[i]) for i in order)])
        distances.append(f"{name} {away[order[0]]:.2f}")
    write(rows, pictures / "nearest.png")
    page.write_text(
        TEXT.format(
            edge=EDGE,
            n_first=len(first),
            n_nearest=N_NEAREST,
            n_volumes=N_VOLUMES,
            median=np.median(nearest_other),
            far=np.quantile(nearest_other, 0.95),
            distances=", ".join(distances),
        ),
        encoding="utf-8",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
