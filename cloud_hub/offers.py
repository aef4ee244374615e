"""The only place where the hub gives chunks: checks the right to read, reads what rests, and hands it on.

A chunk travels encoded as it was pushed, so serving costs a read and a checksum; or coded against what the peer holds,
when it says what that is and that makes the chunk smaller. Bytes that are not what they should be are never given: they
are forgotten, so that the next push of the same content brings them back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cloud_hub.efforts import Efforts
from cloud_hub.encoder import Encoder, as_it_rests
from cloud_hub.rights import Right
from cloud_hub.stock import Stock
from cloud_hub.tables import check_ordinals
from modelsyncd.codec.profile import Profile
from modelsyncd.codec.registry import Codec
from modelsyncd.digest import Digest
from modelsyncd.session.events import Encoded
from modelsyncd.session.frames import Part


class Offers:
    """Implements `session.ports.GiverStore` for one peer."""

    def __init__(self, stock: Stock, encoder: Encoder, right: Right, efforts: Efforts) -> None:
        self._stock = stock
        self._encoder = encoder
        self._right = right
        self._efforts = efforts

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
        """These chunks; see the port. Raises RefusedError, NotFoundError, BadInputError, DamageError, DiskError."""
        self._stock.underway.given(manifest)
        if part is Part.MANIFEST:
            return await asyncio.to_thread(self._load_pieces, manifest, ordinals, codecs)
        profile = self._efforts.of(manifest, rate)
        if not bases or profile is Profile.PLAIN:
            return await asyncio.to_thread(self._load, manifest, ordinals, codecs, (), profile)
        async with self._encoder.turns:
            return await asyncio.to_thread(self._load, manifest, ordinals, codecs, bases, profile)

    def _load(
        self,
        manifest: Digest,
        ordinals: Sequence[int],
        codecs: frozenset[Codec],
        bases: Sequence[Digest],
        profile: Profile,
    ) -> Sequence[Encoded]:
        self._right(manifest)
        allowed = self._right.bases(bases) if bases else ()
        return self._encoder.encode(manifest, ordinals, allowed, codecs, profile)

    def _load_pieces(self, manifest: Digest, ordinals: Sequence[int], codecs: frozenset[Codec]) -> Sequence[Encoded]:
        self._right(manifest)
        table = self._stock.table(self._stock.ref(manifest), Part.MANIFEST)
        check_ordinals(table, ordinals)
        resting = self._stock.read([table.digest(ordinal) for ordinal in ordinals])
        return [
            as_it_rests(ordinal, place, payload, codecs)
            for ordinal, (place, payload) in zip(ordinals, resting, strict=True)
        ]
