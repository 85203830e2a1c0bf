"""A movie is the same image whichever way it comes: a file of any format, or files of its parts."""

import numpy as np
import pytest
import tifffile
import zarr

from mosaicell.composed import Part
from mosaicell.geometry import Box
from mosaicell.ingest import ingest
from mosaicell.sources import check_same_shape, open_parts, open_source

MOVIE = np.random.default_rng(4).integers(0, 60000, (3, 2, 4, 21, 26)).astype(np.uint16)  # tczyx
GREY = {"photometric": "minisblack"}


def ome_tiff(order, **options):
    """OME-TIFF whose axes have an order, and which is stored in one way or another."""

    def write(path):
        stored = MOVIE.transpose(["TCZYX".index(a) for a in order])
        metadata = {"axes": order, "TimeIncrement": 0.5, "TimeIncrementUnit": "min"}
        tifffile.imwrite(path / "a.ome.tif", stored, metadata=metadata, **options)
        return [Part(str(path / "a.ome.tif"))]

    return write


def imagej(path):
    stored = MOVIE.transpose(0, 2, 1, 3, 4)
    metadata = {"axes": "TZCYX", "finterval": 30.0}
    tifffile.imwrite(path / "a.tif", stored, imagej=True, metadata=metadata)
    return [Part(str(path / "a.tif"))]


def ome_zarr(axes, version):
    """OME-Zarr whose array has its axes in some order."""

    def write(path):
        kinds = {"t": {"type": "time", "unit": "minute"}, "c": {"type": "channel"}}
        space = {"type": "space", "unit": "micrometer"}
        scale = [0.5 if a == "t" else 1.0 for a in axes]
        multiscale = {
            "axes": [{"name": a} | kinds.get(a, space) for a in axes],
            "datasets": [
                {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}
            ],
        }
        if version == 3:
            attributes = {"ome": {"version": "0.5", "multiscales": [multiscale]}}
        else:
            attributes = {"multiscales": [multiscale | {"version": "0.4"}]}
        group = zarr.create_group(path / "a.zarr", zarr_format=version, attributes=attributes)
        stored = MOVIE.transpose(["tczyx".index(a) for a in axes])
        group.create_array("0", data=np.ascontiguousarray(stored), chunks=(2, 1, 3, 20, 20))
        return [Part(str(path / "a.zarr"))]

    return write


def zarr_array(path):
    zarr.create_array(path / "a.zarr", data=MOVIE, chunks=(1, 1, 2, 21, 26))
    return [Part(str(path / "a.zarr"))]


def files_of_frames(path):
    for t, volume in enumerate(MOVIE):
        tifffile.imwrite(path / f"{t}.tif", volume, ome=True, metadata={"axes": "CZYX"})
    return [Part(str(path / f"{t}.tif"), t) for t in (2, 0, 1)]


def files_of_channels(path):
    for c in (0, 1):
        tifffile.imwrite(path / f"{c}.tif", MOVIE[:, c], ome=True, metadata={"axes": "TZYX"})
    return [Part(str(path / f"{c}.tif"), None, c) for c in (1, 0)]


def files_of_frames_and_channels(path):
    parts = []
    for t, c in np.ndindex(3, 2):
        options = GREY | {"compression": "zlib" if t else None}
        tifffile.imwrite(path / f"{t}{c}.tif", MOVIE[t, c], **options)
        parts.append(Part(str(path / f"{t}{c}.tif"), t, c))
    return parts[::-1]


WAYS = {
    **{f"OME-TIFF {order}": ome_tiff(order) for order in ("TCZYX", "TZCYX", "CTZYX", "ZTCYX")},
    "OME-TIFF, compressed": ome_tiff("CZTYX", compression="zlib"),
    "OME-TIFF, tiled": ome_tiff("ZCTYX", tile=(16, 16)),
    "ImageJ": imagej,
    "OME-Zarr 0.5": ome_zarr("tczyx", 3),
    "OME-Zarr 0.4": ome_zarr("tczyx", 2),
    "OME-Zarr 0.5, other order": ome_zarr("cztyx", 3),
    "OME-Zarr 0.4, other order": ome_zarr("xtycz", 2),
    "zarr array": zarr_array,
    "files of frames": files_of_frames,
    "files of channels": files_of_channels,
    "files of frames and channels": files_of_frames_and_channels,
}


def ingested(parts, folder) -> dict:
    return ingest(
        open_parts(parts),
        folder / "result.ome.zarr",
        name="a",
        voxel_size=None,
        records_folder=folder / "records",
        code="code",
    )


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """The hash of the movie."""
    folder = tmp_path_factory.mktemp("reference")
    return ingested(zarr_array(folder), folder)["content"]


@pytest.mark.parametrize("write", WAYS.values(), ids=WAYS)
def test_a_movie_has_the_same_voxels_and_name_whichever_way_it_comes(write, content, tmp_path):
    parts = write(tmp_path)
    source = open_parts(parts)
    assert (source.shape, source.dtype, source.frames) == (MOVIE.shape, np.uint16, 3)
    box = Box((1, 3, 2), (4, 20, 26))
    np.testing.assert_array_equal(source.read(2, 1, box), MOVIE[(2, 1, *box.slices)])
    summary = ingested(parts, tmp_path)
    assert summary["content"] == content
    assert (summary["shape"], summary["frames"]) == ([2, 4, 21, 26], 3)
    stored = zarr.open_array(tmp_path / "result.ome.zarr/0", mode="r")
    np.testing.assert_array_equal(stored[...], MOVIE)


@pytest.mark.parametrize("name", ["OME-TIFF TZCYX", "ImageJ", "OME-Zarr 0.4, other order"])
def test_the_time_between_frames_is_that_of_the_file(name, tmp_path):
    assert open_parts(WAYS[name](tmp_path)).frame_interval == 30.0


def test_another_order_of_frames_is_another_image_and_its_identity_says_so(content, tmp_path):
    parts = files_of_frames(tmp_path)
    (first, second), rest = parts[:2], parts[2:]
    swapped = [Part(first.path, second.frame), Part(second.path, first.frame), *rest]
    assert open_parts(parts).identity != open_parts(swapped).identity
    assert open_parts(parts).identity == open_parts(parts[::-1]).identity
    assert ingested(swapped, tmp_path)["content"] != content


def test_a_single_frame_is_an_image_without_time(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", MOVIE[0, 0], **GREY)
    alone, as_frame = (
        ingested([Part(str(tmp_path / "a.tif"), *place)], tmp_path)
        for place in ((None, None), (0, 0))
    )
    assert alone == as_frame
    assert alone["frames"] is None
    assert zarr.open_array(tmp_path / "result.ome.zarr/0", mode="r").shape == (1, 4, 21, 26)


def test_the_voxel_size_of_files_that_disagree_is_not_known(tmp_path):
    for t, size in enumerate((1.0, 2.0)):
        metadata = {"axes": "ZYX"} | {f"PhysicalSize{a}": size for a in "ZYX"}
        tifffile.imwrite(tmp_path / f"{t}.ome.tif", MOVIE[0, 0], metadata=metadata)
    parts = [Part(str(tmp_path / f"{t}.ome.tif"), t) for t in (0, 1)]
    assert open_parts(parts).voxel_size is None
    assert open_parts([parts[0], Part(parts[0].path, 1)]).voxel_size == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("odd", "place", "words"),
    [
        (MOVIE[0, 0, :, :-1], (1, None), "allowed is one shape and dtype"),
        (MOVIE[0, 0].astype(np.int32), (1, None), "of int32, but .* allowed is one shape"),
    ],
)
def test_files_that_do_not_fit_together_are_refused(odd, place, words, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", MOVIE[0, 0], **GREY)
    tifffile.imwrite(tmp_path / "b.tif", odd, **GREY)
    with pytest.raises(ValueError, match=words):
        open_parts([Part(str(tmp_path / "a.tif"), 0), Part(str(tmp_path / "b.tif"), *place)])


@pytest.mark.parametrize(
    ("place", "words"),
    [((0, None), "is to be frame 0, but holds 3"), ((None, 0), "is to be channel 0, but holds 2")],
)
def test_a_file_of_several_frames_or_channels_cannot_be_one(place, words, tmp_path):
    ((path, *_),) = zarr_array(tmp_path)
    with pytest.raises(ValueError, match=words):
        open_parts([Part(path, *place)])


def test_a_landscape_of_other_frames_is_refused(tmp_path):
    ((path, *_),) = zarr_array(tmp_path)
    movie = open_source(path)
    check_same_shape((4, 21, 26), movie, "the landscape", frames=3)
    for frames, said in ((None, "1"), (2, "2")):
        with pytest.raises(ValueError, match=f"has 3 frames and the image {said}; allowed is one"):
            check_same_shape((4, 21, 26), movie, "the landscape", frames=frames)
