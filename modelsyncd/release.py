"""The only place that says what a release is: a manifest given a name, with lineage, labels and room for signatures.

A release's exact bytes are stored and passed on unchanged (`SignedRelease.release`); `wire/releases.py` reads and
writes them. Nothing here re-serialises: the digest and the signatures are over the bytes as they were published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from modelsyncd.digest import DIGEST_SIZE, Digest
from modelsyncd.errors import BadInputError, LimitError
from modelsyncd.limits import LIMITS, Limits
from modelsyncd.manifest import piece_sizes
from modelsyncd.names import ModelName, parse_place

RELEASE_FORMAT = 1
DEFAULT_VARIANT = "default"
ROLES = ("fine-tuned-from", "aggregated-from", "derived-by", "distilled-from")
"""How a release may have come from another."""
_NONE: Mapping[str, str] = MappingProxyType({})
_NO_METRICS: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ManifestRef:
    """Where a manifest is and how to fetch it; sizes in bytes, `chunk_digests` 32 bytes each, end to end."""

    digest: Digest
    size: int
    content_size: int
    files: int
    chunk_digests: bytes


@dataclass(frozen=True, slots=True)
class Derivation:
    """How a version was made from the one with manifest `source`: `step` names recipe, version and options together.

    For a command `recipe` and `version` are empty, and `options` holds its words under "0", "1", ….
    """

    source: Digest
    step: Digest
    recipe: str = ""
    version: str = ""
    options: Mapping[str, str] = field(default_factory=lambda: _NONE)


@dataclass(frozen=True, slots=True)
class Variant:
    """One form of a release's content; all that the selector asks for must be true of a node (see `fitting.py`)."""

    name: str
    manifest: ManifestRef
    selector: Mapping[str, str] = field(default_factory=lambda: _NONE)
    derivation: Derivation | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A release that a bundle was put together from: its files lie below the folder `place` of the bundle."""

    model: ModelName
    number: int
    release_digest: Digest
    place: str


@dataclass(frozen=True, slots=True)
class Parent:
    """A release that this one came from, and how."""

    model: ModelName
    number: int
    release_digest: Digest
    role: str


@dataclass(frozen=True, slots=True)
class Release:
    """A manifest given a name. `created_at` is seconds since 1970 UTC by the publisher's clock.

    With members it is a bundle: one tree that was put together from theirs.
    """

    model: ModelName
    number: int
    variants: tuple[Variant, ...]
    members: tuple[Member, ...] = ()
    parents: tuple[Parent, ...] = ()
    labels: Mapping[str, str] = field(default_factory=lambda: _NONE)
    metrics: Mapping[str, float] = field(default_factory=lambda: _NO_METRICS)
    producer: str = ""
    created_at: int = 0
    note: str = ""
    licence: str = ""
    datasets: tuple[str, ...] = ()

    def variant(self, manifest: Digest) -> Variant:
        """The variant with this manifest. Raises BadInputError."""
        for variant in self.variants:
            if variant.manifest.digest == manifest:
                return variant
        raise BadInputError(f"{self.model}:{self.number} has no variant with manifest {manifest.hex()[:12]}")


@dataclass(frozen=True, slots=True)
class Signature:
    """A detached signature over a release's exact bytes."""

    algorithm: str
    key_id: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class SignedRelease:
    """A release as it is stored and passed on: exact bytes, and beside them the signatures."""

    release: bytes
    signatures: tuple[Signature, ...] = ()


def check(release: Release, limits: Limits = LIMITS) -> Release:
    """Returns the release if it is sound. Raises LimitError or BadInputError."""
    if release.number < 1:
        raise BadInputError("release numbers begin at 1")
    if not release.variants:
        raise BadInputError("a release needs at least one form of its content")
    if len(release.variants) > limits.variants:
        raise LimitError(f"a release may have {limits.variants} variants, not {len(release.variants)}")
    check_members(release.members, limits)
    check_labels(release.labels, limits)
    if len(release.metrics) > limits.labels or any(len(key) > limits.label_chars for key in release.metrics):
        raise LimitError(f"a release may have {limits.labels} metrics with names of {limits.label_chars} characters")
    if len(release.note) > limits.note_chars:
        raise LimitError(f"a note may have {limits.note_chars} characters, not {len(release.note)}")
    check_words("licence", (release.licence,), limits)
    check_words("dataset", release.datasets, limits)
    check_variants(release.variants, limits)
    return release


def check_variants(variants: Sequence[Variant], limits: Limits = LIMITS) -> None:
    """Raises LimitError for what is too large, BadInputError for two of one name or content, or no name."""
    check_words("name of a variant", [variant.name for variant in variants], limits)
    if not all(variant.name.isprintable() for variant in variants):
        raise BadInputError("the name of a variant has no control characters")
    if len({variant.name for variant in variants}) < len(variants):
        raise BadInputError("two variants of a release have the same name")
    if len({variant.manifest.digest for variant in variants}) < len(variants):
        raise BadInputError("two variants of a release have the same content")
    for variant in variants:
        check_labels(variant.selector, limits)
        check_ref(variant.manifest, limits)
        if variant.derivation is not None:
            check_derivation(variant.derivation, limits)


def check_words(what: str, words: Sequence[str], limits: Limits = LIMITS) -> None:
    """Raises LimitError for too many or too long words."""
    if len(words) > limits.labels:
        raise LimitError(f"at most {limits.labels} of {what}, not {len(words)}")
    if any(len(word) > limits.label_chars for word in words):
        raise LimitError(f"a {what} may have {limits.label_chars} characters")


def check_derivation(derivation: Derivation, limits: Limits = LIMITS) -> None:
    """Raises LimitError."""
    check_words("recipe", (derivation.recipe, derivation.version), limits)
    if len(derivation.options) > limits.options:
        raise LimitError(f"a step may have {limits.options} options, not {len(derivation.options)}")
    if any(len(word) > limits.option_chars for pair in derivation.options.items() for word in pair):
        raise LimitError(f"an option of a step may have {limits.option_chars} characters")


def check_members(members: Sequence[Member], limits: Limits = LIMITS) -> None:
    """Raises LimitError for too many, BadInputError for what is no place, no number, or one place twice."""
    if len(members) > limits.members:
        raise LimitError(f"a bundle may have {limits.members} members, not {len(members)}")
    for member in members:
        parse_place(member.place)
        if member.number < 1:
            raise BadInputError(f"member {member.place}: release numbers begin at 1")
    if len({member.place for member in members}) < len(members):
        raise BadInputError("two members of a bundle have the same place")


def check_labels(labels: Mapping[str, str], limits: Limits = LIMITS) -> None:
    """Raises LimitError for too many or too long labels, BadInputError for an empty key."""
    if len(labels) > limits.labels:
        raise LimitError(f"at most {limits.labels} labels, not {len(labels)}")
    for key, value in labels.items():
        if not key:
            raise BadInputError("a label needs a name before its =")
        if len(key) > limits.label_chars or len(value) > limits.label_chars:
            raise LimitError(f"label {key[:40]!r}: at most {limits.label_chars} characters on each side of =")


def check_ref(ref: ManifestRef, limits: Limits = LIMITS) -> None:
    """Raises LimitError or BadInputError."""
    if not 0 < ref.size <= limits.manifest_bytes:
        raise LimitError(f"a manifest has 1 to {limits.manifest_bytes} bytes, not {ref.size}")
    if ref.content_size > limits.content_bytes:
        raise LimitError(f"a version may have {limits.content_bytes} bytes, not {ref.content_size}")
    if len(ref.chunk_digests) != DIGEST_SIZE * len(piece_sizes(ref.size)):
        raise BadInputError("the manifest's size and its chunks do not agree")
