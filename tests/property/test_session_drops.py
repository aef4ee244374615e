"""What is dropped in the middle stops, does no harm, and may be begun again."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from modelsyncd.codec.registry import Codec
from modelsyncd.errors import ProtocolError
from modelsyncd.session import events as on
from modelsyncd.session.frames import Give, Part, Want
from modelsyncd.session.session import Session
from modelsyncd.session.taker import STRAY_BYTES
from tests.fakes.conversation import Content, Conversation, hello, small_window, some_content

seeds = st.integers(0, 2**32)


def begin(seed: int, chunks: int = 40) -> tuple[Conversation, Content]:
    rng = random.Random(seed)
    content = some_content(rng, chunks)
    talk = Conversation(rng, {}, {content.name: content}, taker=Session(hello(), window=small_window()))
    return talk, content


def test_a_dropped_transfer_stops_and_its_late_chunks_do_no_harm() -> None:
    talk, content = begin(5)
    talk.step("taker", on.Take(content.offer()))
    talk.run(60)
    talk.step("taker", on.Drop([content.name]))
    talk.step("taker", on.Take(content.offer()))
    talk.run()
    assert talk.completed == [content.name]
    assert [done.settled is None for done in talk.finished] == [True, False]
    assert not talk.hung_up


@given(seeds, st.integers(0, 200))
def test_of_what_is_dropped_at_once_nothing_more_is_asked_for(seed: int, steps: int) -> None:
    rng = random.Random(seed)
    contents = [some_content(rng, 15) for _ in range(3)]
    has = {content.name: content for content in contents}
    talk = Conversation(rng, {}, has, taker=Session(hello(), window=small_window()))
    for priority, content in enumerate(contents):
        talk.step("taker", on.Take(content.offer(), priority))
    talk.run(steps)
    before = len(talk.sent)
    talk.step("taker", on.Drop([content.name for content in contents]))
    assert not [frame for _, frame in talk.sent[before:] if isinstance(frame, Want)]
    talk.run()
    assert not [frame for who, frame in talk.sent[before:] if who == "taker" and isinstance(frame, Want)]


@given(seeds, st.lists(st.integers(0, 60), min_size=1, max_size=12))
def test_a_transfer_may_be_dropped_and_begun_again_at_any_moment(seed: int, moments: list[int]) -> None:
    talk, content = begin(seed, 15)
    talk.step("taker", on.Take(content.offer()))
    for steps in moments:  # answers to the dropped transfer are still on their way when the next one begins
        talk.run(steps)
        talk.step("taker", on.Drop([content.name]))
        talk.step("taker", on.Take(content.offer()))
    talk.run()
    assert talk.completed
    assert set(talk.completed) == {content.name}
    assert not talk.hung_up
    assert talk.finished[-1].settled is not None
    for done in talk.finished:
        assert 0 <= done.progress.had <= done.progress.done <= done.progress.total


def test_late_chunks_of_a_dropped_transfer_are_harmless_and_ones_that_never_end_are_not() -> None:
    talk, content = begin(1)
    late = Give(content.name, Part.CONTENT, 0, Codec.STORED, 1 << 18, 0, bytes(1 << 18))
    talk.run()
    for _ in range(2):
        talk.step("taker", on.Take(content.offer()))
        talk.step("taker", on.Drop([content.name]))
        for _ in range(STRAY_BYTES >> 18):
            talk.step("taker", on.Received(late))
        assert talk.hung_up == []
    talk.step("taker", on.Received(late))
    (end,) = talk.hung_up
    assert end.fault is not None
    assert end.fault.code == ProtocolError.code
