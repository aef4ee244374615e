"""The only place where a release is written as bytes and read back, alone and with its signatures beside it."""

from __future__ import annotations

from types import MappingProxyType

from modelsyncd import release as nouns
from modelsyncd.digest import Buffer, digest_from
from modelsyncd.errors import BadInputError, LimitError, NewerFormatError
from modelsyncd.limits import LIMITS, Limits
from modelsyncd.names import parse_model
from modelsyncd.release import (
    RELEASE_FORMAT,
    Derivation,
    ManifestRef,
    Member,
    Parent,
    Release,
    Signature,
    SignedRelease,
    Variant,
)
from modelsyncd.wire.parse import parse, write, writing
from modelsyncd.wire.v1 import nouns_pb2


def encode_release(release: Release) -> bytes:
    """The canonical bytes. Raises BadInputError for a value that no field can hold."""
    with writing("the release"):
        return write(
            nouns_pb2.Release(
                format=RELEASE_FORMAT,
                model=str(release.model),
                number=release.number,
                variants=map(_variant_to_pb, release.variants),
                members=map(_member_to_pb, release.members),
                parents=map(_parent_to_pb, release.parents),
                labels=dict(release.labels),
                metrics=dict(release.metrics),
                producer=release.producer,
                created_at=release.created_at,
                note=release.note,
                licence=release.licence,
                datasets=release.datasets,
            )
        )


def decode_release(data: Buffer, limits: Limits = LIMITS) -> Release:
    """The release that these bytes hold, checked.

    Raises LimitError, NewerFormatError for a format of the future, InvalidNameError, BadInputError.
    """
    message = parse(nouns_pb2.Release, data, "a release", limits.release_bytes)
    if message.format > RELEASE_FORMAT:
        raise NewerFormatError(
            f"this release has format {message.format}; this modelsyncd reads up to {RELEASE_FORMAT}",
            hint="update modelsyncd here",
        )
    if message.format != RELEASE_FORMAT:
        raise BadInputError("these bytes are not a release")
    release = Release(
        model=parse_model(message.model),
        number=message.number,
        variants=tuple(map(_variant_from_pb, message.variants)),
        members=tuple(map(_member_from_pb, message.members)),
        parents=tuple(map(_parent_from_pb, message.parents)),
        labels=MappingProxyType(dict(message.labels)),
        metrics=MappingProxyType(dict(message.metrics)),
        producer=message.producer,
        created_at=message.created_at,
        note=message.note,
        licence=message.licence,
        datasets=tuple(message.datasets),
    )
    return nouns.check(release, limits)


def encode_signed(signed: SignedRelease) -> bytes:
    """A release with its signatures as bytes for a file; the release's own bytes are inside, unchanged."""
    return write(signed_to_pb(signed))


def decode_signed(data: Buffer, limits: Limits = LIMITS) -> SignedRelease:
    """What `encode_signed` wrote. Raises LimitError or BadInputError; the release inside is not looked at."""
    most = limits.release_bytes + (limits.release_bytes >> 3)  # an eighth more, for the signatures
    return signed_from_pb(parse(nouns_pb2.SignedRelease, data, "a signed release", most), limits)


def signed_to_pb(signed: SignedRelease) -> nouns_pb2.SignedRelease:
    """For the wire."""
    return nouns_pb2.SignedRelease(release=signed.release, signatures=map(_signature_to_pb, signed.signatures))


def signed_from_pb(message: nouns_pb2.SignedRelease, limits: Limits = LIMITS) -> SignedRelease:
    """From the wire; the release inside is not looked at. Raises LimitError or BadInputError."""
    if not message.release:
        raise BadInputError("a signed release without a release")
    if len(message.release) > limits.release_bytes:
        raise LimitError(f"a release may have {limits.release_bytes} bytes, not {len(message.release)}")
    if len(message.signatures) > limits.signatures:
        raise LimitError(f"a release may have {limits.signatures} signatures, not {len(message.signatures)}")
    return SignedRelease(message.release, tuple(map(_signature_from_pb, message.signatures)))


def _ref_to_pb(ref: ManifestRef) -> nouns_pb2.ManifestRef:
    return nouns_pb2.ManifestRef(
        digest=ref.digest,
        size=ref.size,
        content_size=ref.content_size,
        files=ref.files,
        chunk_digests=ref.chunk_digests,
    )


def _ref_from_pb(message: nouns_pb2.ManifestRef) -> ManifestRef:
    return ManifestRef(
        digest_from(message.digest), message.size, message.content_size, message.files, message.chunk_digests
    )


def _variant_to_pb(variant: Variant) -> nouns_pb2.Variant:
    return nouns_pb2.Variant(
        name=variant.name,
        selector=dict(variant.selector),
        manifest=_ref_to_pb(variant.manifest),
        derivation=None if variant.derivation is None else _derivation_to_pb(variant.derivation),
    )


def _variant_from_pb(message: nouns_pb2.Variant) -> Variant:
    return Variant(
        message.name,
        _ref_from_pb(message.manifest),
        MappingProxyType(dict(message.selector)),
        _derivation_from_pb(message.derivation) if message.HasField("derivation") else None,
    )


def _derivation_to_pb(derivation: Derivation) -> nouns_pb2.Derivation:
    return nouns_pb2.Derivation(
        source=derivation.source,
        step=derivation.step,
        recipe=derivation.recipe,
        version=derivation.version,
        options=dict(derivation.options),
    )


def _derivation_from_pb(message: nouns_pb2.Derivation) -> Derivation:
    return Derivation(
        digest_from(message.source),
        digest_from(message.step),
        message.recipe,
        message.version,
        MappingProxyType(dict(message.options)),
    )


def _member_to_pb(member: Member) -> nouns_pb2.Member:
    return nouns_pb2.Member(
        model=str(member.model), number=member.number, release_digest=member.release_digest, place=member.place
    )


def _member_from_pb(message: nouns_pb2.Member) -> Member:
    return Member(parse_model(message.model), message.number, digest_from(message.release_digest), message.place)


def _parent_to_pb(parent: Parent) -> nouns_pb2.Parent:
    return nouns_pb2.Parent(
        model=str(parent.model), number=parent.number, release_digest=parent.release_digest, role=parent.role
    )


def _parent_from_pb(message: nouns_pb2.Parent) -> Parent:
    return Parent(parse_model(message.model), message.number, digest_from(message.release_digest), message.role)


def _signature_to_pb(signature: Signature) -> nouns_pb2.Signature:
    return nouns_pb2.Signature(algorithm=signature.algorithm, key_id=signature.key_id, value=signature.value)


def _signature_from_pb(message: nouns_pb2.Signature) -> Signature:
    return Signature(message.algorithm, message.key_id, message.value)
