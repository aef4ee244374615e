"""The only place that reads the directory of a zip file, to say where entries lie that are stored as they are.

Written down in PKWARE's APPNOTE.TXT (section numbers below). What two readers could read in two ways is odd: names that
repeat, local headers that say something else than the directory, entries over one another.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from modelsyncd.formats.header import Cursor, Header, OddError, text

MAGIC = b"PK\x03\x04"
_END = struct.Struct("<4s4H2IH")  # 4.3.16
_LOCATOR = struct.Struct("<4sIQI")  # 4.3.15
_END_64 = struct.Struct("<4sQ2H2I4Q")  # 4.3.14
_ENTRY = struct.Struct("<4s6H3I5H2I")  # 4.3.12
_LOCAL = struct.Struct("<4s5H3I2H")  # 4.3.7
_COMMENT_MAX = 0xFFFF  # bytes of a comment, after which the file ends
_NAME_MAX = 4_096  # bytes of an entry's name
_ENCRYPTED, _SIZES_FOLLOW = 0x0001, 0x0008  # flags, 4.4.4
_STORED = 0
_IN_64 = 0xFFFF_FFFF


class Entry(NamedTuple):
    """An entry whose `size` bytes lie at `offset` as they are."""

    name: str
    offset: int
    size: int


class _Listed(NamedTuple):
    """An entry as the directory has it."""

    raw_name: bytes
    flags: int
    method: int
    packed: int
    size: int
    local: int


def stored_entries(header: Header) -> list[Entry]:
    """The stored entries in the directory's order, those of other kinds left out. Raises OddError."""
    count, start, end = _directory(header)
    if count > header.limits.layout_tensors:
        raise OddError
    cursor = Cursor(header, start, end)
    listed = [_listed(cursor) for _ in range(count)]
    if cursor.position != end or len({one.raw_name for one in listed}) != count:
        raise OddError
    entries = [_entry(header, one, start) for one in listed if one.method == _STORED and not one.flags & _ENCRYPTED]
    _check_apart(entries)
    return entries


def _directory(header: Header) -> tuple[int, int, int]:
    """(how many entries, where they begin, where they end) of the directory at the end of the file."""
    at = _end_record(header)
    _, disk, first_disk, here, count, length, start, _ = _END.unpack(header.read(at, _END.size))
    if at >= _LOCATOR.size:
        signature, _, at_64, _ = _LOCATOR.unpack(header.read(at - _LOCATOR.size, _LOCATOR.size))
        if signature == b"PK\x06\x07":
            at = at_64
            (signature, _, _, _, disk, first_disk, here, count, length, start) = _END_64.unpack(
                header.read(at, _END_64.size)
            )
            if signature != b"PK\x06\x06":
                raise OddError
    # A file with something before its first entry is read by some readers and not by others.
    if disk or first_disk or here != count or start + length != at:
        raise OddError
    return count, start, start + length


def _end_record(header: Header) -> int:
    """Where the end record lies: last in the file, but for its comment."""
    at = header.size - _END.size
    if at >= 0 and header.read(at, 4) == b"PK\x05\x06":
        return at
    tail_start = max(0, at - _COMMENT_MAX)
    tail = header.upto(tail_start, header.size - tail_start)
    found = tail.rfind(b"PK\x05\x06")
    if found < 0 or len(tail) - found < _END.size:
        raise OddError
    if _END.unpack_from(tail, found)[-1] != len(tail) - found - _END.size:
        raise OddError
    return tail_start + found


def _listed(cursor: Cursor) -> _Listed:
    """The next entry of the directory."""
    (signature, _, _, flags, method, _, _, _, packed, size, name_length, extra_length, comment_length, disk, _, _,
     local) = _ENTRY.unpack(cursor.take(_ENTRY.size))  # fmt: skip
    if signature != b"PK\x01\x02" or name_length > _NAME_MAX:
        raise OddError
    name = cursor.take(name_length)
    extra = cursor.take(extra_length)
    cursor.skip(comment_length)
    if _IN_64 in (packed, size, local) or disk == 0xFFFF:
        size, packed, local = _in_64(extra, size, packed, local)
    elif disk:
        raise OddError
    return _Listed(name, flags, method, packed, size, local)


def _in_64(extra: bytes, *numbers: int) -> tuple[int, int, int]:
    """The numbers with those that did not fit in 4 bytes taken from the extra field, in their order (4.5.3)."""
    data = _extra(extra, 1)
    position = 0
    full: list[int] = []
    for number in numbers:
        if number == _IN_64:
            if position + 8 > len(data):
                raise OddError
            number = int.from_bytes(data[position : position + 8], "little")  # noqa: PLW2901
            position += 8
        full.append(number)
    return full[0], full[1], full[2]


def _extra(extra: bytes, wanted: int) -> bytes:
    """The data of the first extra field of this kind (4.5.1)."""
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, position)
        if kind == wanted:
            return extra[position + 4 : position + 4 + length]
        position += 4 + length
    raise OddError


def _entry(header: Header, listed: _Listed, directory: int) -> Entry:
    """Where an entry's bytes lie; its local header must say the same as the directory."""
    if listed.packed != listed.size:
        raise OddError
    local = _LOCAL.unpack(header.read(listed.local, _LOCAL.size))
    signature, _, flags, method, _, _, _, packed, size, name_length, extra_length = local
    if signature != b"PK\x03\x04" or method != listed.method or name_length != len(listed.raw_name):
        raise OddError
    if header.read(listed.local + _LOCAL.size, name_length) != listed.raw_name:
        raise OddError
    said = {listed.size, _IN_64} | ({0} if flags & _SIZES_FOLLOW else set())
    if packed not in said or size not in said:
        raise OddError
    offset = listed.local + _LOCAL.size + name_length + extra_length
    if offset + listed.size > directory:
        raise OddError
    return Entry(text(listed.raw_name), offset, listed.size)


def _check_apart(entries: list[Entry]) -> None:
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.offset):
        if entry.offset < end:
            raise OddError
        end = entry.offset + entry.size
