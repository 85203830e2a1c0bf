"""One tile: its fragments and its graph are those of a plain way, and what cannot be is refused."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosaicell.frame import HALO
from mosaicell.geometry import Box, Grid
from mosaicell.merging import thin
from mosaicell.passes import order_passes
from mosaicell.segment import segment
from test_watershed import landscapes


class PlainTile:
    """Ends and passes of a tile's voxels, and which passes are needed, in plain Python."""

    def __init__(self, landscape: np.ndarray, core: Box, threshold: float):
        box = core.grown(HALO, landscape.shape)
        seen = set(product(*(range(a, b) for a, b in zip(box.start, box.stop, strict=True))))
        index = {p: i for i, p in enumerate(np.ndindex(landscape.shape))}
        height = {p: landscape[p] for p in seen if landscape[p] > threshold}

        def rank(p):
            return -float(height[p]), index[p]

        def around(p):
            near = product(*((i - 1, i, i + 1) for i in p))
            return [q for q in near if q in height and q != p]

        inside = product(*(range(a, b) for a, b in zip(core.start, core.stop, strict=True)))
        self.inside = {p for p in inside if p in height}
        self.end = {}
        for p in sorted(height, key=rank):
            highest = min([p, *around(p)], key=rank) if p in self.inside else p
            self.end[p] = p if highest == p else self.end[highest]
        pairs = [(p, q) for p in height for q in around(p) if rank(q) < rank(p)]
        self.passes = sorted(pairs, key=lambda pair: (rank(pair[0]), index[pair[1]]))
        self.index, self.height = index, height

    def described(self, p, q):
        """A pass as `TileGraph` has it."""
        code = np.ravel_multi_index(np.subtract(q, p) + 1, (3, 3, 3))
        a, b = self.index[self.end[p]], self.index[self.end[q]]
        return a, b, self.height[p], self.index[p] * 27 + code

    def needed(self):
        """Of all passes that the tile sees those that no earlier ones make needless (Kruskal)."""
        root = {}

        def top(p):
            while root.get(p, p) != p:
                p = root[p]
            return p

        for p, q in self.passes:
            a, b = top(self.end[p]), top(self.end[q])
            if a != b:
                root[a] = b
                yield p, q


@given(landscapes(), st.tuples(*[st.integers(1, 9)] * 3), st.sampled_from([-300.0, 0.0, 1.0]))
def test_a_tile_hands_on_ends_and_a_forest_with_all_passes_that_are_needed(
    landscape, tile_shape, threshold
):
    volume = landscape.shape
    for core in Grid(volume, tile_shape):
        values = landscape[core.grown(HALO, volume).slices]
        fragments, graph = segment(values, core=core, volume=volume, threshold=threshold)
        plain = PlainTile(landscape, core, threshold)
        for p in product(*(range(a, b) for a, b in zip(core.start, core.stop, strict=True))):
            number = fragments[tuple(i - a for i, a in zip(p, core.start, strict=True))]
            assert (number > 0) == (p in plain.inside)
            if number:
                assert graph.end[number - 1] == plain.index[plain.end[p]]
        np.testing.assert_array_equal(graph.peak, landscape.reshape(-1)[graph.end])
        position = np.stack(np.unravel_index(graph.end, volume), -1)
        is_inside = (position >= core.start).all(-1) & (position < core.stop).all(-1)
        np.testing.assert_array_equal(graph.is_exit, ~is_inside)

        a, b = graph.end[graph.edge_a - 1], graph.end[graph.edge_b - 1]
        found = list(zip(a, b, graph.edge_saddle, graph.edge_place, strict=True))
        real = [plain.described(p, q) for p, q in plain.passes if p in plain.inside]
        needed = [plain.described(p, q) for p, q in plain.needed() if p in plain.inside]
        assert found == [one for one in real if one in found]  # real ones, in order
        assert all(one in found for one in needed)
        assert thin(graph.edge_a, graph.edge_b, n_nodes=graph.end.size + 1).all()  # a forest


@given(landscapes(), st.tuples(*[st.integers(1, 9)] * 3))
def test_sizes_and_boxes_are_those_of_the_fragments(landscape, tile_shape):
    volume = landscape.shape
    for core in Grid(volume, tile_shape):
        values = landscape[core.grown(HALO, volume).slices]
        fragments, graph = segment(values, core=core, volume=volume, threshold=0)
        for number, (size, box) in enumerate(zip(graph.size, graph.bbox, strict=True), start=1):
            voxels = np.argwhere(fragments == number) + core.start
            assert size == len(voxels)
            if size:
                assert box.tolist() == [*voxels.min(0), *(voxels.max(0) + 1)]
            else:
                assert graph.is_exit[number - 1]
                assert box.tolist() == [2**31 - 1] * 3 + [0] * 3


@given(
    st.lists(st.sampled_from([-2.5, -1.0, -0.0, 0.0, 0.25, 1.0, 7.0, 40000.0]), max_size=40),
    st.sampled_from([np.uint16, np.int64, np.float32, np.float64]),
)
def test_passes_are_ordered_by_falling_height_and_then_as_they_came(heights, dtype):
    given = np.array(heights)
    given = (np.abs(given) if np.dtype(dtype).kind == "u" else given).astype(dtype)
    expected = sorted(range(given.size), key=lambda i: -float(given[i]))
    assert order_passes(given).tolist() == expected


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"landscape": np.zeros((4, 4, 3))}, "needs (4, 4, 4)"),
        ({"landscape": np.zeros((4, 4, 4), complex)}, "convert it"),
        ({"threshold": np.inf}, "choose one between"),
        (
            {"core": Box((0, 0, 0), (2000, 2000, 2000)), "volume": (2000, 2000, 2000)}
            | {"landscape": np.broadcast_to(np.uint8(0), (2000, 2000, 2000))},
            "choose smaller tiles",
        ),
    ],
)
def test_a_tile_that_cannot_be_is_refused_in_one_sentence(change, said):
    given = {
        "landscape": np.zeros((4, 4, 4)),
        "core": Box((0, 0, 0), (3, 3, 3)),
        "volume": (6, 6, 6),
        "threshold": 0.0,
    } | change
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (said is compared as it is)
        segment(given.pop("landscape"), **given)
    assert said in str(refusal.value)
    assert "allowed" in str(refusal.value) or "needs" in str(refusal.value)
    assert "\n" not in str(refusal.value)
