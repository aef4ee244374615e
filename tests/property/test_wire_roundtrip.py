"""What is written can be read back, and what arrives in any other shape is refused in our own words."""

from __future__ import annotations

import dataclasses
import string
from collections.abc import Callable
from types import MappingProxyType

from hypothesis import given
from hypothesis import strategies as st

from modelsyncd.bases import HOLE, Run, Turned
from modelsyncd.codec.registry import Codec
from modelsyncd.digest import DIGEST_SIZE, Digest
from modelsyncd.errors import BadInputError, ModelsyncError, NewerFormatError, ProtocolError
from modelsyncd.limits import LIMITS
from modelsyncd.manifest import Chunking, File, Manifest, Tensor, piece_sizes
from modelsyncd.manners import Manners
from modelsyncd.names import ModelName, ModelRef
from modelsyncd.plan import Forecast, Priced
from modelsyncd.release import ManifestRef, Member, Parent, Release, Signature, SignedRelease, Variant
from modelsyncd.schedule import Opening
from modelsyncd.session.frames import (
    Ask,
    Assignment,
    Base,
    Desired,
    Echo,
    Fault,
    Feature,
    Frame,
    Give,
    Hello,
    Hold,
    Offer,
    Part,
    Phase,
    Quote,
    Refuse,
    Report,
    Settle,
    Standing,
    Tidings,
    Unfit,
    Waiting,
    Want,
)
from modelsyncd.wire import frames, nouns

U32 = st.integers(0, (1 << 32) - 1)
U64 = st.integers(0, (1 << 64) - 1)
DIGESTS = st.binary(min_size=DIGEST_SIZE, max_size=DIGEST_SIZE).map(Digest)
WORDS = st.text(string.ascii_lowercase, min_size=1, max_size=12).map(lambda text: f"x{text}x")
MODELS = st.builds(ModelName, WORDS, WORDS)
SENTENCES = st.text(string.ascii_letters + string.digits + " .:-äß…漢🙂", max_size=80)
LABELS = st.dictionaries(SENTENCES.filter(bool), SENTENCES, max_size=4).map(MappingProxyType)
METRICS = st.dictionaries(SENTENCES, st.floats(allow_nan=False), max_size=4).map(MappingProxyType)


@st.composite
def files(draw: st.DrawFn, path: str) -> File:
    sizes = tuple(draw(st.lists(st.integers(1, LIMITS.chunk_bytes), max_size=5)))
    size = sum(sizes)
    tensors = []
    for name in draw(st.lists(SENTENCES, max_size=3)):
        offset = draw(st.integers(0, size))
        shape = tuple(draw(st.lists(U64, max_size=3)))
        tensors.append(Tensor(name, draw(WORDS), shape, offset, draw(st.integers(0, size - offset))))
    digests = draw(st.binary(min_size=DIGEST_SIZE * len(sizes), max_size=DIGEST_SIZE * len(sizes)))
    sha256 = draw(st.binary(min_size=32, max_size=32))
    return File(path, size, sha256, draw(st.booleans()), sizes, digests, tuple(tensors), draw(SENTENCES))


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    paths = sorted(draw(st.sets(WORDS, max_size=4)))
    chunking = draw(st.builds(Chunking, U32, WORDS, U32, U32, U32))
    return Manifest(tuple(draw(files(path)) for path in paths), chunking)


@st.composite
def refs(draw: st.DrawFn) -> ManifestRef:
    size = draw(st.integers(1, 4 << 20))
    return ManifestRef(
        draw(DIGESTS),
        size,
        draw(st.integers(0, LIMITS.content_bytes)),
        draw(U32),
        bytes(DIGEST_SIZE * len(piece_sizes(size))),
    )


VARIANTS = st.lists(
    st.builds(Variant, WORDS, refs(), LABELS),
    min_size=1,
    max_size=3,
    unique_by=(lambda variant: variant.name, lambda variant: variant.manifest.digest),
).map(tuple)
PLACES = st.from_regex(r"[a-z][a-z0-9]{0,8}x", fullmatch=True)
MEMBERS = st.lists(
    st.builds(Member, MODELS, st.integers(1, (1 << 64) - 1), DIGESTS, PLACES),
    max_size=3,
    unique_by=lambda member: member.place,
).map(tuple)
PARENTS = st.lists(st.builds(Parent, MODELS, U64, DIGESTS, WORDS), max_size=3).map(tuple)


@st.composite
def releases(draw: st.DrawFn) -> Release:
    return draw(
        st.builds(
            Release,
            model=MODELS,
            number=st.integers(1, (1 << 64) - 1),
            variants=VARIANTS,
            members=MEMBERS,
            parents=PARENTS,
            labels=LABELS,
            metrics=METRICS,
            producer=SENTENCES,
            created_at=st.integers(-(1 << 63), (1 << 63) - 1),
            note=SENTENCES,
        )
    )


SIGNATURES = st.builds(Signature, WORDS, st.binary(max_size=32), st.binary(max_size=64))
SIGNED = st.builds(SignedRelease, st.binary(min_size=1, max_size=200), st.lists(SIGNATURES, max_size=3).map(tuple))
FAULTS = st.builds(Fault, WORDS, SENTENCES, SENTENCES, SENTENCES, st.booleans())
OFFERS = st.builds(Offer, SIGNED, DIGESTS, st.one_of(st.just(""), WORDS))
TIMES = st.lists(st.integers(0, 1439), min_size=2, max_size=2, unique=True) | st.just([0, 0])
DAYS = st.sets(st.integers(0, 6), min_size=1).map(lambda days: tuple(sorted(days)))
OPENINGS = st.tuples(DAYS, TIMES).map(lambda made: Opening(made[0], *made[1]))
MANNERS = st.builds(Manners, U64, st.lists(OPENINGS, max_size=3).map(tuple), U64, st.booleans(), st.booleans())
ASSIGNMENTS = st.builds(
    Assignment,
    MODELS,
    WORDS,
    st.one_of(st.none(), OFFERS),
    st.integers(-(1 << 31), (1 << 31) - 1),
    MANNERS,
    st.one_of(st.none(), DIGESTS),
    U64,
    st.one_of(st.none(), st.builds(Unfit, U64, st.lists(SENTENCES, max_size=3).map(tuple))),
)
FACTS = st.dictionaries(SENTENCES.filter(bool), st.lists(SENTENCES, max_size=3).map(tuple), max_size=3)
PINS = st.lists(st.builds(ModelRef, MODELS, number=st.integers(1, 999_999)), max_size=3).map(tuple)
DESIRED = st.builds(
    Desired,
    U64,
    st.lists(ASSIGNMENTS, max_size=3).map(tuple),
    st.integers(1, (1 << 32) - 1),
    MANNERS,
    PINS,
    U64,
    st.one_of(st.none(), LABELS),
)
PRICED = st.builds(Priced, U64, U64, U64, U64, U64)
SECONDS = st.floats(allow_nan=False)
FORECASTS = st.builds(Forecast, U64, PRICED, U64, U64, SECONDS, U32, SECONDS)
STANDINGS = st.builds(
    Standing,
    model=MODELS,
    channel=WORDS,
    phase=st.sampled_from(Phase),
    desired=U64,
    staged=U64,
    active=U64,
    bytes_total=U64,
    bytes_done=U64,
    bytes_had=U64,
    bytes_wire=U64,
    fault=st.one_of(st.none(), FAULTS),
    next_try=st.floats(allow_nan=False),
    bytes_coded=U64,
    giver_cpu=st.floats(allow_nan=False),
    taker_cpu=SECONDS,
    forecast=st.one_of(st.none(), FORECASTS),
    hold=st.sampled_from(Hold),
    hold_until=SECONDS,
    since=SECONDS,
    bytes_resent=U64,
    rate=SECONDS,
    tries=U32,
    variant=SENTENCES,
    active_variant=SENTENCES,
)
WAITING = st.builds(Waiting, MODELS, DIGESTS, U64, U64, U64, SECONDS, st.one_of(st.none(), FAULTS), SECONDS)
REPORTS = st.builds(
    Report,
    *(U64, st.lists(STANDINGS, max_size=3).map(tuple), U64, U64, U64, WORDS, WORDS, U64),
    outbox=st.lists(WAITING, max_size=2).map(tuple),
    outbox_length=U32,
    outbox_bytes=U64,
    facts=st.one_of(st.none(), FACTS),
)
RUNS = st.tuples(U32, st.integers(1, 1000)).map(lambda run: range(run[0], min(run[0] + run[1], 1 << 32)))
TURNED = st.builds(Turned, U32, U32, U32, U64)
FILES = st.one_of(st.just(HOLE), st.integers(0, (1 << 32) - 2))
BASES = st.builds(
    Base, DIGESTS, st.lists(st.builds(Run, FILES, U64, U32, st.one_of(st.none(), TURNED)), max_size=4).map(tuple)
)


@st.composite
def gives(draw: st.DrawFn) -> Give:
    payload = draw(st.binary(min_size=1, max_size=300))
    offset = draw(st.integers(0, LIMITS.chunk_bytes - len(payload)))
    return Give(
        manifest=draw(DIGESTS),
        part=draw(st.sampled_from(Part)),
        ordinal=draw(U32),
        codec=draw(st.sampled_from(Codec)),
        encoded_size=draw(st.integers(offset + len(payload), LIMITS.chunk_bytes)),
        offset=offset,
        payload=memoryview(payload) if draw(st.booleans()) else payload,
        base=draw(st.one_of(st.none(), BASES)),
        cpu=draw(U32),
    )


FRAMES = st.one_of(
    st.builds(
        Hello,
        U32,
        SENTENCES,
        st.frozensets(st.sampled_from(Codec)),
        st.lists(DIGESTS, max_size=3).map(tuple),
        st.frozensets(st.sampled_from(Feature)),
        FACTS,
    ),
    DESIRED,
    OFFERS,
    st.builds(
        Want,
        DIGESTS,
        st.sampled_from(Part),
        st.lists(RUNS, max_size=4).map(tuple),
        st.lists(DIGESTS, max_size=2).map(tuple),
        U32,
        U64,
    ),
    gives(),
    st.builds(Settle, DIGESTS, U64, st.booleans(), DIGESTS, U64, U64),
    REPORTS,
    st.builds(Refuse, FAULTS, st.one_of(st.none(), DIGESTS)),
    st.builds(Ask, DIGESTS, st.lists(RUNS, max_size=4).map(tuple), st.lists(DIGESTS, max_size=2).map(tuple)),
    st.builds(Quote, DIGESTS, PRICED),
    st.builds(Echo, U64, st.booleans()),
    st.just(Tidings()),
)


@given(manifests())
def test_a_manifest_reads_back_as_it_was_written(manifest: Manifest) -> None:
    data = nouns.encode_manifest(manifest)
    assert nouns.decode_manifest(data) == manifest
    assert nouns.encode_manifest(nouns.decode_manifest(memoryview(data))) == data


@given(releases())
def test_a_release_reads_back_as_it_was_written(release: Release) -> None:
    data = nouns.encode_release(release)
    assert nouns.decode_release(data) == release
    assert nouns.encode_release(nouns.decode_release(data)) == data


@given(releases())
def test_the_order_in_which_labels_were_given_does_not_change_a_release(release: Release) -> None:
    labels = dict(reversed(list(release.labels.items())))
    metrics = dict(reversed(list(release.metrics.items())))
    turned = dataclasses.replace(release, labels=labels, metrics=metrics)
    assert nouns.encode_release(turned) == nouns.encode_release(release)


@given(SIGNED)
def test_a_signed_release_reads_back_as_it_was_written(signed: SignedRelease) -> None:
    assert nouns.decode_signed(nouns.encode_signed(signed)) == signed


@given(DESIRED)
def test_a_desired_state_reads_back_as_it_was_written(desired: Desired) -> None:
    assert nouns.decode_desired(nouns.encode_desired(desired)) == desired


@given(REPORTS)
def test_a_report_reads_back_as_it_was_written(report: Report) -> None:
    assert nouns.decode_report(nouns.encode_report(report)) == report


@given(FRAMES)
def test_every_frame_arrives_as_it_was_sent_whichever_way_it_is_written(frame: Frame) -> None:
    message = frames.to_pb(frame)
    assert frames.from_pb(message) == frame
    assert frames.decode(frames.encode(frame)) == frame
    assert frames.decode(message.SerializeToString()) == frame
    assert type(message).FromString(frames.encode(frame)) == message


def refusal(read: Callable[[bytes], object], data: bytes) -> ModelsyncError | None:
    """How `read` refuses these bytes; anything but an error of ours passes through and fails the test."""
    try:
        read(data)
    except ModelsyncError as error:
        return error
    return None


def bend(whole: bytes, data: st.DataObject) -> bytes:
    """The bytes with one of them changed."""
    bent = bytearray(whole)
    bent[data.draw(st.integers(0, len(bent) - 1))] ^= data.draw(st.integers(1, 255))
    return bytes(bent)


@given(FRAMES, st.data())
def test_a_frame_cut_anywhere_is_a_frame_or_a_protocol_error(frame: Frame, data: st.DataObject) -> None:
    whole = frames.encode(frame)
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    assert isinstance(refusal(frames.decode, cut), ProtocolError | None)


@given(FRAMES, st.data())
def test_a_frame_with_one_byte_changed_is_a_frame_or_a_protocol_error(frame: Frame, data: st.DataObject) -> None:
    assert isinstance(refusal(frames.decode, bend(frames.encode(frame), data)), ProtocolError | None)


@given(manifests(), releases(), st.data())
def test_a_stored_noun_with_one_byte_changed_is_read_or_refused_in_our_own_words(
    manifest: Manifest, release: Release, data: st.DataObject
) -> None:
    ours = BadInputError | NewerFormatError | None
    assert isinstance(refusal(nouns.decode_manifest, bend(nouns.encode_manifest(manifest), data)), ours)
    assert isinstance(refusal(nouns.decode_release, bend(nouns.encode_release(release), data)), ours)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_in_our_own_words(data: bytes) -> None:
    ours = BadInputError | NewerFormatError | None
    assert isinstance(refusal(nouns.decode_manifest, data), ours)
    assert isinstance(refusal(nouns.decode_release, data), ours)
    assert isinstance(refusal(nouns.decode_signed, data), ours)
    assert isinstance(refusal(nouns.decode_desired, data), ours)
    assert isinstance(refusal(nouns.decode_report, data), ours)
    assert isinstance(refusal(frames.decode, data), ProtocolError | None)
