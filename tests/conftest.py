"""Makes the library and the settings importable as the workflow does, and bounds hypothesis."""

import sys
from pathlib import Path

from hypothesis import settings

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

# Numba compiles in the first example, so a deadline would fail at random.
settings.register_profile("default", deadline=None, max_examples=60, derandomize=True)
settings.register_profile("thorough", deadline=None, max_examples=3000)
settings.load_profile("default")
