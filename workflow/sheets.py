"""The sheets that the user gives, of samples and of labelled images, read once and checked.

Limits: images are not opened here, so that hundreds of samples are read in no time; what is wrong
inside a file is said by the stage that reads it first.
"""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from checking import SettingsError, complete, schema
from mosaicell.composed import Part, check_places

ZARR_METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup")
FILES = ("image", "labels")  # of a row of the sheet of labelled images
RESERVED = ("models", "work")
Diameter = dict[str, float] | str


@dataclass(frozen=True)
class Sample:
    """A sample of the sheet, from one row or several. Sizes in um, (z, y, x).

    Files are given with the frame and the channel that they are; there are none where the sheet
    names no landscape or no truth. The diameter is None where the sheet says nothing of it.
    """

    name: str
    image: tuple[Part, ...]
    landscape: tuple[Part, ...]
    truth: tuple[Part, ...]
    voxel_size: tuple[float, float, float] | None
    channel: int
    diameter: Diameter | None


def read_samples(path: str, results: str, channel: int = 0) -> dict[str, Sample]:
    """The sample sheet, checked: samples by name, in the order of their first rows.

    Parameters
    ----------
    path : str
        Of the sheet. Lines that are empty or begin with # are passed over.
    results : str
        Folder of the results, from which a sample cannot take its own input.
    channel : int, optional
        That is segmented where the sheet does not say it.

    Raises
    ------
    SettingsError
        If the sheet, or a file that it names, is missing or something in it is not allowed.
    """
    by_name: dict[str, list[Sample]] = {}
    for where, row in _sheet(path, "samples", key="samples"):
        sample = _sample({"channel": channel} | row, where, Path(results))
        before = by_name.setdefault(sample.name.lower(), [])
        if before and (before[0].name != sample.name or sample.image[0][1:] == (None, None)):
            raise SettingsError(
                f"{where}sample {sample.name!r} came before; allowed are names that occur once "
                "(upper and lower case are one), or rows for its frames and channels: rename one "
                "of them, or fill in the columns `frame` and `as_channel`"
            )
        if before and _of_sample(before[0]) != _of_sample(sample):
            raise SettingsError(
                f"{where}channel, diameter or voxel size of {sample.name!r} are not those of its "
                "other rows; allowed are the same in all rows of a sample: correct them"
            )
        before.append(sample)
    samples = {rows[0].name: _joined(rows, f"{path}: ") for rows in by_name.values()}
    if not samples:
        raise SettingsError(
            f"{path} names no sample; allowed is a header (sample, image, ...) and at least one "
            "row, with tabs between columns: add a row"
        )
    return samples


def read_training(path: str | None) -> list[dict]:
    """The sheet of labelled images, checked: a row's columns by name.

    A row also has `voxel_size` (z, y, x) or None, and `known`, which changes with its files: so a
    rule notices that without listing hundreds of files as its input.

    Parameters
    ----------
    path : str or None
        Of the sheet. None gives no rows.

    Raises
    ------
    SettingsError
        If the sheet, or a file that it names, is missing or something in it is not allowed.
    """
    rows: list[dict] = []
    for where, row in _sheet(path, "training", key="train.data") if path else ():
        for column in FILES:
            _check_path(row, column, where)
        if Path(row["image"]).resolve() in {Path(other["image"]).resolve() for other in rows}:
            raise SettingsError(
                f"{where}image {row['image']!r} came before; allowed is each image once, or what "
                "is trained on would judge the training: remove one of the rows"
            )
        size = _voxel_size(row, where)
        rest = {key: value for key, value in row.items() if not key.startswith("voxel_size_")}
        rows.append(rest | {"voxel_size": size, "known": [_known(row[c]) for c in FILES]})
    for split in ("train", "validation") if path else ():
        if split not in (row["split"] for row in rows):
            raise SettingsError(
                f"{path} has no row with split {split!r}; allowed is at least one of each of train "
                "and validation: add one, of another specimen than the rest"
            )
    return rows


def _sheet(path: str, name: str, *, key: str) -> Iterator[tuple[str, dict]]:
    """Rows of a sheet, completed and checked by its schema, each with where it stands.

    `key` is that of the configuration which names the sheet.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"config: {key} is {path!r}, which cannot be read ({error}); allowed is a text file "
            "with tabs between columns: correct the path or write the sheet"
        ) from error
    rules = schema(name)
    lines = enumerate(text.splitlines(), start=1)
    rows = [
        (number, [cell.strip().strip('"') for cell in line.split("\t")])
        for number, line in lines
        if line.strip() and not line.startswith("#")
    ]
    columns = _columns(rows[0][1], path) if rows else []
    for number, row in rows[1:]:
        where = f"{path}, line {number}: "
        if any(row[len(columns) :]):
            raise SettingsError(
                f"{where}{len(row)} values came for {len(columns)} columns; allowed is one value "
                "for each column: put one tab between values"
            )
        cells = dict(zip(columns, row, strict=False))
        given = {key: _number(value, rules, key) for key, value in cells.items() if value}
        yield where, complete(given, rules, where)


def _columns(header: list[str], path: str) -> list[str]:
    while header and not header[-1]:
        header = header[:-1]
    if len(header) == 1 and "," in header[0]:
        raise SettingsError(
            f"{path} has commas between its columns; allowed are tabs: save it as text with tabs"
        )
    twice = [name for i, name in enumerate(header) if name in header[:i]]
    if twice:
        raise SettingsError(
            f"{path} has the column {twice[0]!r} twice; allowed is each column once: remove one"
        )
    return header


def _number(text: str, rules: dict, key: str) -> object:
    """A cell of the sheet as the type that its column has; as text if it is not of that type."""
    kind = rules["properties"].get(key, {}).get("type")
    try:
        return {"number": float, "integer": int}.get(kind, str)(text)
    except ValueError:
        return text


def _sample(row: dict, where: str, results: Path) -> Sample:
    if row["sample"].lower() in RESERVED:
        raise SettingsError(
            f"{where}sample is {row['sample']!r}; allowed are names other than "
            f"{' and '.join(RESERVED)}, which are folders of the results: rename it"
        )
    own = [(results / row["sample"]).resolve(), (results / "work" / row["sample"]).resolve()]
    for column in ("image", "landscape", "truth"):
        if column not in row:
            continue
        path = _check_path(row, column, where)
        if any(path.resolve().is_relative_to(folder) for folder in own):
            raise SettingsError(
                f"{where}{column} is {row[column]!r}, which lies in the results of this sample and "
                "would be overwritten; allowed is a path elsewhere: rename the sample or copy it"
            )
    frame = row.get("frame")
    return Sample(
        name=row["sample"],
        image=(Part(row["image"], frame, row.get("as_channel")),),
        landscape=(Part(row["landscape"], frame),) if "landscape" in row else (),
        truth=(Part(row["truth"], frame),) if "truth" in row else (),
        voxel_size=_voxel_size(row, where),
        channel=row["channel"],
        diameter=_diameter(row["diameter"], where) if "diameter" in row else None,
    )


def _diameter(text: str, where: str) -> Diameter:
    """What the column `diameter` says, which is of the form that the schema allows."""
    if text in ("auto", "null"):
        return text
    value, _, unit = text.partition(" ")
    if not 0 < float(value) < math.inf:
        allowed = schema("samples")["properties"]["diameter"]["$comment"]
        raise SettingsError(
            f"{where}diameter is {text!r}; allowed is {allowed}: correct it, or leave it empty"
        )
    return {unit or "um": float(value)}


def _known(path: str) -> object:
    at = Path(path).stat()
    return listing(path) or [at.st_size, at.st_mtime_ns]


def _check_path(row: dict, column: str, where: str) -> Path:
    path = Path(row[column])
    if not path.exists():
        raise SettingsError(
            f"{where}{column} is {row[column]!r}, which does not exist (seen from "
            f"{Path.cwd()}); allowed is a file or folder that can be read: correct the path"
        )
    if set("{}") & set(row[column]):
        raise SettingsError(
            f"{where}{column} is {row[column]!r}; allowed is a path without braces, which "
            "mean something else to Snakemake: rename it"
        )
    return path


def _voxel_size(row: dict, where: str) -> tuple[float, float, float] | None:
    sizes = [row.get(f"voxel_size_{axis}") for axis in "zyx"]
    if any(sizes) and not all(sizes):
        raise SettingsError(
            f"{where}only some of voxel_size_z, voxel_size_y and voxel_size_x came; allowed are "
            "all three, in um, or none to take what the image file says: add the others"
        )
    return tuple(sizes) if all(sizes) else None


def _of_sample(row: Sample) -> tuple:
    """What rows of one sample have in common."""
    return row.voxel_size, row.channel, row.diameter


def _joined(rows: list[Sample], where: str) -> Sample:
    """One sample of all its rows; a landscape or truth may stand in any row of its frame."""
    files = {}
    for column in ("image", "landscape", "truth"):
        parts = [part for row in rows for part in getattr(row, column)]
        if column != "image":
            parts = list(dict.fromkeys(parts))  # rows of one frame may name the same
        try:
            check_places(parts, f"{where}{column} of sample {rows[0].name!r}")
        except ValueError as error:
            raise SettingsError(str(error)) from None
        files[column] = tuple(sorted(parts, key=lambda part: [n or 0 for n in part[1:]]))
    for column in ("landscape", "truth"):
        frames, n = {part.frame for part in files[column]}, len({p.frame for p in files["image"]})
        if frames and len(frames) != n:
            raise SettingsError(
                f"{where}{column} of sample {rows[0].name!r} came for {len(frames)} of {n} frames; "
                f"allowed is one for each frame, or none: complete the column `{column}`"
            )
    return replace(rows[0], **files)


def listing(path: str) -> str:
    """A fingerprint of names, sizes and times of the files in a folder, two levels deep.

    Snakemake looks at the time of a folder, which does not change with a file in it. Of a zarr
    store only the metadata are listed: there may be millions of chunks.
    """
    folder = Path(path)
    if not folder.is_dir():
        return ""
    is_zarr = any((folder / name).exists() for name in ZARR_METADATA)
    names = [*ZARR_METADATA, *(f"*/{name}" for name in ZARR_METADATA)] if is_zarr else ["*", "*/*"]
    found = sorted(file for pattern in names for file in folder.glob(pattern))
    known = [(file, file.stat()) for file in found if file.is_file()]
    text = json.dumps(
        [[str(file.relative_to(folder)), at.st_size, at.st_mtime_ns] for file, at in known]
    )
    return hashlib.sha256(text.encode()).hexdigest()


def listings(parts: tuple[Part, ...]) -> str:
    """What is in the folders among files of a sample, one after the other."""
    return "".join(listing(part.path) for part in parts)
