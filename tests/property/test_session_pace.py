"""Asking first, keeping to a rate, yielding and overtaking: what a session may ask for, and when."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelsyncd.plan import Priced
from modelsyncd.session import effects as do
from modelsyncd.session import events as on
from modelsyncd.session.frames import Ask, Desired, Frame, Part, Quote, Want
from modelsyncd.session.pace import BURST, Bucket, credit
from modelsyncd.session.session import PATIENCE, Session
from modelsyncd.session.taker import OVERRUN
from tests.fakes.conversation import Content, Conversation, hello, pricing, small_window, some_content

WINDOW = 10_000  # bytes: of `small_window`
seeds = st.integers(0, 2**32)


def begin(seed: int, chunks: int = 40, *more: Content, giver: Session | None = None) -> tuple[Conversation, Content]:
    rng = random.Random(seed)
    content = some_content(rng, chunks)
    has = {one.name: one for one in (content, *more)}
    taker = Session(hello(), window=small_window())
    return Conversation(rng, {}, has, taker=taker, giver=giver or pricing()), content


def wants(talk: Conversation, part: Part = Part.CONTENT) -> list[Want]:
    return [frame for side, frame in talk.sent if side == "taker" and isinstance(frame, Want) and frame.part is part]


def wire(talk: Conversation, part: Part = Part.CONTENT) -> int:
    return sum(len(give.payload) for give in talk.given if give.part is part)


# --- plans first ---


@given(seeds, st.integers(1, 60))
def test_nothing_of_the_content_is_asked_for_before_it_has_leave(seed: int, chunks: int) -> None:
    talk, content = begin(seed, chunks)
    talk.leave = lambda _: None
    talk.step("taker", on.Take(content.offer(), gated=True))
    talk.live(1_000.0)
    assert wants(talk) == []
    assert talk.hung_up == []
    assert talk.quoted[-1].final
    assert (talk.quoted[-1].priced.plain, talk.quoted[-1].progress.total) == (content.size, content.size)
    told = talk.quoted[-1].priced.wire
    talk.step("taker", on.Go(content.name, told))
    talk.run()
    assert talk.completed == [content.name]
    assert wire(talk) == told
    assert len(talk.quoted) == 1


@given(seeds, st.integers(2, 60))
def test_what_is_known_is_said_until_nothing_is_left_to_guess(seed: int, chunks: int) -> None:
    def slowly(sizes: Sequence[int], payloads: Sequence[bytes]) -> list[Priced]:
        known = range(0, len(sizes) + 1, max(1, len(sizes) // 3))
        rows = [(sum(sizes[:n]), sum(map(len, payloads[:n])), sum(sizes[n:])) for n in [*known, len(sizes)]]
        return [Priced(alone=plain, alone_wire=spent, left=left) for plain, spent, left in rows]

    talk, content = begin(seed, chunks)
    talk.prices = slowly
    talk.step("taker", on.Take(content.offer(), gated=True))
    talk.run()
    assert talk.completed == [content.name]
    said = [word.priced.left for word in talk.quoted]
    assert said == sorted(said, reverse=True)
    assert [word.final for word in talk.quoted] == [left == 0 for left in said][: len(said)]
    asked = [frame for _, frame in talk.sent if isinstance(frame, Ask)]
    assert len(asked) == 1


@given(seeds, st.floats(0.1, 0.9))
def test_more_than_it_had_leave_for_is_asked_about_before_it_is_asked_for(seed: int, share: float) -> None:
    def too_little(sizes: Sequence[int], payloads: Sequence[bytes]) -> list[Priced]:
        return [Priced(alone=sum(sizes), alone_wire=int(sum(map(len, payloads)) * share))]

    talk, content = begin(seed)
    talk.prices = too_little
    allowed: list[float] = []

    def leave(word: do.Quoted) -> int:
        came = wire(talk)
        if allowed:
            assert came > allowed[-1], "asked anew though it had leave"
        allowed.append(came + word.priced.wire * (1 + OVERRUN))
        return word.priced.wire

    talk.leave = leave
    talk.step("taker", on.Take(content.offer(), gated=True))
    while talk.run(1):
        assert wire(talk) <= (allowed[-1] if allowed else 0) + WINDOW + 2_000
    assert talk.completed == [content.name]
    assert len(allowed) > 1 or wire(talk) <= allowed[0] + WINDOW  # what was on its way already is not called back


@given(seeds, st.sampled_from([-1, 1, 1_000]))
def test_a_quote_for_something_else_ends_that_session(seed: int, more: int) -> None:
    talk, content = begin(seed)

    def other(frame: Frame) -> list[Frame]:
        return [Quote(content.name, Priced(alone=content.size + more))] if isinstance(frame, Quote) else [frame]

    talk.tamper = other
    talk.step("taker", on.Take(content.offer(), gated=True))
    talk.run()
    fault = talk.hung_up[0].fault
    assert fault is not None
    assert fault.code == "protocol"
    assert wants(talk) == []


@pytest.mark.parametrize("here", [False, True])
@pytest.mark.parametrize("idle", [0.0, 3_600.0])
def test_a_peer_that_never_quotes_is_given_up_after_its_time_and_not_before(here: bool, idle: float) -> None:
    talk, content = begin(1)
    talk.tamper = lambda frame: [] if isinstance(frame, Ask) else [frame]
    if here:  # its manifest is, so that nothing is owed before the question
        talk.durable[content.name, Part.MANIFEST] = dict(enumerate(content.manifest))
    talk.live(idle)
    talk.step("taker", on.Take(content.offer(), gated=True))
    talk.live(idle + PATIENCE - 1)
    assert talk.hung_up == []
    talk.live(idle + PATIENCE + 1)
    fault = talk.hung_up[0].fault
    assert fault is not None
    assert fault.code == "no-progress"


def test_a_peer_that_stops_in_the_middle_of_quoting_is_given_up_too() -> None:
    talk, content = begin(1)
    talk.prices = lambda sizes, _: [Priced(left=sum(sizes))]
    talk.step("taker", on.Take(content.offer(), gated=True))
    talk.live(PATIENCE + 1)
    assert {hang.fault.code for hang in talk.hung_up if hang.fault} == {"no-progress"}


def test_one_that_waits_for_leave_may_do_so_for_months() -> None:
    talk, content = begin(1)
    talk.leave = lambda _: None
    talk.step("taker", on.Take(content.offer(), gated=True))
    talk.live(90 * 86_400.0)
    talk.step("taker", on.Go(content.name, talk.quoted[-1].priced.wire))
    talk.live(90 * 86_400.0 + 10)
    assert talk.completed == [content.name]


def test_a_peer_without_prices_is_not_asked_and_all_is_left_to_guess() -> None:
    talk, content = begin(1, giver=Session(hello()))
    talk.step("taker", on.Take(content.offer(), gated=True))
    talk.run()
    assert [word.priced for word in talk.quoted] == [Priced(left=content.size)]
    assert talk.quoted[0].final
    assert not [frame for _, frame in talk.sent if isinstance(frame, Ask)]
    assert talk.completed == [content.name]


@given(seeds)
def test_a_transfer_that_is_dropped_while_it_asks_leaves_nothing_behind(seed: int) -> None:
    talk, content = begin(seed)
    talk.leave = lambda _: None
    talk.step("taker", on.Take(content.offer(), gated=True))
    talk.run(talk.rng.randrange(40))
    talk.step("taker", on.Drop([content.name]))
    talk.live(2 * PATIENCE)
    talk.leave = lambda word: word.priced.wire if word.final else None
    talk.step("taker", on.Take(content.offer(), gated=True))
    talk.live(4 * PATIENCE)
    assert talk.hung_up == []
    assert talk.completed == [content.name]


# --- rates ---


def paced(talk: Conversation, until: float) -> list[tuple[float, int]]:
    """When which payload came."""
    came: list[tuple[float, int]] = []
    seen = 0
    while talk.now < until and not talk.completed:
        talk.live(min(until, talk.now + 0.25))
        came += [(talk.now, len(give.payload)) for give in talk.given[seen:]]
        seen = len(talk.given)
    return came


@given(seeds, st.integers(500, 20_000), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_rate_holds_over_any_time_and_is_used(seed: int, rate: int, own: bool) -> None:
    talk, content = begin(seed, 60)
    pace = on.Pace(rates={content.name: rate}) if own else on.Pace(rate)
    talk.step("taker", pace)
    talk.step("taker", on.Take(content.offer(), gated=True))
    came = paced(talk, 400.0)
    assert talk.completed == [content.name]
    largest = max(size for _, size in came)
    for n, (began, _) in enumerate(came):
        total = 0
        for when, size in came[n:]:
            total += size
            assert total <= rate * (when - began + 0.25 + BURST) + 2 * largest
    took, total = came[-1][0], sum(size for _, size in came)
    assert took <= total / rate + 2.0, "slower than it might have been"


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_of_two_rates_the_smaller_one_counts(seed: int) -> None:
    talk, content = begin(seed, 60)
    talk.step("taker", on.Pace(rate=100_000, rates={content.name: 2_000}))
    talk.step("taker", on.Take(content.offer(), gated=True))
    came = paced(talk, 400.0)
    assert came[-1][0] >= sum(size for _, size in came) / 2_000 - BURST - 1.5


def test_a_rate_that_changes_holds_at_once_and_without_one_all_comes() -> None:
    talk, content = begin(3, 60)
    talk.step("taker", on.Pace(rate=100))
    talk.step("taker", on.Take(content.offer(), gated=True))
    paced(talk, 30.0)
    before = wire(talk)
    assert before <= 30 * 100 + 3 * 2_000
    talk.step("taker", on.Pace())
    talk.run()
    assert talk.completed == [content.name]


def test_a_slow_rate_is_no_silence() -> None:
    """Nothing is owed while we do not ask."""
    talk, content = begin(4, 8)
    talk.step("taker", on.Pace(rate=10))
    talk.step("taker", on.Take(content.offer(), gated=True))
    paced(talk, 5_000.0)
    assert talk.hung_up == []
    assert talk.completed == [content.name]


@given(st.floats(1, 1e6), st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1e6)), max_size=50))
def test_a_bucket_never_gives_more_than_its_rate_and_what_was_saved_up(
    rate: float, steps: list[tuple[float, float]]
) -> None:
    bucket, now, spent, largest = Bucket(rate, 0.0), 0.0, 0.0, 0.0
    for wait, count in steps:
        now += wait
        if bucket.tokens(now) > 0:
            bucket.spend(count)
            spent, largest = spent + count, max(largest, count)
            assert spent <= (rate * (now + BURST) + largest) * 1.000_001
        else:
            ready = bucket.ready_at(now)
            assert ready > now
            now = ready + 1e-3 + 2 / rate
            assert bucket.tokens(now) > 0


def test_a_debt_outlives_a_change_of_rate_and_savings_do_not_grow_by_it() -> None:
    bucket = Bucket(1_000, 0.0)
    bucket.spend(5_000)
    bucket.change(100, 0.0)
    assert bucket.tokens(10.0) == -3_000
    rich = Bucket(1_000, 0.0)
    rich.change(10, 5.0)
    assert rich.tokens(5.0) == 10 * BURST
    assert credit([rich, bucket], 10.0) == -3_000
    assert credit([], 10.0) is None


def test_a_clock_that_stands_still_or_jumps_back_gives_nothing() -> None:
    bucket = Bucket(10, 100.0)
    bucket.spend(20)
    assert bucket.tokens(50.0) == bucket.tokens(100.0) == -10


# --- who goes first ---


@given(seeds)
@settings(max_examples=50, deadline=None)
def test_an_urgent_transfer_gets_all_that_may_be_asked_for(seed: int) -> None:
    urgent = some_content(random.Random(seed + 1), 20)
    talk, bulk = begin(seed, 200, urgent)
    going: list[int] = []

    def leave(word: do.Quoted) -> int:
        if word.manifest == urgent.name:
            going.append(len(wants(talk)))
        return word.priced.wire

    talk.leave = leave
    talk.step("taker", on.Take(bulk.offer(), gated=True))
    talk.run(60)
    talk.step("taker", on.Take(urgent.offer(), 5, gated=True))
    talk.run()
    assert talk.completed == [urgent.name, bulk.name]
    asked = wants(talk)
    last = max(n for n, want in enumerate(asked) if want.manifest == urgent.name)
    beside = [want for want in asked[going[0] : last] if want.manifest == bulk.name]
    sizes = bulk.chunks(Part.CONTENT)
    assert sum(len(sizes[n]) for want in beside for run in want.ranges for n in run) <= WINDOW


def test_words_pass_while_nothing_may_be_asked_for() -> None:
    talk, content = begin(8)
    talk.step("taker", on.Pace(rate=1))
    talk.step("taker", on.Take(content.offer(), gated=True))
    talk.run()
    talk.step("giver", on.Say(Desired(1, ())))
    talk.run()
    assert [frame for side, frame in talk.sent if side == "giver" and isinstance(frame, Desired)]
    assert not [give for give in talk.given if give.part is Part.CONTENT]
