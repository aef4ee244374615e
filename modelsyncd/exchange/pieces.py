"""A manifest that arrives in pieces: the only place that joins them, each verified, and the whole once more."""

from __future__ import annotations

from collections.abc import Sequence

from modelsyncd.codec.registry import decode
from modelsyncd.digest import DIGEST_SIZE, Buffer, digest_of
from modelsyncd.errors import DamageError
from modelsyncd.limits import LIMITS
from modelsyncd.manifest import MANIFEST_PIECE, Manifest, piece_sizes
from modelsyncd.release import ManifestRef, check_ref
from modelsyncd.session.effects import Keep
from modelsyncd.session.ports import Keeping
from modelsyncd.wire.nouns import decode_manifest


class Pieces:
    """The pieces of one manifest, in memory."""

    def __init__(self, ref: ManifestRef, held: bytes = b"") -> None:
        """`held` is what an earlier try has kept: any bytes, of which only whole and right pieces count."""
        check_ref(ref, LIMITS)
        self._ref = ref
        self.sizes: Sequence[int] = piece_sizes(ref.size)
        """Bytes of each piece."""
        self._data = bytearray(ref.size)
        self._data[: len(held)] = held[: ref.size]
        self._missing = {
            ordinal for ordinal in range(len(self.sizes)) if not self._right(ordinal, self._piece(ordinal))
        }

    @property
    def missing(self) -> list[int]:
        """Ordinals that are not here, ascending."""
        return sorted(self._missing)

    def keep(self, batch: Sequence[Keep]) -> Keeping:
        """Takes arrivals; what is not as its digest says is spoiled and not kept."""
        kept: list[int] = []
        spoiled: list[int] = []
        for arrival in batch:
            (kept if self._take(arrival) else spoiled).append(arrival.ordinal)
        return Keeping(tuple(kept), tuple(spoiled))

    def data(self) -> bytes:
        """All bytes, right only where nothing is missing."""
        return bytes(self._data)

    def manifest(self) -> Manifest:
        """The manifest, once nothing is missing. Raises DamageError, BadInputError, LimitError."""
        if self._missing or digest_of(self._data) != self._ref.digest:
            raise DamageError("the manifest is not what the release says", safe="nothing of it was used")
        return decode_manifest(self.data())

    def _take(self, arrival: Keep) -> bool:
        try:
            plain = decode(arrival.codec, arrival.payload, self.sizes[arrival.ordinal])
        except DamageError:
            return False
        if not self._right(arrival.ordinal, plain):
            return False
        self._piece(arrival.ordinal)[:] = plain
        self._missing.discard(arrival.ordinal)
        return True

    def _piece(self, ordinal: int) -> memoryview:
        start = ordinal * MANIFEST_PIECE
        return memoryview(self._data)[start : start + self.sizes[ordinal]]

    def _right(self, ordinal: int, plain: Buffer) -> bool:
        start = ordinal * DIGEST_SIZE
        return digest_of(plain) == self._ref.chunk_digests[start : start + DIGEST_SIZE]
