"""The card of a network made elsewhere: a JSON file that says how the network is to be used.

Idea: a TorchScript or torch.export file computes, but does not say what it wants and what it gives:
the order of the axes, how brightness is normalised, which of its outputs is high inside of cells,
how far it looks. The card says so, once, and it is complete and checked before any work starts.

1. The file is read, every field checked, defaults are filled in.
2. The fields that a stage reads of any model's card are there too, under the same names.
3. `sha256` becomes a hash of the weights *and* of how they are used: it is by this that finished
   shards are known to be of this network, and another channel of the same file is another model.

Limits: one image channel, which a network of several input channels gets in all of them. One
stride, halo and window for all axes.
"""

import hashlib
import json
import math
from pathlib import Path

SUFFIXES = (".pt", ".pt2")
# Features at the finest level that memory is asked for; what is inside of the file is not known.
FEATURES = 32
NORMALISATIONS = {
    "limits": (),
    "percentiles": ("low", "high"),
    "mean_and_deviation": (),
    "fixed": ("low", "high"),
}
ACTIVATIONS = ("none", "sigmoid", "softmax")
NEEDED = ("axes", "stride", "halo", "window", "normalisation", "landscape", "sha256")
DEFAULTS = {
    "channels": 1,  # of the input
    "nominal_diameter": None,  # voxels; None: images are taken as they are
    "sizes": None,  # for each spatial axis, the smallest edge it takes and the step; 0: only that
    "top_models": {},
    "sees_beyond_halo": False,
    "notes": "",  # for the reader of the card
}
LANDSCAPE = {
    "output": 0,  # number of the output, or its name
    "axes": None,  # of the output; None: those of the input
    "activation": "none",  # over all channels of the output
    "channel": 0,
    "minus": None,  # number of a channel that is taken off, a border for example
    "zero": 0,  # the value that becomes 0
    "one": 1,  # the value that becomes 1
}
PARAMETERS = ("threshold", "persistence")
OPTIONAL = ("min_peak", "min_relative_peak")  # without them, no cell is dropped for its peak
# What is allowed, in words.
AXES = "y and x, with or without z, b (of 1) and c"
TOP_MODELS = (
    '{} or {"watershed": {"threshold": .., "persistence": ..}}, min_peak and min_relative_peak '
    "beside them or not, with numbers from 0 to 1, recommended for the landscape"
)


def read(path: Path) -> dict:
    """The card in a JSON file.

    Parameters
    ----------
    path : Path
        `NAME.json`, beside `NAME.pt` or `NAME.pt2`.

    Returns
    -------
    dict
        See `complete`.

    Raises
    ------
    ValueError
        If it is no JSON object, or a field is missing, unknown, or of a wrong type or value.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"the model card {path} is not valid JSON ({error}): correct it, "
            "docs/other_networks.md has an example"
        ) from error
    if not isinstance(fields, dict):
        _refuse(path, f"holds a {type(fields).__name__}", "one JSON object")
    return complete({"name": path.stem} | fields, path)


def _refuse(path: Path, came: str, allowed: str) -> None:
    raise ValueError(
        f"the model card {path} {came}; allowed is {allowed}: correct the card, "
        "docs/other_networks.md has an example"
    )


def complete(fields: dict, path: Path) -> dict:
    """Check the fields of a card, fill in what it leaves out, and add what stages read of any card.

    Parameters
    ----------
    fields : dict
        `name`, those of `NEEDED`, and any of `DEFAULTS`.
    path : Path
        Where they stand, for the sentence of a refusal.

    Returns
    -------
    dict
        Also with `architecture` (dimensions, and features for an estimate of memory) and
        `weights_sha256`, what the card said of the file; `sha256` is that of file and card. Of a
        top model's parameters, None says that none is recommended.

    Raises
    ------
    ValueError
        If a field is missing, unknown, or of a wrong type or value.
    """
    for name in NEEDED:
        if name not in fields:
            _refuse(path, f"lacks the field {name!r}", f"a card with {', '.join(NEEDED)}")
    known = ("name", *NEEDED, *DEFAULTS)
    if unknown := sorted(set(fields) - set(known)):
        _refuse(path, f"has the unknown field {unknown[0]!r}", ", ".join(known))
    fields = DEFAULTS | fields

    def check(name: str, good: bool, allowed: str) -> None:
        if not good:
            _refuse(path, f"says {name} = {json.dumps(fields[name])}", allowed)

    check("name", isinstance(fields["name"], str) and fields["name"] != "", "text")
    check("notes", isinstance(fields["notes"], str), "text")
    check("axes", _are_axes(fields["axes"]), f"{AXES}, in the order of the network's input")
    dimensions = 3 if "z" in fields["axes"] else 2
    check("channels", _is_count(fields["channels"]), "a whole number above 0")
    check(
        "channels",
        "c" in fields["axes"] or fields["channels"] == 1,
        "1, as there is no c in the axes",
    )
    check("stride", _is_count(fields["stride"]), "a whole number above 0")
    stride = fields["stride"]
    check(
        "halo",
        _is_whole(fields["halo"]) and fields["halo"] >= 0 and fields["halo"] % stride == 0,
        f"0 or a multiple of the stride, {stride}",
    )
    check(
        "window",
        _is_count(fields["window"]) and fields["window"] % stride == 0,
        f"a multiple of the stride, {stride}",
    )
    fields["sizes"] = fields["sizes"] or [[stride, stride]] * dimensions
    check(
        "sizes",
        _are_pairs(fields["sizes"], dimensions),
        f"a list of {dimensions} pairs, the smallest edge (above 0) and the step (0: only that)",
    )
    largest = fields["window"] + 2 * (fields["halo"] + stride)
    room = min((least for least, step in fields["sizes"] if step == 0), default=largest)
    check(
        "window",
        largest <= room,
        f"at most {room - 2 * (fields['halo'] + stride)}, as the network takes edges of {room} "
        f"voxels alone and a halo ({fields['halo']}) and a stride on both sides belong to them",
    )
    nominal = fields["nominal_diameter"]
    check(
        "nominal_diameter",
        nominal is None or (_is_number(nominal) and nominal > 0),
        "a number above 0 (voxels), or null for images as they are",
    )
    check("sees_beyond_halo", isinstance(fields["sees_beyond_halo"], bool), "true or false")
    check("sha256", _is_hash(fields["sha256"]), "64 digits of 0 to 9 and a to f")
    check("top_models", _are_top_models(fields["top_models"]), TOP_MODELS)
    fields["top_models"] = {"watershed": dict.fromkeys(PARAMETERS)} | fields["top_models"]
    fields["normalisation"] = _normalisation(fields["normalisation"], path)
    fields["landscape"] = _landscape(fields["landscape"], fields["axes"], path)

    used = {name: value for name, value in fields.items() if name not in ("name", "notes")}
    text = json.dumps(used, sort_keys=True)
    return fields | {
        "task": "distance",
        "architecture": {"channels": [FEATURES], "dimensions": dimensions},
        "weights_sha256": fields["sha256"],
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return _is_whole(value) and value > 0


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


def _are_axes(value: object) -> bool:
    is_text = isinstance(value, str) and len(set(value)) == len(value)
    return is_text and set("yx") <= set(value) <= set("bczyx")


def _are_pairs(value: object, count: int) -> bool:
    """Whether it is a list of so many [edge above 0, step from 0 on]."""
    return (
        isinstance(value, list)
        and len(value) == count
        and all(isinstance(pair, list) and len(pair) == 2 for pair in value)
        and all(_is_count(least) and _is_whole(step) and step >= 0 for least, step in value)
    )


def are_heights(value: object) -> bool:
    """Whether it is what a card, ours too, recommends for the landscape of a top model."""
    return (
        isinstance(value, dict)
        and set(PARAMETERS) <= set(value) <= {*PARAMETERS, *OPTIONAL}
        and all(_is_number(height) and 0 <= height <= 1 for height in value.values())
    )


def _are_top_models(value: object) -> bool:
    if value == {}:
        return True
    return (
        isinstance(value, dict) and set(value) == {"watershed"} and are_heights(value["watershed"])
    )


def _normalisation(given: object, path: Path) -> dict:
    """The field `normalisation`, complete: see `intensity.limits_and_clip`."""
    by = given.get("by") if isinstance(given, dict) else None
    if by not in NORMALISATIONS:
        _refuse(
            path,
            f"says normalisation = {json.dumps(given)}",
            f'{{"by": ..}} with one of {", ".join(NORMALISATIONS)}',
        )
    filled = {"becomes": [0, 1], "clip": None} | given
    needed = NORMALISATIONS[by]
    keys = {"by", "becomes", "clip", *needed}
    ends = [filled.get(key) for key in needed]
    good = set(filled) == keys and all(map(_is_number, ends))
    good = good and _are_two(filled["becomes"]) and filled["becomes"][0] != filled["becomes"][1]
    clip = filled["clip"]
    good = good and (clip is None or _are_bounds(clip))
    if good and ends:
        good = ends[0] < ends[1]
    if good and by == "percentiles":
        good = all(0 <= end <= 100 and abs(end * 10 - round(end * 10)) < 1e-6 for end in ends)
    if not good:
        _refuse(
            path,
            f"says normalisation = {json.dumps(given)}",
            f"by {by} with "
            + "".join(f"{key}, " for key in needed)
            + ("in steps of 0.1 from 0 to 100, " if by == "percentiles" else "")
            + "and, if wished, becomes and clip, of two different numbers each (in clip also null)",
        )
    return filled


def _are_two(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _are_bounds(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 2:
        return False
    ends = [end for end in value if end is not None]
    return all(map(_is_number, ends)) and (len(ends) < 2 or ends[0] < ends[1])


def _landscape(given: object, axes: str, path: Path) -> dict:
    """The field `landscape`, complete."""
    if not isinstance(given, dict) or not set(given) <= set(LANDSCAPE):
        _refuse(
            path, f"says landscape = {json.dumps(given)}", f"an object with {', '.join(LANDSCAPE)}"
        )
    filled = LANDSCAPE | given
    filled["axes"] = filled["axes"] or axes

    def check(name: str, good: bool, allowed: str) -> None:
        if not good:
            _refuse(path, f"says landscape.{name} = {json.dumps(filled[name])}", allowed)

    output = filled["output"]
    check(
        "output",
        isinstance(output, str) or (_is_whole(output) and output >= 0),
        "its number from 0 on, or its name",
    )
    spatial = set(axes) & set("zyx")
    check(
        "axes",
        _are_axes(filled["axes"]) and set(filled["axes"]) & set("zyx") == spatial,
        f"an order of {', '.join(sorted(spatial))}, with or without b and c",
    )
    check("activation", filled["activation"] in ACTIVATIONS, " or ".join(ACTIVATIONS))
    has_channels = "c" in filled["axes"]
    check(
        "channel",
        _is_whole(filled["channel"]) and filled["channel"] >= 0,
        "a number of a channel from 0 on",
    )
    check("channel", has_channels or filled["channel"] == 0, "0, as the output has no axis c")
    minus = filled["minus"]
    check(
        "minus",
        minus is None or (has_channels and _is_whole(minus) and minus >= 0),
        "null or the number of a channel",
    )
    for name in ("zero", "one"):
        check(name, _is_number(filled[name]), "a number")
    check("one", filled["one"] != filled["zero"], "another value than that of zero")
    return filled
