"""The only place where the hub gives chunks: checks the right to read, reads what rests, and hands it on as it rests.

A chunk travels encoded as it was pushed, so serving costs a read and a checksum. It is encoded anew only for a peer
that can't decode it. Bytes that are not what they should be are never given: they are forgotten, so that the next push
of the same content brings them back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cloud_hub.rights import Right
from cloud_hub.stock import Stock
from cloud_hub.tables import check_ordinals
from modelsyncd.codec.registry import Codec, decode, encode
from modelsyncd.digest import Buffer, Digest
from modelsyncd.session.events import Encoded
from modelsyncd.session.frames import Part
from modelsyncd.store.packs import Place


class Offers:
    """Implements `session.ports.GiverStore` for one peer."""

    def __init__(self, stock: Stock, right: Right) -> None:
        self._stock = stock
        self._right = right

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
        return await asyncio.to_thread(self._load, manifest, part, ordinals, codecs)

    def _load(
        self, manifest: Digest, part: Part, ordinals: Sequence[int], codecs: frozenset[Codec]
    ) -> Sequence[Encoded]:
        self._right(manifest)
        table = self._stock.table(self._stock.ref(manifest), part)
        check_ordinals(table, ordinals)
        resting = self._stock.read([table.digest(ordinal) for ordinal in ordinals])
        return [
            _encoded(ordinal, place, payload, codecs)
            for ordinal, (place, payload) in zip(ordinals, resting, strict=True)
        ]


def _encoded(ordinal: int, place: Place, resting: Buffer, codecs: frozenset[Codec]) -> Encoded:
    if place.codec in codecs:
        return Encoded(ordinal, place.codec, _view(resting))
    codec, payload = encode(decode(place.codec, resting, place.plain_size), codecs)
    return Encoded(ordinal, codec, _view(payload))


def _view(payload: Buffer) -> bytes | memoryview:
    return payload if isinstance(payload, bytes) else memoryview(payload)
