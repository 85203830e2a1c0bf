"""Stitching: however the volume is cut into tiles and groups of tiles, the cells are the same."""

import subprocess
import sys
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import reference
from mosaicell import stitch as stitching
from mosaicell.frame import HALO
from mosaicell.geometry import Grid
from mosaicell.merging import Basins, contract, thin
from mosaicell.rim import rim
from mosaicell.segment import segment
from mosaicell.stitch import check_merging, contract_tile, stitch
from mosaicell.store import read_arrays, write_arrays
from running import ROOT

LOW, HIGH = 1, 2  # faces of a part in a row of parts
PERSISTENCES = [0.0, 1.0, 2.0, 4.0, 100.0]
ALL = {"min_size": 0, "min_peak": 0, "min_relative_peak": 0}  # cells are kept


class Row:
    """Basins that lie across a row of parts, as what each part knows of them.

    A basin has pieces in consecutive parts, one of which holds its peak; each of the others is
    linked to one nearer to it, and knows of the peak only a lower bound. A pass to a piece of
    another part leads to a node without voxels, which is linked to that piece.
    """

    def __init__(self, n_parts):
        self.n_parts = n_parts
        # part, basin, known peak, voxel, size, faces, link
        self.pieces = []
        self.passes = []  # piece, piece, height, place

    def add(self, part, basin, peak, voxel, size, faces=0, link=None):
        self.pieces.append([part, basin, peak, voxel, size, faces, link])
        return len(self.pieces) - 1

    def sees(self, here, there):
        """The piece `there` is known in the part of the piece `here`: it lies at that face."""
        step = self.pieces[there][0] - self.pieces[here][0]
        self.pieces[there][5] |= LOW if step > 0 else HIGH
        if self.pieces[here][4]:
            self.pieces[here][5] |= HIGH if step > 0 else LOW

    def basins(self, part):
        """What one part knows; its nodes are its pieces in their order."""
        mine = [i for i, piece in enumerate(self.pieces) if piece[0] == part]
        number = {piece: node for node, piece in enumerate(mine)}
        _, _, peak, voxel, size, faces, link = (
            np.array([self.pieces[i] for i in mine], object).reshape(-1, 7).T
        )
        known = [node for node in range(len(mine)) if faces[node]]
        leading = [node for node in range(len(mine)) if link[node] is not None]
        passes = sorted((p for p in self.passes if p[0] in number), key=lambda p: (-p[2], p[3]))
        a, b, height, place = np.array(passes, float).reshape(-1, 4).T
        return Basins(
            peak=np.array(peak, float),
            voxel=np.array(voxel, np.int64),
            size=np.array(size, np.int64),
            bbox=np.array([(i, 0, 0, i + 1, 1, 1) for i in mine], np.int32).reshape(-1, 6),
            address=np.array([mine[node] for node in known], np.int64),
            address_faces=np.array([faces[node] for node in known], np.uint8),
            address_node=np.array(known, np.uint32),
            link=np.array([link[node] for node in leading], np.int64),
            link_node=np.array(leading, np.uint32),
            pass_a=np.array([number[i] for i in a], np.uint32),
            pass_b=np.array([number[i] for i in b], np.uint32),
            pass_height=height,
            pass_place=place.astype(np.int64),
        )

    def components(self, persistence):
        """For each basin its component, in plain Python: all passes of the whole row in order."""
        peak, voxel = {}, {}
        for _, basin, value, at, *_ in self.pieces:
            peak[basin], voxel[basin] = min(
                (peak.get(basin, value), voxel.get(basin, at)),
                (value, at),
                key=lambda known: (-known[0], known[1]),
            )
        joined = {basin: basin for basin in peak}

        def top(basin):
            while joined[basin] != basin:
                basin = joined[basin]
            return basin

        for a, b, height, _ in sorted(self.passes, key=lambda p: (-p[2], p[3])):
            ends = [top(self.pieces[i][1]) for i in (a, b)]
            high, low = sorted(ends, key=lambda basin: (-peak[basin], voxel[basin]))
            if high != low and peak[low] - height < persistence:
                joined[low] = high
        return {basin: voxel[top(basin)] for basin in peak}


@st.composite
def rows(draw):
    """Rows of parts with random basins, pieces and passes, and many ties of height."""
    row = Row(draw(st.integers(1, 5)))
    for basin in range(draw(st.integers(1, 8))):
        first = draw(st.integers(0, row.n_parts - 1))
        last = draw(st.integers(first, row.n_parts - 1))
        summit = draw(st.integers(first, last))
        value = draw(st.integers(3, 8))
        chain = {summit: row.add(summit, basin, value, basin, 1)}
        for part in [*range(summit - 1, first - 1, -1), *range(summit + 1, last + 1)]:
            nearer = part + 1 if part < summit else part - 1
            for _ in range(draw(st.integers(1, 2))):
                bound = draw(st.integers(3, value))
                voxel = 1000 + len(row.pieces)
                piece = row.add(part, basin, bound, voxel, 1, link=chain[nearer])
                row.sees(piece, chain[nearer])
            chain[part] = piece
    pieces = range(len(row.pieces))
    pairs = [
        (a, b)
        for a, b in product(pieces, pieces)
        if row.pieces[a][1] != row.pieces[b][1] and abs(row.pieces[a][0] - row.pieces[b][0]) <= 1
    ]
    chosen = draw(st.lists(st.sampled_from(pairs), max_size=25)) if pairs else []
    for place, (a, b) in zip(draw(st.permutations(range(len(chosen)))), chosen, strict=True):
        # A pass is not higher than what is known of its ends.
        height = min(row.pieces[a][2], row.pieces[b][2]) - draw(st.integers(0, 3))
        if row.pieces[a][0] != row.pieces[b][0]:
            there = b
            bound = draw(st.integers(height, row.pieces[there][2]))
            voxel = 2000 + len(row.pieces)
            b = row.add(row.pieces[a][0], row.pieces[there][1], bound, voxel, 0, link=there)
            row.sees(a, there)
        row.passes.append((a, b, height, place))
    for piece in row.pieces:
        piece[5] |= draw(st.sampled_from([0, 0, LOW, HIGH])) if piece[4] else 0
        piece[5] &= ~LOW if piece[0] == 0 else LOW | HIGH
        piece[5] &= ~HIGH if piece[0] == row.n_parts - 1 else LOW | HIGH
    return row


def contract_in_groups(row, persistence, cuts):
    """Contract the parts, then random runs of what is left; peak and size of each piece's cell."""
    found = {}

    def step(parts, outer):
        """One contraction; what is left of it, with the pieces in each of its nodes."""
        contracted = contract([basins for basins, _ in parts], outer, persistence=persistence)
        rest = contracted.rest
        assert rest.pass_a.size < max(1, rest.voxel.size), "passes are a forest"
        n_finished = contracted.voxel.size
        left = [[] for _ in range(rest.voxel.size)]
        members = [pieces for _, nodes in parts for pieces in nodes]
        for component, pieces in zip(contracted.component, members, strict=True):
            if component > n_finished:
                left[component - n_finished - 1] += pieces
            elif component > 0:
                k = component - 1
                found.update((i, (contracted.voxel[k], contracted.size[k])) for i in pieces)
            else:
                assert not any(row.pieces[i][4] for i in pieces), "only empty nodes are dropped"
        return rest, left

    groups = []
    for part in range(row.n_parts):
        nodes = [[i] for i, piece in enumerate(row.pieces) if piece[0] == part]
        groups.append((part, part, step([(row.basins(part), nodes)], [LOW | HIGH])))
    while len(groups) > 1:
        first = cuts.draw(st.integers(0, len(groups) - 2))
        last = cuts.draw(st.integers(first + 1, len(groups) - 1))
        run = groups[first : last + 1]
        outer = [LOW * (k == 0) | HIGH * (k == len(run) - 1) for k in range(len(run))]
        left = step([group for *_, group in run], outer)
        groups[first : last + 1] = [(run[0][0], run[-1][1], left)]
    assert groups[0][2][0].voxel.size == 0, "nothing is left where nothing is outside"
    return found


@settings(max_examples=10 * settings().max_examples)
@given(rows(), st.sampled_from(PERSISTENCES), st.data())
def test_parts_merge_in_any_groups_as_the_whole_does_at_once(row, persistence, cuts):
    found = contract_in_groups(row, persistence, cuts)
    component = row.components(persistence)
    pieces = [(i, basin) for i, (_, basin, _, _, size, *_) in enumerate(row.pieces) if size]
    assert {i: found[i][0] for i, _ in pieces} == {i: component[basin] for i, basin in pieces}
    for i, basin in pieces:
        assert found[i][1] == sum(component[other] == component[basin] for _, other in pieces)


def test_where_nothing_is_outside_nothing_is_left():
    row = Row(1)
    pieces = [row.add(0, basin, 5 + basin, basin, 10) for basin in range(3)]
    row.passes = [(pieces[0], pieces[1], 4, 0), (pieces[1], pieces[2], 3, 1)]
    contracted = contract([row.basins(0)], [0], persistence=2)
    assert contracted.rest.voxel.size == 0
    np.testing.assert_array_equal(contracted.component, [1, 1, 2])
    np.testing.assert_array_equal(contracted.voxel, [1, 2])
    np.testing.assert_array_equal(contracted.size, [20, 10])


def test_a_tile_hands_on_what_could_change_and_no_more():
    # A cell inside merges with one at the border; one that rises high is left alone; a weak one
    # at the border may rise outside, so whether it merges is not for this tile to say.
    row = Row(2)
    inside = row.add(0, "inside", 5, 0, 10)
    border = row.add(0, "border", 5, 1, 10, faces=HIGH)
    high = row.add(0, "high", 50, 2, 10)
    weak = row.add(0, "weak", 6, 3, 10, faces=HIGH)
    row.passes = [
        (inside, border, 4, 0),
        (high, weak, 3, 1),
        (border, high, 2, 2),
    ]
    rest = contract([row.basins(0)], [HIGH], persistence=10).rest
    np.testing.assert_array_equal(rest.voxel, [0, 2, 3])
    np.testing.assert_array_equal(rest.size, [20, 10, 10])
    np.testing.assert_array_equal(rest.pass_height, [3, 2])
    np.testing.assert_array_equal(rest.address, [border, weak])
    np.testing.assert_array_equal(rest.address_node, [0, 2])


def tiles_of(landscape, grid, threshold, persistence):
    """Fragments of all tiles, and what is left of each."""
    volume = landscape.shape
    segmented = [
        segment(
            landscape[core.grown(HALO, volume).slices],
            core=core,
            volume=volume,
            threshold=threshold,
        )
        for core in grid
    ]
    rims = [rim(fragments, volume) for fragments, _ in segmented]

    def exits_of(tile):
        graph = segmented[tile][1]
        return graph.end[graph.is_exit]

    basins = [
        contract_tile(
            tile,
            graph,
            rims.__getitem__,
            exits_of,
            grid=grid,
            persistence=persistence,
        )
        for tile, (_, graph) in enumerate(segmented)
    ]
    return [fragments for fragments, _ in segmented], basins


def labels_of(fragments, stitched, grid):
    labels = np.zeros(grid.shape, stitched.dtype)
    for tile, core in enumerate(grid):
        labels[core.slices] = stitched.cells_of(tile).ids[fragments[tile]]
    return labels


@given(
    hnp.arrays(
        np.uint16, st.tuples(*[st.integers(1, 8)] * 3), elements=st.sampled_from([0, 1, 2, 3, 7, 9])
    ),
    st.tuples(*[st.integers(1, 4)] * 3),
    st.sampled_from(PERSISTENCES),
    st.integers(0, 4),
    st.sampled_from([0, 3, 9]),
    st.sampled_from([0, 0.5, 0.8, 1]),
    st.sampled_from([1, 2, 5]),
    st.integers(1, 3),
)
def test_groups_of_any_size_on_any_threads_give_the_labels_of_the_plain_reference(
    landscape,
    tile_shape,
    persistence,
    min_size,
    min_peak,
    min_relative_peak,
    tiles_of_group,
    threads,
):
    grid = Grid(landscape.shape, tile_shape)
    chosen = {"persistence": persistence, "min_size": min_size}
    chosen |= {"min_peak": min_peak, "min_relative_peak": min_relative_peak}
    fragments, basins = tiles_of(landscape, grid, 0, persistence)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stitching, "TILES_OF_GROUP", tiles_of_group)
        stitched = stitch(basins.__getitem__, grid=grid, **chosen, threads=threads)
    labels = labels_of(fragments, stitched, grid)
    expected = reference.watershed(landscape, threshold=0, **chosen)
    np.testing.assert_array_equal(labels, expected)
    assert stitched.n_cells == expected.max()


def test_tiles_may_be_asked_for_in_any_order():
    landscape = np.random.default_rng(0).integers(0, 9, (30, 4, 5)).astype(np.uint16)
    grid = Grid(landscape.shape, (3, 2, 3))
    _, basins = tiles_of(landscape, grid, 2, 1)
    stitched = stitch(basins.__getitem__, grid=grid, persistence=1, **ALL)
    in_order = [stitched.cells_of(tile) for tile in range(len(grid))]
    for tile in np.random.default_rng(1).permutation(len(grid)):
        for name, values in vars(stitched.cells_of(int(tile))).items():
            np.testing.assert_array_equal(values, getattr(in_order[tile], name))


def test_a_cell_inside_of_a_tile_is_nothing_to_the_others():
    landscape = np.zeros((30, 30, 30), np.uint16)
    landscape[13:17, 13:17, 13:17] = 5
    landscape[9:11, 2:4, 2:4] = 7
    grid = Grid(landscape.shape, (10, 10, 10))
    _, basins = tiles_of(landscape, grid, 0, 1)
    assert [len(tile.voxel) for tile in basins] == [1] + [0] * 8 + [1] + [0] * 17
    assert [len(tile.cell_peak) for tile in basins] == [0] * 13 + [1] + [0] * 13


def test_a_tile_hands_on_no_name_that_no_other_tile_seeks():
    noise = np.random.default_rng(0).random((30, 30, 30))
    smooth = sum(np.roll(noise, s, axis) for axis in range(3) for s in range(-2, 3))
    landscape = (smooth * 1000).astype(np.uint16)
    grid = Grid(landscape.shape, (15, 15, 15))
    fragments, basins = tiles_of(landscape, grid, 0, 300)
    names, exits = np.empty(landscape.shape, np.int64), []
    for tile, core in enumerate(grid):
        names[core.slices] = (tile << 32) + fragments[tile].astype(np.int64)
        _, graph = segment(
            landscape[core.grown(HALO, grid.shape).slices],
            core=core,
            volume=grid.shape,
            threshold=0,
        )
        exits.append(graph.end[graph.is_exit])
    sought = names.reshape(-1)[np.concatenate(exits)]
    handed_on = np.concatenate([tile.address for tile in basins])
    assert handed_on.size > 100
    assert np.isin(handed_on, sought).all()


def test_ids_are_as_wide_as_they_must_be(monkeypatch):
    landscape = np.array([[[0, 5, 0, 9, 0, 7]]], np.uint16)
    grid = Grid(landscape.shape, (1, 1, 2))
    fragments, basins = tiles_of(landscape, grid, 0, 1)
    for most, dtype in ((3, np.uint32), (2, np.uint64)):
        monkeypatch.setattr(stitching, "MOST_CELLS_OF_UINT32", most)
        stitched = stitch(basins.__getitem__, grid=grid, persistence=1, **ALL)
        labels = labels_of(fragments, stitched, grid)
        assert stitched.dtype == labels.dtype == dtype
        assert stitched.cells_of(2).label.dtype == stitched.cells_of(2).ids.dtype == dtype
        np.testing.assert_array_equal(labels, [[[0, 1, 0, 2, 0, 3]]])


@given(rows(), st.sampled_from(PERSISTENCES))
def test_passes_that_are_thinned_out_never_matter(row, persistence):
    basins = {basin: k for k, basin in enumerate({piece[1] for piece in row.pieces})}
    row.passes.sort(key=lambda p: (-p[2], p[3]))
    ends = [[basins[row.pieces[i][1]] for i in p[:2]] for p in row.passes]
    a, b = np.array(ends, np.uint32).reshape(-1, 2).T
    before = row.components(persistence)
    keep = thin(a, b, n_nodes=len(basins))
    assert keep.sum() < len(basins)
    row.passes = [p for p, is_kept in zip(row.passes, keep, strict=True) if is_kept]
    assert row.components(persistence) == before


def test_the_simulation_prints_its_table():
    script = ROOT / "tests" / "benchmarks" / "stitch_simulation.py"
    done = subprocess.run(
        [sys.executable, str(script), "--cells", "2e3", "--processes", "1"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    _, _, head, _, row = done.stdout.splitlines()
    assert head.split("|")[1:3] == [" cells ", " tiles "]
    assert row.startswith("| 1,709 | 1 |")


def test_the_simulation_can_tell_right_from_wrong(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tests" / "benchmarks")
    import stitch_simulation as simulation

    lattice = simulation.Lattice((1, 2, 2), exits=4)
    simulation.fill(lattice, tmp_path, job=0, jobs=1)
    n_cells, *_ = simulation.join(lattice.grid, tmp_path, threads=2)
    assert simulation.compare(lattice, tmp_path, n_cells) == 4
    with pytest.raises(SystemExit, match="instead of"):
        simulation.compare(lattice, tmp_path, n_cells + 1)
    right = read_arrays(tmp_path / "000002.cells")
    for name, said in (("ids", "has two ids"), ("size", "sizes of tile 2 are wrong")):
        wrong = right[name].copy()
        wrong[[20, 21, -1]] = wrong[[21, 20, 20]]
        write_arrays(tmp_path / "000002.cells", right | {name: wrong})
        with pytest.raises(SystemExit, match=said):
            simulation.compare(lattice, tmp_path, n_cells)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"persistence": -1}, "persistence is -1"),
        ({"persistence": np.inf}, "persistence is inf"),
        ({"persistence": np.nan}, "persistence is nan"),
        ({"min_size": -1}, "min_size is -1"),
        ({"min_peak": np.nan}, "min_peak is nan"),
        ({"min_relative_peak": np.nan}, "min_relative_peak is nan"),
        ({"min_relative_peak": -0.1}, "min_relative_peak is -0.1"),
        ({"min_relative_peak": 1.1}, "min_relative_peak is 1.1"),
    ],
)
def test_what_has_no_meaning_is_refused_in_one_sentence(change, said):
    with pytest.raises(ValueError, match=said) as refusal:
        check_merging(**{"persistence": 0} | ALL | change)
    assert "allowed" in str(refusal.value)
    assert "\n" not in str(refusal.value)
