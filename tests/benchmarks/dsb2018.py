"""A split of the DSB 2018 fluorescence images by group, and scores of a model per group.

Idea: many of the images are crops of the same fields, so a random split would judge a model on what
it has seen. Two images are of one group if they are of one size (pixels) and a chain of images
leads from one to the other in which neighbours differ by less than a factor of 2 ** `STEP` both in
background (median grey level outside of the nuclei, plus `DARK`) and in the median area of a
nucleus. Groups are numbered from the largest to the smallest; of each four the second is held out,
the fourth is for validation, and the others are trained on.

    python dsb2018.py split DATA SHEET       # a sheet for `train.data`
    python dsb2018.py score DATA MODEL       # F1 on the groups held out, each and together

DATA is a folder with `images/ID.tif`, `labels/ID.tif` and `index.csv` (id, height, width,
median_bg, nuc_median_area_px). A model is named as in `predict.model`. Each image is predicted
twice: as it is, and scaled by the median diameter of its true nuclei, as if the user gave that.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from scipy.cluster.hierarchy import fcluster, linkage

sys.path.insert(0, str(Path(__file__).parents[2] / "workflow"))

from mosaicell.choice import landscape_of
from mosaicell.dataset import labelled
from mosaicell.evaluate import match, scores
from mosaicell.model import load
from mosaicell.watershed import watershed

STEP, DARK = 0.15, 4.0  # octaves; grey levels
SPLITS = ("train", "held out", "train", "validation")
IOUS = (0.5, 0.75, 0.9)
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


def split(data: Path, sheet: Path) -> None:
    """Write the sheet, and say what is in it."""
    index = grouped(data)
    rows = index[index["split"] != "held out"]
    lines = [
        f"{data / 'images' / name}.tif\t{data / 'labels' / name}.tif\t{part}"
        for name, part in zip(rows["id"], rows["split"], strict=True)
    ]
    sheet.write_text("\n".join(["image\tlabels\tsplit", *lines]) + "\n", encoding="utf-8")
    print(index.groupby("split").agg(groups=("group", "nunique"), images=("id", "size")))


def score(data: Path, name: str, threads: int) -> None:
    """Print F1 of each group that was held out."""
    network, card = load(name)
    index = grouped(data)
    index = index[index["split"] == "held out"]
    counts = []
    for row in index.itertuples():
        image, truth = (
            tifffile.imread(data / folder / f"{row.id}.tif")[None]
            for folder in ("images", "labels")
        )
        for scaled in (False, True):
            picture = labelled(
                image,
                truth,
                dimensions=2,
                diameter=None if scaled else card["nominal_diameter"],
            )
            landscape = landscape_of(
                network,
                picture,
                nominal_diameter=card["nominal_diameter"],
                window=card["window"],
                threads=threads,
            )
            cells = watershed(landscape, **card["top_models"]["watershed"])
            for iou in IOUS:
                found = match(cells, truth, iou=iou)
                hits = [found[kind] for kind in KINDS]
                counts.append([row.group, row.height, row.width, scaled, iou, *hits])
    columns = ["group", "height", "width", "scaled", "iou", *KINDS]
    counts = pd.DataFrame(counts, columns=columns)
    _print(counts, ["group", "height", "width"])
    _print(counts.assign(group="all"), ["group"])


def _print(counts: pd.DataFrame, by: list[str]) -> None:
    f1 = counts.groupby([*by, "scaled", "iou"])[list(KINDS)].sum()
    f1 = f1.apply(lambda row: scores(*map(int, row))["f1"], axis=1).unstack(["scaled", "iou"])
    f1.columns = [f"{'scaled' if s else 'as is'} {iou}" for s, iou in f1.columns]
    images = counts.groupby(by).size() // (2 * len(IOUS))
    print(f1.assign(images=images).round(3).to_string())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["split", "score"])
    parser.add_argument("data", type=Path)
    parser.add_argument("other", help="the sheet to write, or the model")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    if given.what == "split":
        split(given.data, Path(given.other))
    else:
        score(given.data, given.other, given.threads)
