"""The only place where bytes are hashed: BLAKE3-256 names them, SHA-256 is kept for other registries, xxh3 spots rot.

A `Digest` is 32 raw bytes; in text it is "b3:" and 64 hex digits. xxh3 is a fast error check and never an identity:
it is easy to forge.
"""

from __future__ import annotations

import re
from typing import NewType

import blake3
import xxhash

from modelsyncd.errors import BadInputError

Digest = NewType("Digest", bytes)
"""32 raw bytes of BLAKE3-256."""

DIGEST_SIZE = 32  # bytes
TEXT_PREFIX = "b3:"
_TEXT = re.compile(r"b3:[0-9a-f]{64}")

Buffer = bytes | bytearray | memoryview


def digest_of(data: Buffer) -> Digest:
    """The name of these bytes."""
    return Digest(blake3.blake3(data).digest())


def digest_from(raw: bytes) -> Digest:
    """A digest from 32 raw bytes that came from outside. Raises BadInputError when there are not 32."""
    if len(raw) != DIGEST_SIZE:
        raise BadInputError(f"a digest has {DIGEST_SIZE} bytes, not {len(raw)}")
    return Digest(bytes(raw))


def to_text(digest: Digest) -> str:
    """ "b3:" + 64 hex digits."""
    return TEXT_PREFIX + digest.hex()


def from_text(text: str) -> Digest:
    """The digest that `to_text` wrote. Raises BadInputError."""
    if not _TEXT.fullmatch(text):  # bytes.fromhex alone would let spaces and capitals in: several texts for one digest
        raise BadInputError(f"not a digest: {text[:80]!r}", hint="a digest is b3: and 64 hex digits in lower case")
    return Digest(bytes.fromhex(text.removeprefix(TEXT_PREFIX)))


def short(digest: Digest) -> str:
    """The first 12 hex digits, for names that people read."""
    return digest.hex()[:12]


def checksum(data: Buffer) -> int:
    """xxh3-64 of encoded bytes at rest: finds rot at the speed of memory; proves nothing about who wrote them."""
    return xxhash.xxh3_64_intdigest(data)


class FileHasher:
    """SHA-256 of a file that is read piece by piece, for the registries that name files so."""

    def __init__(self) -> None:
        # Here, because it loads OpenSSL: 4 MB that an agent, which never makes a manifest, does without.
        import hashlib  # noqa: PLC0415

        self._sha256 = hashlib.sha256()

    def update(self, piece: Buffer) -> None:
        """Takes the next bytes of the file."""
        self._sha256.update(piece)

    def sha256(self) -> bytes:
        """32 bytes."""
        return self._sha256.digest()
