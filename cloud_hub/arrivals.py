"""The only place that turns an arrival of a push into a chunk as it will rest: decoded, compared, and on its own.

What came coded against a base is never kept so: the release must be readable when its base is gone. Whatever is wrong
with an arrival or with its base makes it spoiled, and the session asks for the chunk again, then without a base.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from cloud_hub.contents import Contents
from modelsyncd.bases import Run
from modelsyncd.codec.registry import NEEDS_BASE, READABLE, STUMBLES, Codec, decode, encode
from modelsyncd.digest import Buffer, Digest, digest_of
from modelsyncd.errors import DamageError, ModelsyncError
from modelsyncd.release import ManifestRef
from modelsyncd.session.effects import Keep
from modelsyncd.session.frames import Base
from modelsyncd.store.packs import Record

_ALONE = READABLE - NEEDS_BASE


class Arrivals:
    """Judges arrivals. Everything here blocks."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents

    def warm(self, batch: Sequence[Keep]) -> None:
        """Reads ahead, in one go, what these were coded against. Never raises ModelsyncError."""
        runs: dict[Digest, list[Run]] = {}
        for keep in batch:
            if keep.base is not None:
                runs.setdefault(keep.base.manifest, []).extend(keep.base.runs)
        for manifest, wanted in runs.items():
            with suppress(ModelsyncError):
                self._contents.named(manifest).warm(wanted)

    def judged(self, keep: Keep, ref: ManifestRef, digest: Digest, size: int) -> Record | None:
        """The chunk as it will rest, or None when it is not as its digest says. Raises DiskError, RoadError."""
        # A writing that is longer than the plain bytes is nobody's honest work, and would rest here for ever.
        if len(keep.payload) > size:
            return None
        base = b""
        if keep.base is not None:
            try:
                base = self._gathered(keep.base, size)
            except ModelsyncError:
                return None  # the base is gone or damaged, or runs can't be: the chunk is better off without it
        try:
            plain = decode(keep.codec, keep.payload, size, base or None)
        except (DamageError, *STUMBLES):
            return None
        if digest_of(plain) != digest:
            return None
        return self._alone(keep, ref, digest, plain)

    def _gathered(self, base: Base, size: int) -> bytes:
        return self._contents.named(base.manifest).gather(base.runs, size)

    def _alone(self, keep: Keep, ref: ManifestRef, digest: Digest, plain: Buffer) -> Record:
        if keep.codec not in NEEDS_BASE:
            return Record(digest, keep.codec, keep.payload, len(plain))
        try:
            codec, payload = encode(plain, _ALONE, self._contents.get(ref).hints.of(keep.ordinal))
        except STUMBLES:
            codec, payload = Codec.STORED, plain
        return Record(digest, codec, payload, len(plain))
