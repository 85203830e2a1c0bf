"""The evaluate stage on disk: labels in a store and the truth in its files, read part by part.

Overlaps are counted shard by shard. Centre lines are found crop by crop: each holds whole cells.

Limits: in memory are one shard of both, or one crop, which is larger than `CROP_VOXELS` where a
single cell's bounding box is.
"""

from collections.abc import Iterator

import numpy as np
import zarr

from ..centerlines import Centerlines, Hits, hits, sides
from ..evaluate import Overlaps, overlaps
from ..features import batches
from ..geometry import Box
from ..source import Source
from ..store import read, shard_grid

CROP_VOXELS = 256**3


def compare(labels: zarr.Array, truth: Source, *, frame: int) -> Overlaps:
    """The overlaps of the cells of a frame.

    Parameters
    ----------
    labels : zarr.Array of unsigned integers, (z, y, x) or (t, z, y, x)
    truth : Source
        Of the same shape, with one channel.
    frame : int
    """
    grid = shard_grid(labels)
    return overlaps(
        (read(labels, box, grid.leading(frame)), truth.read(frame, 0, box), box.start)
        for box in grid.of_frame
    )


def compare_lines(labels: zarr.Array, truth: Source, found: Overlaps, *, frame: int) -> Centerlines:
    """The centre lines of the cells of a frame.

    Parameters
    ----------
    labels, truth, frame
        As for `compare`.
    found : Overlaps
        What that gave.
    """

    def read_labels(box: Box) -> np.ndarray:
        return read(labels, box, shard_grid(labels).leading(frame))

    def read_truth(box: Box) -> np.ndarray:
        return truth.read(frame, 0, box)

    def lines(own, other, ids: np.ndarray, boxes: np.ndarray) -> Iterator[Hits]:
        order = np.lexsort(boxes[:, 2::-1].T)  # neighbours share a crop
        for run, box in batches(boxes[order], max_voxels=CROP_VOXELS):
            some = order[run]
            yield hits(
                own(box),
                other(box),
                numbers=some,
                ids=ids[some],
                boxes=boxes[some],
                origin=box.start,
                is_2d=labels.shape[-3] == 1,
            )

    return sides(
        lines(read_labels, read_truth, found.label, found.box),
        lines(read_truth, read_labels, found.true_label, found.true_box),
        label=found.label,
        true_label=found.true_label,
    )
