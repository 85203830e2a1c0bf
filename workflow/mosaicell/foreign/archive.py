"""TorchScript and torch.export files, opened without running Python that is in them.

Idea: both are zip archives. `torch.jit.load` compiles TorchScript, a language of its own, and its
reader of pickles knows tensors and types of that language alone. `torch.export.load` is less
careful: it unpickles whatever is called a custom or opaque constant, a tensor that is marked so,
or an example that does not look like tensors; it loads machine code (AOTInductor); it resolves
names of functions anywhere in torch, and it evaluates formulas of sizes and guards as Python. So
what is in the archive is looked at before, by the reader that torch itself uses, and anything but
the plain form, which `torch.export.save` writes of a convolutional network, is refused:

1. TorchScript: the code is there, and names no function that reads or writes files, calls other
   machines, or runs when the file is loaded.
2. torch.export: no files but tensors, the graph and its examples; no tensor by pickle; only
   functions of `torch.ops.aten` and arithmetic; formulas of numbers, symbols and known functions;
   all other texts are plain names. Guards are thrown away: sizes are checked by `network`.

A `.pt` file that is an eager pickle (`torch.save`) is refused: who opens one runs what it says.

Limits: a network is still a program, though one that only computes: it may take for ever or all
memory. Known with torch 2.13; a newer torch may write archives that are refused here.
"""

import io
import json
import re
import warnings
from pathlib import Path

import torch

# Of TorchScript: words, so that no detour (an alias, a line break) hides a call.
FORBIDDEN = re.compile(
    r"\b(save|from_file|load_tensor|__setstate__|rpc_\w+|PythonOp|IgnoredPythonOp|torch\W+classes)\b"
)
# Of torch.export.
FILES = re.compile(
    r"(archive_format|archive_version|byteorder|version|\.data/.*|extra/.*|models/model\.json"
    r"|data/sample_inputs/model\.pt|data/(weights|constants)/model_(weights|constants)_config\.json"
    r"|data/weights/weight_\d+|data/constants/tensor_\d+)"
)
GRAPH, EXAMPLES = "models/model.json", "data/sample_inputs/model.pt"
CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
FUNCTIONS = re.compile(
    r"torch\.ops\.aten\.(?!from_file\b|save\b)\w+\.\w+"
    r"|_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|neg|pow|eq|ne|lt|le|gt|ge|and_|or_)"
    r"|math\.(ceil|floor|trunc)|torch\.sym_(max|min|int|float|not|ite)"
)
NAME = re.compile(r"[\w.:+-]*")
FORMULA = re.compile(r"([\w ,()+*/%<>=.-]|'[a-z]+\d+')*")
WORDS = re.compile(
    r"[a-z]{1,3}\d+|\d+(\.\d+)?|Add|Mul|Pow|Mod|PythonMod|Max|Min|FloorDiv|CleanDiv|CeilDiv|Symbol"
    r"|IntTrueDiv|FloatTrueDiv|ToFloat|CeilToInt|FloorToInt|TruncToInt|Integer|Rational|Float|Eq|Ne"
    r"|Ge|Gt|Le|Lt|Equality|Unequality|GreaterThan|LessThan|StrictGreaterThan|StrictLessThan"
    r"|ModularIndexing|Where|True|False|positive|integer|nonnegative|finite|real|oo|int_oo"
)
# Texts that are kept or taken apart, and nothing else; guards are thrown away.
NOT_READ = {"metadata", "guards_code", "torch_version"}
PLAIN_TREES = {None, "builtins.tuple", "builtins.list", "builtins.dict"}
DO = (
    "export it with torch.jit.trace or torch.export.save, docs/other_networks.md says how, from "
    "the code of the network, and take networks from people you trust alone"
)


def open_archive(path: Path) -> torch.nn.Module:
    """The network in a TorchScript (`.pt`) or torch.export (`.pt2`) file, on the CPU.

    Raises
    ------
    ValueError
        If it is none, or something in it could run Python when it is opened.
    """
    try:
        reader = torch._C.PyTorchFileReader(str(path))
    except RuntimeError as error:
        raise _refused(path, "is neither a TorchScript nor a torch.export archive") from error
    opened = _open_exported if path.suffix == ".pt2" else _open_scripted
    return opened(path, reader)


def _refused(path: Path, came: str) -> ValueError:
    return ValueError(
        f"the network {path} {came}; allowed are archives of torch.jit.save (.pt) and "
        f"torch.export.save (.pt2), which need no pickle: {DO}"
    )


def _open_scripted(path: Path, reader) -> torch.nn.Module:
    names = reader.get_all_records()
    code = [name for name in names if name.startswith("code/") and name.endswith(".py")]
    if not code or "constants.pkl" not in names:
        raise _refused(path, "is a pickle of Python objects (torch.save), no TorchScript")
    for name in code:
        if found := FORBIDDEN.search(reader.get_record(name).decode()):
            raise _refused(path, f"uses {found[0]!r}, which a network for images does not need")
    with warnings.catch_warnings():
        # torch advises to export; the files that people have are as they are.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            network = torch.jit.load(str(path), map_location="cpu")
        except RuntimeError as error:
            raise _refused(path, f"cannot be read ({_first_line(error)})") from error
        return network.eval()


def _open_exported(path: Path, reader) -> torch.nn.Module:
    names = reader.get_all_records()
    if odd := sorted(name for name in names if not FILES.fullmatch(name)):
        raise _refused(path, f"holds {odd[0]!r}, which is opened by pickle or run as it is")
    if not {GRAPH, EXAMPLES, *CONFIGS} <= set(names):
        raise _refused(path, "lacks a part of what torch.export.save writes")
    for name in CONFIGS:
        for meta in json.loads(reader.get_record(name))["config"].values():
            if meta["use_pickle"] or not NAME.fullmatch(meta["path_name"]):
                raise _refused(path, f"holds {meta['path_name']!r}, which is opened by pickle")
    try:
        torch.load(io.BytesIO(reader.get_record(EXAMPLES)), weights_only=True)
    except Exception as error:  # of any kind: whatever is wrong, torch would unpickle it freely
        raise _refused(path, "has examples that are no tensors, opened by pickle") from error
    _check_graph(path, json.loads(reader.get_record(GRAPH)))
    try:
        program = torch.export.load(path)
    except Exception as error:  # of any kind: torch has no word for a file that it cannot read
        raise _refused(path, f"cannot be read ({_first_line(error)})") from error
    program._guards_code = []
    return program.module(check_guards=False)


def _check_graph(path: Path, value: object, key: str = "") -> None:
    """Refuse any text in the graph but names, known functions and formulas of sizes."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if key == "range_constraints":
                _check_formula(path, name)
            elif not NAME.fullmatch(name):
                raise _refused(path, f"has the name {name[:60]!r}")
            if name not in NOT_READ:
                _check_graph(path, inner, name)
    elif isinstance(value, list):
        for inner in value:
            _check_graph(path, inner, key)
    elif isinstance(value, str):
        if key == "target":
            if not FUNCTIONS.fullmatch(value):
                raise _refused(path, f"calls {value[:60]!r}")
        elif key == "expr_str":
            _check_formula(path, value)
        elif key in ("in_spec", "out_spec"):
            _check_tree(path, json.loads(value)[1])
        elif not NAME.fullmatch(value):
            raise _refused(path, f"has the text {value[:60]!r} in its graph")


def _check_formula(path: Path, text: str) -> None:
    words = re.findall(r"[\w.]+", text)
    if not FORMULA.fullmatch(text) or not all(map(WORDS.fullmatch, words)):
        raise _refused(path, f"has the formula {text[:60]!r}")


def _check_tree(path: Path, tree: dict) -> None:
    """Refuse containers that torch would import something for."""
    if tree["type"] not in PLAIN_TREES or not re.fullmatch(r'[\[\]\w", ]*', tree["context"] or ""):
        raise _refused(path, f"takes or gives {str(tree['type'])[:60]!r}")
    for child in tree["children_spec"]:
        _check_tree(path, child)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
