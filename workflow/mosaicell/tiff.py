"""TIFF files and folders of TIFF planes, read row by row, or strip by strip and tile by tile.

Idea: an image is a table of planes, by frame and channel. A plane is kept as the places of its
strips or tiles in its file, so a box of voxels costs just the rows (not compressed) or the strips
and tiles (compressed) that it touches.

1. A file: ImageJ hyperstack, OME-TIFF (of several files as well), BigTIFF, plain pages. Axes come
   from the metadata, in any order; pages without metadata are planes along z. Samples of a pixel
   (RGB) are channels.
2. A folder of files of one plane each, in natural order (plane2 before plane10), or a folder of
   such folders, which are the channels. Files that are not TIFF and hidden files are passed over,
   and so are the subfolders of a folder that has planes itself.

Limits: one image a file and one plane a page. A compressed plane that is stored as a single strip
is unpacked as a whole to get at a row (see `Source.whole_planes`).
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tifffile

from .geometry import Box, VoxelSize
from .source import (
    Source,
    complete_voxel_size,
    identity_of,
    in_seconds,
    in_um,
    native_dtype,
)

TIFF_SUFFIXES = {".tif", ".tiff", ".btf", ".tf8"}


# --------------------------------------------------------------------------------- one plane


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
    table: list[list[list[_Plane]]],
    voxel_size: VoxelSize | None,
    frame_interval: float | None,
    identity: str,
) -> Source:
    """The source that a table of planes makes: for each frame, a list of planes a channel."""
    planes = table[0][0]
    layout = planes[0].layout
    samples = layout.samples

    def fill(frame: int, channel: int, box: Box, out: np.ndarray) -> None:
        planes = table[frame][channel // samples]
        (z0, _, _), (z1, _, _) = box.start, box.stop
        _, rows, columns = box.slices
        for z in range(z0, z1):
            _read_plane(planes[z], channel % samples, rows, columns, out[z - z0])

    return Source(
        shape=(len(table), len(table[0]) * samples, len(planes), layout.height, layout.width),
        dtype=native_dtype(layout.stored, planes[0].path),
        voxel_size=voxel_size,
        frame_interval=frame_interval,
        identity=identity,
        whole_planes=any(
            not p.is_contiguous and p.layout.segment[0] >= p.layout.height for p in planes
        ),
        fill=fill,
    )


# ---------------------------------------------------------------------------------- one file


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


def open_tiff(path: Path) -> Source:
    """Open a TIFF file, whose planes may lie in several files."""
    with _opened(path) as file:
        planes, axes, lengths = _planes_of_file(file, path)
        table = _stacks(np.arange(len(planes)), axes, lengths, path)
        voxel_size = _voxel_size(file, table.shape[2])
        frame_interval = _frame_interval(file)
    return _source_of_planes(
        [[[planes[i] for i in stack] for stack in frame] for frame in table],
        voxel_size,
        frame_interval,
        identity_of(path.parent, sorted({path, *(plane.path for plane in planes)})),
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


def _stacks(numbers: np.ndarray, axes: str, lengths: tuple[int, ...], path: Path) -> np.ndarray:
    """Arrange plane numbers as a table (t, c, z), whatever the order and names of their axes."""
    names = [a for a, n in zip(axes, lengths, strict=True) if n > 1]
    numbers = numbers.reshape([n for n in lengths if n > 1])
    free = [a for a in "CZ" if a not in names]
    unnamed = [i for i, a in enumerate(names) if a not in "TCZ"]
    if len(unnamed) > len(free):
        raise ValueError(
            f"{path} has the axes {'x'.join(map(str, numbers.shape))} ({''.join(names)}) besides "
            "y and x; allowed are time, channels and z, time by its name: split it into files of "
            "one volume, or name the axes"
        )
    for i, a in zip(unnamed, free[len(free) - len(unnamed) :], strict=True):
        names[i] = a
    numbers = numbers.transpose([names.index(a) for a in "TCZ" if a in names])
    return np.expand_dims(numbers, [i for i, a in enumerate("TCZ") if a not in names])


def _voxel_size(file: tifffile.TiffFile, planes: int) -> VoxelSize | None:
    """Voxel size (um) that OME or ImageJ metadata state."""
    if file.is_ome:
        pixels = _ome_pixels(file)
        sizes = [
            in_um(pixels.get(f"PhysicalSize{a}"), pixels.get(f"PhysicalSize{a}Unit", "\u00b5m"))
            for a in "ZYX"
        ]
        return complete_voxel_size(sizes, planes)
    if file.is_imagej:
        described = file.imagej_metadata or {}
        tags = file.pages.first.tags
        unit = str(described.get("unit", "")).replace("\\u00B5", "\u00b5")
        y, x = (tags.valueof(code) for code in ("YResolution", "XResolution"))
        sizes = [
            in_um(described.get("spacing"), unit),
            *(in_um(n[1] / n[0] if n and n[0] else None, unit) for n in (y, x)),
        ]
        return complete_voxel_size(sizes, planes)
    return None


def _frame_interval(file: tifffile.TiffFile) -> float | None:
    """Seconds between frames that OME or ImageJ metadata state."""
    if file.is_ome:
        pixels = _ome_pixels(file)
        return in_seconds(pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s"))
    described = file.imagej_metadata or {}
    return in_seconds(described.get("finterval"), str(described.get("tunit", "s")))


def _ome_pixels(file: tifffile.TiffFile) -> dict[str, str]:
    """What OME metadata say of the first image."""
    root = ElementTree.fromstring(file.ome_metadata)
    return next((e.attrib for e in root.iter() if e.tag.endswith("Pixels")), {})


# --------------------------------------------------------------------------------- a folder


def open_tiff_folder(path: Path) -> Source:
    """Open a folder of TIFF planes, or a folder of such folders (channels)."""
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
        voxel_size = _voxel_size(file, len(table[0]))
    files = [plane.path for planes in table for plane in planes]
    return _source_of_planes([table], voxel_size, None, identity_of(path, files))


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
