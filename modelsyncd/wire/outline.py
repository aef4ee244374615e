"""The only place that reads protobuf's own framing: fields by number and place, before anything is built from them.

Parsing a message costs memory for each entry of its lists, up to a hundred times the two bytes that an empty entry
takes on the wire. Counting the entries first costs none. (https://protobuf.dev/programming-guides/encoding/)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from modelsyncd.digest import Buffer
from modelsyncd.errors import BadInputError

_VARINT_BITS = 63  # a varint has ten bytes at most


class Field(NamedTuple):
    """A field's number, and where its value lies in the buffer: `start` inclusive, `end` exclusive, in bytes.

    The value of a bytes, string, message or packed field is what follows its length.
    """

    number: int
    start: int
    end: int


def fields(data: Buffer, start: int = 0, end: int | None = None) -> Iterator[Field]:
    """The fields of one serialised message, in order. Raises BadInputError where the bytes are no message."""
    at = start
    stop = len(data) if end is None else end
    while at < stop:
        tag, at = _varint(data, at, stop)
        first = at
        match tag & 7:
            case 0:
                _, at = _varint(data, at, stop)
            case 1:
                at += 8
            case 2:
                length, first = _varint(data, at, stop)
                at = first + length
            case 5:
                at += 4
            case _:
                raise _malformed()
        if at > stop or tag < 8:
            raise _malformed()
        yield Field(tag >> 3, first, at)


def _varint(data: Buffer, at: int, stop: int) -> tuple[int, int]:
    """The number that begins at `at`, and where the next thing begins."""
    value = shift = 0
    while at < stop and shift <= _VARINT_BITS:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise _malformed()


def _malformed() -> BadInputError:
    return BadInputError("these bytes are no protobuf message, or are cut short")
