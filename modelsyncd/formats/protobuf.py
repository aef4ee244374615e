"""The only place that walks protobuf by hand: fields one after the other, long ones stepped over without being read.

The library would load the whole model into memory and build every number of it anew; a layout needs a few fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from modelsyncd.formats.header import Cursor, Header, OddError

VARINT, EIGHT, LENGTH, FOUR = 0, 1, 2, 5
_FIXED = {EIGHT: 8, FOUR: 4}


class Field(NamedTuple):
    """One field: its number in the message; `value` of a number; where its bytes lie in the file."""

    number: int
    wire: int
    value: int
    start: int
    end: int

    @property
    def size(self) -> int:
        """Bytes of the field's content."""
        return self.end - self.start


def fields(header: Header, start: int, end: int) -> Iterator[Field]:
    """The fields of the message that lies there, in order. Raises OddError; groups are as old as they are odd."""
    cursor = Cursor(header, start, end)
    while cursor.position < end:
        key = cursor.varint()
        number, wire = key >> 3, key & 7
        begin = cursor.position
        value = 0
        if wire == VARINT:
            value = cursor.varint()
        elif wire == LENGTH:
            length = cursor.varint()
            begin = cursor.position
            cursor.skip(length)
        elif wire in _FIXED:
            cursor.skip(_FIXED[wire])
        else:
            raise OddError
        if not 0 < number < 1 << 29:
            raise OddError
        yield Field(number, wire, value, begin, cursor.position)


def numbers(header: Header, field: Field) -> list[int]:
    """The numbers of a repeated field, written one by one or packed. Raises OddError for more than a shape can have."""
    if field.wire == VARINT:
        return [field.value]
    if field.wire != LENGTH or field.size > 10 * header.limits.layout_extents:
        raise OddError
    cursor = Cursor(header, field.start, field.end)
    found: list[int] = []
    while cursor.position < field.end:
        found.append(cursor.varint())
    return found
