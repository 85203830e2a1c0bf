"""The data dictionary: every column of the tables, with its unit and what it means.

It is the one source of what stands in docs/columns.md, in the fields of the Parquet files, and of
the order of the columns. Names follow scikit-image where it has one.

    make docs/columns.md    (when something here has changed)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

AXES = ("z", "y", "x")
SIDES = ("true", "found")  # of the table of matches, in their order
KINDS = ("matched", "split", "merged", "missed", "invented")
PAIRS = ("zz", "yy", "xx", "zy", "zx", "yx")
TEXTURES = {
    "contrast": "sum of p (i - j)^2",
    "dissimilarity": "sum of p |i - j|",
    "homogeneity": "sum of p / (1 + (i - j)^2)",
    "ASM": "angular second moment, sum of p^2",
    "entropy": "- sum of p ln p",
    "correlation": "of i and j; 1 where all voxels are of one grey level",
}


@dataclass(frozen=True)
class Column:
    """One column: its name, its unit ("" for none), and what it means."""

    name: str
    unit: str
    means: str


def _of_axes(name: str, unit: str, means: str, end: str = "") -> list[Column]:
    return [Column(f"{name}_{axis}{end}", unit, f"{axis}: {means}") for axis in AXES]


KEYS = [
    Column("sample", "", "name of the sample"),
    Column("frame", "", "number of the frame, from 0"),
]
GEOMETRY = [
    Column("label", "", "value of the cell's voxels in the label image, from 1"),
    Column("num_voxels", "voxel", "number of voxels"),
    *_of_axes("centroid", "voxel", "mean of the voxels' centres; the first voxel is centred at 0"),
    *_of_axes("centroid", "um", "the same in um", "_um"),
    *_of_axes("bbox_min", "voxel", "first voxel of the bounding box"),
    *_of_axes("bbox_max", "voxel", "last voxel of the bounding box, plus one"),
    Column(
        "touches_border", "", "has voxels at the border of the image; of one plane, at its outline"
    ),
    Column(
        "volume_um3", "um^3", "voxels by the volume of a voxel; a plane is as thick as its voxels"
    ),
    Column(
        "equivalent_diameter_um",
        "um",
        "of the ball of this volume; of one plane, of the disc of this area",
    ),
    Column(
        "axis_major_um",
        "um",
        "longest axis (full length) of the ellipsoid of the same second moments",
    ),
    Column("axis_middle_um", "um", "its middle axis; null for an image of one plane"),
    Column("axis_minor_um", "um", "its shortest axis"),
    *_of_axes(
        "axis_major_direction",
        "",
        "unit vector along the longest axis; its first component that is not 0 is positive",
    ),
    *(
        Column(
            f"inertia_tensor_{pair}_um2",
            "um^2",
            "inertia by mass about the centroid, voxels being points: "
            + (
                "mean of the squared distances along the other two axes"
                if pair[0] == pair[1]
                else "less the mean product of the distances along both axes"
            ),
        )
        for pair in PAIRS
    ),
    Column(
        "surface_area_um2",
        "um^2",
        "by Crofton's formula in 13 directions (Lehmann and Legland 2012), within 2 % for "
        "round cells of cubic voxels, within 10 % for long ones of long voxels; null for an "
        "image of one plane",
    ),
    Column(
        "perimeter_um",
        "um",
        "of an image of one plane, by Crofton's formula in 4 directions; else null",
    ),
    Column(
        "sphericity",
        "",
        "surface of the ball of this volume by surface; of one plane, 4 pi area / "
        "perimeter^2. Small cells can be above 1",
    ),
    Column(
        "volume_convex_um3",
        "um^3",
        "voxels whose centre lies in the convex hull of the centres of all faces of the "
        "cell's voxels, by the volume of a voxel",
    ),
    Column("solidity", "", "voxels by voxels of the convex hull"),
    Column("extent", "", "voxels by voxels of the bounding box"),
    Column(
        "euler_number",
        "",
        "pieces less tunnels plus cavities, voxels being connected in their neighbourhood "
        "of 26 (in one plane, 8)",
    ),
]
AMONG_CELLS = [
    Column("too_small", "", "below `measure.size_range`; false if that is not set"),
    Column("too_large", "", "above `measure.size_range`; false if that is not set"),
    Column(
        "outlier",
        "",
        "the logarithm of the volume is more than 3.5 / 0.6745 median absolute deviations "
        "from the median of the sample (Iglewicz and Hoaglin 1993); false if more than half "
        "of the cells are of one size",
    ),
    Column(
        "num_neighbours",
        "",
        "cells that it touches: with a voxel among the 26 neighbours (in one plane, 8) of "
        "one of its own",
    ),
    Column(
        "touching_area_um2",
        "um^2",
        "faces of voxels that it shares with other cells, steps and all, so up to 1.7 times the "
        "surface between them; 0 if it touches them with edges and corners alone",
    ),
    Column(
        "nearest_distance_um",
        "um",
        "from centroid to centroid of the nearest other cell of the frame; null if there is none",
    ),
    Column(
        "landscape_peak",
        "landscape",
        "highest value of the landscape, smoothed as it was cut (as high as `segment.min_peak` and "
        "`segment.min_relative_peak` ask)",
    ),
    Column("landscape_mean", "landscape", "its mean in the cell"),
    Column(
        "persistence",
        "landscape",
        "peak less the highest saddle to a cell that it touches (at least "
        "`segment.persistence`), or if it touches none, less the threshold",
    ),
    Column(
        "num_background_voxels",
        "voxel",
        "voxels of no cell around it, up to `measure.ring` away from centre to centre",
    ),
]
NEIGHBOURS = [
    Column("label", "", "of the cell"),
    Column(
        "neighbour",
        "",
        "label of a cell that it touches: with a voxel among the 26 neighbours (in one "
        "plane, 8) of one of its own. Each pair has two rows",
    ),
    Column(
        "num_faces",
        "",
        "faces of voxels that they share; 0 if they touch with edges and corners alone",
    ),
    Column("touching_area_um2", "um^2", "area of these faces"),
    Column(
        "landscape_saddle",
        "landscape",
        "highest pass between the two: of all pairs of adjacent voxels, the highest lower value",
    ),
]
FRAMES = [
    Column("num_cells", "", "cells of the frame, 0 if there are none"),
    Column("num_voxels", "voxel", "voxels of all its cells"),
]
SCORES = [
    Column("score", "", "its name; config/README.md says what each is"),
    Column(
        "threshold",
        "",
        "IoU from which a pair matches (clDice above which it does, for scores of centre lines); "
        "null for scores that need none",
    ),
    Column("value", "", "the score"),
]
SUMMARY = [
    *SCORES[:2],
    Column("num_samples", "", "samples that have the score"),
    Column("mean", "", "of the samples' scores"),
    Column(
        "pooled",
        "",
        "of all cells as if they were of one sample; null for scores that are not made of counts",
    ),
]
TRACKS = [
    Column("label", "", "of the cell, in cells.parquet and in the label image"),
    Column("track_id", "", "number of the track, from 1; a track ends where its cell divides"),
    Column("tree_id", "", "the first track of all that descend from one cell"),
    Column("parent_track_id", "", "the track that divided into this one; 0: none"),
    Column("previous_label", "", "the cell to which this one is linked back; 0: none"),
]


def match_columns(score: str) -> list[Column]:
    """The columns of the table of matches; the score is `iou` or `cldice`."""
    means = {
        "iou": "intersection over union of both",
        "cldice": "clDice of both: how far the centre line of each runs through the other",
    }
    return [
        Column("side", "", "`true`: a cell of the truth; `found`: one of the label image"),
        Column("label", "", "of the cell on its side"),
        Column(
            "kind",
            "",
            f"`matched` ({score} of at least 0.5, one to one), `split` (in several found cells), "
            "`merged` (with others into one), `missed` (true, and nothing fits it), `invented` "
            "(found, and nothing fits it)",
        ),
        Column(
            "other_label",
            "",
            f"of its match on the other side, or else of the cell of the highest {score}; 0: none",
        ),
        Column(score, "", means[score]),
        Column("num_voxels", "voxel", "number of voxels"),
        *_of_axes("bbox_min", "voxel", "first voxel of the bounding box"),
        *_of_axes("bbox_max", "voxel", "last voxel of the bounding box, plus one"),
    ]


def _of_channel(channel: int | str) -> list[Column]:
    statistics = {
        "mean": "mean",
        "std": "standard deviation (of the cell's voxels as a population)",
        "min": "lowest",
        "max": "highest",
        "quartile_lower": "a quarter of the voxels is below (linear between ranks)",
        "median": "median",
        "quartile_upper": "a quarter of the voxels is above (linear between ranks)",
    }
    weighted = [
        ("centroid_weighted", "weighted by intensity"),
        (
            "centroid_weighted_corrected",
            "weighted by what of the intensity is above the background",
        ),
    ]
    return [
        *(
            Column(f"intensity_{name}_{channel}", "intensity", means)
            for name, means in statistics.items()
        ),
        Column(
            f"intensity_background_{channel}",
            "intensity",
            "median of the background voxels around the cell; null if there are none",
        ),
        *(
            Column(
                f"intensity_{name}_corrected_{channel}",
                "intensity",
                f"`intensity_{name}_{channel}` less `intensity_background_{channel}`",
            )
            for name in statistics
            if name != "std"
        ),
        *(
            column
            for name, how in weighted
            for unit, end in (("voxel", ""), ("um", "_um"))
            for column in _of_axes(
                name,
                unit,
                f"centroid {how}; null if the weights add up to nothing",
                f"{end}_{channel}",
            )
        ),
    ]


def _of_texture(channel: int | str) -> list[Column]:
    return [
        Column(
            f"texture_{name}_{channel}",
            "",
            f"{means}; p is how often neighbours in the cell have grey levels i and j, a "
            "mean over all directions",
        )
        for name, means in TEXTURES.items()
    ]


def cell_columns(
    channels: Iterable[int | str],
    *,
    texture: bool = False,
    plugins: Mapping[str, Iterable[str]] | None = None,
) -> list[Column]:
    """The columns that are measured of a cell, in order; in a file `KEYS` come before them.

    Parameters
    ----------
    channels : iterable of int
        Numbers of the channels.
    texture : bool
    plugins : dict, optional
        Names of what each plug-in gives.
    """
    channels = list(channels)
    return [
        *GEOMETRY,
        *AMONG_CELLS,
        *(column for channel in channels for column in _of_channel(channel)),
        *(column for channel in channels if texture for column in _of_texture(channel)),
        *(
            Column(f"{name}_{key}", "", f"`{key}` of the plug-in `{name}`")
            for name, keys in (plugins or {}).items()
            for key in keys
        ),
    ]


def markdown() -> str:
    """The data dictionary for people."""
    columns = cell_columns(["C"], texture=True, plugins={"NAME": ["KEY"]})
    parts = [
        "# Columns",
        "What stands in the tables, as their fields say it too (metadata `unit` and `means`). "
        "`C` is the number of a channel, from 0. `texture_*` are there if\n"
        "`measure.texture` is set, `NAME_KEY` if `measure.plugins` names plug-ins. Columns "
        "in um, and what\n"
        "follows from them, are null where the voxel size is not known. The unit "
        "`landscape` is 1 for a\n"
        "predicted landscape, or what the sample's own landscape is in.",
        "## `cells.parquet`",
        "One row a cell, by ascending frame and label.",
        _table([*KEYS, *columns]),
        "## `neighbours.parquet`",
        "Two rows for each pair of cells that touch, by ascending frame, label and neighbour.",
        _table([*KEYS, *NEIGHBOURS]),
        "## `frames.parquet`",
        "One row a frame; an image without time is one frame.",
        _table([*KEYS, *FRAMES]),
        "## `tracks.parquet`",
        "One row a cell, by ascending frame and label, if `track` is set.",
        _table([*KEYS, *TRACKS]),
        "## `matches.parquet`",
        "One row a cell of either side, by ascending frame, true cells before found ones, by "
        "ascending\nlabel, if the sample sheet names true cells. With `evaluate.shapes: thin` "
        "there is `cldice` in\nplace of `iou`.",
        _table([*KEYS, *match_columns("iou")]),
        "## `scores.parquet`",
        "One row a score, if the sample sheet names true cells.",
        _table([*KEYS[:1], *SCORES]),
        "## `results/scores.parquet`",
        "One row a score, over all samples with true cells: `snakemake --cores all scores`.",
        _table(SUMMARY),
    ]
    return "\n\n".join(parts) + "\n"


def _table(columns: list[Column]) -> str:
    rows = [f"| `{c.name}` | {c.unit} | {c.means.replace('|', chr(92) + '|')} |" for c in columns]
    return "\n".join(["| column | unit | what it means |", "|---|---|---|", *rows])
