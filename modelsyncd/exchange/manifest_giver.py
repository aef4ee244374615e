"""The only place that gives a manifest whose content the taker has: a bundle on its way to the hub."""

from __future__ import annotations

from collections.abc import Sequence

from modelsyncd.codec.registry import Codec, encode
from modelsyncd.digest import Digest
from modelsyncd.errors import DamageError, NotFoundError
from modelsyncd.manifest import pieces
from modelsyncd.session.events import Encoded
from modelsyncd.session.frames import Part


class ManifestGiver:
    """Implements `session.ports.GiverStore`."""

    def __init__(self, manifest: Digest, manifest_bytes: bytes) -> None:
        self._manifest = manifest
        self._pieces = pieces(manifest_bytes)

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
        """Pieces of the manifest. Raises NotFoundError for another one, DamageError when content is asked for."""
        if manifest != self._manifest:
            raise NotFoundError("only one manifest is given here")
        if part is not Part.MANIFEST:
            raise DamageError(
                f"{len(ordinals)} of the members' chunks are gone at the hub",
                safe="nothing was published",
                hint="modelsyncctl verify says which release lost them; pushing its content again brings them back",
            )
        return [self._encoded(ordinal, codecs) for ordinal in ordinals]

    def _encoded(self, ordinal: int, codecs: frozenset[Codec]) -> Encoded:
        codec, payload = encode(self._pieces[ordinal], codecs)
        return Encoded(ordinal, codec, bytes(payload))
