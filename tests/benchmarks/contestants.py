"""Every way from a landscape to labels, and the process in which one of them is timed.

Idea: each run is a process of its own, so that its peak of memory and its environment are its own.
It reads a job (JSON) from standard input and, for each of the job's settings,

1. runs once on a small piece, so that imports and compilation are over;
2. runs on the landscape, several times unless that takes long, and notes the best time and the
   memory that came on top of the loaded landscape in the first run, labels included;
3. saves the labels for the parent to score.

What is timed starts with the landscape in memory as uint16 and ends with labels in memory: the
search for seeds, smoothing and conversions count, files do not.

Limits: Linux alone (`/proc`). Only numpy is imported at the top, because this file runs in the
environments of all contestants.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

WARM_UP = 48  # voxels, edge of the small piece
RUNS = 100
PATIENCE = 10.0  # seconds in all, after which there is no third run
LONG = 20.0  # seconds: what takes longer runs once


def mosaicell(landscape, *, threads, **settings):
    import mosaicell

    return mosaicell.watershed(landscape, threads=threads, **settings)


def scikit_image_peaks(landscape, *, threshold, sigma, min_distance):
    """`peak_local_max`, then `watershed`."""
    from skimage.feature import peak_local_max

    landscape = _smooth(landscape, sigma)
    peaks = peak_local_max(
        landscape, min_distance=min_distance, threshold_abs=threshold, exclude_border=False
    )
    seeds = np.zeros(landscape.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return _flood_scikit_image(landscape, seeds, threshold)


def scikit_image_h_maxima(landscape, *, threshold, sigma, h):
    """`h_maxima`, `label`, then `watershed`."""
    from skimage.measure import label
    from skimage.morphology import h_maxima

    landscape = _smooth(landscape, sigma)
    seeds = label(h_maxima(landscape, landscape.dtype.type(h))).astype(np.int32)
    return _flood_scikit_image(landscape, seeds, threshold)


def _smooth(landscape, sigma):
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(landscape.astype(np.float32), sigma) if sigma else landscape


def _flood_scikit_image(landscape, seeds, threshold):
    from skimage.segmentation import watershed

    # Of all dtypes, float32 was the fastest.
    return watershed(-landscape.astype(np.float32), seeds, mask=landscape > threshold)


def bioimage_cpp(landscape, **settings):
    """Seeds, then `segmentation.watershed`."""
    return bioimage_cpp_flood(*bioimage_cpp_seeds(landscape, **settings))


def bioimage_cpp_seeds(landscape, *, threshold, sigma, level=None, reach=None):
    """Heights, seeds and mask for `bioimage_cpp_flood`.

    Seeds are the pieces above a high level (`segmentation.label`), or else the local maxima that
    remain after `distance.non_maximum_distance_suppression`; the package has no search for
    maxima, so this one is numpy's.
    """
    import bioimage_cpp

    landscape = landscape.astype(np.float32)
    if sigma:
        landscape = bioimage_cpp.filters.gaussian_smoothing(landscape, sigma)
    mask = landscape > threshold
    if level is not None:
        return -landscape, bioimage_cpp.segmentation.label(landscape > level), mask
    highest = landscape.copy()
    for axis in range(3):
        before = np.moveaxis(highest, axis, 0).copy()
        after = np.moveaxis(highest, axis, 0)
        np.maximum(after[1:], before[:-1], out=after[1:])
        np.maximum(after[:-1], before[1:], out=after[:-1])
    points = np.argwhere((landscape == highest) & mask)
    # It takes the landscape for distances in voxels: 1 is the size of a cell.
    points = bioimage_cpp.distance.non_maximum_distance_suppression(
        landscape * np.float32(reach), points
    )
    seeds = np.zeros(landscape.shape, np.uint32)
    seeds[tuple(points.T)] = np.arange(1, len(points) + 1)
    return -landscape, seeds, mask


def bioimage_cpp_flood(heights, seeds, mask):
    import bioimage_cpp

    return bioimage_cpp.segmentation.watershed(heights, seeds, mask=mask)


def _whole(landscape, **settings):
    """What comes before the timed call: nothing, for all but a part of a contestant."""
    return (landscape,), settings


def _seeds_given(landscape, **settings):
    return bioimage_cpp_seeds(landscape, **settings), {}


# Name: what is prepared, what is timed.
CONTESTANTS = {
    "mosaicell": (_whole, mosaicell),
    "scikit-image peaks": (_whole, scikit_image_peaks),
    "scikit-image h-maxima": (_whole, scikit_image_h_maxima),
    "bioimage-cpp": (_whole, bioimage_cpp),
    "bioimage-cpp flood": (_seeds_given, bioimage_cpp_flood),
}


def _memory(field: str) -> int:
    """Bytes of this process's memory: `VmRSS` now, `VmHWM` at its peak."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise ValueError(f"/proc/self/status has no {field}; Linux is needed for this benchmark")


def run(job: dict) -> list[dict]:
    """Time one contestant, see above."""
    prepare, call = CONTESTANTS[job["contestant"]]
    landscape = np.load(job["landscape"])
    middle = tuple(
        slice(max(0, n // 2 - WARM_UP // 2), n // 2 + WARM_UP // 2) for n in landscape.shape
    )
    piece = np.ascontiguousarray(landscape[middle])
    results = []
    for settings, path in zip(job["settings"], job["labels"], strict=True):
        given, named = prepare(piece, **settings)
        call(*given, **named)
        given, named = prepare(landscape, **settings)
        # The mark of the peak falls back to the memory of now.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before = _memory("VmRSS")
        peak, seconds = 0, []
        while len(seconds) < job["runs"] and sum(seconds) < (PATIENCE if seconds[1:] else LONG):
            labels = None  # or it would take memory from the next run
            begin = time.perf_counter()
            labels = call(*given, **named)
            seconds.append(time.perf_counter() - begin)
            peak = peak or _memory("VmHWM") - before
        np.save(path, labels)
        results.append({"seconds": min(seconds), "peak": peak})
    return results


if __name__ == "__main__":
    print(json.dumps(run(json.load(sys.stdin))))
