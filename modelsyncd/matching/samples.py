"""The only place that reads samples of tensors: a few short runs at places that other versions of them have, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from modelsyncd.bases import Read
from modelsyncd.manifest import Manifest, Tensor
from modelsyncd.matching.elements import Element, element_of

PLACES = 4
ELEMENTS = 128  # elements at each place
SIDE = 16  # rows and columns of a sampled block
BLOCKS = 2
SIDE_LEAST = 8  # rows or columns below which a matrix is not looked for turned
ROWS_AT_ONCE = 64 << 10  # bytes: the rows of a block are one read when they lie this close together
HELD = 2_048  # samples that are held: 8 MiB at most

_FORMATS: dict[int, Literal["B", "H", "I", "Q"]] = {1: "B", 2: "H", 4: "I", 8: "Q"}


@dataclass(frozen=True, slots=True)
class Located:
    """A tensor and the number of its file."""

    file: int
    tensor: Tensor

    @property
    def element(self) -> Element:
        """How its bytes are read."""
        return element_of(self.tensor.dtype)


def located(manifest: Manifest) -> Iterator[Located]:
    """All tensors of a manifest that have bytes."""
    for number, file in enumerate(manifest.files):
        for tensor in file.tensors:
            if tensor.size:
                yield Located(number, tensor)


def sides(tensor: Tensor) -> tuple[int, int] | None:
    """(rows, columns) if this is a matrix that may have been turned."""
    if len(tensor.shape) != 2:
        return None
    rows, columns = tensor.shape
    element = element_of(tensor.dtype)
    whole = rows * columns * element.width == tensor.size and element.width in _FORMATS
    return (rows, columns) if element.turns and whole and min(rows, columns) >= SIDE_LEAST else None


class Samples:
    """Samples of one manifest's tensors. The last ones are held, so that comparing many with many reads each once."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._held: dict[tuple[int, int, int, bool], bytes] = {}

    def spread(self, where: Located, size: int) -> bytes:
        """Elements from all over the first `size` bytes of a tensor; at most `PLACES` reads."""
        key = (where.file, where.tensor.offset, size, False)
        return self._hold(key, lambda: self._spread(where, size))

    def blocks(self, where: Located) -> bytes:
        """Square blocks on the diagonal of a matrix, where the turned matrix has them, too.

        At most `BLOCKS` * `SIDE` reads, usually `BLOCKS`.
        """
        key = (where.file, where.tensor.offset, where.tensor.size, True)
        return self._hold(key, lambda: self._blocks(where))

    def at(self, file: int, offset: int, size: int) -> bytes:
        """Bytes of a file; one read."""
        return bytes(self._read(file, offset, size))

    def _hold(self, key: tuple[int, int, int, bool], make: Callable[[], bytes]) -> bytes:
        if (known := self._held.get(key)) is not None:
            return known
        sample = make()
        if len(self._held) >= HELD:
            self._held.clear()
        self._held[key] = sample
        return sample

    def _spread(self, where: Located, size: int) -> bytes:
        width = where.element.width
        length = ELEMENTS * width
        if size <= PLACES * length:
            return self.at(where.file, where.tensor.offset, size)
        # The middles of equal parts: first and last rows of a table are often those that training never moves.
        starts = [(2 * place + 1) * size // (2 * PLACES) // width * width for place in range(PLACES)]
        return b"".join(
            self.at(where.file, where.tensor.offset + min(start, size - length), length) for start in starts
        )

    def _blocks(self, where: Located) -> bytes:
        shape = sides(where.tensor)
        if shape is None:
            return b""
        rows, columns = shape
        side = min(SIDE, rows, columns)
        corners = [
            ((rows - side) * (block + 1) // (BLOCKS + 1), (columns - side) * (block + 1) // (BLOCKS + 1))
            for block in range(BLOCKS)
        ]
        return b"".join(self._block(where, row, column, side, columns) for row, column in corners)

    def _block(self, where: Located, row: int, column: int, side: int, columns: int) -> bytes:
        width = where.element.width
        pitch = columns * width
        start = where.tensor.offset + row * pitch + column * width
        if side * pitch > ROWS_AT_ONCE:
            return b"".join(self.at(where.file, start + line * pitch, side * width) for line in range(side))
        run = self.at(where.file, start, (side - 1) * pitch + side * width)
        return b"".join(run[line * pitch : line * pitch + side * width] for line in range(side))


def turned(blocks: bytes, where: Located) -> bytes:
    """The blocks as they would be if the matrix were turned."""
    shape = sides(where.tensor)
    if shape is None:
        return b""
    side = min(SIDE, *shape)
    elements = memoryview(blocks).cast(_FORMATS[where.element.width])
    area = side * side
    return b"".join(
        elements[block + column : block + area : side].tobytes()
        for block in range(0, len(elements), area)
        for column in range(side)
    )
