"""Distributions over the cells: sizes, places along z, intensities."""

from math import prod

import numpy as np

from ..charts import Chart, Parts, chart
from .cells import Tally, column
from .scene import Scene


def charts(scene: Scene, tally: Tally) -> list[Chart]:
    """Distributions over the cells; none without cells."""
    if not tally.n:
        return []

    def scaled(name: str, factor: float = 1.0, shift: float = 0.0) -> Parts:
        values = column(scene.cells, name)
        return lambda: ((part + shift) * factor for part in values())

    what = "Area" if scene.is_2d else "Volume"
    if scene.voxel_size is None:
        drawn = [chart(f"{what} of a cell", f"{scene.voxel}s", scaled("num_voxels"))]
    else:
        power, sign = (2, "²") if scene.is_2d else (3, "³")
        voxel = prod(scene.voxel_size[-power:])
        shape = "circle" if scene.is_2d else "sphere"
        drawn = [
            chart(f"{what} of a cell", f"µm{sign}", scaled("num_voxels", voxel)),
            chart("Diameter", f"µm, of a {shape} as large", scaled("equivalent_diameter_um")),
        ]
    if not scene.is_2d:
        known = scene.voxel_size is not None
        drawn.append(
            chart(
                "Cells along z",
                "µm" if known else "plane",
                scaled("centroid_z", scene.spacing[0], shift=0.5),
                bounds=(0.0, np.nextafter(scene.shape[0] * scene.spacing[0], 0.0)),
            )
        )
    for channel in range(len(scene.limits)):
        name = "Mean intensity" if len(scene.limits) == 1 else f"Mean intensity, channel {channel}"
        drawn.append(chart(name, "as in the image", scaled(f"intensity_mean_{channel}")))
    return drawn
