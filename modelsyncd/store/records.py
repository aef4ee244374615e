"""The only place that says how a pack looks: a mark, then record after record, each with all that an index needs.

A pack begins with 16 bytes: "modelsyncd pack" and the format's number. A record is a header of 64 bytes, then the
encoded chunk. The header, little-endian: mark (4 bytes), codec (1), three zeros, plain size (4), encoded size (4),
xxh3-64 of the encoded bytes (8), digest of the plain bytes (32), xxh3-64 of the header up to here (8).

Law: the index can be made anew from packs alone. A record whose header is whole and whose bytes are not is stepped
over; after a header that is not whole nothing is believed, because encoded bytes may look like anything, records too.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from modelsyncd.codec.registry import Codec
from modelsyncd.digest import Buffer, Digest, checksum, short
from modelsyncd.errors import DamageError, NewerFormatError
from modelsyncd.limits import LIMITS
from modelsyncd.store.durable import disk_errors

PACK_FORMAT = 1
_NAME = b"modelsyncd pack"
PACK_MARK = _NAME + bytes([PACK_FORMAT])
_RECORD_MARK = b"MsC1"
_HEADER = struct.Struct("<4sB3xIIQ32s")  # the header without its own checksum, which follows
_HEADER_SUM = struct.Struct("<Q")
HEADER_SIZE = _HEADER.size + _HEADER_SUM.size  # 64 bytes

ReadAt = Callable[[int, int], Buffer]
"""Reads bytes: (offset, length); fewer only at the end."""


@dataclass(frozen=True, slots=True)
class Record:
    """An encoded chunk; `plain_size` in bytes."""

    digest: Digest
    codec: Codec
    payload: Buffer
    plain_size: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where an encoded chunk rests: `length` bytes at `offset` of a pack, with their xxh3-64; `plain_size` in bytes."""

    digest: Digest
    codec: Codec
    plain_size: int
    checksum: int
    pack: str
    offset: int
    length: int

    def check(self, payload: Buffer, head: Buffer) -> Buffer:
        """The bytes read from this place, if they are those that were written. Raises DamageError.

        `head` are the bytes before them: what says where chunks are may rot as well, and then it is the header that
        knows what this is. A header that is not whole itself knows nothing.

        Raises NewerFormatError for an encoding that both agree on and nobody here can read.
        """
        sound = len(payload) == self.length and checksum(payload) == self.checksum
        if sound and _agrees(self, bytes(head)):
            codec_of(self.codec)
            return payload
        raise DamageError(
            f"chunk {short(self.digest)} in pack {self.pack} is damaged at byte {self.offset}",
            safe="the damaged bytes were not given to anyone",
            hint="publish a version that has this chunk again: only what is missing or damaged travels",
        )


def codec_of(number: int) -> Codec:
    """The codec that was written down as this number. Raises NewerFormatError for one that is not known here."""
    try:
        return Codec(number)
    except ValueError:
        raise NewerFormatError(
            f"a chunk is kept in encoding {number}, which this hub can't read",
            safe="nothing was changed",
            hint="start the newer modelsync-hub that wrote it",
        ) from None


def header(record: Record) -> tuple[bytes, int]:
    """The header of a record, and the checksum of its encoded bytes."""
    payload_sum = checksum(record.payload)
    fields = _HEADER.pack(
        _RECORD_MARK, record.codec, record.plain_size, len(record.payload), payload_sum, record.digest
    )
    return fields + _HEADER_SUM.pack(checksum(fields)), payload_sum


@dataclass(frozen=True, slots=True)
class Found:
    """What a scan found: whole records, and the byte after the last of them; `end` is 0 for what is no pack."""

    places: tuple[Place, ...]
    end: int


def scan(pack: str, read_at: ReadAt) -> Found:
    """Reads a pack from its first byte to its last whole record. Raises NewerFormatError, and what `read_at` raises."""
    mark = bytes(read_at(0, len(PACK_MARK)))
    if len(mark) == len(PACK_MARK) and mark.startswith(_NAME) and mark[-1] > PACK_FORMAT:
        raise NewerFormatError(
            f"pack {pack} has format {mark[-1]}, and this hub knows formats up to {PACK_FORMAT}",
            safe="nothing in it was changed",
            hint="start the newer modelsync-hub that wrote it",
        )
    if mark != PACK_MARK:
        return Found((), 0)
    places = tuple(_whole(pack, read_at))
    return Found(places, places[-1].offset + places[-1].length if places else len(PACK_MARK))


def _whole(pack: str, read_at: ReadAt) -> Iterator[Place]:
    at = len(PACK_MARK)
    while (place := _place(pack, at, bytes(read_at(at, HEADER_SIZE)))) is not None:
        payload = read_at(place.offset, place.length)
        if len(payload) < place.length:
            return
        if checksum(payload) == place.checksum:
            yield place
        at = place.offset + place.length


def _agrees(place: Place, head: bytes) -> bool:
    if len(head) < HEADER_SIZE or checksum(head[: _HEADER.size]) != _HEADER_SUM.unpack(head[_HEADER.size :])[0]:
        return True
    mark, codec, plain_size, length, payload_sum, digest = _HEADER.unpack(head[: _HEADER.size])
    written = (codec, plain_size, length, payload_sum, digest)
    known = (place.codec, place.plain_size, place.length, place.checksum, place.digest)
    return bool(mark != _RECORD_MARK or written == known)


def _place(pack: str, at: int, raw: bytes) -> Place | None:
    if len(raw) < HEADER_SIZE:
        return None
    fields, (header_sum,) = raw[: _HEADER.size], _HEADER_SUM.unpack(raw[_HEADER.size :])
    mark, codec, plain_size, length, payload_sum, digest = _HEADER.unpack(fields)
    if mark != _RECORD_MARK or checksum(fields) != header_sum or not 0 < length <= 2 * LIMITS.chunk_bytes:
        return None
    return Place(Digest(digest), codec_of(codec), plain_size, payload_sum, pack, at + HEADER_SIZE, length)


def scan_pack(path: Path) -> Found:
    """Scans a pack in a file called `PACK.pack`. Raises NewerFormatError, DiskError."""
    with disk_errors(path), path.open("rb", buffering=0) as file:

        def read_at(offset: int, length: int) -> bytes:
            file.seek(offset)
            return file.read(length)

        return scan(path.stem, read_at)
