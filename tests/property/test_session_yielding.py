"""Yielding: chunks only after a word came back as fast as on an idle way, with nothing of ours on its way meanwhile."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st

from modelsyncd.session import events as on
from modelsyncd.session.frames import Echo, Frame, Part, Want
from modelsyncd.session.pace import LAST_PAUSE, LOST, MEMORY, Courtesy
from modelsyncd.session.session import Session
from tests.fakes.conversation import Content, Conversation, hello, pricing, small_window, some_content

WINDOW = 10_000  # bytes: of `small_window`
seeds = st.integers(0, 2**32)


def begin(seed: int, chunks: int = 40, giver: Session | None = None) -> tuple[Conversation, Content]:
    rng = random.Random(seed)
    content = some_content(rng, chunks)
    taker = Session(hello(), window=small_window())
    return Conversation(rng, {}, {content.name: content}, taker=taker, giver=giver or pricing()), content


def wants(talk: Conversation) -> list[Want]:
    sent = [frame for side, frame in talk.sent if side == "taker" and isinstance(frame, Want)]
    return [want for want in sent if want.part is Part.CONTENT]


def wire(talk: Conversation) -> int:
    return sum(len(give.payload) for give in talk.given if give.part is Part.CONTENT)


def yielding(talk: Conversation, way: Callable[[float], float]) -> None:
    """An Echo takes as long as the way does at that time, and so does nothing else."""
    talk.delay = lambda frame: way(talk.now) if isinstance(frame, Echo) and frame.answer else 0.0


def test_a_background_transfer_waits_while_the_way_is_busy_and_goes_on_when_it_is_free() -> None:
    talk, content = begin(5, 900)
    talk.durable[content.name, Part.MANIFEST] = dict(enumerate(content.manifest))
    yielding(talk, lambda now: 0.8 if 5 <= now < 65 else 0.1)
    talk.step("taker", on.Pace(yielding=frozenset([content.name])))
    talk.step("taker", on.Take(content.offer(), gated=True))
    talk.live(4.9)
    free = wire(talk)
    assert free >= 20 * WINDOW  # a window for each round trip
    talk.live(64.9)
    busy = wire(talk) - free
    assert busy <= 2 * WINDOW
    talk.live(65 + LAST_PAUSE + 5)
    assert wire(talk) - free - busy >= 10 * WINDOW
    echoes = [frame for side, frame in talk.sent if side == "taker" and isinstance(frame, Echo)]
    assert len(echoes) <= wire(talk) / (WINDOW / 2) + 60


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_nothing_of_ours_is_on_its_way_while_the_way_is_measured(seed: int) -> None:
    talk, content = begin(seed, 60)
    yielding(talk, lambda _: 0.05)
    out: set[tuple[Part, int]] = set()

    def watch(frame: Frame) -> list[Frame]:
        if isinstance(frame, Want):
            out.update((frame.part, n) for run in frame.ranges for n in run)
        durable = {(part, n) for (_, part), chunks in talk.durable.items() for n in chunks}
        if isinstance(frame, Echo) and not frame.answer:
            assert out <= durable, "our own chunks delay what we measure"
        return [frame]

    talk.tamper = watch
    talk.step("taker", on.Pace(yielding=frozenset([content.name])))
    talk.step("taker", on.Take(content.offer(), gated=True))
    talk.live(600.0)
    assert talk.completed == [content.name]


def test_what_an_answer_told_is_a_moment_old_when_chunks_are_asked_for_also_with_a_rate() -> None:
    talk, content = begin(6, 60)
    talk.durable[content.name, Part.MANIFEST] = dict(enumerate(content.manifest))
    yielding(talk, lambda _: 0.05)
    asked_at = [-inf]

    def watch(frame: Frame) -> list[Frame]:
        if isinstance(frame, Echo) and not frame.answer:
            asked_at.append(talk.now)
        if isinstance(frame, Want) and frame.part is Part.CONTENT:
            assert talk.now - asked_at[-1] <= 1.0, "asked on an answer of long ago"
        return [frame]

    talk.tamper = watch
    talk.step("taker", on.Pace(rate=100, yielding=frozenset([content.name])))  # minutes for a window
    talk.step("taker", on.Take(content.offer(), gated=True))
    talk.live(3_600.0)
    assert talk.completed == [content.name]
    assert len(asked_at) > 3


def test_a_peer_that_answers_no_echo_is_not_waited_for() -> None:
    old = Session(replace(hello(), features=frozenset()))
    talk, content = begin(6, giver=old)
    talk.step("taker", on.Pace(yielding=frozenset([content.name])))
    talk.step("taker", on.Take(content.offer(), gated=True))
    talk.run()
    assert talk.completed == [content.name]
    assert not [frame for _, frame in talk.sent if isinstance(frame, Echo)]


def test_an_echo_that_is_lost_is_sent_again() -> None:
    talk, content = begin(7)
    lost: list[Frame] = []

    def lose(frame: Frame) -> list[Frame]:
        if isinstance(frame, Echo) and not frame.answer and not lost:
            lost.append(frame)
            return []
        return [frame]

    talk.tamper = lose
    talk.step("taker", on.Pace(yielding=frozenset([content.name])))
    talk.step("taker", on.Take(content.offer(), gated=True))
    talk.live(LOST - 0.5)
    assert wants(talk) == []
    talk.live(LOST + 10)
    assert talk.completed == [content.name]


def test_a_way_that_became_longer_for_good_is_free_again_after_a_while() -> None:
    courtesy, now = Courtesy(), 0.0
    for _ in range(3):
        token = courtesy.ask(now)
        assert token is not None
        courtesy.answered(token, now + 0.05)
        courtesy.used()
        now += 1
    since = now
    while not courtesy.free:
        now = min(courtesy.wake_at(), now + 100)
        token = courtesy.ask(now)
        if token is not None:
            now += 0.6
            courtesy.answered(token, now)
    assert now - since <= 2 * MEMORY + LAST_PAUSE + 1


def test_an_answer_that_nobody_waits_for_says_nothing() -> None:
    courtesy = Courtesy()
    courtesy.answered(1, 0.0)
    token = courtesy.ask(1.0)
    assert token is not None
    courtesy.answered(token + 1, 1.1)
    assert courtesy.wake_at() == 1.0 + LOST  # it still waits for its own
    courtesy.answered(token, 1.2)
    assert courtesy.free
    assert courtesy.wake_at() == inf
    assert courtesy.ask(2.0) is None  # it is free already
