"""The giver behind whatever is published: a source's manifest and chunks, encoded for the hub as it asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from modelsyncd.codec.registry import NEEDS_BASE, Codec, encode
from modelsyncd.digest import Digest
from modelsyncd.errors import NotFoundError
from modelsyncd.exchange.coder import Coder, Coding
from modelsyncd.exchange.local_base import LocalBase
from modelsyncd.manifest import pieces
from modelsyncd.session.events import Encoded
from modelsyncd.session.frames import Part
from modelsyncd.store.source import Source


class SourceGiver:
    """A GiverStore over what lies on our disk."""

    def __init__(
        self,
        manifest: Digest,
        manifest_bytes: bytes,
        source: Source,
        bases: Sequence[LocalBase] = (),
        coding: Coding = Coding.AUTO,
    ) -> None:
        """`bases` are what chunks may be coded against, as far as the other side holds them."""
        self.manifest = manifest
        """Whose chunks are given."""
        self._pieces = pieces(manifest_bytes)
        self._source = source
        self._coder = Coder(source, bases, coding)
        self._given: dict[int, int] = {}
        self._coded: dict[int, int] = {}
        self.wire = 0
        """Encoded bytes that were handed over, in all tries, the manifest's own included."""
        self.cpu = 0.0
        """Seconds spent on encoding them."""
        self.held: frozenset[Digest] | None = None
        """What the other side said first that it holds; None while no content was asked for."""

    @property
    def plain(self) -> int:
        """Plain bytes of the content that the other side did not have, each chunk once however often it was given."""
        return sum(self._given.values())

    @property
    def coded(self) -> int:
        """Those of them that were given coded against a base."""
        return sum(self._coded.values())

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
        if manifest != self.manifest:
            raise NotFoundError("this side gives another manifest")
        if part is Part.MANIFEST:
            return await asyncio.to_thread(self._give_pieces, tuple(ordinals), codecs)
        if self.held is None:
            self.held = frozenset(bases)
        return await asyncio.to_thread(self._give_chunks, tuple(ordinals), codecs, tuple(bases), rate)

    def _give_pieces(self, ordinals: Sequence[int], codecs: frozenset[Codec]) -> list[Encoded]:
        given = []
        for ordinal in ordinals:
            codec, payload = encode(self._piece(ordinal), codecs)
            self.wire += len(payload)
            given.append(Encoded(ordinal, codec, payload if isinstance(payload, memoryview) else bytes(payload)))
        return given

    def _give_chunks(
        self, ordinals: Sequence[int], codecs: frozenset[Codec], held: Sequence[Digest], rate: float
    ) -> list[Encoded]:
        return [self._give_chunk(ordinal, codecs, held, rate) for ordinal in ordinals]

    def _give_chunk(self, ordinal: int, codecs: frozenset[Codec], held: Sequence[Digest], rate: float) -> Encoded:
        plain = self._source.read(ordinal)
        chunk = self._coder.code(ordinal, plain, codecs, held, rate)
        self._given[ordinal] = len(plain)
        self._coded[ordinal] = len(plain) if chunk.codec in NEEDS_BASE else 0
        self.wire += len(chunk.payload)
        self.cpu += chunk.cpu
        return chunk

    def _piece(self, ordinal: int) -> memoryview:
        if not 0 <= ordinal < len(self._pieces):
            raise NotFoundError(f"the manifest has {len(self._pieces)} chunks, none is number {ordinal}")
        return self._pieces[ordinal]
