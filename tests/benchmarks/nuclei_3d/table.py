"""Prints the scores of the samples in this folder's sheet as README.md shows them."""

import csv
import json
from pathlib import Path

ROOT = Path(__file__).parents[3]
COLUMNS = {
    "F1": "f1_0.5",
    "precision": "precision_0.5",
    "recall": "recall_0.5",
    "found": "true_positives_0.5",
    "missed": "false_negatives_0.5",
    "invented": "false_positives_0.5",
    "F1 at IoU 0.7": "f1_0.7",
}


def main() -> None:
    with (Path(__file__).parent / "samples.tsv").open(encoding="utf-8") as sheet:
        samples = list(csv.DictReader(sheet, delimiter="\t"))
    print("| " + " | ".join(["image", "diameter", *COLUMNS]) + " |")
    print("|---" * (2 + len(COLUMNS)) + "|")
    for row in samples:
        scores = ROOT / "results/nuclei_3d" / row["sample"] / "scores.json"
        said = json.loads(scores.read_text(encoding="utf-8"))
        image = row["sample"].rpartition("_")[0]
        diameter = "`auto`" if row["diameter"] == "auto" else f"{row['diameter']} um"
        cells = [said[name] for name in COLUMNS.values()]
        shown = [f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in cells]
        print("| " + " | ".join([image, diameter, *shown]) + " |")


if __name__ == "__main__":
    main()
