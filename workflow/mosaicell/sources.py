"""Images as they come: every supported file format behind one lazily read (c, z, y, x) image.

Idea: whatever the format, an image is a table of planes, one row per channel. Opening it reads
headers only, checks them, and turns them into a `Source`; from then on nobody needs to know the
format. A TIFF plane is kept as the places of its strips or tiles in its file, so a box of voxels
costs just the rows (not compressed) or the strips and tiles (compressed) that it touches.

1. A TIFF file: ImageJ hyperstack, OME-TIFF (of several files as well), BigTIFF, plain pages.
   Axes come from the metadata; pages without metadata are planes along z. Samples of a pixel
   (RGB) are channels.
2. A folder of TIFF files of one plane each, in natural order (plane2 before plane10), or a
   folder of such folders, which are the channels. Files that are not TIFF and hidden files are
   passed over, and so are the subfolders of a folder that has planes itself.
3. An OME-Zarr image (0.4, 0.5), of which the finest level is read, or a zarr array: its axes
   come from dimension names, or else are the last of (t, c, z, y, x).

Limits: one frame (no time), no complex numbers, 8 to 64 bits. A compressed plane that is stored
as a single strip is unpacked as a whole to get at a row (see `Source.whole_planes`).
"""

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tifffile
import zarr

from .geometry import Box, Triple

TIFF_SUFFIXES = {".tif", ".tiff", ".btf", ".tf8"}
MICROMETERS = {
    **dict.fromkeys(("micrometer", "micron", "microns", "um", "\u00b5m", "\u03bcm"), 1.0),
    **dict.fromkeys(("nanometer", "nm"), 1e-3),
    **dict.fromkeys(("angstrom", "\u212b", "\u00c5"), 1e-4),
    **dict.fromkeys(("millimeter", "mm"), 1e3),
    **dict.fromkeys(("centimeter", "cm"), 1e4),
    **dict.fromkeys(("meter", "m"), 1e6),
}

VoxelSize = tuple[float, float, float]


@dataclass(frozen=True)
class Source:
    """An image that is read box by box.

    Attributes
    ----------
    shape : tuple of int
        (c, z, y, x); a 2D image has one plane.
    dtype : numpy.dtype
        In native byte order; truth values come as uint8.
    voxel_size : tuple of float or None
        (z, y, x) in um; None where the file does not say it for all three axes. For a single
        plane z is 1 if the file does not say it.
    identity : str
        SHA-256 (hex) of the names, sizes and times of change of all files: cheap, and different
        after any ordinary change.
    whole_planes : bool
        Whether getting at one row means unpacking its whole plane, so that reading a plane in
        bands unpacks it once per band.
    fill : callable
        Reads one channel's box into an array of the box's shape.
    """

    shape: tuple[int, int, int, int]
    dtype: np.dtype
    voxel_size: VoxelSize | None
    identity: str
    whole_planes: bool
    fill: Callable[[int, Box, np.ndarray], None]

    def read(self, channel: int, box: Box) -> np.ndarray:
        """Read a box of one channel.

        Parameters
        ----------
        channel : int
        box : Box
            Inside the image.

        Returns
        -------
        ndarray, shape `box.shape`, dtype `self.dtype`

        Raises
        ------
        ValueError
            If the data in the file cannot be read or unpacked.
        """
        values = np.empty(box.shape, self.dtype)
        self.fill(channel, box, values)
        return values


def open_source(path: str | Path) -> Source:
    """Open an image of any supported format without reading its voxels.

    Parameters
    ----------
    path : str or Path
        TIFF file, folder of TIFF planes, folder of such folders (channels), OME-Zarr image, or
        zarr array.

    Returns
    -------
    Source

    Raises
    ------
    ValueError
        If there is nothing at `path`, or if it is damaged, has a time axis, or is of no supported
        format or dtype.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"there is nothing at {path}: correct the path of the image")
    if path.is_file():
        if path.suffix.lower() not in TIFF_SUFFIXES:
            raise ValueError(
                f"{path} is not an image that can be read; allowed are TIFF files "
                f"({', '.join(sorted(TIFF_SUFFIXES))}), folders of them, and OME-Zarr: "
                "convert it to one of these"
            )
        return _open_tiff(path)
    if any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zarray")):
        return _open_zarr(path)
    return _open_folder(path)


# --------------------------------------------------------------------------- TIFF: one plane


@dataclass(frozen=True)
class _Layout:
    """How a TIFF plane is stored; one object serves all planes that are stored alike."""

    page: tifffile.TiffPage
    stored: np.dtype
    separate: int  # samples stored one after the other
    height: int
    width: int
    interleaved: int  # samples stored pixel by pixel
    segment: tuple[int, int]  # height and width of a strip or tile

    @property
    def is_plain(self) -> bool:
        """Whether the bytes in the file are the values as they are."""
        return self.page.is_contiguous and self.page.fillorder == 1 and self.page.predictor == 1

    @property
    def n_bytes(self) -> int:
        return prod(self.page.shaped) * self.stored.itemsize

    @property
    def samples(self) -> int:
        return self.separate * self.interleaved


@dataclass(frozen=True)
class _Plane:
    """Where a TIFF plane lies: the places of its strips or tiles, or of its first byte."""

    path: Path
    layout: _Layout
    offsets: tuple[int, ...]
    counts: tuple[int, ...]

    @property
    def is_contiguous(self) -> bool:
        return self.layout.is_plain and len(self.offsets) == 1


def _layout(page: tifffile.TiffPage, path: Path) -> _Layout:
    if page.dtype is None or 0 in page.shaped:
        raise ValueError(
            f"{path} holds an empty image or one of an unknown kind of number; allowed are "
            "integers and floats of 8 to 64 bits: write it again as one of these"
        )
    separate, depth, height, width, interleaved = page.shaped
    if depth > 1:
        raise ValueError(
            f"{path} stores {depth} planes in one TIFF page; allowed is one plane a page: "
            "write it again without volumetric pages"
        )
    page.decode  # noqa: B018  builds the decoder while the file is open
    segment = (
        (page.tilelength, page.tilewidth)
        if page.is_tiled
        else (min(page.rowsperstrip, height), width)
    )
    stored = np.dtype(page.dtype).newbyteorder(page.parent.byteorder)
    return _Layout(page, stored, separate, height, width, interleaved, segment)


def _plane(page, layout: _Layout, path: Path, file_size: int) -> _Plane:
    """Take the places of a page's data over from tifffile, and see that they are in the file."""
    offsets, counts = tuple(page.dataoffsets), tuple(page.databytecounts)
    if any(a + n > file_size for a, n in zip(offsets, counts, strict=False)) or not offsets:
        raise ValueError(_truncated(path, "a plane ends after the end of the file"))
    joined = all(a + n == b for a, n, b in zip(offsets, counts, offsets[1:], strict=False))
    if layout.is_plain and joined:
        if offsets[0] + layout.n_bytes > file_size:
            raise ValueError(_truncated(path, "a plane ends after the end of the file"))
        offsets, counts = offsets[:1], counts[:1]
    return _Plane(path, layout, offsets, counts)


def _read_plane(plane: _Plane, sample: int, rows: slice, columns: slice, out: np.ndarray) -> None:
    """Read the rows and columns of one sample of a plane into `out`."""
    try:
        if plane.is_contiguous:
            _read_rows(plane, sample, rows, columns, out)
        else:
            _read_segments(plane, sample, rows, columns, out)
    except Exception as error:  # every codec has exceptions of its own
        raise ValueError(
            f"the data in {plane.path} cannot be read or unpacked ({error}): "
            "copy or write the file again"
        ) from error


def _read_rows(plane: _Plane, sample: int, rows: slice, columns: slice, out: np.ndarray) -> None:
    layout = plane.layout
    first, between = (
        (sample * layout.height, 0) if layout.separate > 1 else (0, sample)
    )  # rows before this sample's, values before it in a pixel
    row_values = layout.width * layout.interleaved
    values = np.fromfile(
        plane.path,
        layout.stored,
        count=(rows.stop - rows.start) * row_values,
        offset=plane.offsets[0] + (first + rows.start) * row_values * layout.stored.itemsize,
    )
    out[...] = values.reshape(out.shape[0], layout.width, layout.interleaved)[:, columns, between]


def _read_segments(
    plane: _Plane, sample: int, rows: slice, columns: slice, out: np.ndarray
) -> None:
    layout = plane.layout
    height, width = layout.segment
    n_rows, n_columns = -(-layout.height // height), -(-layout.width // width)
    separate, between = (sample, 0) if layout.separate > 1 else (0, sample)
    tables = {"jpegtables": layout.page.jpegtables, "jpegheader": layout.page.jpegheader}
    options = tables if layout.page.compression in (6, 7, 33007, 34892) else {}
    with plane.path.open("rb") as file:
        for row in range(rows.start // height, -(-rows.stop // height)):
            for column in range(columns.start // width, -(-columns.stop // width)):
                index = (separate * n_rows + row) * n_columns + column
                file.seek(plane.offsets[index])
                data = file.read(plane.counts[index]) or None  # nothing stored: all "no data"
                values, (_, _, y, x, _), shape = layout.page.decode(
                    data, index, **options, _fullsize=False
                )
                y0, y1 = max(y, rows.start), min(y + shape[1], rows.stop)
                x0, x1 = max(x, columns.start), min(x + shape[2], columns.stop)
                target = out[
                    y0 - rows.start : y1 - rows.start, x0 - columns.start : x1 - columns.start
                ]
                target[...] = (
                    layout.page.nodata
                    if values is None
                    else values[0, y0 - y : y1 - y, x0 - x : x1 - x, between]
                )


def _source_of_planes(
    table: list[list[_Plane]], voxel_size: VoxelSize | None, identity: str
) -> Source:
    """The source that a table of planes makes: a list of planes for each channel."""
    layout = table[0][0].layout
    samples = layout.samples

    def fill(channel: int, box: Box, out: np.ndarray) -> None:
        planes = table[channel // samples]
        (z0, _, _), (z1, _, _) = box.start, box.stop
        _, rows, columns = box.slices
        for z in range(z0, z1):
            _read_plane(planes[z], channel % samples, rows, columns, out[z - z0])

    return Source(
        shape=(len(table) * samples, len(table[0]), layout.height, layout.width),
        dtype=_native(layout.stored, table[0][0].path),
        voxel_size=voxel_size,
        identity=identity,
        whole_planes=any(
            not p.is_contiguous and p.layout.segment[0] >= p.layout.height for p in table[0]
        ),
        fill=fill,
    )


# ---------------------------------------------------------------------------- TIFF: one file


class _Complaints(logging.Handler):
    """Collects what tifffile logs as errors about a file's structure instead of raising it."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        # A tag may hold odd values that no image needs, but it must lie within the file.
        if "TiffTag" not in text or "offset" in text:
            self.texts.append(text)


@contextmanager
def _opened(path: Path) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF file to read its headers; a damaged one is refused in one sentence."""
    complaints = _Complaints()
    logger = logging.getLogger("tifffile")
    logger.addHandler(complaints)
    try:
        with tifffile.TiffFile(path) as file:
            yield file
    except Exception as error:  # damaged headers lead to exceptions of any kind
        if isinstance(error, ValueError) and not isinstance(error, tifffile.TiffFileError):
            raise  # a refusal of ours, in words of its own
        raise ValueError(_truncated(path, str(error))) from error
    finally:
        logger.removeHandler(complaints)
    if complaints.texts:
        raise ValueError(_truncated(path, complaints.texts[0]))


def _truncated(path: Path, reason: str) -> str:
    return (
        f"{path} is damaged, cut off or no TIFF file ({reason}); "
        "allowed is a complete TIFF file: copy or write it again"
    )


def _open_tiff(path: Path) -> Source:
    with _opened(path) as file:
        planes, axes, lengths = _planes_of_file(file, path)
        table = _channels(np.arange(len(planes)), axes, lengths, path)
        voxel_size = _tiff_voxel_size(file, table.shape[1])
    return _source_of_planes(
        [[planes[i] for i in row] for row in table],
        voxel_size,
        _identity(path.parent, sorted({path, *(plane.path for plane in planes)})),
    )


def _planes_of_file(
    file: tifffile.TiffFile, path: Path
) -> tuple[list[_Plane], str, tuple[int, ...]]:
    """All planes of a file, and the names and lengths of the axes that they are stacked along."""
    first = file.series[0]
    one_by_one = len(file.series) > 1  # programs that append plane by plane make series of planes
    if one_by_one:
        odd = next(
            (s for s in file.series if (s.shape, s.dtype) != (first.shape, first.dtype)), None
        )
        if odd is not None or len(first) > 1:
            odd = odd or file.series[1]
            raise ValueError(
                f"{path} holds {len(file.series)} images, the first {_words(first)} and another "
                f"{_words(odd)}; allowed is one image a file: save each in a file of its own"
            )
    axes, shape = first.get_axes(squeeze=False), first.get_shape(squeeze=False)
    outer = [(a, n) for a, n in zip(axes, shape, strict=True) if a not in "SYX"]
    names, lengths = "".join(a for a, _ in outer), tuple(n for _, n in outer)
    if one_by_one:
        names, lengths = names + "I", (*lengths, len(file.series))

    layout = _layout(first.keyframe, path)
    together = not (one_by_one or first.is_multifile)
    if together and layout.is_plain and first.dataoffset is not None:
        # Stacked without gaps: such a file may have a page header for its first plane only.
        places = [(path, first.dataoffset + i * layout.n_bytes) for i in range(prod(lengths))]
        if places[-1][1] + layout.n_bytes > path.stat().st_size:
            raise ValueError(_truncated(path, "the last plane ends after the end of the file"))
        return [_Plane(p, layout, (a,), (layout.n_bytes,)) for p, a in places], names, lengths

    pages = [page for series in file.series for page in series]
    if None in pages or len(pages) != prod(lengths):
        found = sum(page is not None for page in pages)
        raise ValueError(
            f"{path} holds {found} of the {prod(lengths)} planes that its metadata promise; "
            "allowed is a complete image: write it again, with all files that belong to it"
        )
    planes, sizes, layouts = [], {}, {}
    for page in pages:
        place = path if page.parent is file else path.with_name(page.parent.filehandle.name)
        if place not in sizes:
            sizes[place] = place.stat().st_size
        key = (page.hash, page.parent.byteorder)
        if key not in layouts:
            layouts[key] = _layout(page.keyframe, place)
        planes.append(_plane(page, layouts[key], place, sizes[place]))
    return planes, names, lengths


def _words(series: tifffile.TiffPageSeries) -> str:
    return f"{'x'.join(map(str, series.shape))} {series.dtype}"


def _channels(numbers: np.ndarray, axes: str, lengths: tuple[int, ...], path: Path) -> np.ndarray:
    """Arrange plane numbers as a table (c, z), whatever the order and names of their axes."""
    names = [a for a, n in zip(axes, lengths, strict=True) if n > 1]
    numbers = numbers.reshape([n for n in lengths if n > 1])
    if "T" in names:
        _refuse_time(path, numbers.shape[names.index("T")])
    free = [a for a in "CZ" if a not in names]
    unnamed = [i for i, a in enumerate(names) if a not in "CZ"]
    if len(unnamed) > len(free):
        raise ValueError(
            f"{path} has the axes {'x'.join(map(str, numbers.shape))} ({''.join(names)}) besides "
            "y and x; allowed are channels and z: split it into files of one volume"
        )
    for i, a in zip(unnamed, free[len(free) - len(unnamed) :], strict=True):
        names[i] = a
    numbers = numbers.transpose([names.index(a) for a in "CZ" if a in names])
    return np.expand_dims(numbers, [i for i, a in enumerate("CZ") if a not in names])


def _refuse_time(path: Path, frames: int) -> None:
    raise ValueError(
        f"{path} holds {frames} time points; allowed is one frame at a time: "
        "save each frame on its own and give it its own line in the sample sheet"
    )


def _tiff_voxel_size(file: tifffile.TiffFile, planes: int) -> VoxelSize | None:
    """Voxel size (um) that OME or ImageJ metadata state."""
    if file.is_ome:
        root = ElementTree.fromstring(file.ome_metadata)
        pixels = next((e for e in root.iter() if e.tag.endswith("Pixels")), None)
        if pixels is None:
            return None
        sizes = [
            _in_um(pixels.get(f"PhysicalSize{a}"), pixels.get(f"PhysicalSize{a}Unit", "\u00b5m"))
            for a in "ZYX"
        ]
        return _complete(sizes, planes)
    if file.is_imagej:
        described = file.imagej_metadata or {}
        tags = file.pages.first.tags
        unit = str(described.get("unit", "")).replace("\\u00B5", "\u00b5")
        y, x = (tags.valueof(code) for code in ("YResolution", "XResolution"))
        sizes = [
            _in_um(described.get("spacing"), unit),
            *(_in_um(n[1] / n[0] if n and n[0] else None, unit) for n in (y, x)),
        ]
        return _complete(sizes, planes)
    return None


def _in_um(value: object, unit: str | None) -> float | None:
    factor = MICROMETERS.get(unit or "")
    if value is None or factor is None or not float(value) > 0:
        return None
    return float(value) * factor


def _complete(sizes: list[float | None], planes: int) -> VoxelSize | None:
    """The voxel size if it is known along all axes; a single plane may lack z and gets 1."""
    z, y, x = sizes
    if z is None and planes == 1:
        z = 1.0
    return None if None in (z, y, x) else (z, y, x)


# --------------------------------------------------------------------------- TIFF: a folder


def _open_folder(path: Path) -> Source:
    channels = [files] if (files := _tiff_files(path)) else _channel_folders(path)
    if not channels:
        raise ValueError(
            f"the folder {path} holds no image; allowed are TIFF files of one plane each, folders "
            "of them (the channels), or OME-Zarr: correct the path or put the planes there"
        )
    lengths = {len(files) for files in channels}
    if len(lengths) > 1:
        counts = ", ".join(f"{files[0].parent.name}: {len(files)}" for files in channels)
        raise ValueError(
            f"the channels in {path} have different numbers of planes ({counts}); "
            "allowed is the same number in each: add what is missing or remove what is too much"
        )
    layouts: dict = {}
    table = [[_single_plane(file, layouts) for file in files] for files in channels]
    first = table[0][0]
    for plane in (plane for planes in table for plane in planes):
        a, b = first.layout, plane.layout
        if (a.page.shaped, a.page.dtype) != (b.page.shaped, b.page.dtype):
            raise ValueError(
                f"{plane.path} is {_page_words(b)}, but {first.path.name} is {_page_words(a)}; "
                "allowed are planes of one shape and dtype: correct or remove the odd one"
            )
    with _opened(first.path) as file:
        voxel_size = _tiff_voxel_size(file, len(table[0]))
    files = [plane.path for planes in table for plane in planes]
    return _source_of_planes(table, voxel_size, _identity(path, files))


def _channel_folders(path: Path) -> list[list[Path]]:
    folders = [p for p in path.iterdir() if p.is_dir() and not p.name.startswith(".")]
    lists = (_tiff_files(folder) for folder in sorted(folders, key=_natural))
    return [files for files in lists if files]


def _tiff_files(folder: Path) -> list[Path]:
    """The TIFF files of a folder in natural order."""
    files = (
        p
        for p in folder.iterdir()
        if p.suffix.lower() in TIFF_SUFFIXES and not p.name.startswith(".") and p.is_file()
    )
    return sorted(files, key=_natural)


def _natural(path: Path) -> list:
    """Sort key that takes runs of digits as numbers."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), part) if i % 2 else part for i, part in enumerate(parts)]


def _single_plane(path: Path, layouts: dict) -> _Plane:
    with _opened(path) as file:
        page = file.pages.first
        if file.pages.is_multipage:
            raise ValueError(
                f"{path} holds {len(file.pages)} planes; allowed is one plane a file in a folder: "
                "name the file itself as the image, or save its planes one by one"
            )
        key = (page.hash, page.parent.byteorder)
        if key not in layouts:
            layouts[key] = _layout(page, path)
        return _plane(page, layouts[key], path, path.stat().st_size)


def _page_words(layout: _Layout) -> str:
    samples = f"x{layout.samples}" if layout.samples > 1 else ""
    return f"{layout.height}x{layout.width}{samples} {layout.page.dtype}"


# ------------------------------------------------------------------------------------- zarr


def _open_zarr(path: Path) -> Source:
    node = _zarr_node(lambda: zarr.open(path, mode="r"), path)
    if isinstance(node, zarr.Group):
        array, axes, sizes = _finest_level(node, path)
    else:
        array, axes, sizes = node, _array_axes(node), None
    if len(axes) != array.ndim or not set("yx") <= set(axes) or set(axes) - set("tczyx"):
        raise ValueError(
            f"{path} has {array.ndim} dimensions with the axes {', '.join(axes) or 'unknown'}; "
            "allowed are y and x and any of t, c, z: name one image with these axes"
        )
    length = dict(zip(axes, array.shape, strict=True))
    if length.get("t", 1) > 1:
        _refuse_time(path, length["t"])
    if 0 in array.shape:
        raise ValueError(f"{path} is empty (shape {array.shape}): name an image with voxels")
    shape = tuple(length.get(a, 1) for a in "czyx")
    dtype = _native(array.dtype, path)
    spatial = [a for a in axes if a in "zyx"]
    order = [spatial.index(a) for a in "zyx" if a in spatial]

    def fill(channel: int, box: Box, out: np.ndarray) -> None:
        index = dict(zip("zyx", box.slices, strict=True)) | {"t": 0, "c": channel}
        try:
            values = array[tuple(index[a] for a in axes)]
        except Exception as error:  # a damaged chunk: every codec has exceptions of its own
            raise ValueError(
                f"the data in {path} cannot be read or unpacked ({error}): "
                "copy or write the array again"
            ) from error
        out[...] = values.transpose(order).reshape(out.shape)

    folder = Path(array.store_path.store.root) / array.store_path.path
    chunk = dict(zip(axes, array.chunks, strict=True))
    found = sorted(p for p in {*folder.rglob("*"), *path.glob("*")})
    return Source(
        shape=shape,
        dtype=dtype,
        voxel_size=None if sizes is None else _zarr_voxel_size(axes, sizes, shape[1]),
        identity=_identity(path, [p for p in found if p.is_file()]),
        whole_planes=chunk.get("z", 1) == 1 and chunk["y"] >= length["y"],
        fill=fill,
    )


def _zarr_node(find: Callable[[], object], path: Path):
    """An array or a group; zarr and its codecs have many exceptions for one that is damaged."""
    try:
        return find()
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as zarr ({error}); allowed are OME-Zarr 0.4 and 0.5 images "
            "and zarr arrays: write it again"
        ) from error


def _finest_level(group: zarr.Group, path: Path) -> tuple[zarr.Array, list[str], list]:
    """The first level of an OME-Zarr image, its axes, and its (scale, unit) along each."""
    attributes = dict(group.attrs)
    described = attributes.get("ome", attributes).get("multiscales")
    if not described:
        raise ValueError(
            f"{path} is a zarr group without an OME-Zarr image; allowed are a group with "
            "'multiscales' metadata or an array: name one of those inside it "
            f"(it holds {', '.join(sorted(group.keys())[:8]) or 'nothing'})"
        )
    image = described[0]
    axes = [a if isinstance(a, dict) else {"name": a} for a in image.get("axes", [])]
    dataset = image["datasets"][0]
    scales = [1.0] * len(axes)
    for transformation in (
        *dataset.get("coordinateTransformations", []),
        *image.get("coordinateTransformations", []),
    ):
        if transformation.get("type") == "scale":
            scales = [a * b for a, b in zip(scales, transformation["scale"], strict=True)]
    sizes = [(scale, axis.get("unit")) for scale, axis in zip(scales, axes, strict=True)]
    level = _zarr_node(lambda: group[dataset["path"]], path)
    return level, [axis["name"].lower() for axis in axes], sizes


def _array_axes(array: zarr.Array) -> list[str]:
    named = getattr(array.metadata, "dimension_names", None)
    if named and all(named):
        return [name.lower() for name in named]
    return list("tczyx"[-array.ndim :]) if 2 <= array.ndim <= 5 else []


def _zarr_voxel_size(axes: list[str], sizes: list, planes: int) -> VoxelSize | None:
    known = {a: _in_um(*size) for a, size in zip(axes, sizes, strict=True)}
    return _complete([known.get(a) for a in "zyx"], planes)


# ---------------------------------------------------------------------------------- shared


def _native(dtype: np.dtype, path: Path) -> np.dtype:
    """The dtype in native byte order in which values are handed out."""
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind not in "uif" or dtype.itemsize > 8:
        raise ValueError(
            f"{path} holds values of dtype {dtype}; allowed are integers and floats of 8 to 64 "
            "bits: convert it, for example to its absolute value"
        )
    return dtype.newbyteorder("=")


def _identity(base: Path, files: list[Path]) -> str:
    """Fingerprint of the names, sizes and times of change of files."""
    listing = []
    for file in files:
        known = file.stat()
        name = file.relative_to(base) if file.is_relative_to(base) else file
        listing.append([str(name), known.st_size, known.st_mtime_ns])
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()


# ---------------------------------------------------------------------------------- demands


def check_channel(image: Source, channel: int) -> None:
    """Refuse to segment a channel that an image does not have (ValueError)."""
    if channel >= image.shape[0]:
        raise ValueError(
            f"channel {channel} is to be segmented, but the image has {image.shape[0]}; allowed "
            f"are 0 to {image.shape[0] - 1}: correct the column `channel` of the sample sheet"
        )


def check_voxel_size(image: Source, given: Sequence[float] | None) -> None:
    """Refuse an image of unknown voxel size (ValueError), where a diameter in um is given."""
    if given is None and image.voxel_size is None:
        raise ValueError(
            "a diameter in um came, but neither the sample sheet nor the image file says how "
            "large a voxel is; needed are voxel_size_z, voxel_size_y and voxel_size_x: add them "
            "to the sample sheet"
        )


def check_labels(truth: Source) -> None:
    """Refuse an image that cannot name cells by whole numbers (ValueError)."""
    if truth.dtype.kind not in "iu" or truth.shape[0] != 1:
        raise ValueError(
            f"the truth has {truth.shape[0]} channels of {truth.dtype}; allowed is one channel of "
            "integers, 0 for background and a number for each cell: save it as such"
        )


def check_same_shape(shape: Triple, other: Source, what: str) -> None:
    """Refuse an image that is to lie voxel on voxel on a volume of another shape (ValueError)."""
    if other.shape[1:] != shape:
        raise ValueError(
            f"{what} has the shape {other.shape[1:]} and the image {shape} (z, y, x); allowed is "
            "one voxel for each voxel of the image: resample or crop it"
        )
