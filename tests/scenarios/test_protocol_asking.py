"""The words of docs/protocol.md on asking first, limits and yielding: each MUST is quoted by a test that proves it."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from modelsyncd.manners import Manners, manners
from modelsyncd.plan import Priced
from modelsyncd.session import effects as do
from modelsyncd.session import events as on
from modelsyncd.session.frames import Ask, Echo, Feature, Frame, Hold, Part, Quote, Report, Want
from modelsyncd.session.session import PATIENCE, Session
from modelsyncd.session.taker import OVERRUN
from tests.fakes.conversation import Content, Conversation, hello, pricing, small_window
from tests.fakes.mannered_node import Node
from tests.fakes.node_hub import NodeHub
from tests.fakes.versions import published, some_files
from tests.scenarios.words import quote

CONTENT = Content([b"manifest"], [random.Random(n).randbytes(1_000) for n in range(40)])
ONE = published(some_files(random.Random(1), 40))
SEEDS = range(6)
WINDOW = 10_000  # bytes: of `small_window`


def asking(seed: int, giver: Session | None = None) -> Conversation:
    taker = Session(hello(), window=small_window())
    return Conversation(random.Random(seed), {}, {CONTENT.name: CONTENT}, taker=taker, giver=giver or pricing())


def take(talk: Conversation) -> None:
    talk.step("taker", on.Take(CONTENT.offer(), gated=True))
    talk.run()


def said(talk: Conversation, kind: type[Frame]) -> list[Frame]:
    return [frame for side, frame in talk.sent if side == "taker" and isinstance(frame, kind)]


def content_wants(talk: Conversation) -> list[Frame]:
    return [frame for frame in said(talk, Want) if isinstance(frame, Want) and frame.part is Part.CONTENT]


@pytest.mark.parametrize("features", [frozenset(), frozenset({Feature.QUOTES}), frozenset({Feature.ECHO})])
def test_rule_30_only_who_can_answer_is_asked(features: frozenset[Feature]) -> None:
    quote(30, "A peer MUST NOT say one to a peer that did not list it.")
    talk = asking(1, Session(replace(hello(), features=features)))
    talk.step("taker", on.Pace(yielding=frozenset([CONTENT.name])))
    take(talk)
    talk.live(60.0)
    assert talk.completed == [CONTENT.name]
    assert bool(said(talk, Ask)) is (Feature.QUOTES in features)
    assert bool(said(talk, Echo)) is (Feature.ECHO in features)
    if Feature.QUOTES not in features:
        assert [word.priced for word in talk.quoted] == [Priced(left=CONTENT.size)]


async def test_rule_33_what_it_takes_is_reported_first(tmp_path: Path) -> None:
    quote(33, "A node MUST NOT want a content before it has reported what that will take (`Forecast`).")
    hub = NodeHub()
    hub.want(ONE)
    node = Node(tmp_path, hub)
    async with node.running():
        await node.until_active(ONE)
    first = next(n for n, one in enumerate(hub.heard) if isinstance(one, tuple) and one[1] is Part.CONTENT)
    told = [one.standings[0].forecast for one in hub.heard[:first] if isinstance(one, Report) and one.standings]
    assert told[-1] is not None


@pytest.mark.parametrize("more", [-1, 1])
def test_rule_34_a_quote_about_other_bytes_is_refused(more: int) -> None:
    quote(34, "A `Quote` about other bytes than those of the `Ask` MUST be refused with `protocol`.")
    talk = asking(1)
    wrong = Quote(CONTENT.name, Priced(alone=CONTENT.size + more))
    talk.tamper = lambda frame: [wrong] if isinstance(frame, Quote) else [frame]
    take(talk)
    assert next(hang.fault.code for hang in talk.hung_up if hang.fault) == "protocol"


@pytest.mark.parametrize("seed", SEEDS)
def test_rule_35_more_than_was_quoted_is_asked_about(seed: int) -> None:
    quote(35, "the taker MUST NOT want more before it has asked again.")
    talk = asking(seed)
    talk.prices = lambda sizes, payloads: [Priced(alone=sum(sizes), alone_wire=sum(map(len, payloads)) // 2)]
    until: list[float] = []

    def leave(word: do.Quoted) -> int:
        until.append(word.progress.wire + word.priced.wire * (1 + OVERRUN))
        return word.priced.wire

    talk.leave = leave
    talk.step("taker", on.Take(CONTENT.offer(), gated=True))
    while talk.run(1):
        came = sum(len(give.payload) for give in talk.given)
        assert not until or came <= until[-1] + WINDOW
    assert talk.completed == [CONTENT.name]
    assert len(said(talk, Ask)) == len(until) > 1


def test_rule_36_who_owes_a_quote_is_given_up_and_who_waits_for_leave_is_not() -> None:
    quote(36, "A peer that owes a `Quote` and says nothing for 60 seconds MUST be given up with `no-progress`.")
    silent = asking(1)
    silent.tamper = lambda frame: [] if isinstance(frame, Ask) else [frame]
    take(silent)
    silent.live(PATIENCE + 1)
    assert {hang.fault.code for hang in silent.hung_up if hang.fault} == {"no-progress"}
    patient = asking(1)
    patient.leave = lambda _: None
    take(patient)
    patient.live(1_000 * PATIENCE)
    assert patient.hung_up == []
    assert content_wants(patient) == []


@pytest.mark.parametrize("token", [0, 7, 2**64 - 1])
def test_rule_37_an_echo_is_answered(token: int) -> None:
    quote(37, "An `Echo` MUST be answered with the same token.")
    session = Session(hello())
    session.start(0.0)
    session.step(on.Received(hello()), 0.0)
    effects = session.step(on.Received(Echo(token)), 0.0)
    assert effects == [do.Send(Echo(token, answer=True))]
    assert session.step(on.Received(Echo(token, answer=True)), 0.0) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_rule_38_who_yields_measures_the_way_without_itself(seed: int) -> None:
    quote(38, "Whoever yields MUST NOT want a chunk before an `Echo` came back while nothing of its own was on its way")
    talk = asking(seed)
    talk.step("taker", on.Pace(yielding=frozenset([CONTENT.name])))
    out: set[tuple[Part, int]] = set()
    free = [False]

    def watch(frame: Frame) -> list[Frame]:
        durable = {(part, n) for (_, part), chunks in talk.durable.items() for n in chunks}
        if isinstance(frame, Want):
            assert free[0], "asked for chunks without having asked for the way"
            free[0] = False
            out.update((frame.part, n) for run in frame.ranges for n in run)
        elif isinstance(frame, Echo) and frame.answer:
            free[0] = True
            assert out <= durable
        return [frame]

    talk.tamper = watch
    take(talk)
    talk.live(600.0)
    assert talk.completed == [CONTENT.name]


@pytest.mark.parametrize(
    ("mind", "hold"),
    [
        (manners(paused=True), Hold.PAUSED),
        (manners(openings=["sat,sun"]), Hold.WINDOW),
        (manners(month_bytes=1), Hold.BUDGET),
    ],
)
async def test_rule_39_limits_are_kept_by_what_is_wanted(tmp_path: Path, mind: Manners, hold: Hold) -> None:
    quote(39, "it MUST NOT want chunks.")
    hub = NodeHub()
    hub.want(ONE)
    hub.limit(mind)
    node = Node(tmp_path, hub)
    async with node.running():
        await hub.reported(lambda one: one.hold is hold)
        assert hub.given == []
