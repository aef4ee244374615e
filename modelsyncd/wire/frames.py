"""The only place where a session's words become bytes and bytes become words.

Give is the hot path: its payload is the last field of the frame, so it is written as a head of protobuf and the
payload's own bytes behind it, and read as a view of the message that came. Both writings are plain protobuf.
"""

from __future__ import annotations

from google.protobuf.unknown_fields import UnknownFieldSet

from modelsyncd.codec.registry import Codec
from modelsyncd.digest import digest_from
from modelsyncd.errors import BadInputError, ProtocolError
from modelsyncd.limits import LIMITS, Limits
from modelsyncd.session.frames import (
    Ask,
    Desired,
    Echo,
    Feature,
    Frame,
    Give,
    Hello,
    Offer,
    Part,
    Quote,
    Refuse,
    Report,
    Settle,
    Tidings,
    Unknown,
    Want,
)
from modelsyncd.wire import outline
from modelsyncd.wire.bases import base_from_pb, base_to_pb
from modelsyncd.wire.desired import desired_from_pb, desired_to_pb, offer_from_pb, offer_to_pb
from modelsyncd.wire.facts import facts_from_pb, facts_to_pb
from modelsyncd.wire.faultwords import fault_from_pb, fault_to_pb
from modelsyncd.wire.parse import parse
from modelsyncd.wire.prices import ask_from_pb, ask_to_pb, quote_from_pb, quote_to_pb
from modelsyncd.wire.reports import report_from_pb, report_to_pb
from modelsyncd.wire.runs import bases_named, digests, runs_from_pb, runs_to_pb
from modelsyncd.wire.terse import Said
from modelsyncd.wire.v1 import nouns_pb2, sync_pb2

SOFTWARE_CHARS = 256  # characters of a peer's software name that are kept, for people
LARGE = 32 << 10  # bytes: below it protobuf copies faster than Python finds the payload
_PARTS = {part.value: part for part in Part}
_CODECS = {codec.value: codec for codec in Codec}
_PARTS_PB = {part: sync_pb2.Part.Value(f"PART_{part.name}") for part in Part}
_FEATURES = {feature.value: feature for feature in Feature}
_FEATURES_PB = {feature: sync_pb2.Feature.Value(f"FEATURE_{feature.name}") for feature in Feature}
_CODECS_PB = {codec: nouns_pb2.Codec.Value(f"CODEC_{codec.name}") for codec in Codec}


def to_pb(frame: Frame) -> sync_pb2.Frame:
    """The message. Raises ProtocolError for Unknown, which can't be said."""
    match frame:
        case Give():
            give = _give_head(frame)
            give.payload = bytes(frame.payload)
            return sync_pb2.Frame(give=give)
        case Want():
            return sync_pb2.Frame(want=_want_to_pb(frame))
        case Hello():
            return sync_pb2.Frame(hello=_hello_to_pb(frame))
        case Desired():
            return sync_pb2.Frame(desired=desired_to_pb(frame))
        case Offer():
            return sync_pb2.Frame(offer=offer_to_pb(frame))
        case Settle():
            return sync_pb2.Frame(settle=_settle_to_pb(frame))
        case Report():
            return sync_pb2.Frame(report=report_to_pb(frame))
        case Refuse():
            return sync_pb2.Frame(refuse=_refuse_to_pb(frame))
        case Ask():
            return sync_pb2.Frame(ask=ask_to_pb(frame))
        case Quote():
            return sync_pb2.Frame(quote=quote_to_pb(frame))
        case Echo(token, answer):
            return sync_pb2.Frame(echo=sync_pb2.Echo(token=token, answer=answer))
        case Tidings():
            return sync_pb2.Frame(tidings=sync_pb2.Tidings())
        case Unknown():
            raise ProtocolError("an unknown frame can't be sent")


def from_pb(message: sync_pb2.Frame, limits: Limits = LIMITS) -> Frame:
    """The word, checked; Unknown for one that this version does not know. Raises ProtocolError for a malformed one."""
    try:
        return _from_pb(message, limits)
    except BadInputError as error:
        raise ProtocolError(f"a malformed frame came: {error.message}", hint=error.hint) from error


def encode(frame: Frame, said: Said | None = None) -> bytes:
    """The frame's bytes, with a Give's payload copied once. Raises ProtocolError for Unknown.

    With `said`, a Give leaves out what those before it said: only for a peer that names Feature.TERSE.
    """
    if isinstance(frame, Give):
        return _encode_give(frame, said)
    return to_pb(frame).SerializeToString()


def decode(data: bytes, limits: Limits = LIMITS, heard: Said | None = None) -> Frame:
    """The frame that these bytes hold; the payload of a large Give is a view of them. Raises ProtocolError.

    With `heard`, what a Give leaves out is filled in from those before it on the same call.
    """
    try:
        give = _decode_give(data) if len(data) >= LARGE else None
        if give is not None:
            if heard is not None:
                heard.fill(give[0])
            return _give_from_pb(give[0], give[1], limits)
        message = parse(sync_pb2.Frame, data, "a frame", limits.message_bytes)
        if heard is not None and message.HasField("give"):
            heard.fill(message.give)
        return _from_pb(message, limits)
    except BadInputError as error:
        raise ProtocolError(f"a malformed frame came: {error.message}", hint=error.hint) from error


def _from_pb(message: sync_pb2.Frame, limits: Limits) -> Frame:
    match message.WhichOneof("body"):
        case "give":
            return _give_from_pb(message.give, message.give.payload, limits)
        case "want":
            return _want_from_pb(message.want, limits)
        case "hello":
            return _hello_from_pb(message.hello)
        case "desired":
            return desired_from_pb(message.desired, limits)
        case "offer":
            return offer_from_pb(message.offer, limits)
        case "settle":
            return _settle_from_pb(message.settle)
        case "report":
            return report_from_pb(message.report, limits)
        case "refuse":
            return _refuse_from_pb(message.refuse)
        case "ask":
            return ask_from_pb(message.ask, limits)
        case "quote":
            return quote_from_pb(message.quote)
        case "echo":
            return Echo(message.echo.token, message.echo.answer)
        case "tidings":
            return Tidings()
        case _:
            strange = UnknownFieldSet(message)
            return Unknown(strange[0].field_number if len(strange) else 0)


# --- Give ---

_FRAME_GIVE = bytes([sync_pb2.Frame.GIVE_FIELD_NUMBER << 3 | 2])
_GIVE_PAYLOAD = bytes([sync_pb2.Give.PAYLOAD_FIELD_NUMBER << 3 | 2])


def _encode_give(give: Give, said: Said | None) -> bytes:
    fields = _give_head(give)
    if said is not None:
        said.shorten(fields)
    head = fields.SerializeToString() + _GIVE_PAYLOAD + _varint(len(give.payload))
    return b"".join((_FRAME_GIVE, _varint(len(head) + len(give.payload)), head, give.payload))


def _decode_give(data: bytes) -> tuple[sync_pb2.Give, memoryview] | None:
    """Head and payload of a Give as `_encode_give` writes it; None for anything else, which protobuf then judges."""
    if data[:1] != _FRAME_GIVE:
        return None
    (_, start, end), *more = outline.fields(data)
    if more:
        return None
    head_end = start
    for number, first, last in outline.fields(data, start, end):
        if number == sync_pb2.Give.PAYLOAD_FIELD_NUMBER:
            if last != end:
                return None
            head = parse(sync_pb2.Give, memoryview(data)[start:head_end], "a Give", len(data))
            return head, memoryview(data)[first:last]
        head_end = last
    return None


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _give_head(give: Give) -> sync_pb2.Give:
    return sync_pb2.Give(
        manifest=give.manifest,
        part=_PARTS_PB[give.part],
        ordinal=give.ordinal,
        codec=_CODECS_PB[give.codec],
        base=None if give.base is None else base_to_pb(give.base),
        encoded_size=give.encoded_size,
        offset=give.offset,
        cpu_micros=give.cpu,
    )


def _give_from_pb(head: sync_pb2.Give, payload: bytes | memoryview, limits: Limits) -> Give:
    codec = _CODECS.get(head.codec)
    if codec is None:
        raise ProtocolError(f"a chunk came in codec {head.codec}, which this side does not read and did not ask for")
    size, offset = head.encoded_size, head.offset
    if not 0 < len(payload) <= limits.frame_bytes:
        raise ProtocolError(f"a Give has 1 to {limits.frame_bytes} bytes of payload, not {len(payload)}")
    if size > limits.chunk_bytes or offset + len(payload) > size:
        raise ProtocolError(f"a Give of {len(payload)} bytes at {offset} does not fit into an encoded chunk of {size}")
    base = base_from_pb(head.base, limits) if head.HasField("base") else None
    manifest, part = digest_from(head.manifest), _part(head.part)
    return Give(manifest, part, head.ordinal, codec, size, offset, payload, base, head.cpu_micros)


# --- The other words ---


def _part(number: int) -> Part:
    part = _PARTS.get(number)
    if part is None:
        raise ProtocolError(f"there is no part {number}")
    return part


def _hello_to_pb(hello: Hello) -> sync_pb2.Hello:
    codecs = [_CODECS_PB[codec] for codec in sorted(hello.codecs)]
    features = sorted(_FEATURES_PB[feature] for feature in hello.features)
    return sync_pb2.Hello(
        protocol=hello.protocol,
        software=hello.software,
        codecs=codecs,
        holds=hello.holds,
        features=features,
        facts=facts_to_pb(hello.facts),
    )


def _hello_from_pb(message: sync_pb2.Hello) -> Hello:
    """Codecs and features that this side has no name for are passed over: it would never use them."""
    codecs = frozenset(_CODECS[number] for number in message.codecs if number in _CODECS)
    features = frozenset(_FEATURES[number] for number in message.features if number in _FEATURES)
    software, facts = message.software[:SOFTWARE_CHARS], facts_from_pb(message.facts)
    return Hello(message.protocol, software, codecs, digests(message.holds), features, facts)


def _want_to_pb(want: Want) -> sync_pb2.Want:
    return sync_pb2.Want(
        manifest=want.manifest,
        part=_PARTS_PB[want.part],
        ranges=runs_to_pb(want.ranges),
        bases=want.bases,
        frame_bytes=want.frame_bytes,
        missing_bytes=want.missing_bytes,
    )


def _want_from_pb(message: sync_pb2.Want, limits: Limits) -> Want:
    return Want(
        manifest=digest_from(message.manifest),
        part=_part(message.part),
        ranges=runs_from_pb(message.ranges, "a Want", limits),
        bases=bases_named(message.bases, "a Want", limits),
        frame_bytes=message.frame_bytes,
        missing_bytes=message.missing_bytes,
    )


def _settle_to_pb(settle: Settle) -> sync_pb2.Settle:
    return sync_pb2.Settle(
        manifest=settle.manifest,
        number=settle.number,
        created=settle.created,
        release_digest=settle.release_digest,
        bytes_coded=settle.coded,
        cpu_micros=settle.cpu,
    )


def _settle_from_pb(message: sync_pb2.Settle) -> Settle:
    return Settle(
        digest_from(message.manifest),
        message.number,
        message.created,
        digest_from(message.release_digest),
        message.bytes_coded,
        message.cpu_micros,
    )


def _refuse_to_pb(refuse: Refuse) -> sync_pb2.Refuse:
    return sync_pb2.Refuse(fault=fault_to_pb(refuse.fault), manifest=refuse.manifest or b"")


def _refuse_from_pb(message: sync_pb2.Refuse) -> Refuse:
    return Refuse(fault_from_pb(message.fault), digest_from(message.manifest) if message.manifest else None)
