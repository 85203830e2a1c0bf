"""The numbers to read first, and hints at what deserves a look."""

from math import prod

from ..columns import AXES
from ..quantiles import quantiles
from ..words import TIMES, number
from .cells import Tally, column
from .scene import Scene

ENOUGH_CELLS = 10  # for shares and medians to mean something


def summary(scene: Scene) -> str:
    """What the image is, in a line."""
    edges = scene.shape[1:] if scene.is_2d else scene.shape
    axes = ", ".join(AXES[scene.is_2d :])
    parts = [f"{TIMES.join(f'{n:,}' for n in edges)} {scene.voxel}s ({axes})"]
    if scene.voxel_size is not None:
        sizes = scene.voxel_size[1:] if scene.is_2d else scene.voxel_size
        parts.append(f"{TIMES.join(f'{edge:.4g}' for edge in sizes)} µm each")
    if len(scene.limits) > 1:
        parts.append(f"{len(scene.limits)} channels")
    if scene.n_frames > 1:
        parts.append(f"{scene.n_frames:,} frames")
    return " · ".join(parts)


def headline(scene: Scene, tally: Tally) -> list[tuple[str, str]]:
    """Numbers to read first, each with what it counts."""
    n, voxels = tally.n, prod(scene.shape)  # of one frame
    strip = [(f"{n:,}", "cell" if n == 1 else "cells")]
    if n and scene.voxel_size is not None:
        (diameter,) = quantiles(column(scene.cells, "equivalent_diameter_um"), [0.5])
        strip.append((f"{number(diameter)} µm", "median diameter"))
    elif n:
        strip.append((number(tally.median_voxels), f"{scene.voxel}s in the median cell"))
    if n:
        strip.append((f"{100 * tally.touching / n:.0f} %", "touch the border"))
        share = number(100 * tally.voxels / (scene.n_frames * voxels))
        strip.append((f"{share} %", f"of the {_space_name(scene)} is cells"))
    if scene.voxel_size is None:
        strip.append((number(scene.n_frames * voxels), f"{scene.voxel}s in all"))
        return strip
    power = 2 if scene.is_2d else 3
    sign = "²" if scene.is_2d else "³"
    space = voxels * prod(scene.voxel_size[-power:])
    mm = space / 1000**power
    if n:
        strip.append((number(n / scene.n_frames / mm), f"cells per mm{sign}"))
    text = f"{number(mm)} mm{sign}" if mm >= 0.001 else f"{number(space)} µm{sign}"
    strip.append((text, "imaged"))
    return strip


def _space_name(scene: Scene) -> str:
    return "area" if scene.is_2d else "volume"


def hints(scene: Scene, tally: Tally) -> list[str]:
    """What deserves a look, and what to do about it."""
    voxel, said = scene.voxel, []
    if not tally.n:
        said.append(
            "No cells were found. If the pictures below show cells, lower segment.threshold, "
            "segment.min_peak if they are dim, or segment.min_size if they are small; if the "
            "pictures are empty, check the sample's channel."
        )
    if scene.voxel_size is None:
        said.append(
            f"The {voxel} size is not known: sizes are in {voxel}s, and pictures are drawn as if "
            f"{voxel}s had equal edges. Fill in the columns voxel_size_z, voxel_size_y and "
            "voxel_size_x of the sample sheet."
        )
    if tally.n < ENOUGH_CELLS:
        return said
    median, largest = tally.median_voxels, tally.largest
    if largest["num_voxels"] > 10 * median:
        axes = AXES[scene.is_2d :]
        place = ", ".join(f"{largest[f'centroid_{axis}']:.0f}" for axis in axes)
        if scene.n_frames > 1:
            place += f" of frame {largest['frame']}"
        said.append(
            f"Cell {largest['label']} at {', '.join(axes)} = {place} is "
            f"{number(largest['num_voxels'] / median)} times as large as the median cell. If it "
            "is several cells in one, lower segment.persistence or raise segment.threshold."
        )
    if tally.small > 0.1 * tally.n:
        said.append(
            f"{100 * tally.small / tally.n:.0f} % of the cells have less than a tenth of the "
            "median size. If they are debris, raise segment.min_size (the median is "
            f"{number(median)} {voxel}s)."
        )
    if tally.touching > 0.5 * tally.n:
        said.append(
            f"{100 * tally.touching / tally.n:.0f} % of the cells touch the border of the image "
            "and may be cut off there: leave them out (touches_border) when sizes and shapes "
            "matter."
        )
    return said
