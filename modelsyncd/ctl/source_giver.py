"""The giver behind a push: a source's manifest and chunks, encoded for the hub as it asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from modelsyncd.codec.registry import Codec, encode
from modelsyncd.digest import Digest
from modelsyncd.errors import NotFoundError
from modelsyncd.manifest import pieces
from modelsyncd.session.events import Encoded
from modelsyncd.session.frames import Part


class Chunks(Protocol):
    """Where plain chunks are read; `store.source.Source` is one."""

    def read(self, ordinal: int) -> bytes:
        """The plain bytes of a chunk, verified. Raises SourceChangedError, DiskError."""


class SourceGiver:
    """A GiverStore over what lies on our disk."""

    def __init__(self, manifest: Digest, manifest_bytes: bytes, source: Chunks) -> None:
        self._manifest = manifest
        self._pieces = pieces(manifest_bytes)
        self._source = source
        self._given: dict[int, int] = {}
        self.wire = 0
        """Encoded bytes that were handed over, in all tries, the manifest's own included."""

    @property
    def plain(self) -> int:
        """Plain bytes of the content that the other side did not have, each chunk once however often it was given."""
        return sum(self._given.values())

    async def load(
        self,
        manifest: Digest,
        part: Part,
        ordinals: Sequence[int],
        codecs: frozenset[Codec],
        bases: Sequence[Digest],
        *,
        rate: float = 0.0,
    ) -> Sequence[Encoded]:
        """These chunks, encoded. Raises NotFoundError, SourceChangedError, DiskError."""
        if manifest != self._manifest:
            raise NotFoundError("this side gives another manifest")
        return await asyncio.to_thread(self._load, part, tuple(ordinals), codecs)

    def _load(self, part: Part, ordinals: Sequence[int], codecs: frozenset[Codec]) -> list[Encoded]:
        return [self._one(part, ordinal, codecs) for ordinal in ordinals]

    def _one(self, part: Part, ordinal: int, codecs: frozenset[Codec]) -> Encoded:
        plain = self._chunk(part, ordinal)
        codec, payload = encode(plain, codecs)
        if part is Part.CONTENT:
            self._given[ordinal] = len(plain)
        self.wire += len(payload)
        return Encoded(ordinal, codec, payload if isinstance(payload, memoryview) else bytes(payload))

    def _chunk(self, part: Part, ordinal: int) -> bytes | memoryview:
        if part is Part.CONTENT:
            return self._source.read(ordinal)
        if not 0 <= ordinal < len(self._pieces):
            raise NotFoundError(f"the manifest has {len(self._pieces)} chunks, none is number {ordinal}")
        return self._pieces[ordinal]
