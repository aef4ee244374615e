"""The only place that says which bytes a store does not read itself: how manifests and releases are written."""

from __future__ import annotations

from typing import Protocol

from modelsyncd.manifest import Manifest
from modelsyncd.release import Release, SignedRelease


class Nouns(Protocol):
    """How nouns are written as bytes: the module `modelsyncd.wire.nouns` is one. Raises BadInputError, LimitError."""

    def decode_manifest(self, data: bytes, /) -> Manifest:
        """A manifest from its exact bytes."""

    def decode_release(self, data: bytes, /) -> Release:
        """A release from its exact bytes."""

    def encode_signed(self, signed: SignedRelease, /) -> bytes:
        """Bytes to keep."""

    def decode_signed(self, data: bytes, /) -> SignedRelease:
        """What `encode_signed` wrote."""
