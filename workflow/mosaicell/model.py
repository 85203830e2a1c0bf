"""A model on disk: weights `NAME.safetensors` and, beside them, a card `NAME.json`.

Idea: the card says all that is needed to use the weights (task, architecture, nominal diameter,
windows, for each top model the watershed's recommended parameters) and to trust them (how they
were made, scores, a hash). Weights are plain arrays: nothing in a model file is ever executed.

A model is named either by the name of a shipped one or by the path of its weight file.

Networks made elsewhere, TorchScript and torch.export files and BioImage.IO folders, are told by
their path and handed on to `foreign`.

Limits: of our own, the networks of `networks`, in 2D or 3D.
"""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from .foreign.bioimageio import find as find_in_folder
from .foreign.bioimageio import read as read_of_folder
from .foreign.card import SUFFIXES, are_heights
from .foreign.card import read as read_foreign

if TYPE_CHECKING:  # torch takes seconds to import, and reading a card needs none of it
    from .predict import Network

SHIPPED = Path(__file__).parent / "models"
TOP_MODELS = {  # that a network has, by its task: see `networks`
    "distance": ("watershed",),
    "three_class": ("three_class",),
    "distance_three_class": ("watershed", "three_class"),
}
FIELDS = {
    "name": str,
    "license": str,
    "task": str,
    "architecture": dict,  # the network's keyword arguments; without `dimensions` it has 3
    "nominal_diameter": (int, float),  # voxels: images are brought to cells of this size
    "window": int,  # voxels, edge of the core of a window
    "halo": int,  # voxels on each side of the core
    "top_models": dict,  # for each: what is recommended for the watershed, see `are_heights`
    "training": dict,
    "scores": dict,
    "sha256": str,  # of the weight file
}


def shipped() -> list[str]:
    """Names of the models that come with Mosaicell."""
    return sorted(path.stem for path in SHIPPED.glob("*.safetensors"))


def find(name_or_path: str | Path) -> tuple[Path, Path]:
    """Weight file and card of a model.

    Parameters
    ----------
    name_or_path : str or Path
        The name of a shipped model, the path of a `.safetensors`, `.pt` or `.pt2` file with its
        card beside it, or a BioImage.IO model folder.

    Returns
    -------
    weights, card : Path

    Raises
    ------
    FileNotFoundError
        If there is no such model, or its card is missing.
    """
    given = str(name_or_path)
    is_path = given.endswith((".safetensors", *SUFFIXES))
    path = Path(given) if is_path else SHIPPED / f"{given}.safetensors"
    if not path.is_file():
        # Weights in a model folder may have any ending.
        if given and Path(given).exists() and (found := find_in_folder(Path(given))):
            return found
        raise FileNotFoundError(
            f"there is no model {given!r}; allowed are the shipped models "
            f"({', '.join(shipped())}), the path of a .safetensors, .pt or .pt2 file and a "
            "BioImage.IO model folder: correct the name or the path"
        )
    beside = path.with_suffix(".json")
    if not beside.is_file():
        if path.suffix in SUFFIXES and (found := find_in_folder(path)):
            return found
        raise FileNotFoundError(
            f"the model {path} has no card {beside.name} beside it; "
            "weights alone do not tell how to use them: copy both files that training wrote, or "
            "write it (docs/other_networks.md) for a network made elsewhere"
        )
    return path, beside


def _refuse(path: Path, came: str, allowed: str) -> None:
    raise ValueError(
        f"the model card {path} {came}; allowed is {allowed}: "
        "correct the card, or copy both files that training wrote"
    )


def _is(value: object, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def card(name_or_path: str | Path) -> dict:
    """The card of a model, checked field by field.

    Parameters
    ----------
    name_or_path : str or Path
        See `find`.

    Returns
    -------
    dict
        With the keys of `FIELDS`; that of a network made elsewhere, see `foreign.card.complete`,
        with those that predicting and segmenting need.

    Raises
    ------
    FileNotFoundError
        See `find`.
    ValueError
        If the card is no JSON object, or a field is missing, unknown, or of a wrong type or
        value.
    """
    weights, path = find(name_or_path)
    if path.suffix == ".yaml":
        return read_of_folder(path)
    if weights.suffix in SUFFIXES:
        return read_foreign(path)
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"the model card {path} is not valid JSON ({error}): copy the card that training wrote"
        ) from error
    if not isinstance(fields, dict):
        _refuse(path, f"holds a {type(fields).__name__}", "one JSON object")
    for name, kind in FIELDS.items():
        if name not in fields:
            _refuse(path, f"lacks the field {name!r}", f"a card with {', '.join(FIELDS)}")
        if not _is(fields[name], kind):
            kinds = kind if isinstance(kind, tuple) else (kind,)
            _refuse(
                path,
                f"says {name} = {fields[name]!r}",
                " or ".join(k.__name__ for k in kinds),
            )
    if unknown := sorted(set(fields) - set(FIELDS)):
        _refuse(path, f"has the unknown field {unknown[0]!r}", ", ".join(FIELDS))
    if fields["task"] not in TOP_MODELS:
        _refuse(path, f"says task = {fields['task']!r}", ", ".join(TOP_MODELS))
    for name in ("nominal_diameter", "window"):
        if not fields[name] > 0:
            _refuse(path, f"says {name} = {fields[name]!r}", "a number above 0")
    _check_top_models(path, fields)
    fields["architecture"] = {"dimensions": 3} | fields["architecture"]
    _check_architecture(path, fields)
    stride = 2 ** (len(fields["architecture"]["channels"]) - 1)
    if fields["window"] % stride:
        _refuse(path, f"says window = {fields['window']}", f"a multiple of {stride}")
    return fields


def _check_top_models(path: Path, fields: dict) -> None:
    given, names = fields["top_models"], TOP_MODELS[fields["task"]]
    if set(given) != set(names):
        allowed = f"{' and '.join(names)}, by its task"
        _refuse(path, f"says top_models = {given!r}", allowed)
    for name, heights in given.items():
        if not are_heights(heights):
            allowed = (
                "threshold, persistence and, or not, min_peak and min_relative_peak, each a number "
                "from 0 to 1"
            )
            _refuse(path, f"says top_models.{name} = {heights!r}", allowed)


def _check_architecture(path: Path, fields: dict) -> None:
    given = fields["architecture"]
    lists = {"channels"} | ({"top_channels"} if fields["task"] == "distance_three_class" else set())
    channels = [given.get(name) for name in sorted(lists)]
    dimensions = given.get("dimensions")
    if (
        set(given) != lists | {"dimensions"}
        or not (_is(dimensions, int) and dimensions in (2, 3))
        or not all(isinstance(of_level, list) for of_level in channels)
        or not all(_is(n, int) and n > 0 for of_level in channels for n in of_level)
        or not 2 <= len(channels[0]) <= 6
        or len(channels[-1]) != len(channels[0])
    ):
        allowed = "a list of 2 to 6 whole numbers above 0" + ", as many of each" * (len(lists) - 1)
        _refuse(
            path,
            f"says architecture = {given!r}",
            f"{' and '.join(sorted(lists))}, {allowed}, and dimensions, 2 or 3",
        )


def check_top_model(fields: dict, top_model: str) -> None:
    """Refuse a top model that a model does not have (ValueError).

    Parameters
    ----------
    fields : dict
        See `card`.
    top_model : str
    """
    if top_model not in fields["top_models"]:
        raise ValueError(
            f"the top model is {top_model!r}, and the model {fields['name']} is of the task "
            f"{fields['task']}; allowed is {' or '.join(fields['top_models'])}: change "
            "segment.top_model, or take another model"
        )


def kept(fields: dict, given: dict) -> dict:
    """What a training that starts from a model must keep of it.

    Parameters
    ----------
    fields : dict
        See `card`.
    given : dict
        What the training was told of these: `task`, `dimensions`, `channels`, `nominal_diameter`,
        `rim`.

    Returns
    -------
    dict
        All of these.

    Raises
    ------
    ValueError
        If something else was told, or the model was made elsewhere.
    """
    if "weights_sha256" in fields:
        raise ValueError(
            f"train.start_from is {fields['name']}, a network made elsewhere; allowed is a model "
            "of Mosaicell: train it further where it was made, or set train.start_from to null"
        )
    own = {
        "task": fields["task"],
        "dimensions": fields["architecture"]["dimensions"],
        "channels": fields["architecture"]["channels"],
        "nominal_diameter": fields["nominal_diameter"],
        "rim": fields["training"].get("rim", 0.0),  # models older than the setting have none
    }
    for name, value in own.items():
        if name in given and given[name] != value:
            raise ValueError(
                f"train.{name} is {given[name]}, and training starts from {fields['name']}; "
                f"allowed is {value}, as that model has it: leave train.{name} out, or set "
                "train.start_from to null"
            )
    return own


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(name_or_path: str | Path, *, top_model: str | None = None) -> tuple["Network", dict]:
    """A model, ready to predict on the CPU, and its card.

    Parameters
    ----------
    name_or_path : str or Path
        See `find`.
    top_model : str, optional
        Whose landscape is wanted; without it the whole network comes.

    Returns
    -------
    net : Network
        In evaluation mode; one of `networks`, unless it was made elsewhere.
    card : dict
        See `card`.

    Raises
    ------
    FileNotFoundError, ValueError
        See `card`; also if the model does not have the top model, or the weights are not the ones
        that the card describes.
    """
    fields = card(name_or_path)
    if top_model is not None:
        check_top_model(fields, top_model)
    weights, path = find(name_or_path)
    if "weights_sha256" in fields:
        from .foreign.network import load as load_foreign

        return load_foreign(weights, fields), fields
    if (found := _sha256(weights)) != fields["sha256"]:
        raise ValueError(
            f"the weights {weights} have the SHA-256 {found}; allowed is what their card says, "
            f"{fields['sha256']}: copy both files that training wrote, unchanged"
        )

    from safetensors.torch import load_file

    from .networks import NETWORKS, giving

    net = NETWORKS[fields["task"]](**fields["architecture"])
    if fields["halo"] != net.halo:
        _refuse(path, f"says halo = {fields['halo']}", f"{net.halo}, by its architecture")
    try:
        net.load_state_dict(load_file(weights))
    except RuntimeError as error:
        raise ValueError(
            f"the weights {weights} do not fit the architecture {fields['architecture']} that "
            "their card says; allowed is the one they were trained with: correct the card"
        ) from error
    net.eval().to(memory_format=net.memory_format)
    return net if top_model is None else giving(net, top_model), fields


def save(
    net: "Network",
    path: Path,
    *,
    nominal_diameter: float,
    window: int,
    top_models: dict[str, dict[str, float]],
    training: dict,
    scores: dict,
) -> dict:
    """Write a model: weights and card.

    Parameters
    ----------
    net : Network
    path : Path
        `NAME.safetensors`; the card goes beside it as `NAME.json`.
    nominal_diameter : float
        Of the cells it is for, in voxels.
    window : int
        Edge of a window's core in voxels, a multiple of `net.stride`.
    top_models : dict
        For each top model the `threshold` and `persistence` recommended for its landscapes, and
        `min_peak` and `min_relative_peak` if there are.
    training, scores : dict
        How the model was made, and how good it is: for the reader of the card.

    Returns
    -------
    dict
        The card.

    Raises
    ------
    ValueError
        If a field would be refused by `card`.
    """
    from safetensors.torch import save as serialised

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    tensors = {name: tensor.cpu().contiguous() for name, tensor in net.state_dict().items()}
    part.write_bytes(serialised(tensors))
    fields = {
        "name": path.stem,
        "license": "MIT",
        "task": net.task,
        "architecture": net.architecture,
        "nominal_diameter": nominal_diameter,
        "window": window,
        "halo": net.halo,
        "top_models": top_models,
        "training": training,
        "scores": scores,
        "sha256": _sha256(part),
    }
    # The card first: if the job is killed between the two, the hash does not fit and tells.
    path.with_suffix(".json").write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
    part.replace(path)
    return card(path)
