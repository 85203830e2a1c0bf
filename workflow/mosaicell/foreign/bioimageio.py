"""The card of a BioImage.IO model folder: its description, read as `card` wants it.

Idea: a folder of the BioImage.IO model zoo (`rdf.yaml` or `bioimageio.yaml`, formats 0.4 and 0.5)
says what a card of ours says, in other words. `bioimageio.spec` reads and checks it; here it is
translated, once, and what cannot be kept to the letter is refused.

1. Input: order of axes, sizes (smallest and step), channels.
2. Preprocessing becomes one line through two intensities of the whole image, and bounds. Statistics
   "per sample" are those of the sample's global histogram, never of a tile.
3. Output: halo, activation, and which values are 0 and 1.
4. What such a description has no word for (which channel is the landscape, its threshold and
   persistence, the diameter of the cells) stands in its section `config: mosaicell:`, with the
   names of our card, and may be corrected there too.

Nothing is downloaded: files that the description names by URL are not needed, or refused.

Limits: one input tensor. Weights as TorchScript: other formats need code or other libraries. One
stride, halo and window for all axes, the largest that is asked for.
"""

import math
import warnings
from pathlib import Path

from .card import complete

FILES = ("rdf.yaml", "bioimageio.yaml")
OURS = (
    "halo",
    "landscape",
    "nominal_diameter",
    "sees_beyond_halo",
    "stride",
    "top_models",
    "window",
)
WINDOW = {2: 256, 3: 96}  # voxels, if the description does not say it
STRIDE = 16  # of a network that takes one size alone: most halve their input four times
FLOATS = ("float32", "float64")


def find(path: Path) -> tuple[Path, Path] | None:
    """Weights and description of a BioImage.IO model.

    Parameters
    ----------
    path : Path
        The model's folder, or the weights in it.

    Returns
    -------
    weights, description : Path
        None if it is a file, and no model's weights.

    Raises
    ------
    FileNotFoundError
        If there is no description in a folder, or the weights that it names are not there.
    ValueError
        If the description cannot be read, or has no weights that can be used.
    """
    folders = [path] if path.is_dir() else path.parents
    said = next((f / name for f in folders for name in FILES if (f / name).is_file()), None)
    if said is None:
        if path.is_file():
            return None
        raise FileNotFoundError(
            f"the folder {path} is no model; allowed is a BioImage.IO model folder, with "
            f"{' or '.join(FILES)} in it: correct the path"
        )
    weights = said.parent / _weights(said)[0]
    if path.is_file() and weights.resolve() != path.resolve():
        return None
    if not weights.is_file():
        raise FileNotFoundError(
            f"the model {said} names the weights {weights.name}, which are not in its folder; "
            "allowed is a complete folder, nothing is downloaded: download all of the model"
        )
    return weights, said


def _unlike(path: Path, came: str, allowed: str, do: str) -> ValueError:
    return ValueError(f"the BioImage.IO model {path} {came}; allowed is {allowed}: {do}")


def _described(path: Path, version: str):
    """The description, in the format that it has ("discover") or in the latest."""
    try:
        from bioimageio.spec import InvalidDescr, ValidationContext, build_description
        from ruyaml import YAML, YAMLError
    except ImportError as error:
        raise _unlike(
            path,
            "cannot be read, as bioimageio.spec is not installed",
            "such a model with it",
            "pip install --constraint envs/constraints.txt --editable '.[bioimageio]'",
        ) from error
    try:
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        # Without checks of files nothing is looked up, on the disk or elsewhere.
        context = ValidationContext(
            root=path.parent, file_name=path.name, perform_io_checks=False, log_warnings=False
        )
        with warnings.catch_warnings():
            # That the number of an older format's channels may be wrong: it is tried when it runs.
            warnings.simplefilter("ignore")
            said = build_description(content, context=context, format_version=version)
    # What bioimageio.spec raises, beside `InvalidDescr`, at descriptions that are unlike any.
    except (YAMLError, ValueError, TypeError, NotImplementedError, AssertionError) as error:
        raise _unreadable(path, str(error)) from error
    if isinstance(said, InvalidDescr) or said.type != "model":
        why = said.get_reason() if isinstance(said, InvalidDescr) else f"a {said.type}"
        raise _unreadable(path, str(why))
    return said


def _unreadable(path: Path, why: str) -> ValueError:
    return _unlike(
        path,
        f"is not as bioimageio.spec knows it ({' '.join(why.split())[:300]})",
        "format 0.4 or 0.5 of a model",
        "correct it, or write a card for its TorchScript file, see docs/other_networks.md",
    )


def _weights(path: Path) -> tuple[Path, str]:
    """Path in the folder and SHA-256 of the TorchScript weights."""
    weights = _described(path, "discover").weights
    if weights.torchscript is None:
        formats = sorted(name for name, entry in weights if entry is not None)
        raise _unlike(
            path,
            f"has weights as {' and '.join(formats)}",
            "TorchScript, which needs neither the network's code nor another library",
            "export them with torch.jit.trace and add them to the description",
        )
    source, sha256 = str(weights.torchscript.source), weights.torchscript.sha256
    if "://" in source or Path(source).is_absolute() or ".." in Path(source).parts:
        raise _unlike(
            path,
            f"has its weights at {source}",
            "a file in its folder, as nothing is downloaded",
            "download all of the model",
        )
    if sha256 is None:
        raise _unlike(
            path,
            "does not say the sha256 of its TorchScript weights",
            "weights that can be known again",
            "add what sha256sum says of them",
        )
    return Path(source), str(sha256)


def read(path: Path) -> dict:
    """The card of a BioImage.IO model.

    Parameters
    ----------
    path : Path
        The description in the model's folder.

    Returns
    -------
    dict
        See `card.complete`.

    Raises
    ------
    ValueError
        If something in the description cannot be kept to; the sentence says what.
    """
    _, sha256 = _weights(path)
    said = _described(path, "latest")
    config = said.config if isinstance(said.config, dict) else said.config.model_extra
    ours = (config or {}).get("mosaicell") or {}
    if not isinstance(ours, dict) or not set(ours) <= set(OURS):
        raise _unlike(
            path,
            f"has the section config.mosaicell with {', '.join(map(str, ours))}",
            f"any of {', '.join(OURS)} in it",
            "correct it",
        )
    if len(said.inputs) != 1:
        raise _unlike(
            path,
            f"takes {len(said.inputs)} inputs",
            "one image",
            "choose another model, or bring its output as the column `landscape`",
        )
    ours_of_output = ours.get("landscape", {})
    number = ours_of_output.get("output", 0)
    if not isinstance(number, int) or not 0 <= number < len(said.outputs):
        raise _unlike(
            path,
            f"has config.mosaicell.landscape.output = {number!r}",
            f"a number from 0 to {len(said.outputs) - 1}",
            "correct it",
        )
    tensor, output = said.inputs[0], said.outputs[number]
    axes = _axes(tensor, path)
    sizes = _sizes(tensor, path)
    dimensions = len(sizes)
    steps, fixed = [b for _, b in sizes if b], [a for a, b in sizes if not b]
    stride = ours.get("stride", math.lcm(*steps) if steps else math.gcd(STRIDE, *fixed))
    halo = ours.get("halo", -(-_halo(tensor, output, path) // stride) * stride)
    window = min([WINDOW[dimensions], *(edge - 2 * (halo + stride) for edge in fixed)])
    if window < stride and "window" not in ours:
        raise _unlike(
            path,
            f"takes edges of {min(fixed)} voxels alone and leaves no core between its halos "
            f"({halo}) and strides ({stride})",
            "a network with more room, or one that takes several sizes",
            "export one with larger windows",
        )
    fields = {
        "name": said.name,
        "axes": axes,
        "channels": _n_channels(tensor),
        "stride": stride,
        "halo": halo,
        "window": window // stride * stride,
        "sizes": sizes,
        "normalisation": _normalisation(tensor, path),
        "sha256": sha256,
    } | ours
    fields["landscape"] = _landscape(output, number, path) | ours_of_output
    if _n_channels(output) > 1 and "channel" not in ours_of_output:
        raise _unlike(
            path,
            f"gives {_n_channels(output)} channels and does not say which is high inside of cells",
            "a number from 0 on in config.mosaicell.landscape.channel",
            "add `config: {mosaicell: {landscape: {channel: 0}}}` to the description",
        )
    return complete(fields, path)


def _axes(tensor, path: Path) -> str:
    """Letters of a tensor's axes."""
    letters = []
    for axis in tensor.axes:
        if axis.type not in ("batch", "channel", "space"):
            raise _unlike(
                path,
                f"has an axis of {axis.type} in {tensor.id!r}",
                "batch, channel and space",
                "choose another model",
            )
        letters.append(str(axis.id) if axis.type == "space" else axis.type[0])
    return "".join(letters)


def _spatial(tensor) -> list:
    """The axes of space, z first."""
    return sorted((axis for axis in tensor.axes if axis.type == "space"), key=lambda axis: axis.id)[
        ::-1
    ]


def _n_channels(tensor) -> int:
    return next((len(axis.channel_names) for axis in tensor.axes if axis.type == "channel"), 1)


def _sizes(tensor, path: Path) -> list[list[int]]:
    """For each axis of space, z first, the smallest edge and the step; 0: only that."""
    sizes = []
    for axis in _spatial(tensor):
        if isinstance(axis.size, int):
            sizes.append([axis.size, 0])
        elif hasattr(axis.size, "step"):
            sizes.append([axis.size.min, axis.size.step])
        else:
            raise _unlike(
                path,
                f"takes an edge {axis.id} that follows another one",
                "a number, or a smallest one and a step",
                "write that for the axis",
            )
    return sizes


def _halo(tensor, output, path: Path) -> int:
    """Voxels around a core that the network wants, before rounding."""
    halo = 0
    for axis in _spatial(output):
        into = next((other for other in _spatial(tensor) if other.id == axis.id), None)
        if into is None or axis.scale != into.scale:
            raise _unlike(
                path,
                f"gives the axis {axis.id} at another resolution than it takes it",
                "an output voxel for each input voxel",
                "choose another model",
            )
        if isinstance(axis.size, int):
            lost = into.size - axis.size if isinstance(into.size, int) else 0
        else:
            lost = -axis.size.offset if hasattr(axis.size, "offset") else 0
        halo = max(halo, getattr(axis, "halo", 0) + -(-lost // 2))
    return halo


def _normalisation(tensor, path: Path) -> dict:
    """The preprocessing as `intensity.limits_and_clip` wants it."""

    def unlike(step, came: str) -> ValueError:
        return _unlike(
            path,
            f"is to be given an image after {step.id}, {came}",
            "statistics of the whole image first, then lines and bounds",
            "choose another model, or bring its output as the column `landscape`",
        )

    found = {"by": "fixed", "low": 0, "high": 1}
    gain, offset, clip = 1.0, 0.0, None
    for step in tensor.preprocessing:
        if step.id in ("zero_mean_unit_variance", "scale_range"):
            if found["by"] != "fixed" or clip is not None or gain <= 0:
                raise unlike(step, "which is measured after another change")
            if step.kwargs.axes is not None:
                missing = {axis.id for axis in _spatial(tensor)} - set(step.kwargs.axes)
                if missing:
                    raise unlike(step, f"measured for each {', '.join(sorted(missing))} alone")
            if step.id == "scale_range":
                if step.kwargs.reference_tensor is not None:
                    raise unlike(step, "measured of another tensor")
                low, high = step.kwargs.min_percentile, step.kwargs.max_percentile
                found = {"by": "percentiles", "low": low, "high": high}
            else:
                found = {"by": "mean_and_deviation"}
            gain, offset = 1.0, 0.0  # a line before does not change what comes out
        elif step.id in ("scale_linear", "fixed_zero_mean_unit_variance"):
            names = ("gain", "offset") if step.id == "scale_linear" else ("mean", "std")
            a, b = (_single(getattr(step.kwargs, name)) for name in names)
            if a is None or b is None:
                raise unlike(step, "with another number for each channel")
            slope, shift = (a, b) if step.id == "scale_linear" else (1 / b, -a / b)
            gain, offset = gain * slope, offset * slope + shift
            if clip is not None:
                clip = [end if end is None else end * slope + shift for end in clip]
                clip = clip if slope > 0 else clip[::-1]
        elif step.id == "clip":
            ends = step.kwargs.min, step.kwargs.max
            by_percentile = (step.kwargs.min_percentile, step.kwargs.max_percentile) != (None, None)
            if by_percentile or clip is not None:
                raise unlike(step, "by percentiles or a second time")
            clip = list(ends)
        elif step.id != "ensure_dtype" or step.kwargs.dtype not in FLOATS:
            raise unlike(step, "which is not known here or rounds")
    return found | {"becomes": [offset, gain + offset], "clip": clip}


def _single(value: object) -> float | None:
    """A number that came as itself or as a list of one."""
    if isinstance(value, list | tuple):
        return float(value[0]) if len(value) == 1 else None
    return float(value)


def _landscape(output, number: int, path: Path) -> dict:
    """The postprocessing as a card's `landscape`."""

    def unlike(step) -> ValueError:
        return _unlike(
            path,
            f"gives its output after {step.id}, which is no landscape or depends on the window",
            "a sigmoid or softmax, then lines, and bounds around 0 and 1",
            "choose another output, or bring the result as the column `landscape`",
        )

    activation, gain, offset = "none", 1.0, 0.0
    for step in output.postprocessing:
        if step.id in ("sigmoid", "softmax"):
            if activation != "none" or (gain, offset) != (1.0, 0.0):
                raise unlike(step)
            activation = step.id
        elif step.id == "scale_linear":
            slope, shift = _single(step.kwargs.gain), _single(step.kwargs.offset)
            if not slope or shift is None:
                raise unlike(step)
            gain, offset = gain * slope, offset * slope + shift
        elif step.id == "clip":
            low, high = step.kwargs.min, step.kwargs.max
            if low is None or high is None or low > 0 or high < 1:
                raise unlike(step)
        elif step.id != "ensure_dtype" or step.kwargs.dtype not in FLOATS:
            raise unlike(step)
    return {
        "output": number,
        "axes": _axes(output, path),
        "activation": activation,
        "zero": (0 - offset) / gain,
        "one": (1 - offset) / gain,
    }
