"""A volume of cells of which any tile can be made without a voxel, for `stitch_simulation.py`.

Idea: cells are the boxes of a jittered lattice, about 1,667 in a tile of 256^3 voxels, as in a
dense nuclear stain. Each consists of one to three basins, of which one is the cell's peak and the
others noise that rises too little above its passes. Where a basin lies, how high it is and where
its passes are is a hash of its place in the lattice, so a tile is made without asking its
neighbours. A tile gets what segmenting and linking would give: fragments (basins that end in
another tile in several of them), passes, and where its exits lead.

Limits: basins are boxes, and a pass lies anywhere on the face between two of them.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from mosaicell.frame import CODES
from mosaicell.geometry import Grid, Triple
from mosaicell.merging import thin
from mosaicell.segment import TileGraph

EDGE = 256  # of a tile
CELLS_PER_TILE = 1e8 / 60_000
JITTER = 5  # voxels
MAX_BASINS = 3  # of a cell
# Heights: no noise rises above a pass within a cell by the persistence, all cells do above all
# passes between cells, and these are lower.
PERSISTENCE = 12_000
BETWEEN, WITHIN = (1_000, 15_000), (19_000, 25_000)
NOISE, PEAK = (25_000, 30_000), (40_000, 60_000)


def hashed(*numbers: np.ndarray | int) -> np.ndarray:
    """A random 63-bit number for each tuple of whole numbers (splitmix64, Steele et al. 2014)."""
    state = np.zeros(1, np.uint64)
    for number in numbers:
        state = state ^ np.asarray(number, np.int64).astype(np.uint64)
        state = state + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ state >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ state >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        state = state ^ state >> np.uint64(31)
    return (state >> np.uint64(1)).astype(np.int64)


def between(bounds: tuple[int, int], *numbers: np.ndarray | int) -> np.ndarray:
    """A random number from the first up to, not including, the second for each tuple."""
    return bounds[0] + hashed(*numbers) % (bounds[1] - bounds[0])


class Lattice:
    """A volume of cells that are the boxes of a jittered lattice.

    Positions in the lattice and in the volume, and tiles, are arrays (3, n); a basin is a cell and
    its number from 0 in the cell, of slabs that cut the cell along x.
    """

    def __init__(self, counts: Triple, exits: int):
        self.exits = exits
        self.grid = Grid(tuple(n * EDGE for n in counts), (EDGE,) * 3)
        self.counts = np.array(counts)[:, None]
        self.shape = tuple(max(1, round(n * CELLS_PER_TILE ** (1 / 3))) for n in counts)
        self.bounds = []
        for axis, n in enumerate(self.shape):
            bounds = np.arange(n + 1) * self.grid.shape[axis] // n
            bounds[1:-1] += between((-JITTER, JITTER + 1), axis, np.arange(1, n))
            self.bounds.append(bounds)
        self.first_fragments = lru_cache(2 * counts[1] * counts[2] + 100)(self._first_fragments)

    def __reduce__(self):
        return Lattice, (self.grid.counts, self.exits)

    def sizes(self) -> Iterator[np.ndarray]:
        """Voxels of all cells, plane by plane of the lattice."""
        z, y, x = (np.diff(bounds) for bounds in self.bounds)
        for height in z:
            yield height * np.multiply.outer(y, x)

    def id_of(self, cell: np.ndarray) -> np.ndarray:
        return np.ravel_multi_index(tuple(cell), self.shape)

    def box(self, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First voxels of cells, and last plus one."""
        edges = list(zip(self.bounds, cell, strict=True))
        return np.stack([b[c] for b, c in edges]), np.stack([b[c + 1] for b, c in edges])

    def n_basins(self, cell: np.ndarray) -> np.ndarray:
        return between((1, MAX_BASINS + 1), 10, self.id_of(cell))

    def main(self, cell: np.ndarray) -> np.ndarray:
        """The basin that is a cell's peak."""
        return hashed(11, self.id_of(cell)) % self.n_basins(cell)

    def slab(self, cell: np.ndarray, basin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First voxels of basins, and last plus one."""
        start, stop = self.box(cell)
        begin, width, n = start[2].copy(), stop[2] - start[2], self.n_basins(cell)
        start[2], stop[2] = begin + width * basin // n, begin + width * (basin + 1) // n
        return start, stop

    def basin_at(self, cell: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The basins of cells that hold a voxel with this x."""
        basin = np.zeros(x.size, np.int64)
        for k in range(1, MAX_BASINS):
            holds = k < self.n_basins(cell)
            basin += holds & (x >= self.slab(cell, np.full(x.size, k))[0][2])
        return basin

    def peak(self, cell: np.ndarray, basin: np.ndarray) -> np.ndarray:
        """Heights of basins."""
        name = self.id_of(cell), basin
        is_main = basin == self.main(cell)
        return np.where(is_main, between(PEAK, 20, *name), between(NOISE, 21, *name))

    def summit(self, cell: np.ndarray, basin: np.ndarray) -> np.ndarray:
        """The voxels with the peaks of basins."""
        return inside(*self.slab(cell, basin), 30, self.id_of(cell), basin)

    def in_tile(self, cell: np.ndarray, basin: np.ndarray, tile: np.ndarray) -> tuple:
        """The parts of basins that lie in tiles: first voxels, last plus one, and in how many
        fragments they are, which cut them along z."""
        start, stop = self.slab(cell, basin)
        start, stop = np.maximum(start, tile * EDGE), np.minimum(stop, (tile + 1) * EDGE)
        n = 1 + hashed(40, self.id_of(cell), basin, self.number(tile)) % self.exits
        n = np.minimum(n, stop[0] - start[0])
        n[(self.summit(cell, basin) // EDGE == tile).all(0)] = 1
        n[(basin >= self.n_basins(cell)) | (stop <= start).any(0)] = 0
        return start, stop, n

    def number(self, tile: np.ndarray) -> np.ndarray:
        return np.ravel_multi_index(tuple(tile), self.grid.counts)

    def cells_of_tile(self, tile: int) -> tuple[np.ndarray, np.ndarray]:
        """First position in the lattice of a tile's cells, and last plus one."""
        core = self.grid[tile]
        first = [
            np.searchsorted(b, a, "right") - 1 for b, a in zip(self.bounds, core.start, strict=True)
        ]
        last = [np.searchsorted(b, a, "left") for b, a in zip(self.bounds, core.stop, strict=True)]
        return np.array(first), np.array(last)

    def basins_of_tile(self, tile: int) -> tuple[np.ndarray, np.ndarray]:
        """All that may be basins of a tile, in the order of its fragments."""
        first, last = self.cells_of_tile(tile)
        place = np.indices((*(last - first), MAX_BASINS)).reshape(4, -1)
        return place[:3] + first[:, None], place[3]

    def _first_fragments(self, tile: int) -> np.ndarray:
        """Number of the first fragment of each of `basins_of_tile`."""
        cell, basin = self.basins_of_tile(tile)
        *_, n = self.in_tile(cell, basin, self.position(tile))
        return (1 + np.cumsum(n) - n).astype(np.int32)

    def position(self, tile: int) -> np.ndarray:
        return np.array(np.unravel_index(tile, self.grid.counts))[:, None]

    def fragment(self, cell, basin, tile, step_axis, step, *salt) -> np.ndarray:
        """A fragment of each basin in a tile: one that lies at the face to which a step leads.

        Of several, it is one of the first two.
        """
        *_, n = self.in_tile(cell, basin, tile)
        which = hashed(50, self.id_of(cell), basin, *salt) % np.clip(n, 1, 2)
        along_z = (step_axis == 0) & (step != 0)
        which = np.where(along_z, np.where(step > 0, n - 1, 0), which)
        numbers = self.number(tile)
        fragment = np.empty(numbers.size, np.int64)
        for one in np.unique(numbers).tolist():
            here = np.flatnonzero(numbers == one)
            first, last = self.cells_of_tile(one)
            at = np.ravel_multi_index(
                (*(cell[:, here] - first[:, None]), basin[here]), (*(last - first), MAX_BASINS)
            )
            fragment[here] = self.first_fragments(one)[at] + which[here]
        return fragment


def inside(start: np.ndarray, stop: np.ndarray, *name: np.ndarray | int) -> np.ndarray:
    """A random voxel of each box."""
    return np.stack([start[k] + hashed(k, *name) % (stop[k] - start[k]) for k in range(3)])


def make_tile(lattice: Lattice, tile: int) -> tuple[TileGraph, dict]:
    """The graph of a tile, and what else is to be said of its fragments."""
    place = lattice.position(tile)
    cell, basin = lattice.basins_of_tile(tile)
    start, stop, n = lattice.in_tile(cell, basin, place)
    inner = fragments_of(
        lattice, tile, np.repeat(np.arange(n.size), n), cell, basin, start, stop, n
    )
    passes, halo = passes_of(lattice, tile, 1 + inner["end"].size)
    for key, column in passes_of_exits(lattice, tile, inner).items():
        passes[key] = np.concatenate((passes[key], column))
    columns = {key: np.concatenate((inner[key], halo[key])) for key in halo}
    order = np.lexsort((passes["place"], -passes["height"]))
    passes = {key: column[order] for key, column in passes.items()}
    keep = thin(passes["a"], passes["b"], n_nodes=1 + columns["end"].size)
    graph = TileGraph(
        end=columns["end"],
        is_exit=columns["link"] >= 0,
        peak=columns["peak"].astype(np.uint16),
        size=columns["size"],
        bbox=columns["bbox"].astype(np.int32),
        edge_a=passes["a"][keep].astype(np.uint32),
        edge_b=passes["b"][keep].astype(np.uint32),
        edge_saddle=passes["height"][keep].astype(np.uint16),
        edge_place=passes["place"][keep],
    )
    return graph, columns


def linear(lattice: Lattice, voxel: np.ndarray) -> np.ndarray:
    return np.ravel_multi_index(tuple(voxel), lattice.grid.shape)


def link_to(tile: np.ndarray, fragment: np.ndarray) -> np.ndarray:
    return tile << 32 | fragment


def fragments_of(lattice, tile, which, cell, basin, start, stop, n) -> dict[str, np.ndarray]:
    """The fragments that have voxels: a basin as a whole, or pieces of it that end outside."""
    place = lattice.position(tile)
    cell, basin, start, stop, n = (
        cell[:, which],
        basin[which],
        start[:, which],
        stop[:, which],
        n[which],
    )
    piece = np.arange(which.size) - np.searchsorted(which, which)
    height = stop[0] - start[0]
    start[0], stop[0] = start[0] + height * piece // n, start[0] + height * (piece + 1) // n

    summit = lattice.summit(cell, basin)
    peak = lattice.peak(cell, basin)
    name = lattice.id_of(cell), basin, tile, piece
    # An exit leads one tile nearer to the peak: along x, then y, then z.
    step = np.sign(summit // EDGE - place)
    axis = np.where(step[2] != 0, 2, np.where(step[1] != 0, 1, 0))
    step *= np.arange(3)[:, None] == axis
    is_exit = step.any(0)
    along = step.sum(0)
    end = inside(start, stop, 60, *name)
    edge = np.where(along > 0, (place[axis, 0] + 1) * EDGE, place[axis, 0] * EDGE - 1)
    end = np.where(step != 0, edge, end)
    target = place + step
    link = np.full(which.size, -1)
    out = np.flatnonzero(is_exit)
    there = lattice.fragment(
        cell[:, out], basin[out], target[:, out], axis[out], -along[out], tile, piece[out]
    )
    link[out] = link_to(lattice.number(target[:, out]), there)
    return {
        "cell": name[0],
        "end": linear(lattice, np.where(is_exit, end, summit)),
        "peak": peak - is_exit * between((1, 300), 61, *name),
        "size": (stop - start).prod(0),
        "bbox": np.concatenate((start, stop)).T,
        "link": link,
        "is_known": (piece < 2) | (piece == n - 1),
        "basin": basin,
    }


def passes_of_exits(lattice, tile, inner) -> dict[str, np.ndarray]:
    """Passes between the fragments of one basin in a tile, of which one lies on the other."""
    same = (inner["cell"][1:] == inner["cell"][:-1]) & (inner["basin"][1:] == inner["basin"][:-1])
    a = np.flatnonzero(same)
    name = 70, inner["cell"][a], inner["basin"][a], tile, a
    lower = inner["bbox"][a, :3].T.copy()
    lower[0] = inner["bbox"][a, 3] - 1
    known = np.minimum(inner["peak"][a], inner["peak"][a + 1])
    return {
        "a": a + 1,
        "b": a + 2,
        "height": known - between((0, 200), *name),
        "place": linear(lattice, lower) * CODES + CODES - 5,
    }


def passes_of(lattice, tile, first_free) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Passes between basins whose lower voxel is in a tile, and the fragments of the halo that
    they lead to."""
    place = lattice.position(tile)
    first, last = lattice.cells_of_tile(tile)
    first = np.maximum(first - 1, 0)
    cells = np.indices(tuple(last - first)).reshape(3, -1) + first[:, None]
    parts = zip(*contacts(lattice, cells), strict=True)
    *ends, height = (np.concatenate(part, axis=-1) for part in parts)

    flip = hashed(80, linear(lattice, ends[1])) % 2 == 1
    cell_a, a = (np.where(flip, ends[k + 2], ends[k]) for k in (0, 1))
    cell_b, b = (np.where(flip, ends[k], ends[k + 2]) for k in (0, 1))
    here = (a // EDGE == place).all(0)
    cell_a, a, cell_b, b, height = (x[..., here] for x in (cell_a, a, cell_b, b, height))
    basin_a, basin_b = lattice.basin_at(cell_a, a[2]), lattice.basin_at(cell_b, b[2])

    lower = linear(lattice, a)
    axis = np.abs(b - a).argmax(0)
    target = b // EDGE
    step = (target - place).sum(0)
    homes = np.broadcast_to(place, a.shape)
    in_a = lattice.fragment(cell_a, basin_a, homes, axis, step, lower)
    in_b = lattice.fragment(cell_b, basin_b, target, axis, -step, lower)
    out = np.flatnonzero(step)
    halo = {
        "cell": lattice.id_of(cell_b[:, out]),
        "end": linear(lattice, b[:, out]),
        "peak": np.minimum(height[out] + 1000, lattice.peak(cell_b[:, out], basin_b[out])),
        "size": np.zeros(out.size, np.int64),
        "bbox": np.tile([2**31 - 1] * 3 + [0] * 3, (out.size, 1)),
        "link": link_to(lattice.number(target[:, out]), in_b[out]),
        "is_known": np.zeros(out.size, np.bool_),
    }
    in_b[out] = first_free + np.arange(out.size)
    code = np.array([9, 3, 1]) @ (b - a + 1)
    return {"a": in_a, "b": in_b, "height": height, "place": lower * CODES + code}, halo


def contacts(lattice, cells) -> Iterator[tuple[np.ndarray, ...]]:
    """Where basins touch, twice each: cells and voxels on both sides, and the height."""
    for copy in range(2):
        for axis in range(3):
            near = cells[:, cells[axis] + 1 < lattice.shape[axis]]
            name = axis, copy, lattice.id_of(near)
            start, stop = lattice.box(near)
            voxel = inside(start, stop, 90, *name)
            voxel[axis] = stop[axis] - 1
            step = np.eye(3, dtype=np.int64)[:, [axis]]
            yield near, voxel, near + step, voxel + step, between(BETWEEN, 91, *name)
        for basin in range(1, MAX_BASINS):
            cell = cells[:, basin < lattice.n_basins(cells)]
            name = basin, copy, lattice.id_of(cell)
            above = np.full(cell.shape[1], basin)
            start, stop = lattice.slab(cell, above)
            voxel = inside(start, stop, 92, *name)
            voxel[2] = start[2] - 1
            step = np.array([[0], [0], [1]])
            yield cell, voxel, cell, voxel + step, between(WITHIN, 93, *name)
