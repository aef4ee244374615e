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

    async def load(
        self, manifest: Digest, part: Part, ordinals: Sequence[int], codecs: frozenset[Codec], bases: Sequence[Digest]
    ) -> Sequence[Encoded]:
        """These chunks, encoded. Raises NotFoundError, SourceChangedError, DiskError."""
        if manifest != self._manifest:
            raise NotFoundError("this side gives another manifest")
        return await asyncio.to_thread(self._load, part, tuple(ordinals), codecs)

    def _load(self, part: Part, ordinals: Sequence[int], codecs: frozenset[Codec]) -> list[Encoded]:
        return [Encoded(ordinal, *_encoded(self._plain(part, ordinal), codecs)) for ordinal in ordinals]

    def _plain(self, part: Part, ordinal: int) -> bytes | memoryview:
        if part is Part.CONTENT:
            return self._source.read(ordinal)
        if not 0 <= ordinal < len(self._pieces):
            raise NotFoundError(f"the manifest has {len(self._pieces)} chunks, none is number {ordinal}")
        return self._pieces[ordinal]


def _encoded(plain: bytes | memoryview, codecs: frozenset[Codec]) -> tuple[Codec, bytes | memoryview]:
    codec, payload = encode(plain, codecs)
    return codec, payload if isinstance(payload, memoryview) else bytes(payload)
