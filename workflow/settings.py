"""What the user gives (configuration and sample sheet), read once, completed and checked.

Idea: everything is parsed here, at the edge, before any work starts; what leaves this module is
complete and of the right types. What does not fit is refused in one sentence that says what
came, what is allowed and what to do. Schemas say what is allowed: see `workflow/schemas/`.

Limits: images are not opened here, so that hundreds of samples are read in no time; what is wrong
inside a file is said by the stage that reads it first.
"""

import ast
import difflib
import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from mosaicell import model
from mosaicell.brightness import ring_of
from mosaicell.composed import Part, check_places
from mosaicell.measure import sizes_in_voxels
from mosaicell.smooth import sigma_in_voxels
from mosaicell.version import __version__


def _is_finite_number(_checker: object, value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


# YAML knows .nan and .inf; no key here has a use for them.
Validator = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("number", _is_finite_number),
)
ZARR_METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup")
FILES = ("image", "labels")  # of a row of the sheet of labelled images
RESERVED = ("models", "work")
# A new version alone, or another way to wait or to say who ran, is no reason to compute again.
WITHOUT_RESULT = {"attempts.py", "lock.py", "provenance.py", "version.py"}
SCHEMAS = Path(__file__).parent / "schemas"
TYPES = {
    "object": "a section of keys",
    "array": "a list",
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "null": "null",
}


class SettingsError(ValueError):
    """Something in the configuration or the sample sheet is not allowed."""


@dataclass(frozen=True)
class Sample:
    """A sample of the sheet, from one row or several. Sizes in um, (z, y, x).

    Files are given with the frame and the channel that they are; there are none where the sheet
    names no landscape or no truth.
    """

    name: str
    image: tuple[Part, ...]
    landscape: tuple[Part, ...]
    truth: tuple[Part, ...]
    voxel_size: tuple[float, float, float] | None
    channel: int
    diameter: float | None


def schema(name: str) -> dict:
    """A schema of `workflow/schemas/` by its name: "config" or "samples"."""
    return yaml.safe_load((SCHEMAS / f"{name}.schema.yaml").read_text(encoding="utf-8"))


def complete(given: dict, rules: dict, where: str = "") -> dict:
    """Check a mapping against a schema and fill in what it leaves out.

    Raises
    ------
    SettingsError
        With the first thing that is not allowed.
    """
    errors = Validator(rules).iter_errors(given)
    # A misspelt key is the likely cause of whatever else is wrong, so it is said first.
    first = min(errors, key=lambda error: error.validator != "additionalProperties", default=None)
    if first is not None:
        raise SettingsError(where + _sentence(first, rules))
    return _with_defaults(given, rules)


def _with_defaults(given: dict, rules: dict) -> dict:
    filled = dict(given)
    for key, rule in rules["properties"].items():
        if "default" in rule:
            filled.setdefault(key, rule["default"])
        if "properties" in rule and filled[key] is not None:
            filled[key] = _with_defaults(filled[key], rule)
    return filled


def _sentence(error: ValidationError, rules: dict) -> str:
    """What came, what is allowed and what to do, from an error of the schema."""
    key = ".".join(str(part) for part in error.path if not isinstance(part, int))
    if error.validator == "additionalProperties":
        known = error.schema["properties"]
        unknown = sorted(str(name) for name in set(error.instance) - set(known))[0]
        near = difflib.get_close_matches(unknown, known, 1)
        hint = f"write {near[0]!r} if that is meant" if near else "remove it"
        section = f"{key}." if key else ""
        return f"{section}{unknown} is not known; allowed are {', '.join(known)}: {hint}"
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        if not key:
            return f"{missing[0]} is missing; it is needed in every row: add it"
        rule = error.schema["properties"][missing[0]]
        return (
            f"{key}.{missing[0]} is missing; allowed is {_allowed(rule)} "
            f"({rule['description']}): add it"
        )
    rule = rules
    for part in error.path:
        # A list or a choice is described as a whole.
        if "properties" in rule and "maxProperties" not in rule:
            rule = rule["properties"][part]
    came = json.dumps(error.instance, default=str)
    hint = "correct it"
    if rule.get("type") == "object" and isinstance(error.instance, str):
        hint = "put the section into a file and name that with --configfile"
    return f"{key} is {came}; allowed is {_allowed(rule)} ({rule['description']}): {hint}"


def _allowed(rule: dict) -> str:
    """What a rule of a schema allows, in words."""
    if "enum" in rule:
        return " or ".join(map(str, rule["enum"]))
    if "maxProperties" in rule:
        return rule["$comment"]
    if rule.get("type") == "array":
        least, most = rule.get("minItems", "different"), rule.get("maxItems")
        count = least if most in (None, least) else f"{least} to {most}"
        return f"a list of {count} values, each {_allowed(rule['items'])}"
    types = rule["type"] if isinstance(rule["type"], list) else [rule["type"]]
    words = " or ".join(TYPES[name] for name in types)
    if "exclusiveMinimum" in rule:
        words += f" above {rule['exclusiveMinimum']}"
    if "minimum" in rule:
        words += f" of at least {rule['minimum']}"
    if "maximum" in rule:
        words += f" and at most {rule['maximum']}"
    if "multipleOf" in rule:
        words += f", a multiple of {rule['multipleOf']}"
    if "pattern" in rule:
        words += f" {rule['$comment']}"
    return words


def read_config(given: dict) -> dict:
    """The configuration, complete and checked; `segment.sigma` has a value for each axis.

    Where training starts from a model, it has what must be kept of that.

    Raises
    ------
    SettingsError
        If something is not allowed.
    FileNotFoundError, ValueError
        If there is no such model, or its card is not one.
    """
    config = complete(given, schema("config"), "config: ")
    if config["train"]["start_from"] is not None:
        card = model.card(config["train"]["start_from"])
        config["train"] |= model.kept(card, given["train"])
    if config["segment"]["sigma"] is not None:
        ((unit, sigma),) = config["segment"]["sigma"].items()
        per_axis = sigma if isinstance(sigma, list) else [sigma] * 3
        # Zeros are as good as null, and need no voxel size.
        config["segment"]["sigma"] = {unit: [float(s) for s in per_axis]} if any(per_axis) else None
    return config


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
        diameter=row.get("diameter"),
    )


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


def library(script: str) -> list[Path]:
    """The library modules that a script imports, and all that these import.

    Listed as an input, they make a rule run again when its code has changed, and only then.
    Modules on which no result depends are left out.

    Parameters
    ----------
    script : str
        Name of a file of `scripts/`, without its ending.
    """
    root = Path(__file__).parents[1]
    found: set[Path] = set()
    waiting = [root / "scripts" / f"{script}.py"]
    while waiting:
        path = waiting.pop()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom):
                continue
            if node.level:
                folder = path.parents[node.level - 1]
            elif node.module.startswith("mosaicell."):
                folder = root / "workflow"
            else:
                continue
            names = [node.module] if node.module else [alias.name for alias in node.names]
            modules = {folder.joinpath(*name.split(".")).with_suffix(".py") for name in names}
            modules = {path for path in modules if path.name not in WITHOUT_RESULT}
            waiting += modules - found
            found |= modules
    return sorted(found)


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


def fill_from_model(config: dict, samples: dict[str, Sample], card: dict) -> None:
    """Set the threshold and the persistence that the user leaves to the model, in place.

    Raises
    ------
    SettingsError
        If a sample brings its own landscape, of which the model knows nothing.
    ValueError
        If the model does not have the top model, and a sample needs it.
    """
    top_model = config["segment"]["top_model"]
    if not all(sample.landscape for sample in samples.values()):
        model.check_top_model(card, top_model)
    for key in ("threshold", "persistence"):
        if config["segment"][key] is not None:
            continue
        for sample in samples.values():
            if sample.landscape:
                raise SettingsError(
                    f"config: segment.{key} is null, which takes the model's own, but sample "
                    f"{sample.name!r} brings its own landscape; allowed is a number in units of "
                    "that landscape: set it"
                )
        config["segment"][key] = card["top_models"][top_model][key]


def check_sigma(config: dict, samples: dict[str, Sample]) -> None:
    """Refuse a sigma that is too large for the voxels of a sample, where the sheet gives them.

    Raises
    ------
    SettingsError
    """
    for sample in samples.values():
        if sample.voxel_size:
            try:
                sigma_in_voxels(**(config["segment"]["sigma"] or {}), voxel_size=sample.voxel_size)
            except ValueError as error:
                raise SettingsError(f"config: segment, sample {sample.name!r}: {error}") from None


def check_measure(config: dict, samples: dict[str, Sample]) -> None:
    """Refuse settings of `measure` that are known to be wrong before an image is opened.

    Raises
    ------
    SettingsError
    """
    chosen = config["measure"]
    for name, where in (chosen["plugins"] or {}).items():
        module = where.partition(":")[0]
        try:
            known = find_spec(module) is not None
        except ImportError:
            known = False
        if not known:
            raise SettingsError(
                f"config: measure.plugins.{name} is {where!r}, and there is no module {module!r}; "
                "allowed is module:function of an installed package: install it, or correct it"
            )
    for sample in samples.values():
        size = {"voxel_size": sample.voxel_size}
        if not sample.voxel_size:  # the image may say it
            size = {"voxel_size": (1.0, 1.0, 1.0)}
        try:
            if sample.voxel_size or "voxel" in (chosen["ring"] or {}):
                ring_of(**(chosen["ring"] or {"voxel": 1}), **size)
            sizes_in_voxels(**(chosen["size_range"] or {}), **size)
        except ValueError as error:
            raise SettingsError(f"config: measure, sample {sample.name!r}: {error}") from None


def check_track(config: dict) -> None:
    """Refuse to track where laptrack is not installed, before hours are spent on cells.

    Raises
    ------
    SettingsError
    """
    if config["track"] is not None and find_spec("laptrack") is None:
        raise SettingsError(
            "config: track is set, but laptrack is not installed; allowed is tracking with it: pip "
            "install --constraint envs/constraints.txt --editable '.[track]', or set track to null"
        )


def diameter(config: dict, sample: Sample) -> float | None:
    """Typical diameter (um) to which a sample's image is scaled before it is predicted."""
    if sample.landscape:
        return None
    return sample.diameter or config["predict"]["diameter"]


def needs_voxel_size(config: dict, sample: Sample) -> bool:
    """Whether the image must say how large a voxel is, since a length in um came."""
    lengths = (config["segment"]["sigma"], config["measure"]["ring"])
    in_um = diameter(config, sample) is not None or any("um" in (it or {}) for it in lengths)
    in_um = in_um or "um3" in (config["measure"]["size_range"] or {})
    return (in_um or config["track"] is not None) and sample.voxel_size is None


def parameters(config: dict, sample: Sample, card: dict) -> dict:
    """Everything that the user sets and that determines a sample's result: no paths."""
    chosen = dict(config["segment"], channel=sample.channel, measure=config["measure"])
    if not sample.landscape:
        return chosen | {"model": card["name"], "diameter": diameter(config, sample)}
    del chosen["top_model"]
    return chosen


def earlier(stage: str, config: dict, sample: Sample, card: dict) -> list:
    """What the stages before one are given for a sample, in their order."""
    chosen = parameters(config, sample, card)
    given = {
        "ingest": [
            sample.voxel_size,
            sample.channel,
            listings(sample.image),
            listings(sample.landscape),
            [part[1:] for part in sample.image if part[1:] != (None, None)],
        ],
        "predict": [
            chosen.get("diameter"),
            None if sample.landscape else card["sha256"],
            chosen.get("top_model"),
        ],
        "segment": [chosen["threshold"], chosen["sigma"]],
        "stitch_tiles": [chosen["persistence"]],
        "stitch": [chosen["min_size"]],
        "measure": [],
        "track": [],
    }
    stages = list(given)
    return [given[before] for before in stages[: stages.index(stage)]]


def origin(config: dict, sample: Sample, card: dict) -> dict[str, str]:
    """What a product says of its origin: equal results say the same."""
    text = json.dumps(parameters(config, sample, card), sort_keys=True)
    return {
        "version": __version__,
        "parameters": text,
        "config": hashlib.sha256(text.encode()).hexdigest(),
        "model": "" if sample.landscape else card["sha256"],
    }


def facts(config: dict, sample: Sample, card: dict) -> dict[str, dict[str, str]]:
    """What the report says of a run, section by section."""
    said = origin(config, sample, card)
    chosen = parameters(config, sample, card)
    measured = chosen.pop("measure")
    sections = {
        "Input": {"image": _files(sample.image), "channel": str(sample.channel)},
        "Parameters": {
            **{key: _words(value) for key, value in chosen.items()},
            **{f"measure.{key}": _words(value) for key, value in measured.items()},
            "tile shape (voxels)": " x ".join(map(str, config["tile"]["shape"])),
            "jobs a stage": str(config["tile"]["jobs"]),
        },
        "Versions": {"mosaicell": said["version"]}
        | {name: version(name) for name in ("numba", "numpy", "snakemake", "torch", "zarr")},
        "Hashes": {"parameters": said["config"], "model": said["model"] or "none"},
    }
    if sample.landscape:
        sections["Input"]["landscape"] = _files(sample.landscape)
    return sections


def _files(parts: tuple[Part, ...]) -> str:
    """Files as the report names them: the first and the last of many."""
    if len(parts) <= 2:
        return ", ".join(part.path for part in parts)
    return f"{parts[0].path} to {parts[-1].path} ({len(parts)} files)"


def _words(parameter: object) -> str:
    """A parameter as the report says it; of one with a unit, the values and the unit."""
    if isinstance(parameter, dict) and len(parameter) == 1:
        ((unit, values),) = parameter.items()
        if isinstance(values, list) and None not in values:
            return f"{' x '.join(f'{value:g}' for value in values)} {unit}"
    return json.dumps(parameter) if isinstance(parameter, dict | list) else str(parameter)
