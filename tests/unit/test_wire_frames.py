"""What a frame may hold, and what happens to one that this version has no word for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from modelsyncd.bases import HOLE, Run, Turned
from modelsyncd.codec.registry import Codec
from modelsyncd.digest import digest_of
from modelsyncd.errors import ProtocolError
from modelsyncd.limits import LIMITS, Limits
from modelsyncd.session.frames import Base, Frame, Give, Hello, Part, Unknown
from modelsyncd.wire import frames
from modelsyncd.wire.v1 import nouns_pb2, sync_pb2

MANIFEST = digest_of(b"manifest")
HELLO = Hello(1, "test", frozenset({Codec.ZSTD}))
BASE = Base(MANIFEST, (Run(1, 2, 3), Run(HOLE, 0, 5), Run(0, 7, 8, Turned(2, 3, 4, 1))))
GIVE = Give(MANIFEST, Part.CONTENT, 3, Codec.ZSTD, 100, 10, b"payload", BASE)


def large_give(size: int = 100_000) -> Give:
    return Give(MANIFEST, Part.CONTENT, 3, Codec.ZSTD, size, 0, bytes(size), BASE)


def read_plainly(data: bytes) -> Frame:
    """The same without our own way of finding a payload."""
    try:
        message = sync_pb2.Frame.FromString(data)
    except DecodeError as error:
        raise ProtocolError("malformed") from error
    return frames.from_pb(message)


def outcome(read: Callable[[bytes], Frame], data: bytes) -> Frame | type[ProtocolError]:
    try:
        return read(data)
    except ProtocolError:
        return ProtocolError


def give_pb(**changes: object) -> sync_pb2.Frame:
    message = frames.to_pb(GIVE)
    for name, value in changes.items():
        setattr(message.give, name, value)
    return message


def test_a_frame_of_the_future_is_known_by_its_number() -> None:
    later = b"\xa2\x06\x05later"  # field 100, five bytes
    assert frames.decode(later) == Unknown(100)
    assert frames.from_pb(sync_pb2.Frame.FromString(later)) == Unknown(100)


def test_an_empty_frame_is_unknown_with_no_number() -> None:
    assert frames.decode(b"") == Unknown(0)


def test_an_unknown_frame_can_not_be_sent() -> None:
    with pytest.raises(ProtocolError):
        frames.encode(Unknown(9))


def test_a_chunk_in_an_unknown_codec_is_a_protocol_error_that_names_it() -> None:
    message = give_pb(codec=77)
    with pytest.raises(ProtocolError, match="codec 77"):
        frames.from_pb(message)
    with pytest.raises(ProtocolError, match="codec 77"):
        frames.decode(message.SerializeToString())


def test_codecs_of_the_future_in_a_hello_are_passed_over() -> None:
    hello = sync_pb2.Hello(protocol=1, software="later", codecs=[nouns_pb2.CODEC_ZSTD])
    found = frames.decode(b"\x0a\x0e" + hello.SerializeToString() + b"\x18\x4d")  # and codec 77
    assert getattr(found, "codecs", None) == {Codec.ZSTD}


@pytest.mark.parametrize(
    "changes",
    [
        {"payload": b""},
        {"encoded_size": 16},  # 10 + 7 bytes do not fit
        {"encoded_size": LIMITS.chunk_bytes + 1},
        {"offset": (1 << 32) - 1},
        {"part": 0},
        {"part": 9},
        {"manifest": b"short"},
        {"codec": 0},
    ],
)
def test_a_give_that_does_not_add_up_is_a_protocol_error(changes: dict[str, object]) -> None:
    message = give_pb(**changes)
    with pytest.raises(ProtocolError):
        frames.from_pb(message)
    with pytest.raises(ProtocolError):
        frames.decode(message.SerializeToString())


def test_a_payload_larger_than_a_frame_may_have_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError, match="6 bytes of payload"):
        frames.decode(frames.encode(GIVE), Limits(frame_bytes=6))


def test_a_frame_larger_than_a_message_may_be_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError):
        frames.decode(b"\xa2\x06\x05later", Limits(message_bytes=3))


def test_the_payload_of_a_large_give_is_a_view_of_the_message_and_not_a_copy() -> None:
    data = frames.encode(large_give())
    found = frames.decode(data)
    assert isinstance(found, Give)
    assert isinstance(found.payload, memoryview)
    assert found.payload.obj is data


@pytest.mark.parametrize("size", [7, 100_000])
def test_a_give_whose_fields_come_in_another_order_is_read_all_the_same(size: int) -> None:
    whole = large_give(size)
    payload, head = sync_pb2.Give(payload=bytes(whole.payload)), frames.to_pb(whole).give
    head.ClearField("payload")
    body = payload.SerializeToString() + head.SerializeToString()
    length_and_body = sync_pb2.Refuse(manifest=body).SerializeToString()[1:]
    assert frames.decode(b"\x2a" + length_and_body) == whole


def test_of_a_large_frame_with_two_words_the_last_one_counts_as_protobuf_has_it() -> None:
    first = frames.to_pb(large_give()).SerializeToString()
    assert frames.decode(first + frames.encode(HELLO)) == HELLO


@pytest.mark.parametrize(
    "changes", [{"encoded_size": 16}, {"part": 0}, {"manifest": b"short"}, {"codec": 77}, {"payload": bytes(300_000)}]
)
def test_a_large_give_is_judged_like_a_small_one(changes: dict[str, object]) -> None:
    message = frames.to_pb(large_give())
    for name, value in changes.items():
        setattr(message.give, name, value)
    with pytest.raises(ProtocolError):
        frames.decode(message.SerializeToString())


@given(st.integers(0, 200), st.integers(1, 255))
def test_a_large_give_with_a_changed_byte_is_read_as_protobuf_reads_it(place: int, change: int) -> None:
    bent = bytearray(frames.encode(large_give()))
    bent[place] ^= change
    assert outcome(frames.decode, bytes(bent)) == outcome(read_plainly, bytes(bent))


@pytest.mark.parametrize("run", [(0, 0), ((1 << 32) - 1, 2)])
def test_a_want_with_an_empty_or_impossible_run_is_a_protocol_error(run: tuple[int, int]) -> None:
    want = sync_pb2.Want(manifest=MANIFEST, part=sync_pb2.PART_CONTENT)
    want.ranges.add(first=run[0], count=run[1])
    with pytest.raises(ProtocolError):
        frames.from_pb(sync_pb2.Frame(want=want))


def test_a_desired_state_with_a_bad_name_is_a_protocol_error_that_says_which() -> None:
    desired = sync_pb2.Desired(generation=1, keep=2)
    desired.assignments.add(model="../up", channel="stable")
    with pytest.raises(ProtocolError, match=r"\.\."):
        frames.from_pb(sync_pb2.Frame(desired=desired))
