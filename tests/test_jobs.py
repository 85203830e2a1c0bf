"""Tiles and shards on disk: right for any fit of tiles and shards, and repaired when damaged."""

import numpy as np
import pandas as pd
import pytest

from mosaicell import measure, watershed
from mosaicell.geometry import Box, Grid
from mosaicell.jobs import measure as measure_job
from mosaicell.jobs.labels import lay_out_labels, write_labels
from mosaicell.jobs.measure import gather_cells, gather_neighbours, measure_tiles
from mosaicell.jobs.segment import segment_tiles
from mosaicell.jobs.shards import check_shards, fill_shards
from mosaicell.jobs.stitch import stitch_tiles, stitch_volume
from mosaicell.records import Records, forget_jobs, reopening, write_job_record
from mosaicell.smooth import smooth
from mosaicell.store import DamagedError, lay_out, shard_grid
from mosaicell.wanted import Wanted, wanted_of

SHAPE = (20, 30, 40)
AXES = ("z", "y", "x")
FACTORS = [(1, 1, 1), (1, 2, 2), (2, 4, 4)]


@pytest.fixture
def landscape(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.random(SHAPE)
    smooth = sum(np.roll(noise, s, axis) for axis in range(3) for s in range(-2, 3))
    array = lay_out(
        tmp_path / "landscape.zarr",
        shape=SHAPE,
        dtype=np.float32,
        chunks=(8, 8, 8),
        shards=(16, 16, 16),
        dimension_names=AXES,
    )
    array[:] = ((smooth - smooth.min()) / np.ptp(smooth)).astype(np.float32)
    return array


CHOSEN = {"threshold": 0.3, "persistence": 0.05, "min_size": 5, "min_peak": 0.5}
CHOSEN |= {"min_relative_peak": 0.7}


def wanted() -> Wanted:
    return wanted_of(
        channels=None,
        ring={"um": 2.0},
        size_range={"voxel": [20, None]},
        texture=4,
        plugins=None,
        volume=SHAPE,
        voxel_size=(2.0, 1.0, 1.0),
        dtype=np.uint16,
        limits=[(0, 60000)] * 2,
        threshold=CHOSEN["threshold"],
        one=1,
    )


def run(folder, landscape, *, tile, image, monkeypatch, shard_voxels=16**3, sigma=(0, 0, 0)):
    """All stages from the landscape on; the labels' arrays and the tables."""
    monkeypatch.setattr("mosaicell.jobs.labels.SHARD_VOXELS", shard_voxels)
    monkeypatch.setattr("mosaicell.jobs.labels.CHUNK_VOXELS", 8**3)
    grid = Grid(SHAPE, tile)
    common = {"grid": grid, "what": "test", "threads": 2}
    tiles = folder / "tiles"
    segment_tiles(
        landscape,
        tiles,
        tiles=range(len(grid)),
        threshold=CHOSEN["threshold"],
        sigma=sigma,
        records=Records(folder / "segment", "a"),
        predicted=None,
        **common,
    )
    stitch_tiles(
        tiles,
        tiles=range(len(grid)),
        persistence=CHOSEN["persistence"],
        records=Records(folder / "stitch_tiles", "a"),
        segmented=Records(folder / "segment", "a"),
        **common,
    )
    stitched = stitch_volume(
        tiles,
        persistence=CHOSEN["persistence"],
        min_size=CHOSEN["min_size"],
        min_peak=CHOSEN["min_peak"],
        min_relative_peak=CHOSEN["min_relative_peak"],
        contracted=Records(folder / "stitch_tiles", "a"),
        **common,
    )
    levels = lay_out_labels(folder / "labels", shape=SHAPE, dtype=stitched.dtype, factors=FACTORS)
    write_labels(
        tiles,
        levels,
        shards=range(len(shard_grid(levels[0][0]))),
        records=Records(folder / "write", "a"),
        **common,
    )
    measure_tiles(
        levels[0][0],
        image,
        landscape,
        tiles,
        tiles=range(len(grid)),
        wanted=wanted(),
        sigma=sigma,
        predicted=None,
        records=Records(folder / "measure", "a"),
        written=Records(folder / "write", "a"),
        **common,
    )
    gathered = {"grid": grid, "measured": Records(folder / "measure", "a")}
    tables = []
    for gather in (gather_cells, gather_neighbours):
        parts = [pd.DataFrame(part) for part in gather(tiles, **gathered)]
        assert len(parts) == grid.counts[0]
        tables.append(pd.concat(parts, ignore_index=True))
    return [array[:] for array, _ in levels], *tables


@pytest.mark.parametrize("tile", [SHAPE, (7, 9, 40), (16, 16, 16), (3, 30, 5)])
@pytest.mark.parametrize(("crop_voxels", "sigma"), [(4 * 256**3, (0, 0, 0)), (50, (1.0, 0.5, 2.0))])
def test_labels_levels_and_table_are_those_of_the_whole_array(
    tmp_path, landscape, monkeypatch, tile, crop_voxels, sigma
):
    monkeypatch.setattr(measure_job, "CROP_VOXELS", crop_voxels)
    image = lay_out(
        tmp_path / "image.zarr",
        shape=(2, *SHAPE),
        dtype=np.uint16,
        chunks=(1, 8, 8, 8),
        shards=(1, 8, 16, 16),
        dimension_names=("c", *AXES),
    )
    image[:] = np.random.default_rng(1).integers(0, 60000, (2, *SHAPE))
    levels, table, neighbours = run(
        tmp_path, landscape, tile=tile, image=image, monkeypatch=monkeypatch, sigma=sigma
    )
    everything = {"box": Box((0, 0, 0), SHAPE), "volume": SHAPE}
    smoothed = smooth(landscape[:], sigma=sigma, **everything)
    whole = watershed(smoothed, **CHOSEN)
    assert whole.max() > 5
    for level, factors in zip(levels, FACTORS, strict=True):
        np.testing.assert_array_equal(level, whole[tuple(slice(None, None, f) for f in factors)])
    expected = measure(
        whole,
        image[:],
        voxel_size=(2.0, 1.0, 1.0),
        landscape=smoothed,
        threshold=CHOSEN["threshold"],
        ring={"um": 2.0},
    )
    kept = [name for name in expected if name != "too_small"]
    pd.testing.assert_frame_equal(table[kept], expected[kept], check_exact=True)
    assert (table["too_small"] == (table["num_voxels"] < 20)).all()
    counted = neighbours.groupby("label").size().reindex(table["label"], fill_value=0)
    np.testing.assert_array_equal(counted, table["num_neighbours"])
    order = ["label", "neighbour"]
    assert neighbours[order].equals(neighbours[order].sort_values(order, ignore_index=True))


class Computing:
    """Computes shards of a known volume, and remembers which."""

    def __init__(self):
        self.volume = np.random.default_rng(0).integers(1, 9000, SHAPE).astype(np.uint16)
        self.boxes = []

    def __call__(self, _: int, box: Box) -> np.ndarray:
        self.boxes.append(box)
        return self.volume[box.slices]


@pytest.fixture
def filled(tmp_path):
    """Arrays that were filled shard by shard, and what it takes to fill them again."""
    arrays = []
    for factors in FACTORS[:2]:
        shape = tuple(-(-n // f) for n, f in zip(SHAPE, factors, strict=True))
        shards = tuple(16 // f for f in factors)
        array = lay_out(
            tmp_path / f"level{len(arrays)}.zarr",
            shape=shape,
            dtype=np.uint16,
            chunks=tuple(min(8, s) for s in shards),
            shards=shards,
            dimension_names=AXES,
        )
        arrays.append((array, factors))

    def fill(compute, expected="a"):
        records = Records(tmp_path / "records", expected)
        n = len(shard_grid(arrays[0][0]))
        return fill_shards(compute, arrays, shards=range(n), records=records, what="test")

    computing = Computing()
    assert fill(computing) == len(computing.boxes) == 2 * 2 * 3
    return arrays, fill, computing.volume


def shard_files(array):
    folder = array.store_path.store.root / array.store_path.path / "c"
    return sorted(path for path in folder.rglob("*") if path.is_file())


def damage_nothing(path):
    pass


def delete(path):
    path.unlink()


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "again"), [(damage_nothing, 0), (delete, 1), (cut, 1), (flip, 1)]
)
@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("which", [0, -1])
def test_a_shard_that_is_not_as_recorded_is_computed_again_and_no_other(
    filled, damage, again, level, which
):
    arrays, fill, volume = filled
    damage(shard_files(arrays[level][0])[which])
    computing = Computing()
    assert fill(computing) == len(computing.boxes) == again
    for array, factors in arrays:
        expected = volume[tuple(slice(None, None, f) for f in factors)]
        np.testing.assert_array_equal(array[:], expected)


def test_shards_of_another_origin_are_computed_again(filled):
    _, fill, _ = filled
    assert fill(Computing(), expected="b") == 12
    assert fill(Computing(), expected="b") == 0


@pytest.mark.parametrize("kind", ["fragments", "graph"])
@pytest.mark.parametrize("damage", [delete, cut, flip])
def test_a_tile_whose_files_are_not_as_recorded_is_computed_again(
    tmp_path, landscape, kind, damage
):
    def fill():
        return segment_tiles(
            landscape,
            tmp_path / "tiles",
            grid=Grid(SHAPE, (10, 10, 10)),
            tiles=range(24),
            threshold=0.3,
            records=Records(tmp_path / "segment", "a"),
            predicted=None,
            what="test",
        )

    assert fill() == 24
    assert fill() == 0
    before = {path: path.read_bytes() for path in (tmp_path / "tiles").iterdir()}
    damage(tmp_path / "tiles" / f"000011.{kind}")
    assert fill() == 1
    assert {path: path.read_bytes() for path in (tmp_path / "tiles").iterdir()} == before


def test_a_shard_that_is_damaged_or_missing_is_not_read(filled, tmp_path):
    arrays, fill, _ = filled
    array = arrays[0][0]
    records = Records(tmp_path / "records", "a")
    everything = Box((0, 0, 0), SHAPE)
    check_shards(array, records, everything)
    for damage in (flip, cut, delete):
        damage(shard_files(array)[5])
        with pytest.raises(DamagedError, match="shard 5"):
            check_shards(array, records, everything)
        check_shards(array, records, Box((0, 0, 0), (16, 16, 32)))
        fill(Computing())
        check_shards(array, records, everything)


def test_a_tile_that_was_segmented_otherwise_is_not_stitched(tmp_path, landscape):
    grid = Grid(SHAPE, (10, 30, 40))
    for threshold, tiles in ((0.3, [0]), (0.4, [1])):
        segment_tiles(
            landscape,
            tmp_path / "tiles",
            grid=grid,
            tiles=tiles,
            threshold=threshold,
            records=Records(tmp_path / "segment", f"{threshold}"),
            predicted=None,
            what="test",
        )
    with pytest.raises(DamagedError, match="tile 1"):
        stitch_tiles(
            tmp_path / "tiles",
            grid=grid,
            tiles=[0],
            persistence=0,
            records=Records(tmp_path / "stitch_tiles", "a"),
            segmented=Records(tmp_path / "segment", "0.3"),
            what="test",
        )


@pytest.mark.parametrize("damage", [delete, cut, flip])
def test_a_tile_whose_basins_are_not_as_recorded_is_stitched_again(tmp_path, landscape, damage):
    grid = Grid(SHAPE, (10, 15, 20))
    common = {"grid": grid, "what": "test"}
    everything = range(len(grid))
    segmented = Records(tmp_path / "segment", "a")
    contracted = Records(tmp_path / "stitch_tiles", "a")
    segment_tiles(
        landscape,
        tmp_path / "tiles",
        tiles=everything,
        threshold=0.3,
        records=segmented,
        predicted=None,
        **common,
    )

    def fill():
        return stitch_tiles(
            tmp_path / "tiles",
            tiles=everything,
            persistence=0.05,
            records=contracted,
            segmented=segmented,
            **common,
        )

    def finish():
        stitch_volume(
            tmp_path / "tiles",
            persistence=0.05,
            min_size=5,
            min_peak=0.5,
            min_relative_peak=0.7,
            contracted=contracted,
            **common,
        )
        return {path: path.read_bytes() for path in (tmp_path / "tiles").iterdir()}

    assert fill() == 8
    assert fill() == 0
    before = finish()
    damage(tmp_path / "tiles" / "000003.basins")
    with pytest.raises(DamagedError, match=r"000003\.basins is damaged or missing"):
        finish()
    assert fill() == 1
    assert finish() == before
    (tmp_path / "stitch_tiles" / "000006.json").unlink()
    with pytest.raises(DamagedError, match=r"tile 6 in .+ was not stitched"):
        finish()


def test_damage_has_the_jobs_run_again_that_may_have_done_it(tmp_path):
    stage = tmp_path / "segment"
    write_job_record(stage / "0.json", content="a")
    write_job_record(stage / "1.json", content="a")
    Records(stage / "tiles", "a").add(7, {})
    with pytest.raises(DamagedError, match="start the same command again"), reopening(stage):
        raise DamagedError("tile 3 is damaged")
    assert not list(stage.glob("*.json"))
    assert Records(stage / "tiles", "a").payload(7) == {}


def test_job_records_differ_each_time_and_those_of_former_jobs_are_forgotten(tmp_path):
    for job in range(4):
        write_job_record(tmp_path / f"{job}.json", content="a")
    first = (tmp_path / "0.json").read_bytes()
    write_job_record(tmp_path / "0.json", content="a")
    assert (tmp_path / "0.json").read_bytes() != first
    forget_jobs(tmp_path / "0.json", 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.json", "1.json"]


def test_a_pyramid_of_fewer_levels_leaves_no_level_behind(tmp_path):
    common = {"shape": SHAPE, "dtype": np.dtype(np.uint32)}
    assert len(lay_out_labels(tmp_path, factors=FACTORS, **common)) == 3
    assert len(lay_out_labels(tmp_path, factors=FACTORS[:2], **common)) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]


def test_a_level_coarser_than_a_shard_has_no_voxel_that_two_shards_write(tmp_path, monkeypatch):
    monkeypatch.setattr("mosaicell.jobs.labels.SHARD_VOXELS", 4**3)
    monkeypatch.setattr("mosaicell.jobs.labels.CHUNK_VOXELS", 2**3)
    factors = [(1, 1, 1), (8, 8, 8)]
    levels = lay_out_labels(tmp_path / "a", shape=SHAPE, dtype=np.dtype("u2"), factors=factors)
    n = len(shard_grid(levels[0][0]))
    records = Records(tmp_path / "records", "a")
    for expected in (n, 0):
        computing = Computing()
        done = fill_shards(computing, levels, shards=range(n), records=records, what="test")
        assert done == expected
    np.testing.assert_array_equal(levels[1][0][:], computing.volume[::8, ::8, ::8])


def test_a_table_that_is_not_as_recorded_is_not_gathered(tmp_path):
    with pytest.raises(
        DamagedError, match=r"000000\.table or 000000\.neighbours is damaged or missing"
    ):
        list(gather_cells(tmp_path, grid=Grid(SHAPE, SHAPE), measured=Records(tmp_path, "a")))
