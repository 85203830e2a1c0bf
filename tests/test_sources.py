"""Every file format gives the same image; what is not an image is refused in one sentence."""

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from mosaicell.geometry import Box
from mosaicell.sources import (
    check_channel,
    check_labels,
    check_same_shape,
    check_voxel_size,
    open_source,
)

VOLUME = np.random.default_rng(5).integers(0, 60000, (7, 45, 52)).astype(np.uint16)
TWO_CHANNELS = np.stack([VOLUME, VOLUME[::-1, :, ::-1]])


def write_bigtiff(path: Path) -> Path:
    tifffile.imwrite(path / "image.btf", VOLUME, bigtiff=True)
    return path / "image.btf"


def write_imagej(path: Path) -> Path:
    tifffile.imwrite(
        path / "image.tif",
        VOLUME,
        imagej=True,
        resolution=(1 / 0.25, 1 / 0.5),
        metadata={"axes": "ZYX", "spacing": 2.0, "unit": "um"},
    )
    return path / "image.tif"


def write_ome(path: Path) -> Path:
    sizes = {"PhysicalSizeZ": 2.0, "PhysicalSizeY": 500.0, "PhysicalSizeX": 250.0}
    units = {"PhysicalSizeYUnit": "nm", "PhysicalSizeXUnit": "nm"}
    metadata = {"axes": "ZYX", **sizes, **units}
    tifffile.imwrite(path / "image.ome.tif", VOLUME, metadata=metadata, compression="zlib")
    return path / "image.ome.tif"


def with_options(**options):
    def write(path: Path) -> Path:
        tifffile.imwrite(path / "image.tif", VOLUME, **options)
        return path / "image.tif"

    return write


def write_plane_by_plane(path: Path) -> Path:
    """As programs do that append to a file: every plane comes with metadata of its own."""
    with tifffile.TiffWriter(path / "image.tif") as file:
        for plane in VOLUME:
            file.write(plane)
    return path / "image.tif"


def write_sequence(path: Path) -> Path:
    """Planes whose natural order is not that of the alphabet, and files that are no planes."""
    for z, plane in enumerate(VOLUME):
        tifffile.imwrite(path / f"plane{z + 5}.tif", plane, compression="zlib" if z % 2 else None)
    (path / "notes.txt").write_text("not a plane")
    (path / "._plane5.tif").write_bytes(b"what a file manager leaves behind")
    return path


def write_ome_zarr_05(path: Path) -> Path:
    return write_ome_zarr(path, version=3)


def write_ome_zarr_04(path: Path) -> Path:
    return write_ome_zarr(path, version=2)


def write_ome_zarr(path: Path, *, version: int) -> Path:
    units = {"z": "micrometer", "y": "nanometer", "x": "nanometer"}
    scale = [{"type": "scale", "scale": [1.0, 1.0, 2.0, 500.0, 250.0]}]
    multiscale = {
        "axes": [
            {"name": "t", "type": "time"},
            {"name": "c", "type": "channel"},
            *({"name": a, "type": "space", "unit": u} for a, u in units.items()),
        ],
        "datasets": [{"path": "full", "coordinateTransformations": scale}],
    }
    if version == 3:
        attributes = {"ome": {"version": "0.5", "multiscales": [multiscale]}}
    else:
        attributes = {"multiscales": [multiscale | {"version": "0.4"}]}
    group = zarr.create_group(path / "image.zarr", zarr_format=version, attributes=attributes)
    array = group.create_array(
        "full", shape=(1, 1, *VOLUME.shape), dtype="u2", chunks=(1, 1, 3, 20, 20)
    )
    array[0, 0] = VOLUME
    return path / "image.zarr"


def write_zarr_array(path: Path) -> Path:
    zarr.create_array(path / "image.zarr", data=VOLUME, chunks=(1, 45, 52))
    return path / "image.zarr"


def write_transposed_zarr_array(path: Path) -> Path:
    zarr.create_array(
        path / "image.zarr", data=VOLUME.transpose(2, 0, 1), dimension_names=("x", "z", "y")
    )
    return path / "image.zarr"


ONE_CHANNEL_FORMATS = {
    "plain": with_options(),
    "pages without metadata": with_options(metadata=None),
    "BigTIFF": write_bigtiff,
    "ImageJ": write_imagej,
    "OME-TIFF": write_ome,
    "zlib": with_options(compression="zlib"),
    "zlib in strips with predictor": with_options(
        compression="zlib", rowsperstrip=8, predictor=True
    ),
    "lzw": with_options(compression="lzw"),
    "zstd as one strip": with_options(compression="zstd", rowsperstrip=45),
    "uncompressed strips": with_options(rowsperstrip=7, metadata=None),
    "tiled": with_options(tile=(16, 16)),
    "tiled and compressed": with_options(tile=(32, 16), compression="zlib"),
    "big-endian": with_options(byteorder=">"),
    "big-endian and compressed": with_options(byteorder=">", compression="zlib"),
    "plane by plane": write_plane_by_plane,
    "sequence": write_sequence,
    "OME-Zarr 0.5": write_ome_zarr_05,
    "OME-Zarr 0.4": write_ome_zarr_04,
    "zarr array": write_zarr_array,
    "zarr array with named axes": write_transposed_zarr_array,
}


def write_channel_folders(path: Path) -> Path:
    for c, volume in enumerate(TWO_CHANNELS):
        folder = path / f"ch{c * 10}"  # ch10 comes after ch0 and would come before ch2
        folder.mkdir()
        for z, plane in enumerate(volume):
            tifffile.imwrite(folder / f"{z}.TIFF", plane)
    (path / "empty").mkdir()
    return path


def write_two_channel_ome(path: Path) -> Path:
    tifffile.imwrite(path / "image.ome.tif", TWO_CHANNELS, metadata={"axes": "CZYX"})
    return path / "image.ome.tif"


def write_two_channel_imagej(path: Path) -> Path:
    interleaved = TWO_CHANNELS.transpose(1, 0, 2, 3)
    tifffile.imwrite(path / "image.tif", interleaved, imagej=True, metadata={"axes": "ZCYX"})
    return path / "image.tif"


def write_four_axes_without_names(path: Path) -> Path:
    tifffile.imwrite(path / "image.tif", TWO_CHANNELS)
    return path / "image.tif"


def write_ome_of_two_files(path: Path) -> Path:
    files = "".join(
        f'<TiffData FirstC="{c}" FirstZ="0" FirstT="0" IFD="0" PlaneCount="7">'
        f'<UUID FileName="c{c}.ome.tif">urn:uuid:{c}</UUID></TiffData>'
        for c in range(2)
    )
    for c, volume in enumerate(TWO_CHANNELS):
        xml = (
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{c}"><Image ID="Image:0"><Pixels ID="Pixels:0" '
            'DimensionOrder="XYZCT" Type="uint16" SizeX="52" SizeY="45" SizeZ="7" SizeC="2" '
            f'SizeT="1">{files}</Pixels></Image></OME>'
        )
        tifffile.imwrite(path / f"c{c}.ome.tif", volume, description=xml, metadata=None)
    return path / "c0.ome.tif"


TWO_CHANNEL_FORMATS = {
    "folders": write_channel_folders,
    "OME-TIFF": write_two_channel_ome,
    "OME-TIFF of two files": write_ome_of_two_files,
    "ImageJ": write_two_channel_imagej,
    "four axes without names": write_four_axes_without_names,
}


def whole(source) -> np.ndarray:
    """The channels of the first frame."""
    box = Box((0, 0, 0), source.volume)
    return np.stack([source.read(0, c, box) for c in range(source.shape[1])])


@pytest.mark.parametrize("write", ONE_CHANNEL_FORMATS.values(), ids=ONE_CHANNEL_FORMATS)
def test_every_format_gives_the_same_voxels(write, tmp_path):
    source = open_source(write(tmp_path))
    assert source.shape == (1, 1, *VOLUME.shape)
    assert source.dtype == np.uint16
    assert source.dtype.isnative
    np.testing.assert_array_equal(whole(source)[0], VOLUME)
    for box in (
        Box((2, 9, 3), (5, 40, 50)),
        Box((6, 44, 51), (7, 45, 52)),
        Box((0, 16, 16), (1, 32, 32)),
    ):
        np.testing.assert_array_equal(source.read(0, 0, box), VOLUME[box.slices])


@pytest.mark.parametrize("write", TWO_CHANNEL_FORMATS.values(), ids=TWO_CHANNEL_FORMATS)
def test_every_format_gives_the_same_channels(write, tmp_path):
    source = open_source(write(tmp_path))
    assert source.shape == (1, *TWO_CHANNELS.shape)
    np.testing.assert_array_equal(whole(source), TWO_CHANNELS)


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_the_samples_of_a_pixel_are_channels(planarconfig, compression, tmp_path):
    colour = np.random.default_rng(1).integers(0, 255, (20, 31, 3)).astype(np.uint8)
    stored = colour if planarconfig == "contig" else colour.transpose(2, 0, 1)
    options = {"photometric": "rgb", "planarconfig": planarconfig, "compression": compression}
    tifffile.imwrite(tmp_path / "a.tif", stored, **options)
    source = open_source(tmp_path / "a.tif")
    assert source.shape == (1, 3, 1, 20, 31)
    np.testing.assert_array_equal(whole(source)[:, 0], colour.transpose(2, 0, 1))
    box = Box((0, 3, 4), (1, 18, 30))
    np.testing.assert_array_equal(source.read(0, 2, box)[0], colour[3:18, 4:30, 2])


@pytest.mark.parametrize(
    "dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "?"]
)
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_dtypes_are_kept_in_native_order_and_truth_values_become_uint8(dtype, byteorder, tmp_path):
    values = (np.arange(3 * 8 * 9).reshape(3, 8, 9) % 120 % 7).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, byteorder=byteorder, photometric="minisblack")
    source = open_source(tmp_path / "a.tif")
    assert source.dtype == (np.uint8 if dtype == "?" else np.dtype(dtype))
    np.testing.assert_array_equal(whole(source)[0], values.astype(source.dtype))


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (write_imagej, (2.0, 0.5, 0.25)),
        (write_ome, (2.0, 0.5, 0.25)),
        (write_ome_zarr_05, (2.0, 0.5, 0.25)),
        (write_ome_zarr_04, (2.0, 0.5, 0.25)),
        (write_bigtiff, None),
        (write_sequence, None),
        (write_zarr_array, None),
    ],
)
def test_the_voxel_size_is_what_the_file_states_in_um(write, expected, tmp_path):
    size = open_source(write(tmp_path)).voxel_size
    assert size == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("unit", ["micron", "\\u00B5m"])
def test_the_ways_imagej_spells_micrometers_are_known(unit, tmp_path):
    metadata = {"spacing": 3, "unit": unit}
    tifffile.imwrite(tmp_path / "a.tif", VOLUME, imagej=True, resolution=(4, 2), metadata=metadata)
    assert open_source(tmp_path / "a.tif").voxel_size == pytest.approx((3, 0.5, 0.25))


def test_a_pixel_size_without_a_length_unit_is_not_a_voxel_size(tmp_path):
    metadata = {"spacing": 3, "unit": "pixel"}
    tifffile.imwrite(tmp_path / "a.tif", VOLUME, imagej=True, resolution=(4, 2), metadata=metadata)
    assert open_source(tmp_path / "a.tif").voxel_size is None


def test_a_2d_image_is_one_plane(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", VOLUME[0], metadata={"unit": "um"}, imagej=True, resolution=(4, 2)
    )
    source = open_source(tmp_path / "a.tif")
    assert source.shape == (1, 1, 1, *VOLUME.shape[1:])
    assert source.voxel_size == pytest.approx((1.0, 0.5, 0.25))


def test_a_path_may_be_relative(tmp_path, monkeypatch):
    write_sequence(tmp_path)
    monkeypatch.chdir(tmp_path.parent)
    source = open_source(tmp_path.name)
    np.testing.assert_array_equal(whole(source)[0], VOLUME)


@pytest.mark.parametrize(
    ("write", "file"),
    [
        (write_sequence, "plane6.tif"),
        (write_channel_folders, "ch10/4.TIFF"),
        (write_ome_of_two_files, "c1.ome.tif"),
        (write_imagej, "image.tif"),
        (with_options(compression="zlib"), "image.tif"),
        (write_ome_zarr_04, "image.zarr/full/0.0.1.2.0"),
        (write_ome_zarr_05, "image.zarr/zarr.json"),
    ],
)
def test_the_identity_changes_with_any_file_but_not_with_the_place(
    write, file, tmp_path, monkeypatch
):
    (tmp_path / "first").mkdir()
    image = write(tmp_path / "first").relative_to(tmp_path)
    before = open_source(tmp_path / image).identity
    monkeypatch.chdir(tmp_path)
    assert open_source(image).identity == before
    (tmp_path / "first").rename(tmp_path / "second")
    moved = Path("second", *image.parts[1:])
    assert open_source(moved).identity == before
    os.utime(tmp_path / "second" / file, ns=(1, 1))
    assert open_source(moved).identity != before


def test_only_planes_that_are_one_compressed_strip_are_read_whole(tmp_path):
    def is_whole(name: str) -> bool:
        folder = tmp_path / name
        folder.mkdir()
        return open_source(ONE_CHANNEL_FORMATS[name](folder)).whole_planes

    assert is_whole("zstd as one strip")
    assert is_whole("zarr array")
    assert not is_whole("zlib in strips with predictor")
    assert not is_whole("plain")
    assert not is_whole("OME-Zarr 0.5")


def write_odd_shape(path: Path) -> Path:
    write_sequence(path)
    tifffile.imwrite(path / "plane7.tif", VOLUME[0, :-1])
    return path


def write_odd_dtype(path: Path) -> Path:
    write_sequence(path)
    tifffile.imwrite(path / "plane10.tif", VOLUME[0].astype(np.int32))
    return path


def write_uneven_channels(path: Path) -> Path:
    write_channel_folders(path)
    (path / "ch10" / "3.TIFF").unlink()
    return path


def write_stacks_in_folder(path: Path) -> Path:
    tifffile.imwrite(path / "a.tif", VOLUME)
    return path


def write_two_images(path: Path) -> Path:
    with tifffile.TiffWriter(path / "a.tif") as file:
        file.write(VOLUME)
        file.write(VOLUME[0])
    return path / "a.tif"


def write_five_axes(path: Path) -> Path:
    tifffile.imwrite(path / "a.tif", np.zeros((2, 3, 2, 8, 9), np.uint8))
    return path / "a.tif"


def write_complex(path: Path) -> Path:
    tifffile.imwrite(path / "a.tif", VOLUME.astype(np.complex64))
    return path / "a.tif"


def write_complex_zarr(path: Path) -> Path:
    zarr.create_array(path / "a.zarr", data=VOLUME.astype(np.complex64))
    return path / "a.zarr"


def write_text(path: Path) -> Path:
    (path / "a.tif").write_text("no TIFF")
    return path / "a.tif"


def write_nothing(path: Path) -> Path:
    (path / "a.tif").touch()
    return path / "a.tif"


def write_png(path: Path) -> Path:
    (path / "a.png").touch()
    return path / "a.png"


def write_bare_group(path: Path) -> Path:
    zarr.create_group(path / "a.zarr").create_group("inner")
    return path / "a.zarr"


def write_six_dimensions(path: Path) -> Path:
    zarr.create_array(path / "a.zarr", data=np.zeros((1,) * 6, np.uint8))
    return path / "a.zarr"


def write_empty_zarr(path: Path) -> Path:
    zarr.create_array(path / "a.zarr", shape=(0, 4, 4), dtype="u1")
    return path / "a.zarr"


def write_broken_zarr(path: Path) -> Path:
    (path / "a.zarr").mkdir()
    (path / "a.zarr" / "zarr.json").write_text("{")
    return path / "a.zarr"


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: path / "missing.tif", "nothing at .*missing.tif: correct the path"),
        (lambda path: path, "holds no image; allowed are TIFF files"),
        (write_png, "a.png is not an image that can be read; allowed are TIFF"),
        (write_text, "a.tif is damaged, cut off or no TIFF"),
        (write_nothing, "a.tif is damaged, cut off or no TIFF"),
        (write_odd_shape, "plane7.tif is 44x52 uint16, but plane5.tif is 45x52 uint16"),
        (write_odd_dtype, "plane10.tif is 45x52 int32, but plane5.tif is 45x52 uint16"),
        (write_uneven_channels, r"different numbers of planes \(ch0: 7, ch10: 6\)"),
        (write_stacks_in_folder, "holds 7 planes; allowed is one plane a file in a folder"),
        (write_two_images, "holds 2 images, the first 7x45x52 uint16 and another 45x52"),
        (write_five_axes, r"2x3x2 \(QQQ\) besides y and x; allowed are time, channels and z"),
        (write_complex, "dtype complex64; allowed are integers and floats"),
        (write_complex_zarr, "dtype complex64; allowed are integers and floats"),
        (write_bare_group, "without an OME-Zarr image; .*it holds inner"),
        (write_six_dimensions, "6 dimensions with the axes unknown; allowed are y and x"),
        (write_empty_zarr, "is empty"),
        (write_broken_zarr, "cannot be read as zarr"),
    ],
)
def test_what_is_not_one_image_is_refused_in_one_sentence(write, words, tmp_path):
    with pytest.raises(ValueError, match=words) as refusal:
        open_source(write(tmp_path))
    assert "\n" not in str(refusal.value)


TIFF_FILES = {
    name: write
    for name, write in ONE_CHANNEL_FORMATS.items()
    if "zarr" not in name.lower() and name != "sequence"
}


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("write", TIFF_FILES.values(), ids=TIFF_FILES)
def test_a_file_that_is_cut_off_is_refused_unless_all_voxels_are_there(write, share, tmp_path):
    path = write(tmp_path)
    complete = path.read_bytes()
    path.write_bytes(complete[: int(len(complete) * share)])
    try:
        source = open_source(path)
    except ValueError as error:
        refusal = str(error)
    else:
        assert share == 0.99
        np.testing.assert_array_equal(whole(source)[0], VOLUME)
        return
    assert path.name in refusal
    assert "write it again" in refusal


def test_a_damaged_strip_is_refused_when_it_is_read(tmp_path):
    path = with_options(compression="zlib", metadata=None)(tmp_path)
    with tifffile.TiffFile(path) as file:
        place = file.pages[3].dataoffsets[0]
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"\xff" * 100)
    source = open_source(path)
    source.read(0, 0, Box((0, 0, 0), (3, 45, 52)))
    with pytest.raises(ValueError, match="cannot be read or unpacked"):
        source.read(0, 0, Box((3, 0, 0), (4, 45, 52)))


def test_a_damaged_zarr_chunk_is_refused_when_it_is_read(tmp_path):
    path = write_zarr_array(tmp_path)
    (path / "c" / "2" / "0" / "0").write_bytes(b"damaged")
    source = open_source(path)
    source.read(0, 0, Box((0, 0, 0), (2, 45, 52)))
    with pytest.raises(ValueError, match="cannot be read or unpacked"):
        source.read(0, 0, Box((2, 0, 0), (3, 45, 52)))


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (lambda image: check_channel(image, 2), "image has 2; allowed are 0 to 1"),
        (lambda image: check_voxel_size(image, None), "add them to the sample sheet"),
        (lambda image: check_same_shape((3, 4, 6), image, "the truth"), "allowed is one voxel for"),
        (check_labels, "2 channels of uint16; allowed is one channel of integers"),
    ],
)
def test_an_image_that_does_not_serve_its_purpose_is_refused(tmp_path, check, words):
    path = tmp_path / "a.tif"
    volume = np.zeros((2, 3, 4, 5), np.uint16)
    tifffile.imwrite(path, volume, photometric="minisblack", ome=True, metadata={"axes": "CZYX"})
    with pytest.raises(ValueError, match=words):
        check(open_source(path))


def test_an_image_that_serves_its_purpose_passes(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((7, 4, 5), np.uint16))
    image = open_source(tmp_path / "a.tif")
    check_channel(image, 0)
    check_voxel_size(image, (1.0, 1.0, 1.0))
    check_same_shape((7, 4, 5), image, "the truth")
    check_labels(image)
