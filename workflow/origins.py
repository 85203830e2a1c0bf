"""What a result comes from: code, files and settings.

Idea: a rule runs again if, and only if, something has changed that its result comes from, so all
of this is told to it; and what is told to the product, and in the report, is the same.
"""

import ast
import hashlib
import json
from functools import cache
from importlib.metadata import version
from pathlib import Path

from mosaicell.composed import Part
from mosaicell.version import __version__
from settings import diameter, least_peaks
from sheets import Sample, listings

ROOT = Path(__file__).parents[1]
# A new version alone, or another way to wait or to say who ran, is no reason to compute again.
WITHOUT_RESULT = {"attempts.py", "lock.py", "provenance.py", "version.py"}


def library(script: str) -> list[Path]:
    """The library modules that a script imports, and all that these import.

    Listed as an input, they make a rule run again when its code has changed, and only then.
    Modules on which no result depends are left out.

    Parameters
    ----------
    script : str
        Name of a file of `scripts/`, without its ending.
    """
    found: set[Path] = set()
    waiting = [ROOT / "scripts" / f"{script}.py"]
    while waiting:
        modules = {path for path in _imported(waiting.pop()) if path.name not in WITHOUT_RESULT}
        waiting += modules - found
        found |= modules
    return sorted(found)


@cache  # most scripts share most modules, and each start of Snakemake, in jobs too, asks for all
def _imported(path: Path) -> frozenset[Path]:
    """The library modules that a file imports itself."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level:
            folder = path.parents[node.level - 1]
        elif node.module.startswith("mosaicell."):
            folder = ROOT / "workflow"
        else:
            continue
        names = [node.module] if node.module else [alias.name for alias in node.names]
        found |= {folder.joinpath(*name.split(".")).with_suffix(".py") for name in names}
    return frozenset(found)


def parameters(config: dict, sample: Sample, card: dict) -> dict:
    """Everything that the user sets and that determines a sample's result: no paths."""
    chosen = config["segment"] | {
        **least_peaks(config, sample, card),
        "channel": sample.channel,
        "measure": config["measure"],
    }
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
        "estimate_diameter": [],
        "predict": [
            chosen.get("diameter"),
            None if sample.landscape else card["sha256"],
            chosen.get("top_model"),
        ],
        "segment": [chosen["threshold"], chosen["sigma"]],
        "stitch_tiles": [chosen["persistence"]],
        "stitch": [chosen["min_size"], chosen["min_peak"], chosen["min_relative_peak"]],
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
        values = values if isinstance(values, list) else [values]
        if all(isinstance(value, int | float) for value in values):
            return f"{' x '.join(f'{value:g}' for value in values)} {unit}"
    return json.dumps(parameter) if isinstance(parameter, dict | list) else str(parameter)
