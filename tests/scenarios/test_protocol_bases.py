"""The words of docs/protocol.md on bases: each MUST is quoted by a test that proves it."""

from __future__ import annotations

import random

import pytest

from modelsyncd.bases import Run
from modelsyncd.codec.registry import Codec
from modelsyncd.digest import Digest, digest_of
from modelsyncd.session import effects as do
from modelsyncd.session import events as on
from modelsyncd.session.frames import Base, Give, Part, Settle, Want
from modelsyncd.session.session import Session
from modelsyncd.session.taker import FALSE_STARTS
from tests.fakes.conversation import CPU, Content, Conversation, hello, small_window
from tests.scenarios.words import quote

OLD, OLDER = digest_of(b"old"), digest_of(b"older")
CHUNKS = 30
CONTENT = Content([b"manifest"], [random.Random(n).randbytes(1_000) for n in range(CHUNKS)])
SEEDS = range(6)


def taking(seed: int, bases: tuple[Digest, ...] = (OLD, OLDER)) -> Conversation:
    taker = Session(hello(), window=small_window())
    return Conversation(random.Random(seed), {}, {CONTENT.name: CONTENT}, taker=taker, bases=bases)


def run(talk: Conversation) -> do.Finished:
    talk.step("taker", on.Take(CONTENT.offer()))
    talk.run()
    (finished,) = talk.finished
    return finished


def content_gives(talk: Conversation) -> list[Give]:
    return [give for give in talk.given if give.part is Part.CONTENT]


def content_wants(talk: Conversation) -> list[Want]:
    return [frame for _, frame in talk.sent if isinstance(frame, Want) and frame.part is Part.CONTENT]


@pytest.mark.parametrize("seed", SEEDS)
def test_rule_24_what_a_taker_names_is_what_it_is_coded_against(seed: int) -> None:
    quote(24, "A giver MUST code a chunk only against a manifest that the taker named in that transfer")
    talk = taking(seed)
    assert run(talk).settled is not None
    assert {want.bases for want in content_wants(talk)} == {(OLD, OLDER)}
    assert {give.base and give.base.manifest for give in content_gives(talk)} == {OLD}
    talk = taking(seed, bases=())
    assert run(talk).settled is not None
    assert {give.base for give in content_gives(talk)} == {None}


@pytest.mark.parametrize("bases", [(), (OLD,)], ids=["nothing was named", "another was named"])
def test_rule_24_a_base_that_nobody_named_is_refused(bases: tuple[Digest, ...]) -> None:
    quote(24, "A taker that is given anything else refuses with `protocol`.")
    talk = taking(1, bases)
    strange = Base(OLDER, (Run(0, 0, 1_000),))

    def tamper(frame: object) -> list[object]:
        if isinstance(frame, Give) and frame.part is Part.CONTENT:
            return [Give(CONTENT.name, frame.part, frame.ordinal, Codec.STORED, 1_000, 0, bytes(1_000), strange)]
        return [frame]

    talk.tamper = tamper  # type: ignore[assignment]
    talk.step("taker", on.Take(CONTENT.offer()))
    talk.run()
    assert {end.fault.code for end in talk.hung_up if end.fault is not None} == {"protocol"}
    assert talk.completed == []


@pytest.mark.parametrize("seed", SEEDS)
def test_rule_25_what_a_base_spoiled_comes_without_one(seed: int) -> None:
    quote(25, "MUST be asked for again without bases")
    talk = taking(seed)
    spoiled = {3, 11, 12}
    talk.spoil = lambda keep: keep.base is not None and keep.part is Part.CONTENT and keep.ordinal in spoiled
    finished = run(talk)
    assert finished.settled is not None
    assert finished.progress.resent == 3_000
    assert finished.progress.coded == 1_000 * (CHUNKS - 3)
    again = [give for give in content_gives(talk) if give.base is None]
    assert sorted(give.ordinal for give in again) == sorted(spoiled)
    assert {
        ordinal for want in content_wants(talk) if not want.bases for run in want.ranges for ordinal in run
    } == spoiled
    assert len(content_gives(talk)) == CHUNKS + 3, "nothing else came twice"


@pytest.mark.parametrize("seed", SEEDS)
def test_rule_26_a_base_that_spoils_many_is_not_named_again(seed: int) -> None:
    quote(26, "A base that has spoiled four chunks of a transfer MUST NOT be named in it again")
    talk = taking(seed)
    talk.spoil = lambda keep: keep.base is not None and keep.base.manifest == OLD and keep.part is Part.CONTENT
    finished = run(talk)
    assert finished.settled is not None
    wants = [want.bases for want in content_wants(talk)]
    last = max(n for n, bases in enumerate(wants) if OLD in bases)
    assert OLD not in wants[-1]
    assert all(OLD not in bases for bases in wants[last + 1 :])
    # What had been asked for when the fourth was spoiled still comes against it, and that is a window at most.
    assert FALSE_STARTS <= finished.progress.resent / 1_000 <= FALSE_STARTS + 10
    assert finished.progress.coded == 1_000 * CHUNKS - finished.progress.resent


@pytest.mark.parametrize("seed", SEEDS)
def test_rule_27_both_sides_learn_what_it_cost(seed: int) -> None:
    quote(27, "`Settle` says how many plain bytes came coded against a base, and what the taker spent on them")
    quote(27, "each `Give` says what the giver spent")
    talk = taking(seed)
    finished = run(talk)
    assert finished.progress.giver_cpu == pytest.approx(CPU * (CHUNKS + 1))
    assert finished.progress.taker_cpu == pytest.approx(CPU * (CHUNKS + 1))
    (settle,) = [frame for _, frame in talk.sent if isinstance(frame, Settle)]
    assert settle.coded == 1_000 * CHUNKS
    assert settle.cpu == pytest.approx(1e6 * CPU * (CHUNKS + 1), abs=1)
    giver = Session(hello())
    giver.start(0.0)
    giver.step(on.Received(hello()), 0.0)
    giver.step(on.Say(CONTENT.offer()), 0.0)
    effects = giver.step(on.Received(settle), 0.0)
    (told,) = [effect for effect in effects if isinstance(effect, do.Finished)]
    assert told.progress.coded == settle.coded
    assert told.progress.taker_cpu == pytest.approx(settle.cpu / 1e6)
