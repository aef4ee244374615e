"""Releases for a catalogue, which never looks into their bytes: any content is a manifest by its digest."""

from __future__ import annotations

from dataclasses import dataclass

from modelsyncd.digest import Digest, digest_of
from modelsyncd.names import ModelName, parse_model
from modelsyncd.release import ManifestRef, Release, Signature, SignedRelease, Variant

HELMET = parse_model("acme/helmet")


def manifest_of(content: str) -> Digest:
    """The manifest of some content."""
    return digest_of(content.encode())


@dataclass(frozen=True)
class Made:
    """What is committed: exact bytes, what they say, and their digest."""

    signed: SignedRelease
    release: Release
    digest: Digest


def made(number: int, *contents: str, model: ModelName = HELMET, signatures: int = 0) -> Made:
    """A release with one variant for each content."""
    variants = tuple(
        Variant(
            "default" if place == 0 else f"variant-{place}",
            ManifestRef(manifest_of(content), 10 + place, 1_000 + place, 3, digest_of(b"piece of " + content.encode())),
            {} if place == 0 else {"gpu": f"kind-{place}"},
        )
        for place, content in enumerate(contents)
    )
    raw = f"{model}:{number}:{contents}".encode()
    signed = tuple(Signature("ed25519", bytes([place]) * 32, bytes([place]) * 64) for place in range(signatures))
    return Made(SignedRelease(raw, signed), Release(model, number, variants), digest_of(raw))
