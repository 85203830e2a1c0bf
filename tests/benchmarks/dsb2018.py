"""A split of the DSB 2018 fluorescence images by group, and scores of a model per group.

Idea: many of the images are crops of the same fields, so a random split would judge a model on what
it has seen. Two images are of one group if they are of one size (pixels) and a chain of images
leads from one to the other in which neighbours differ by less than a factor of 2 ** `STEP` both in
background (median grey level outside of the nuclei, plus `DARK`) and in the median area of a
nucleus. Groups are numbered from the largest to the smallest; of each four the second is held out,
the fourth is for validation, and the others are trained on. When all settings have been chosen so,
a final training may see more: `--final` gives every second image of the groups for validation to
training, and the others still say which weights, threshold, persistence and least peak to take.
What is held out stays held out.

    python dsb2018.py split DATA SHEET       # a sheet for `train.data`
    python dsb2018.py split DATA SHEET --final
    python dsb2018.py score DATA MODEL       # F1 on the groups held out, each and together
    python dsb2018.py score DATA MODEL --split validation --min-size 20    # to choose that size
    python dsb2018.py scale DATA MODEL       # the same images at other scales

DATA is a folder with `images/ID.tif`, `labels/ID.tif` and `index.csv` (id, height, width,
median_bg, nuc_median_area_px). A model is named as in `predict.model`. Each image is predicted
three times: as it is; with the diameter that is estimated (`auto`); and with the median diameter of
its true nuclei, as if the user gave that. `scale` makes each image 0.5, 0.7, 1.5 and 2 times as
large first, and leaves out the true diameter.
"""

import argparse
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from scipy.cluster.hierarchy import fcluster, linkage

sys.path.insert(0, str(Path(__file__).parents[2] / "workflow"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from mosaicell.dataset import median_diameter
from mosaicell.evaluate import match, scores
from mosaicell.model import load
from scaled import cells_of, rescaled

STEP, DARK = 0.15, 4.0  # octaves; grey levels
SPLITS = ("train", "held out", "train", "validation")
IOUS = (0.5, 0.75, 0.9)
FACTORS = (0.5, 0.7, 1.0, 1.5, 2.0)
KINDS = ("true_positives", "false_positives", "false_negatives")


def grouped(data: Path) -> pd.DataFrame:
    """The index with the columns `group` and `split`."""
    index = pd.read_csv(data / "index.csv", dtype={"id": str}).sort_values("id", ignore_index=True)
    names = np.empty(len(index), object)
    for size, part in index.groupby(["height", "width"]):
        place = np.stack(
            [np.log2(part["median_bg"] + DARK), np.log2(part["nuc_median_area_px"])], -1
        )
        chain = fcluster(linkage(place, "single", metric="chebyshev"), STEP, "distance")
        names[part.index] = [(*size, number) for number in chain]
    index["name"] = names
    counts = index.groupby("name").agg(n=("id", "size"), first=("id", "min"))
    order = counts.sort_values(["n", "first"], ascending=[False, True]).index
    index["group"] = index["name"].map({name: number for number, name in enumerate(order)})
    index["split"] = [SPLITS[group % len(SPLITS)] for group in index["group"]]
    return index.drop(columns="name")


def split(data: Path, sheet: Path, *, final: bool) -> None:
    """Write the sheet, and say what is in it."""
    index = grouped(data)
    if final:
        chosen_by = index[index["split"] == "validation"].sort_values(["group", "id"])
        index.loc[chosen_by.index[1::2], "split"] = "train"
    rows = index[index["split"] != "held out"]
    lines = [
        f"{data / 'images' / name}.tif\t{data / 'labels' / name}.tif\t{part}"
        for name, part in zip(rows["id"], rows["split"], strict=True)
    ]
    sheet.write_text("\n".join(["image\tlabels\tsplit", *lines]) + "\n", encoding="utf-8")
    print(index.groupby("split").agg(groups=("group", "nunique"), images=("id", "size")))


def score(data: Path, name: str, **given) -> None:
    """Print F1 of each group of a split."""
    counts = []
    for row, image, truth, find in _images(data, name, **given):
        true = median_diameter(truth.astype(np.int32))
        for how, diameter in (("as is", None), ("auto", "auto"), ("true", true)):
            cells = find(image, diameter=diameter)
            counts += _counts([row.group, row.height, row.width, how], cells, truth)
    columns = ["group", "height", "width", "diameter", "iou", *KINDS]
    counts = pd.DataFrame(counts, columns=columns)
    _print(counts, ["group", "height", "width"])
    _print(counts.assign(group="all"), ["group"])


def scale(data: Path, name: str, **given) -> None:
    """Print F1 of all images of a split, at other scales."""
    counts = []
    for _, image, truth, find in _images(data, name, **given):
        for factor in FACTORS:
            seen, seen_truth = rescaled(image, truth, factor)
            for how in (None, "auto"):
                cells = find(seen, diameter=how)
                counts += _counts([factor, how or "as is"], cells, seen_truth)
    _print(pd.DataFrame(counts, columns=["factor", "diameter", "iou", *KINDS]), ["factor"])


def _images(data: Path, name: str, *, split: str, threads: int, min_size: int) -> Iterator[tuple]:
    """The row of the index, the image and the truth of all of a split; and what finds cells."""
    network, card = load(name)
    index = grouped(data)
    find = partial(cells_of, network=network, card=card, threads=threads, min_size=min_size)
    for row in index[index["split"] == split].itertuples():
        image, truth = (
            tifffile.imread(data / folder / f"{row.id}.tif")[None]
            for folder in ("images", "labels")
        )
        yield row, image, truth, find


def _counts(known: list, cells: np.ndarray, truth: np.ndarray) -> list[list]:
    found = [(iou, match(cells, truth, iou=iou)) for iou in IOUS]
    return [[*known, iou, *(counted[kind] for kind in KINDS)] for iou, counted in found]


def _print(counts: pd.DataFrame, by: list[str]) -> None:
    f1 = counts.groupby([*by, "diameter", "iou"])[list(KINDS)].sum()
    f1 = f1.apply(lambda row: scores(*map(int, row))["f1"], axis=1).unstack(["diameter", "iou"])
    n_ways = len(f1.columns)
    f1.columns = [f"{how} {iou}" for how, iou in f1.columns]
    images = counts.groupby(by).size() // n_ways
    print(f1.assign(images=images).round(3).to_string())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["split", "score", "scale"])
    parser.add_argument("data", type=Path)
    parser.add_argument("other", help="the sheet to write, or the model")
    parser.add_argument("--split", choices=sorted(set(SPLITS)), default="held out")
    parser.add_argument(
        "--min-size", type=int, default=0, help="smaller cells (pixels) are dropped"
    )
    parser.add_argument("--final", action="store_true", help="train on half of validation, too")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    if given.what == "split":
        split(given.data, Path(given.other), final=given.final)
    else:
        do = {"score": score, "scale": scale}[given.what]
        chosen = {"split": given.split, "min_size": given.min_size, "threads": given.threads}
        do(given.data, given.other, **chosen)
