"""Mosaicell: large microscopy volumes to cells, exact for any tiling.

`watershed` and `measure` are the stages' own code for arrays that fit into memory.
"""

from .measure import measure
from .version import __version__
from .watershed import watershed

__all__ = ["__version__", "measure", "watershed"]
