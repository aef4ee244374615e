"""The conversation under every order of events, cuts, and a peer that repeats, drops and garbles."""

from __future__ import annotations

import dataclasses
import random
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelsyncd.codec.registry import Codec
from modelsyncd.digest import Digest
from modelsyncd.errors import RefusedError
from modelsyncd.limits import LIMITS
from modelsyncd.session import effects as do
from modelsyncd.session import events as on
from modelsyncd.session.faults import fault_of
from modelsyncd.session.frames import Desired, Frame, Give, Part, Refuse, Report, Settle, Unknown, Want
from modelsyncd.session.progress import Progress
from modelsyncd.session.session import PATIENCE, Session
from modelsyncd.session.window import Window
from tests.fakes.conversation import Content, Conversation, hello, small_window, some_content

seeds = st.integers(0, 2**32)


def begin(seed: int, chunks: int = 40) -> tuple[Conversation, Content]:
    rng = random.Random(seed)
    content = some_content(rng, chunks)
    talk = Conversation(rng, {}, {content.name: content}, taker=Session(hello(), window=small_window()))
    return talk, content


@given(seeds, st.integers(0, 60))
def test_every_order_of_events_ends_with_all_chunks_durable_and_each_given_once(seed: int, chunks: int) -> None:
    talk, content = begin(seed, chunks)
    talk.step("taker", on.Take(content.offer()))
    talk.run()
    assert talk.completed == [content.name]
    assert [done.settled is not None for done in talk.finished] == [True]
    starts = [(give.part, give.ordinal) for give in talk.given if give.offset == 0]
    assert len(starts) == len(set(starts)) == len(content.manifest) + chunks


@given(seeds)
def test_a_push_is_the_same_with_the_ends_swapped(seed: int) -> None:
    talk, content = begin(seed)
    talk.step("giver", on.Say(content.offer()))
    talk.run()
    assert talk.completed == [content.name]
    assert [frame for side, frame in talk.sent if side == "taker" and isinstance(frame, Settle)]


@given(seeds, st.integers(1, 20))
def test_after_any_cuts_only_what_was_not_durable_travels_again(seed: int, cuts: int) -> None:
    talk, content = begin(seed)
    rng = talk.rng
    wire = 0
    for _ in range(cuts):
        talk.step("taker", on.Take(content.offer()))
        before = {key: set(held) for key, held in talk.durable.items()}
        talk.run(rng.randrange(200))
        wire += sum(len(give.payload) for give in talk.given)
        for give in talk.given:
            assert give.ordinal not in before.get((give.manifest, give.part), set()), "a durable chunk travelled again"
        talk = Conversation(rng, talk.durable, talk.has, taker=Session(hello(), window=small_window()))
    talk.step("taker", on.Take(content.offer()))
    talk.run()
    wire += sum(len(give.payload) for give in talk.given)
    assert talk.completed == [content.name]
    allowed = content.size + sum(map(len, content.manifest)) + cuts * (10_000 + 2_000)
    assert wire <= allowed, "more than a window was sent again for a cut"


@given(seeds, st.integers(1, 8), st.integers(0, 60))
def test_chunks_that_come_over_several_lanes_in_any_order_are_all_kept_once(seed: int, lanes: int, chunks: int) -> None:
    rng = random.Random(seed)
    content = some_content(rng, chunks)
    taker = Session(hello(), window=small_window(), frame_bytes=rng.randint(100, 1_500))
    talk = Conversation(rng, {}, {content.name: content}, taker=taker)
    waiting: list[deque[Give]] = [deque() for _ in range(lanes)]

    def spread(frame: Frame) -> list[Frame]:
        if not isinstance(frame, Give):
            return [frame]
        waiting[frame.ordinal % lanes].append(frame)
        return []

    talk.tamper = spread
    talk.step("taker", on.Take(content.offer()))
    talk.run()
    while full := [lane for lane in waiting if lane]:
        talk.step("taker", on.Received(rng.choice(full).popleft()))
        talk.run()
    assert talk.completed == [content.name]
    assert talk.hung_up == []


@given(seeds)
def test_no_more_than_a_window_and_two_chunks_are_ever_asked_for_and_not_durable(seed: int) -> None:
    talk, content = begin(seed)
    talk.step("taker", on.Take(content.offer()))
    while talk.run(1):
        sizes = {part: content.chunks(part) for part in Part}
        wanted = {
            (frame.part, ordinal)
            for side, frame in talk.sent
            if side == "taker" and isinstance(frame, Want)
            for run in frame.ranges
            for ordinal in run
        }
        out = [
            len(sizes[part][ordinal])
            for part, ordinal in wanted
            if ordinal not in talk.durable.get((content.name, part), {})
        ]
        assert sum(out) <= 10_000 + sum(sorted(out)[-2:])
    assert talk.completed


@given(seeds, st.floats(0.0, 0.3))
def test_a_peer_that_repeats_drops_and_reorders_never_makes_half_a_version_complete(seed: int, share: float) -> None:
    talk, content = begin(seed)
    held: list[Frame] = []

    def tamper(frame: Frame) -> list[Frame]:
        if talk.rng.random() >= share:
            return [frame]
        kind = talk.rng.randrange(4)
        if kind == 0:
            return []
        if kind == 1:
            return [frame, frame]
        if kind == 2:
            held.append(frame)
            return []
        return [frame, *held[-1:]]

    talk.tamper = tamper
    talk.step("taker", on.Take(content.offer()))
    talk.run(20_000)  # Conversation asserts, at the moment of Complete, that everything is durable
    assert len(talk.completed) <= 1


@given(seeds, st.integers(1, 255))
def test_a_garbled_chunk_is_asked_for_again_and_nothing_of_it_is_kept(seed: int, flip: int) -> None:
    talk, content = begin(seed)
    garbled = set()

    def tamper(frame: Frame) -> list[Frame]:
        if not isinstance(frame, Give) or (frame.part, frame.ordinal) in garbled or talk.rng.random() > 0.2:
            return [frame]
        garbled.add((frame.part, frame.ordinal))
        payload = bytearray(frame.payload)
        payload[talk.rng.randrange(len(payload))] ^= flip
        return [dataclasses.replace(frame, payload=bytes(payload))]

    talk.tamper = tamper
    talk.step("taker", on.Take(content.offer()))
    talk.run()
    assert talk.completed == [content.name]
    assert talk.finished[0].progress.resent >= 0


def test_a_chunk_that_never_matches_ends_its_transfer_and_no_other() -> None:
    talk, bad = begin(1)
    good = some_content(random.Random(2), 10)
    talk.has[good.name] = good
    talk.spoil = lambda keep: keep.offer.manifest == bad.name and keep.part is Part.CONTENT and keep.ordinal == 3
    talk.step("taker", on.Take(bad.offer()))
    talk.step("taker", on.Take(good.offer()))
    talk.run()
    faults = {done.manifest: done.fault for done in talk.finished}
    assert talk.completed == [good.name]
    fault = faults[bad.name]
    assert fault is not None
    assert fault.code == "damage"
    assert not talk.hung_up


def test_the_higher_priority_gets_all_the_credit_first() -> None:
    talk, slow = begin(3, 60)
    urgent = some_content(random.Random(4), 60)
    talk.has[urgent.name] = urgent
    talk.step("taker", on.Take(slow.offer(), 0))
    talk.run(30)
    talk.step("taker", on.Take(urgent.offer(), 5))
    talk.run()
    assert talk.completed == [urgent.name, slow.name]


@given(seeds, st.integers(1, 3_000))
def test_frames_are_never_larger_than_asked_for(seed: int, frame_bytes: int) -> None:
    talk, content = begin(seed, 10)
    talk.taker.frame_bytes = frame_bytes
    talk.step("taker", on.Take(content.offer()))
    talk.run()
    assert talk.completed == [content.name]
    assert max(len(give.payload) for give in talk.given) <= frame_bytes


def test_a_peer_that_asks_for_more_than_any_taker_would_is_hung_up_on() -> None:
    talk, content = begin(10)
    talk.run()
    greedy = Want(content.name, Part.CONTENT, (range(2**31),))
    talk.step("giver", on.Received(greedy))
    fault = talk.hung_up[0].fault
    assert fault is not None
    assert fault.code == "limit"


def test_tiny_chunks_are_asked_for_in_bounded_numbers() -> None:
    rng = random.Random(11)
    content = Content([b"manifest"], [b"x"] * 20_000)
    talk = Conversation(rng, {}, {content.name: content}, taker=Session(hello(), window=Window()))
    talk.step("taker", on.Take(content.offer()))
    talk.run()
    wants = [frame for _, frame in talk.sent if isinstance(frame, Want)]
    assert max(sum(map(len, want.ranges)) for want in wants) <= LIMITS.want_chunks
    assert talk.completed == [content.name]


def test_a_slow_disk_is_not_the_peers_silence() -> None:
    talk, content = begin(12, 60)
    talk.run()
    talk.stuck = []
    talk.step("taker", on.Take(content.offer()))
    talk.run()
    talk.now = PATIENCE - 1
    stuck, talk.stuck = talk.stuck, None
    assert stuck
    for keep in stuck:
        talk.keep("taker", keep)  # the disk is back: this is when more is asked for
    talk.now = PATIENCE + 1
    talk.step("taker", on.Woke())
    assert not talk.hung_up


def test_what_was_never_asked_for_does_not_count_as_progress() -> None:
    talk, content = begin(13)
    talk.run()
    talk.tamper = lambda frame: [] if isinstance(frame, Give) else [frame]
    talk.step("taker", on.Take(content.offer()))
    talk.run()
    talk.now = talk.alarms["taker"]
    stray = Give(Digest(b"another"), Part.CONTENT, 0, Codec.STORED, 1, 0, b"x")
    talk.step("taker", on.Received(stray))
    talk.step("taker", on.Woke())
    assert talk.hung_up


def test_a_giver_remembers_nothing_of_what_it_refused() -> None:
    talk, _ = begin(14)
    talk.run()
    for number in range(100):
        manifest = Digest(number.to_bytes(32, "big"))
        effects = talk.giver.step(on.Received(Want(manifest, Part.CONTENT, (range(1),), missing_bytes=5)), 0.0)
        (load,) = [effect for effect in effects if isinstance(effect, do.Load)]
        talk.giver.step(on.LoadFailed(manifest, load.serial, fault_of(RefusedError("no"))), 0.0)
        assert talk.giver.progress(manifest) == Progress()


def test_another_protocol_number_is_refused_with_what_to_do() -> None:
    talk = Conversation(random.Random(0), {}, {}, taker=Session(hello(2)))
    talk.run()
    fault = talk.hung_up[0].fault
    assert fault is not None
    assert fault.code == "wrong-protocol"
    assert "upgrade" in fault.hint


@pytest.mark.parametrize("frame", [Unknown(99), Desired(1, ()), Report(1, ()), Want(Digest(b"m"), Part.CONTENT, ())])
def test_nothing_may_come_before_hello(frame: Frame) -> None:
    session = Session(hello())
    session.start(0.0)
    effects = session.step(on.Received(frame), 0.0)
    refused = [effect.frame for effect in effects if hasattr(effect, "frame")]
    assert isinstance(refused[0], Refuse)
    assert refused[0].fault.code == "protocol"


def test_an_unknown_frame_is_answered_with_a_word_that_the_peer_can_read() -> None:
    talk, _ = begin(6)
    talk.run()
    talk.step("giver", on.Received(Unknown(99)))
    side, frame = talk.sent[-1]
    assert (side, type(frame)) == ("giver", Refuse)
    assert isinstance(frame, Refuse)
    assert "99" in frame.fault.message
    assert "upgrade" in frame.fault.hint


def test_silence_from_a_peer_that_owes_chunks_ends_the_session() -> None:
    talk, content = begin(7)
    talk.run()
    talk.tamper = lambda frame: [] if isinstance(frame, Give) else [frame]
    talk.step("taker", on.Take(content.offer()))
    talk.run()
    talk.now = talk.alarms["taker"]
    talk.step("taker", on.Woke())
    fault = talk.hung_up[0].fault
    assert fault is not None
    assert fault.code == "no-progress"
    assert fault.retryable


def test_a_long_pause_before_a_want_is_not_the_peers_silence() -> None:
    talk, content = begin(8)
    talk.run()
    talk.now = 10 * PATIENCE
    talk.step("taker", on.Take(content.offer()))
    talk.run(3)
    talk.now += PATIENCE / 2
    talk.step("taker", on.Woke())
    assert not talk.hung_up


@given(st.lists(st.integers(0, 50), min_size=1, max_size=50, unique=True))
def test_ranges_name_exactly_the_missing_ordinals(missing: list[int]) -> None:
    rng = random.Random(9)
    content = Content([b"manifest"], [rng.randbytes(10) for _ in range(51)])
    held = {ordinal: chunk for ordinal, chunk in enumerate(content.content) if ordinal not in missing}
    durable = {(content.name, Part.CONTENT): held}
    talk = Conversation(rng, durable, {content.name: content})
    talk.step("taker", on.Take(content.offer()))
    talk.run()
    asked = [
        ordinal
        for _, frame in talk.sent
        if isinstance(frame, Want) and frame.part is Part.CONTENT
        for run in frame.ranges
        for ordinal in run
    ]
    assert asked == sorted(missing)
    progress = talk.finished[0].progress
    assert (progress.total, progress.had, progress.done) == (510, 510 - 10 * len(missing), 510)
