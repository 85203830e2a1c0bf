"""Measurements of other packages: any function of one cell's crop, registered by name.

A plug-in is called for each cell on its bounding box, as `function(mask, intensities, voxel_size)`,
and returns a flat dict of numbers, always with the same keys:

    mask         ndarray of bool, (z, y, x): the voxels of the cell
    intensities  ndarray, (c, z, y, x), of the measured channels
    voxel_size   tuple of float (z, y, x) in um, or None

What it returns becomes the columns NAME_KEY. It is tried on a made-up cell first, so that one that
cannot be used is refused before there is work.

Limits: it is plain Python a cell at a time, and as slow as that is. Equal crops must give equal
numbers, or tables are not the same for all tilings.
"""

import hashlib
import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from numbers import Real
from pathlib import Path

import numpy as np

NAME = r"[A-Za-z][A-Za-z0-9_]*"
ALLOWED = (
    "allowed is module:function of an installed package, which takes (mask, intensities, "
    "voxel_size) and returns a dict of numbers"
)


@dataclass(frozen=True)
class Plugin:
    """A function that measures, the keys of what it returns, and what its numbers depend on."""

    function: Callable[[np.ndarray, np.ndarray, tuple | None], dict]
    keys: tuple[str, ...]
    origin: str


def load_plugins(
    chosen: Mapping[str, str] | None,
    *,
    n_channels: int,
    dtype: np.dtype,
    is_2d: bool,
    voxel_size: tuple[float, float, float] | None,
) -> dict[str, Plugin]:
    """Import plug-ins and try each on a made-up cell.

    Parameters
    ----------
    chosen : dict, optional
        "module:function" by name.
    n_channels, dtype, is_2d, voxel_size
        Of the image that will be measured.

    Raises
    ------
    ValueError
        If one cannot be imported or called, or returns something else than a dict of numbers.
    """
    shape = (1 if is_2d else 7, 9, 11)
    axes = [np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape]
    distance = sum(x**2 for x in np.meshgrid(*axes, indexing="ij"))
    # Neither flat nor constant, so that no statistic is without a meaning.
    values = (100 - 40 * distance + np.arange(distance.size).reshape(shape) % 7).astype(dtype)
    intensities = np.repeat(values[np.newaxis], n_channels, 0)
    plugins = {}
    for name, where in (chosen or {}).items():
        function, origin = _import(name, where)
        found = _call(name, function, distance <= 1, intensities, voxel_size)
        plugins[name] = Plugin(function, tuple(found), origin)
    return plugins


def _import(name: str, where: str) -> tuple[Callable, str]:
    module_name, _, function_name = where.partition(":")
    try:
        module = importlib.import_module(module_name)
        function = getattr(module, function_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"the plug-in {name!r} is {where!r}, which cannot be imported ({error}); {ALLOWED}: "
            "install the package, or correct the name"
        ) from error
    if not callable(function):
        raise ValueError(f"the plug-in {name!r} is {where!r}, which is no function; {ALLOWED}")
    package = module_name.partition(".")[0]
    versions = {dist: version(dist) for dist in packages_distributions().get(package, ())}
    code = Path(module.__file__).read_bytes() if getattr(module, "__file__", None) else b""
    return function, f"{where} {sorted(versions.items())} {hashlib.sha256(code).hexdigest()}"


def _call(
    name: str, function: Callable, mask: np.ndarray, intensities: np.ndarray, voxel_size
) -> dict[str, float]:
    """What a plug-in says of one cell, checked."""
    try:
        found = function(mask, intensities, voxel_size)
    except Exception as error:
        raise ValueError(
            f"the plug-in {name!r} failed on a cell of shape {mask.shape} "
            f"({type(error).__name__}: {error}); {ALLOWED}: mend it, or leave it out"
        ) from error
    if not isinstance(found, Mapping):
        raise ValueError(
            f"the plug-in {name!r} returned {type(found).__name__}; {ALLOWED}: wrap it in a "
            "function of your own that does"
        )
    for key, value in found.items():
        if not isinstance(key, str) or not re.fullmatch(r"\w+", key):
            raise ValueError(
                f"the plug-in {name!r} returned the key {key!r}; allowed are names of letters, "
                "digits and _: wrap it in a function of your own that renames it"
            )
        if not isinstance(value, Real | np.bool_):
            raise ValueError(
                f"the plug-in {name!r} returned {type(value).__name__} for {key!r}; {ALLOWED}: "
                "wrap it in a function of your own that returns one number a key"
            )
    return {key: float(value) for key, value in found.items()}


def measure_by_plugins(
    labels: np.ndarray,
    channels: np.ndarray,
    plugins: Mapping[str, Plugin],
    voxel_size: tuple[float, float, float] | None,
    *,
    ids: np.ndarray,
    boxes: np.ndarray,
) -> dict[str, np.ndarray]:
    """Columns of all plug-ins, (n,) each.

    Raises
    ------
    ValueError
        As `load_plugins`, and if a plug-in returns other keys than at its trial.
    """
    columns: dict[str, np.ndarray] = {}
    for name, plugin in plugins.items():
        values = np.empty((ids.size, len(plugin.keys)))
        for i, (label, box) in enumerate(zip(ids, boxes.tolist(), strict=True)):
            crop = tuple(slice(a, b) for a, b in zip(box[:3], box[3:], strict=True))
            # Copies: what a plug-in does to them is its own affair.
            found = _call(
                name, plugin.function, labels[crop] == label, channels[:, *crop].copy(), voxel_size
            )
            if found.keys() != set(plugin.keys):
                odd = sorted(found.keys() ^ set(plugin.keys))[0]
                raise ValueError(
                    f"the plug-in {name!r} returned {odd!r} for some cells only; allowed are the "
                    "same keys for all cells: return nan where there is no number"
                )
            values[i] = [found[key] for key in plugin.keys]
        columns |= {
            f"{name}_{key}": column for key, column in zip(plugin.keys, values.T, strict=True)
        }
    return columns
