"""The configuration, read once, completed and checked, with what samples and the model add to it.

Idea: everything is parsed at the edge, before any work starts; what leaves this module is complete
and of the right types.
"""

from importlib.util import find_spec

from checking import SettingsError, complete, schema
from mosaicell import model
from mosaicell.ring import ring_of
from mosaicell.sigma import sigma_in_voxels
from mosaicell.wanted import sizes_in_voxels
from sheets import Diameter, Sample


def read_config(given: dict) -> dict:
    """The configuration, complete and checked.

    `segment.sigma` has a value for each axis, and `predict.diameter` a unit if it is a number.
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
    if isinstance(config["predict"]["diameter"], int | float):
        config["predict"]["diameter"] = {"um": float(config["predict"]["diameter"])}
    if config["segment"]["sigma"] is not None:
        ((unit, sigma),) = config["segment"]["sigma"].items()
        per_axis = sigma if isinstance(sigma, list) else [sigma] * 3
        # Zeros are as good as null, and need no voxel size.
        config["segment"]["sigma"] = {unit: [float(s) for s in per_axis]} if any(per_axis) else None
    return config


def fill_from_model(config: dict, samples: dict[str, Sample], card: dict) -> None:
    """Set the threshold and the persistence that the user leaves to the model, in place.

    A model that does not say which diameter it knows takes images as they are.

    Raises
    ------
    SettingsError
        If a sample brings its own landscape, of which the model knows nothing, or the model
        recommends nothing.
    ValueError
        If the model does not have the top model, and a sample needs it.
    """
    top_model = config["segment"]["top_model"]
    if not all(sample.landscape for sample in samples.values()):
        model.check_top_model(card, top_model)
    recommended = card["top_models"].get(top_model, {})
    if config["predict"]["diameter"] == "auto" and (
        card["nominal_diameter"] is None or None in recommended.values()
    ):
        config["predict"]["diameter"] = None  # nothing to estimate by: images are taken as they are
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
        if recommended[key] is None:
            raise SettingsError(
                f"config: segment.{key} is null, which takes the model's own, but the model "
                f"{card['name']!r} recommends none; allowed is a number from 0 to 1: set it, or "
                "top_models in the model's card"
            )
        config["segment"][key] = recommended[key]


def least_peaks(config: dict, sample: Sample, card: dict) -> dict[str, float]:
    """`min_peak` of a sample's cells, in units of its landscape, and `min_relative_peak`, a share.

    Where neither the configuration nor the model says one, what all cells have.
    """
    segment = config["segment"]
    least = {"min_peak": segment["threshold"], "min_relative_peak": 0.0}
    if not sample.landscape:
        least |= card["top_models"][segment["top_model"]]
    return {
        key: least[key] if segment[key] is None else segment[key]
        for key in ("min_peak", "min_relative_peak")
    }


def check_scale(config: dict, samples: dict[str, Sample], card: dict) -> None:
    """Refuse a diameter for a model, made elsewhere, that does not say which one it knows.

    Raises
    ------
    SettingsError
    """
    for sample in samples.values():
        if card["nominal_diameter"] is None and diameter(config, sample) is not None:
            raise SettingsError(
                f"config: a diameter came for sample {sample.name!r}, but the model "
                f"{card['name']!r} does not say which diameter it knows; allowed is an image as it "
                "is: set the diameter to null, or nominal_diameter in the model's card"
            )


def check_heights(config: dict, samples: dict[str, Sample]) -> None:
    """Refuse a threshold and a least peak that no voxel of a predicted landscape has, or a share
    of heights below 0.

    Raises
    ------
    SettingsError
    """
    segment = config["segment"]
    for key, is_allowed, allowed in (
        ("threshold", 0 <= segment["threshold"] < 1, "at least 0 and below 1"),
        ("min_peak", (segment["min_peak"] or 0) <= 1, "at most 1"),
    ):
        for sample in samples.values():
            if not (is_allowed or sample.landscape):
                raise SettingsError(
                    f"config: segment.{key} is {segment[key]}, but the landscape of sample "
                    f"{sample.name!r} is predicted, with values from 0 to 1; allowed is a number "
                    f"of {allowed}: change it, or set it to null, which takes the model's own"
                )
    if (segment["min_relative_peak"] or 0) > 0 > segment["threshold"]:
        raise SettingsError(
            f"config: segment.min_relative_peak is {segment['min_relative_peak']}, a share of "
            f"heights, and segment.threshold is {segment['threshold']}; allowed is a threshold of "
            "at least 0, as a share of a height below 0 means nothing: raise it, or set "
            "segment.min_relative_peak to 0"
        )


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


def diameter(config: dict, sample: Sample) -> Diameter | None:
    """Typical diameter to which a sample's image is scaled before it is predicted.

    `{"um": ...}`, `{"voxel": ...}`, "auto" if it is to be estimated, or None for an image that is
    taken as it is, or not predicted.
    """
    if sample.landscape or sample.diameter == "null":
        return None
    return sample.diameter or config["predict"]["diameter"]


def needs_voxel_size(config: dict, sample: Sample) -> bool:
    """Whether the image must say how large a voxel is, since a length in um came."""
    lengths = (diameter(config, sample), config["segment"]["sigma"], config["measure"]["ring"])
    in_um = any(isinstance(length, dict) and "um" in length for length in lengths)
    in_um = in_um or "um3" in (config["measure"]["size_range"] or {})
    return (in_um or config["track"] is not None) and sample.voxel_size is None
