"""Names of the files of a tile, and tiles that are done when their files are as recorded."""

from collections.abc import Callable, Iterable
from pathlib import Path

from ..progress import work_off
from ..records import Records
from ..store import checksum_of_files


def tile_file(folder: Path, tile: int, kind: str) -> Path:
    """The file of one kind (see `mosaicell.jobs`) that belongs to a tile."""
    return folder / f"{tile:06d}.{kind}"


def fill_tiles(
    compute: Callable[[int], None],
    folder: Path,
    kinds: tuple[str, ...],
    *,
    tiles: Iterable[int],
    records: Records,
    what: str,
    threads: int,
) -> int:
    """Compute the tiles whose files are not there as an earlier run recorded them.

    Parameters
    ----------
    compute : callable
        Writes the files of a tile.
    folder : Path
    kinds : tuple of str
        The files that `compute` writes.
    tiles : iterable of int
    records : Records
    what, threads
        See `progress.work_off`.

    Returns
    -------
    int
        How many tiles were computed; the others were there.
    """

    def stored(tile: int) -> int | None:
        return checksum_of_files([tile_file(folder, tile, kind) for kind in kinds])

    def is_done(tile: int) -> bool:
        payload = records.payload(tile)
        return payload is not None and payload["stored"] == stored(tile)

    def do(tile: int) -> None:
        compute(tile)
        records.add(tile, {"stored": stored(tile)})

    return work_off(tiles, do, is_done=is_done, what=what, threads=threads)
