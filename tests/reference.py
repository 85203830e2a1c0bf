"""The watershed in plain Python, for reading: whole array, no tiles, no compiler.

It shares no code with the library. Voxels are visited from high to low, so a voxel's highest
neighbour has its basin by then. A pass is a pair of neighbours; from each voxel, in the same order,
passes lead to its higher neighbours.
"""

from itertools import product

import numpy as np


def watershed(
    landscape, *, threshold, persistence, min_size=0, min_peak=-np.inf, min_relative_peak=0
):
    """Labels of a (z, y, x) landscape; see `mosaicell.watershed`."""
    position = {p: i for i, p in enumerate(np.ndindex(landscape.shape))}
    height = {p: float(landscape[p]) for p in position if landscape[p] > threshold}
    steps = [step for step in product((-1, 0, 1), repeat=3) if any(step)]

    def rank(p):
        return -height[p], position[p]

    def neighbours(p):
        near = (tuple(a + b for a, b in zip(p, step, strict=True)) for step in steps)
        return [q for q in near if q in height]

    peak_of = {}
    for p in sorted(height, key=rank):
        highest = min([p, *neighbours(p)], key=rank)
        peak_of[p] = p if highest == p else peak_of[highest]

    joined = {peak: peak for peak in peak_of.values()}

    def top(peak):
        while joined[peak] != peak:
            peak = joined[peak]
        return peak

    passes = [(p, q) for p in height for q in neighbours(p) if rank(q) < rank(p)]
    for p, q in sorted(passes, key=lambda pair: (rank(pair[0]), position[pair[1]])):
        high, low = sorted((top(peak_of[p]), top(peak_of[q])), key=rank)
        if high != low and height[low] - height[p] < persistence:
            joined[low] = high

    members = {}
    for p in height:
        members.setdefault(top(peak_of[p]), []).append(p)
    labels = np.zeros(landscape.shape, np.uint32)
    kept = [p for p in members if len(members[p]) >= min_size and height[p] >= min_peak]
    if min_relative_peak and kept:
        from_low = sorted(height[p] for p in kept)
        reached = from_low[len(kept) * 9 // 10]
        kept = [p for p in kept if height[p] >= min_relative_peak * reached]
    for label, peak in enumerate(sorted(kept, key=position.get), start=1):
        for p in members[peak]:
            labels[p] = label
    return labels
