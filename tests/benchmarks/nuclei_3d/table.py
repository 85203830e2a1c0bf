"""Prints the scores of the samples in this folder's sheet as README.md shows them.

A row for each sample, and at the end one for each source of images and way to know the diameter:
the cells of all its images together.
"""

import csv
import json
from pathlib import Path

from mosaicell.evaluate import scores

ROOT = Path(__file__).parents[3]
COUNTS = ("true_positives", "false_positives", "false_negatives")
COLUMNS = ("image", "diameter", "F1", "precision", "recall", "found", "missed", "invented")


def main() -> None:
    with (Path(__file__).parent / "samples.tsv").open(encoding="utf-8") as sheet:
        samples = list(csv.DictReader(sheet, delimiter="\t"))
    print("| " + " | ".join([*COLUMNS, "F1 at IoU 0.7"]) + " |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    of_sources: dict[tuple[str, str], dict[str, list[int]]] = {}
    for row in samples:
        path = ROOT / "results/nuclei_3d" / row["sample"] / "scores.json"
        said = json.loads(path.read_text(encoding="utf-8"))
        counts = {iou: [said[f"{kind}_{iou}"] for kind in COUNTS] for iou in ("0.5", "0.7")}
        image = row["sample"].rpartition("_")[0]
        is_auto = row["diameter"] == "auto"
        print(_line(image, "`auto`" if is_auto else f"{row['diameter']} um", counts))
        source = image.partition("_")[0], "`auto`" if is_auto else "given"
        before = of_sources.setdefault(source, {iou: [0] * len(COUNTS) for iou in counts})
        of_sources[source] = {
            iou: [a + b for a, b in zip(before[iou], counts[iou], strict=True)] for iou in counts
        }
    for (source, diameter), counts in of_sources.items():
        print(_line(f"**all of {source}**", diameter, counts))


def _line(image: str, diameter: str, counts: dict[str, list[int]]) -> str:
    half, more = (scores(*counts[iou]) for iou in ("0.5", "0.7"))
    found, invented, missed = counts["0.5"]
    f1 = [f"{half[name]:.2f}" for name in ("f1", "precision", "recall")]
    cells = [image, diameter, *f1, str(found), str(missed), str(invented), f"{more['f1']:.2f}"]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
