"""The only place that says where the bytes lie that a chunk is coded against, and puts them together.

A base is made of runs of plain bytes of one manifest that the taker holds whole: usually one run, the same tensor's
same place. Laid end to end the runs are exactly as long as the chunk. Pure: whoever holds the files brings `read`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from modelsyncd.digest import Buffer
from modelsyncd.errors import DamageError
from modelsyncd.limits import LIMITS, Limits

HOLE = -1
"""In place of a file's index: this run is zeros, because nothing in the base resembles these bytes of the chunk."""

TURNED_READ = 1 << 20  # bytes of a matrix that are read at once
TURNED_WASTE = 16  # bytes read for each that is needed; beyond it, a read for each row costs less

_FORMATS: dict[int, Literal["B", "H", "I", "Q"]] = {1: "B", 2: "H", 4: "I", 8: "Q"}

Read = Callable[[int, int, int], Buffer]
"""(file, offset, size) → plain bytes of a file of the base, exactly `size` of them. Raises ModelsyncError."""


@dataclass(frozen=True, slots=True)
class Turned:
    """A matrix that is read column by column: `rows` × `columns` elements of `width` bytes lie in the file row by row.

    `first` is the first element of the run, counted down the columns.
    """

    rows: int
    columns: int
    width: int
    first: int


@dataclass(frozen=True, slots=True)
class Run:
    """`size` bytes of file number `file` from `offset` on; of a turned matrix, `offset` is where the matrix begins."""

    file: int
    offset: int
    size: int
    turned: Turned | None = None


def check(runs: Sequence[Run], file_sizes: Sequence[int], size: int, limits: Limits = LIMITS) -> None:
    """Refuses runs that do not lie in the files (sizes in bytes) or are not `size` bytes long. Raises DamageError."""
    if not 0 < len(runs) <= limits.base_runs or sum(run.size for run in runs) != size:
        raise DamageError(f"a base of {len(runs)} runs is not {size} bytes long")
    for run in runs:
        if run.size < 1 or (run.file != HOLE and not 0 <= run.file < len(file_sizes)):
            raise DamageError("a base has a run that can't be")
        if run.file != HOLE and not _fits(run, file_sizes[run.file], limits):
            raise DamageError("a base has a run that lies outside its file")


def _fits(run: Run, file_size: int, limits: Limits) -> bool:
    if run.turned is None:
        return 0 <= run.offset <= file_size - run.size
    rows, columns, width, first = run.turned.rows, run.turned.columns, run.turned.width, run.turned.first
    if not (0 < rows <= limits.turned_rows and columns > 0 and width in _FORMATS and first >= 0):
        return False
    inside = first * width + run.size <= rows * columns * width
    return inside and run.size % width == 0 and 0 <= run.offset <= file_size - rows * columns * width


def gather(runs: Sequence[Run], read: Read) -> bytes:
    """The base's bytes. Call `check` before; raises what `read` raises."""
    return b"".join(_bytes_of(run, read) for run in runs)


def _bytes_of(run: Run, read: Read) -> Buffer:
    if run.file == HOLE:
        return bytes(run.size)
    if run.turned is None:
        return read(run.file, run.offset, run.size)
    return _turn(run, run.turned, read)


def _turn(run: Run, turned: Turned, read: Read) -> bytes:
    """Takes the part of each row that is needed, and lays the columns end to end."""
    rows, width, first = turned.rows, turned.width, turned.first
    count = run.size // width
    left, right = first // rows, (first + count - 1) // rows + 1
    span = right - left
    block = b"".join(_parts(run, turned, left, span, read))
    elements = memoryview(block).cast(_FORMATS[width])
    turned_bytes = b"".join(elements[column::span].tobytes() for column in range(span))
    start = (first - left * rows) * width
    return turned_bytes[start : start + run.size]


def _parts(run: Run, turned: Turned, left: int, span: int, read: Read) -> Iterator[bytes]:
    """The elements of each row from number `left` on, `span` of them. Rows whose parts lie close are one read."""
    pitch, part = turned.columns * turned.width, span * turned.width
    together = max(1, TURNED_READ // pitch) if pitch <= TURNED_WASTE * part else 1
    for first in range(0, turned.rows, together):
        rows = min(together, turned.rows - first)
        start = run.offset + first * pitch + left * turned.width
        lines = memoryview(read(run.file, start, (rows - 1) * pitch + part))
        # As copies, or all that was read would stay until the last row is there.
        yield from (bytes(lines[row * pitch : row * pitch + part]) for row in range(rows))
