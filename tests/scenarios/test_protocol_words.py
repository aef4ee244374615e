"""The words of docs/protocol.md on beginning, taking and giving: each MUST is quoted by a test that proves it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from modelsyncd.codec.registry import READABLE, Codec
from modelsyncd.errors import RoadError
from modelsyncd.link.pump import Pump, Word
from modelsyncd.session import effects as do
from modelsyncd.session import events as on
from modelsyncd.session.flow import FIRST_FRAME
from modelsyncd.session.frames import (
    PROTOCOL,
    Fault,
    Frame,
    Give,
    Hello,
    Part,
    Refuse,
    Report,
    Settle,
    Unknown,
    Want,
)
from modelsyncd.session.session import Session
from modelsyncd.session.window import Window
from tests.fakes.conversation import Content, Conversation, hello, small_window, some_content
from tests.fakes.wires import MemoryStock, wire_pair
from tests.scenarios.words import quote, quoted, rules

SEEDS = range(12)
WINDOW = 10_000  # bytes: of `small_window`


def begin(seed: int, content: Content | None = None, taker: Session | None = None) -> tuple[Conversation, Content]:
    rng = random.Random(seed)
    content = content or some_content(rng, 40)
    taker = taker or Session(hello(), window=small_window())
    return Conversation(rng, {}, {content.name: content}, taker=taker), content


def frames_in(effects: Sequence[do.Effect]) -> list[Frame]:
    return [effect.frame for effect in effects if isinstance(effect, do.Send)]


def only_refusal(effects: Sequence[do.Effect]) -> Fault:
    """The fault of a step that did nothing but refuse and hang up."""
    (refuse,) = frames_in(effects)
    assert isinstance(refuse, Refuse)
    assert refuse.manifest is None
    assert [effect.fault for effect in effects if isinstance(effect, do.HangUp)] == [refuse.fault]
    return refuse.fault


def test_every_rule_with_a_must_is_quoted_by_a_test() -> None:
    said = list(quoted())
    assert all(sentence in rules()[number] for number, sentence in said)
    proved = {number for number, sentence in said if "MUST" in sentence}
    assert len(rules()) > 20
    assert {number for number, rule in rules().items() if "MUST" in rule} <= proved


# --- beginning ---


@pytest.mark.parametrize(
    "frame", [Want(some_content(random.Random(1), 1).name, Part.CONTENT, (range(1),)), Report(1, ())]
)
def test_rule_1_hello_comes_first(frame: Frame) -> None:
    quote(1, "The first frame of each side MUST be `Hello`; anything else before it is refused with `protocol`.")
    session = Session(hello())
    assert frames_in(session.start(0.0)) == [hello()]
    assert only_refusal(session.step(on.Received(frame), 0.0)).code == "protocol"
    talk, content = begin(1)
    talk.step("taker", on.Take(content.offer()))
    talk.run()
    for side in ("taker", "giver"):
        assert isinstance(next(frame for who, frame in talk.sent if who == side), Hello)


@pytest.mark.parametrize("protocol", [0, PROTOCOL + 1, 2**31])
def test_rule_2_another_protocol_number_is_refused(protocol: int) -> None:
    quote(
        2,
        "A peer that names another protocol number MUST be refused with `wrong-protocol`, and told which"
        " side to upgrade.",
    )
    session = Session(hello())
    session.start(0.0)
    fault = only_refusal(session.step(on.Received(hello(protocol)), 0.0))
    assert fault.code == "wrong-protocol"
    assert f"protocol {protocol}" in fault.message
    assert "upgrade" in fault.hint


def test_rule_3_an_unknown_frame_is_answered() -> None:
    quote(3, "A frame of an unknown kind MUST be answered with `Refuse`, naming its number, and ends the session.")
    session = Session(hello())
    session.start(0.0)
    session.step(on.Received(hello()), 0.0)
    assert "4711" in only_refusal(session.step(on.Received(Unknown(4711)), 0.0)).message
    assert session.step(on.Received(Report(1, ())), 0.0) == []


def test_rule_4_hello_comes_once() -> None:
    quote(4, "A second `Hello` MUST be refused.")
    session = Session(hello())
    session.start(0.0)
    session.step(on.Received(hello()), 0.0)
    assert only_refusal(session.step(on.Received(hello()), 0.0)).code == "protocol"


# --- taking ---


def wanted(talk: Conversation) -> set[tuple[Part, int]]:
    """Every chunk that the taker asked for."""
    wants = [frame for side, frame in talk.sent if side == "taker" and isinstance(frame, Want)]
    return {(want.part, ordinal) for want in wants for run in want.ranges for ordinal in run}


@pytest.mark.parametrize("seed", SEEDS)
def test_rule_5_only_what_is_missing_is_asked_for(seed: int) -> None:
    quote(5, "A taker MUST ask only for what its store says is missing; the store is its only memory.")
    talk, content = begin(seed)
    rng = random.Random(seed)
    held = {(part, n) for part in Part for n in range(len(content.chunks(part))) if rng.random() < 0.5}
    for part in Part:
        chunks = content.chunks(part)
        talk.durable[content.name, part] = {n: chunks[n] for n in range(len(chunks)) if (part, n) in held}
    talk.step("taker", on.Take(content.offer()))
    talk.run(rng.randrange(80))  # the link is cut here
    first = wanted(talk)
    here = {(part, n) for (_, part), chunks in talk.durable.items() for n in chunks}
    again = Conversation(rng, talk.durable, talk.has, taker=Session(hello(), window=small_window()))
    again.step("taker", on.Take(content.offer()))
    again.run()
    assert not first & held
    assert wanted(again) == {(part, n) for part in Part for n in range(len(content.chunks(part)))} - here
    assert again.completed == [content.name]


@pytest.mark.parametrize("seed", SEEDS)
def test_rule_6_what_is_wanted_and_not_durable_stays_within_the_window_and_two_chunks(seed: int) -> None:
    quote(
        6,
        "The plain bytes that were wanted and are not durable yet MUST NOT exceed the taker's window by more than"
        " two chunks: one of which parts have come, and a share of the next.",
    )
    rng = random.Random(seed)
    large = [rng.randbytes(rng.choice([300, 4_000, 25_000])) for _ in range(30)]
    talk, content = begin(seed, Content([b"manifest"], large))
    talk.step("taker", on.Take(content.offer()))
    while talk.run(1):
        durable = {(part, n) for (_, part), chunks in talk.durable.items() for n in chunks}
        out = [len(content.chunks(part)[n]) for part, n in wanted(talk) - durable]
        assert sum(out) <= WINDOW + sum(sorted(out)[-2:])
    assert talk.completed == [content.name]


def test_rule_7_a_chunk_counts_when_it_is_durable() -> None:
    quote(
        7,
        "A chunk MUST be decoded, compared with its digest and durable before it counts; the window reopens only then.",
    )
    chunks = [bytes([n]) * 5_000 for n in range(4)]
    content = Content([b"manifest"], chunks)
    session = Session(hello(), window=small_window())
    session.start(0.0)
    session.step(on.Received(hello()), 0.0)
    session.step(on.Take(content.offer()), 0.0)
    session.step(on.Surveyed(content.name, 1, Part.MANIFEST, [8], []), 0.0)
    effects = session.step(on.Surveyed(content.name, 1, Part.CONTENT, [5_000] * 4, [0, 1, 2, 3]), 0.0)
    assert [want.ranges for want in frames_in(effects) if isinstance(want, Want)] == [(range(2),)]
    for ordinal in (0, 1):
        give = Give(content.name, Part.CONTENT, ordinal, Codec.STORED, 5_000, 0, chunks[ordinal])
        effects = session.step(on.Received(give), 1.0)
        assert [type(effect) for effect in effects] == [do.Keep], "it arrived, and nothing more follows from that"
        assert session.progress(content.name).done == 0
    effects = session.step(on.Kept(content.name, 1, Part.CONTENT, [0, 1]), 1.0)
    assert [want.ranges for want in frames_in(effects) if isinstance(want, Want)] == [(range(2, 4),)]
    assert session.progress(content.name).done == 10_000


@pytest.mark.parametrize("wrong", [1, 2, 3])
def test_rule_8_a_wrong_chunk_is_asked_for_again_and_not_for_ever(wrong: int) -> None:
    quote(
        8,
        "A chunk that does not match its digest MUST be asked for again; after three arrivals the transfer"
        " is refused with `damage`.",
    )
    arrivals = 0

    def spoil(keep: do.Keep) -> bool:
        nonlocal arrivals
        if (keep.part, keep.ordinal) != (Part.CONTENT, 7):
            return False
        arrivals += 1
        return arrivals <= wrong

    talk, content = begin(8)
    talk.spoil = spoil
    talk.step("taker", on.Take(content.offer()))
    talk.run()
    (end,) = talk.finished
    assert arrivals == min(3, wrong + 1)
    if wrong < 3:
        assert end.settled is not None
    else:
        assert end.fault is not None
        assert end.fault.code == "damage"
        assert [frame.manifest for _, frame in talk.sent if isinstance(frame, Refuse)] == [content.name]


@pytest.mark.parametrize("seed", SEEDS)
def test_rule_9_nothing_is_settled_before_all_of_it_is_durable(seed: int) -> None:
    quote(9, "A taker MUST NOT settle before every chunk of both parts is durable.")
    talk, content = begin(seed)
    talk.step("taker", on.Take(content.offer()))
    while talk.run(1):
        if any(isinstance(frame, Settle) for _, frame in talk.sent):
            break
    for part in Part:
        assert talk.durable[content.name, part] == dict(enumerate(content.chunks(part)))
    lost, content = begin(seed)
    gone = random.Random(seed).choice([(part, n) for part in Part for n in range(len(content.chunks(part)))])
    lost.tamper = lambda frame: [] if isinstance(frame, Give) and (frame.part, frame.ordinal) == gone else [frame]
    lost.step("taker", on.Take(content.offer()))
    lost.run()
    assert not any(isinstance(frame, Settle) for _, frame in lost.sent)


async def test_rule_10_the_end_of_the_stream_settles_nothing() -> None:
    quote(10, "The end of the stream MUST NOT be taken for the end of a transfer: only `Settle` settles.")
    content = some_content(random.Random(10), 20)
    left, right = wire_pair(64)
    heard: list[Word] = []
    giver = Pump(Session(hello()), left, giver=MemoryStock({content.name: content}), deliver=heard.append)
    giver.say(content.offer())
    async with asyncio.TaskGroup() as group:
        running = group.create_task(_error_of(giver))
        await right.write(hello())
        for part in Part:  # everything is asked for, and arrives; the word that it is durable never comes
            await right.write(Want(content.name, part, (range(len(content.chunks(part))),)))
        count = sum(len(content.chunks(part)) for part in Part)
        while count:
            count -= isinstance(await right.read(), Give)
        await right.end()
    assert isinstance(running.result(), RoadError)
    assert not [said for said in heard if isinstance(said, do.Finished) and said.settled is not None]


async def _error_of(pump: Pump) -> Exception | None:
    try:
        await pump.run()
    except RoadError as error:
        return error
    return None


def test_rule_11_silence_ends_the_session_and_slowness_does_not() -> None:
    quote(
        11, "When chunks are owed and none arrives for 60 seconds, the taker MUST end the session with `no-progress`."
    )
    quote(11, "There is no limit on the total time.")
    chunks = [bytes([n]) * 1_000 for n in range(200)]
    content = Content([b"manifest"], chunks)
    talk, _ = begin(11, content)
    talk.tamper = lambda frame: [] if isinstance(frame, Give) else [frame]
    talk.step("taker", on.Take(content.offer()))
    talk.run()
    gives = iter([Give(content.name, Part.MANIFEST, 0, Codec.STORED, 8, 0, b"manifest")])
    for give in [*gives, *(Give(content.name, Part.CONTENT, n, Codec.STORED, 1_000, 0, chunks[n]) for n in range(50))]:
        talk.now += 59.0  # three quarters of an hour altogether, and each of them just in time
        talk.step("taker", on.Woke())
        talk.step("taker", on.Received(give))
        talk.run()
    assert talk.hung_up == []
    talk.now += 61.0
    talk.step("taker", on.Woke())
    (end,) = talk.hung_up
    assert end.fault is not None
    assert end.fault.code == "no-progress"


# --- giving ---


@pytest.mark.parametrize("seed", SEEDS)
def test_rule_12_nothing_is_given_unasked(seed: int) -> None:
    quote(12, "A giver MUST send only chunks that were asked for.")
    content = some_content(random.Random(seed), 30)
    session = Session(hello())
    session.start(0.0)
    session.step(on.Received(hello()), 0.0)
    assert frames_in(session.step(on.Say(content.offer()), 0.0)) == [content.offer()], "an offer gives nothing"
    (load,) = session.step(on.Received(Want(content.name, Part.CONTENT, (range(3, 6), range(9, 10)))), 0.0)
    assert isinstance(load, do.Load)
    assert list(load.ordinals) == [3, 4, 5, 9]
    other = on.Loaded(content.name, 1, Part.CONTENT, [on.Encoded(8, Codec.STORED, content.content[8])])
    assert not [frame for frame in frames_in(session.step(other, 0.0)) if isinstance(frame, Give)]
    talk, content = begin(seed)
    talk.step("taker", on.Take(content.offer()))
    talk.run()
    assert {(give.part, give.ordinal) for give in talk.given} <= wanted(talk)


@pytest.mark.parametrize(("asked", "most"), [(0, FIRST_FRAME), (16 << 10, 16 << 10), (1, 1), (10 << 20, 256 << 10)])
def test_rule_13_a_give_is_no_larger_than_asked_for(asked: int, most: int) -> None:
    quote(
        13,
        "The payload of one `Give` MUST be at most 256 KiB, and at most what the `Want` asked for with `frame_bytes`.",
    )
    plain = random.Random(13).randbytes(100 if most == 1 else 1 << 20)
    content = Content([b"manifest"], [plain])
    taker = Session(hello(), window=Window(), frame_bytes=asked)
    talk, _ = begin(13, content, taker=taker)
    talk.step("taker", on.Take(content.offer()))
    talk.run()
    sizes = [len(give.payload) for give in talk.given if give.part is Part.CONTENT]
    assert max(sizes) == most
    assert sum(sizes) == len(plain)
    assert talk.completed == [content.name]


def parts_of_two() -> tuple[Conversation, Content]:
    """Two chunks of 100 bytes were wanted, and the test gives them by hand."""
    talk, content = begin(14, Content([b"manifest"], [bytes(100), bytes(range(100))]))
    talk.tamper = lambda frame: [] if isinstance(frame, Give) and frame.part is Part.CONTENT else [frame]
    talk.step("taker", on.Take(content.offer()))
    talk.run()
    return talk, content


def give_part(talk: Conversation, content: Content, ordinal: int, offset: int) -> None:
    payload = content.content[ordinal][offset : offset + 50]
    part = Give(content.name, Part.CONTENT, ordinal, Codec.STORED, 100, offset, payload)
    talk.step("taker", on.Received(part))
    talk.run()


def test_rule_14_the_parts_of_a_chunk_come_in_order() -> None:
    quote(14, "The parts of an encoded chunk MUST come in order.")
    talk, content = begin(14, taker=Session(hello(), window=small_window(), frame_bytes=300))
    talk.step("taker", on.Take(content.offer()))
    talk.run()
    expected: dict[tuple[Part, int], int] = {}
    for give in talk.given:
        assert give.offset == expected.get((give.part, give.ordinal), 0)
        expected[give.part, give.ordinal] = give.offset + len(give.payload)
    assert sum(expected.values()) == sum(len(give.payload) for give in talk.given)

    for offsets in ((0, 0), (0, 25)):
        wrong, content = parts_of_two()
        for offset in offsets:
            give_part(wrong, content, 0, offset)
        assert [end.fault.code for end in wrong.hung_up if end.fault is not None] == ["protocol"] * 2


def test_rule_14_parts_of_other_chunks_may_come_between() -> None:
    quote(14, "Parts of other chunks that were wanted may come between them.")
    talk, content = parts_of_two()
    for ordinal, offset in ((0, 0), (1, 0), (0, 50), (1, 50)):
        give_part(talk, content, ordinal, offset)
    assert talk.hung_up == []
    assert talk.durable[content.name, Part.CONTENT] == dict(enumerate(content.content))
    assert talk.completed == [content.name]


@pytest.mark.parametrize("reads", [frozenset({Codec.STORED}), READABLE])
def test_rule_15_only_codecs_that_the_taker_reads_are_used(reads: frozenset[Codec]) -> None:
    quote(15, "A giver MUST use only codecs that the taker named in its `Hello`.")
    content = Content([b"manifest"], [bytes([n]) * 5_000 for n in range(10)])  # what any codec would make smaller
    taker = Session(Hello(PROTOCOL, "old", reads), window=small_window())
    talk, _ = begin(15, content, taker=taker)
    talk.step("taker", on.Take(content.offer()))
    talk.run()
    assert talk.completed == [content.name]
    assert {give.codec for give in talk.given} <= reads
    assert (Codec.ZSTD in {give.codec for give in talk.given}) == (Codec.ZSTD in reads)
