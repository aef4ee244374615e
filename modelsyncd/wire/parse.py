"""The only place where protobuf's own errors become ours, for reading and for writing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from google.protobuf.message import DecodeError, EncodeError, Message

from modelsyncd.digest import Buffer
from modelsyncd.errors import BadInputError, LimitError

M = TypeVar("M", bound=Message)


def parse(kind: type[M], data: Buffer, what: str, most: int) -> M:
    """A message of this kind from at most `most` bytes.

    Raises LimitError for more, before any of it is read, and BadInputError for bytes that are no such message.
    """
    if len(data) > most:
        raise LimitError(f"{what} may have {most} bytes, not {len(data)}")
    message = kind()
    try:
        message.ParseFromString(bytes(data))
    except DecodeError as error:
        raise BadInputError(f"these bytes are not {what}") from error
    return message


def write(message: Message) -> bytes:
    """The one canonical writing: equal messages give equal bytes, also where they hold maps."""
    return message.SerializeToString(deterministic=True)


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Turns what protobuf says of values that fit no field (lone surrogates, negative sizes) into BadInputError."""
    try:
        yield
    except (ValueError, EncodeError) as error:
        raise BadInputError(f"{what} holds a value that can't be written") from error
