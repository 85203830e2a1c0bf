"""Mosaicell: large microscopy volumes to cells, exact for any tiling.

`watershed` and `measure` are the stages' own code for arrays that fit into memory. They are
imported when they are asked for, as not every job needs what compiles them.
"""

from importlib import import_module

from .version import __version__

__all__ = ["__version__", "measure", "watershed"]


def __getattr__(name: str):
    if name not in ("measure", "watershed"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".whole.{name}", __name__), name)
