"""The only place that reads the headers of model files: a little at a time, each read checked, all of it in a budget.

Law: no number in a file decides how much is read or kept here; what is claimed is compared with the file's size first.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from modelsyncd.limits import LIMITS, Limits

ReadAt = Callable[[int, int], bytes]
"""(offset, length) in bytes → the bytes there, fewer at the end of the file."""

_LEAST = 4 << 10  # bytes read at once after a jump
_MOST = 256 << 10  # bytes read at once in a row
_U16, _U32, _U64, _I32 = struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<Q"), struct.Struct("<i")


class OddError(Exception):
    """A header is not what its format's own writer would have written. Never leaves `formats`."""


class Header:
    """Bytes of a file of `size` bytes at any place, read through one window. Raises OddError beyond file or budget."""

    def __init__(self, size: int, read_at: ReadAt, limits: Limits = LIMITS) -> None:
        self.size = size
        self.limits = limits
        self._read_at = read_at
        self._bytes_left = limits.layout_bytes
        self._steps_left = limits.layout_steps
        self._window = b""
        self._start = 0
        self._ahead = _LEAST

    def part(self, offset: int, size: int) -> Header:
        """A file inside this file, with a budget of its own."""
        return Header(size, lambda start, length: self._read_at(offset + start, length), self.limits)

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes."""
        found = self.upto(offset, length)
        if len(found) != length:
            raise OddError
        return found

    def upto(self, offset: int, length: int) -> bytes:
        """`length` bytes, or fewer when the file ends before."""
        self._steps_left -= 1
        if offset < 0 or length < 0 or self._steps_left < 0:
            raise OddError
        begin = offset - self._start
        if begin < 0 or begin + length > len(self._window):
            length = min(length, max(0, self.size - offset))
            self._fill(offset, length)
            begin = 0
        return self._window[begin : begin + length]

    def _fill(self, offset: int, length: int) -> None:
        in_a_row = self._start <= offset <= self._start + len(self._window)
        self._ahead = min(2 * self._ahead, _MOST) if in_a_row else _LEAST
        wanted = min(max(length, self._ahead), self.size - offset)
        if wanted > self._bytes_left:
            raise OddError
        self._bytes_left -= max(0, wanted)
        self._window = self._read_at(offset, wanted) if wanted > 0 else b""
        self._start = offset

    def u8(self, offset: int) -> int:
        """The byte there."""
        return self.read(offset, 1)[0]

    def u16(self, offset: int) -> int:
        """A number of 2 bytes, little-endian, as all of these."""
        return int(_U16.unpack(self.read(offset, 2))[0])

    def u32(self, offset: int) -> int:
        """A number of 4 bytes."""
        return int(_U32.unpack(self.read(offset, 4))[0])

    def u64(self, offset: int) -> int:
        """A number of 8 bytes."""
        return int(_U64.unpack(self.read(offset, 8))[0])

    def i32(self, offset: int) -> int:
        """A number of 4 bytes with a sign."""
        return int(_I32.unpack(self.read(offset, 4))[0])


class Cursor:
    """A header read from `position` on, number by number, up to `end` and no further. Raises OddError."""

    def __init__(self, header: Header, position: int, end: int) -> None:
        self.header = header
        self.position = position
        self.end = end
        if not 0 <= position <= end <= header.size:
            raise OddError

    def take(self, length: int) -> bytes:
        """The next bytes."""
        start = self.position
        self.skip(length)
        return self.header.read(start, length)

    def skip(self, length: int) -> None:
        """Goes over bytes without reading them."""
        if not 0 <= length <= self.end - self.position:
            raise OddError
        self.position += length

    def u32(self) -> int:
        """The next number of 4 bytes, little-endian."""
        return int(_U32.unpack(self.take(4))[0])

    def u64(self) -> int:
        """The next number of 8 bytes, little-endian."""
        return int(_U64.unpack(self.take(8))[0])

    def varint(self) -> int:
        """The next number of 1 to 10 bytes, 7 bits in each, the lowest first."""
        value = 0
        for index, byte in enumerate(self.header.upto(self.position, min(10, self.end - self.position))):
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                self.position += index + 1
                return value & 0xFFFF_FFFF_FFFF_FFFF
        raise OddError


def text(raw: bytes) -> str:
    """UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise OddError from error
