"""Prints the scores of the samples in this folder's sheet as README.md shows them.

A row for each sample, and at the end one for each source of images and way to know the diameter:
the cells of all its images together.
"""

import csv
import json
from collections import Counter
from pathlib import Path

from mosaicell.evaluate import scores

ROOT = Path(__file__).parents[3]
KINDS = ("true_positives", "false_positives", "false_negatives")
IOUS = ("0.5", "0.7")
HEAD = (
    "| image | diameter | F1 | precision | recall | found | missed | invented | F1 at IoU 0.7 |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    with (Path(__file__).parent / "samples.tsv").open(encoding="utf-8") as sheet:
        samples = list(csv.DictReader(sheet, delimiter="\t"))
    print(HEAD)
    of_sources: dict[tuple[str, str], Counter[str]] = {}
    for row in samples:
        path = ROOT / "results/nuclei_3d" / row["sample"] / "scores.json"
        said = json.loads(path.read_text(encoding="utf-8"))
        counts = {name: said[name] for iou in IOUS for name in _names(iou)}
        image, _, way = row["sample"].rpartition("_")
        print(_line(image, "`auto`" if way == "auto" else f"{row['diameter']} um", counts))
        of_sources.setdefault((image.partition("_")[0], way), Counter()).update(counts)
    for (source, way), counts in of_sources.items():
        print(_line(f"**all of {source}**", "`auto`" if way == "auto" else way, counts))


def _names(iou: str) -> list[str]:
    return [f"{kind}_{iou}" for kind in KINDS]


def _line(image: str, diameter: str, counts: dict[str, int]) -> str:
    (found, invented, missed), more = ([counts[name] for name in _names(iou)] for iou in IOUS)
    said = scores(found, invented, missed)
    shares = [said["f1"], said["precision"], said["recall"]]
    cells = [image, diameter, *(f"{share:.2f}" for share in shares), found, missed, invented]
    return f"| {' | '.join(map(str, cells))} | {scores(*more)['f1']:.2f} |"


if __name__ == "__main__":
    main()
