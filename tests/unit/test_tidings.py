"""Which nodes are told that the catalogue changed, and when: on a clock of our own."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_hub.tidings import AT_ONCE, LONGEST, PAUSE, TICK, Tidings, told_about
from modelsyncd.manners import FREE, Manners, manners
from modelsyncd.names import ModelName
from modelsyncd.session.frames import Assignment, Desired

HELMET, GLOVE = ModelName("acme", "helmet"), ModelName("acme", "glove")
BOTH = frozenset({HELMET, GLOVE})


def hearing(*nodes: str, models: frozenset[ModelName] = frozenset({HELMET})) -> Tidings:
    """Nodes that asked when their sessions began."""
    tidings = Tidings(lambda: 0.5)
    for node in nodes:
        tidings.follow(node, models, 0.0)
        tidings.asked(node, 0.0)
    return tidings


def test_who_follows_what_changed_is_told_at_once_and_nobody_else() -> None:
    tidings = hearing("n1", "n2")
    tidings.follow("n3", frozenset({GLOVE}), 0.0)
    tidings.asked("n3", 0.0)
    tidings.changed([HELMET], 1.0)
    tidings.changed([HELMET], 1.1)
    assert sorted(tidings.take(1.2)) == ["n1", "n2"]
    assert tidings.take(100.0) == []
    assert tidings.next_at == inf


def test_a_model_that_changes_all_the_time_is_told_of_less_and_less_often() -> None:
    tidings, told = hearing("n1"), []
    for tick in range(3_000):  # ten minutes
        tidings.changed([HELMET], tick * TICK)
        told += [tick * TICK for _ in tidings.take(tick * TICK)]
    waits = [round(later - earlier) for earlier, later in pairwise(told)]
    assert waits[:5] == [PAUSE, 2 * PAUSE, 4 * PAUSE, 8 * PAUSE, LONGEST]
    assert set(waits[4:]) == {LONGEST}
    tidings.changed([HELMET], 2_000.0)
    assert tidings.take(2_000.0) == ["n1"], "what is rare is told at once"
    tidings.changed([HELMET], 2_001.0)
    assert tidings.take(2_001.0) == []
    assert tidings.next_at == 2_000.0 + PAUSE


def test_a_fleet_that_follows_one_model_is_told_one_after_the_other() -> None:
    size = 10_000
    tidings, told, ticks = hearing(*(f"n{number}" for number in range(size))), Counter[str](), 0
    tidings.changed([HELMET], 0.0)
    while tidings.next_at < inf:
        now = tidings.take(ticks * TICK)
        assert len(now) <= AT_ONCE
        told.update(now)
        ticks += 1
    assert set(told.values()) == {1}
    assert len(told) == size
    assert ticks * TICK == pytest.approx(200.0), "docs/query.md says so"


def test_who_comes_first_is_a_matter_of_chance() -> None:
    numbers = iter([0.9, 0.1, 0.5])
    tidings = Tidings(lambda: next(numbers))
    for node in ("n1", "n2", "n3"):
        tidings.follow(node, frozenset({HELMET}), 0.0)
        tidings.follow(node, BOTH, 1.0)
    assert tidings.take(1.0) == ["n2", "n3", "n1"]


def test_who_asks_by_itself_need_not_be_told() -> None:
    tidings = hearing("n1", "n2")
    tidings.changed([HELMET], 1.0)
    tidings.asked("n1", 1.1)
    assert tidings.take(1.2) == ["n2"]
    tidings.changed([HELMET], 2.0)
    assert tidings.take(2.0) == ["n1"]
    tidings.changed([HELMET], 5.0)
    assert tidings.take(5.0) == []
    tidings.asked("n1", 5.5)
    tidings.asked("n2", 5.5)
    assert tidings.take(20.0) == []
    assert tidings.next_at == inf


def test_a_session_begins_with_a_word_only_when_something_changed_since_the_node_asked() -> None:
    for asked, changed, told in ((None, 2.0, False), (1.0, None, False), (3.0, 2.0, False), (1.0, 2.0, True)):
        tidings = Tidings(lambda: 0.5)
        if changed is not None:
            tidings.changed([HELMET], changed)
        if asked is not None:
            tidings.asked("n1", asked)
        tidings.follow("n1", frozenset({HELMET}), 4.0)
        assert tidings.take(4.0) == (["n1"] if told else [])
        assert tidings.next_at == inf


def test_when_too_much_changed_to_be_heard_everybody_is_told() -> None:
    tidings = hearing("n1", "n2")
    tidings.everything_changed(1.0)
    assert tidings.next_at == -inf
    assert sorted(tidings.take(1.0)) == ["n1", "n2"]


def test_who_follows_something_new_is_told_and_who_follows_less_is_not() -> None:
    tidings = hearing("n1")
    tidings.follow("n1", BOTH, 10.0)
    assert tidings.take(10.0) == ["n1"]
    tidings.follow("n1", frozenset({GLOVE}), 20.0)
    tidings.changed([HELMET], 21.0)
    assert tidings.next_at == inf
    tidings.changed([GLOVE], 22.0)
    assert tidings.take(22.0) == ["n1"]
    tidings.changed([GLOVE], 23.0)
    assert tidings.take(23.0) == []
    tidings.follow("n1", frozenset(), 24.0)
    assert tidings.next_at == inf, "its link became dear"


def test_a_node_that_is_gone_is_forgotten() -> None:
    tidings = hearing("n1")
    tidings.changed([HELMET], 1.0)
    tidings.forget("n1")
    tidings.changed([HELMET], 1.0)
    assert tidings.take(9.0) == []
    assert tidings.next_at == inf


@pytest.mark.parametrize(
    ("node", "one", "told"),
    [
        (FREE, FREE, BOTH),
        (manners(rate=1_000, background=True), FREE, BOTH),
        (manners(paused=True), FREE, frozenset()),
        (manners(openings=["22:00-06:00"]), FREE, frozenset()),
        (manners(month_bytes=1 << 30), FREE, frozenset()),
        (FREE, manners(paused=True), frozenset({GLOVE})),
    ],
)
def test_where_bytes_have_their_time_or_their_price_nobody_is_told(
    node: Manners, one: Manners, told: frozenset[ModelName]
) -> None:
    assignments = (Assignment(HELMET, "stable", None, manners=one), Assignment(GLOVE, "stable", None))
    assert told_about(Desired(1, assignments, manners=node)) == told


def test_a_model_is_told_of_when_one_of_its_channels_is_not_dear() -> None:
    paused = Assignment(HELMET, "stable", None, manners=manners(paused=True))
    assert told_about(Desired(1, (paused, Assignment(HELMET, "beta", None)))) == {HELMET}


NODES, MODELS = st.sampled_from(["n1", "n2", "n3"]), st.sampled_from([HELMET, GLOVE])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("follow"), NODES, st.frozensets(MODELS)),
        st.tuples(st.just("forget"), NODES, st.just(None)),
        st.tuples(st.just("asked"), NODES, st.just(None)),
        st.tuples(st.just("changed"), st.just(""), MODELS),
        st.tuples(st.just("wait"), st.just(""), st.integers(1, 400)),
    ),
    max_size=40,
)


@given(STEPS)
def test_whatever_happens_no_change_goes_unheard_and_nobody_hears_too_often(
    steps: list[tuple[str, str, frozenset[ModelName] | ModelName | int | None]],
) -> None:
    tidings, ticks = Tidings(lambda: 0.5), 0
    follows: dict[str, frozenset[ModelName]] = {}
    asked_at: dict[str, int] = {}
    changed_at: dict[ModelName, int] = {}
    owed: set[str] = set()
    told_at: dict[str, float] = {}

    def drive(count: int) -> None:
        nonlocal ticks
        for _ in range(count):
            for node in tidings.take(ticks * TICK):
                assert follows[node]
                assert ticks * TICK - told_at.get(node, -inf) >= PAUSE
                told_at[node] = ticks * TICK
                owed.discard(node)
            ticks += 1

    for step, node, what in steps:
        match step, what:
            case "follow", frozenset() as models:
                news = bool(models - follows.get(node, frozenset()))
                if node not in follows:  # it asks by itself when its session begins, or did a while ago
                    news = any(changed_at.get(one, -1) >= asked_at.get(node, 1 << 30) for one in models)
                follows[node] = models
                tidings.follow(node, models, ticks * TICK)
                owed.add(node) if news else None
                owed.discard(node) if not models else None
            case "forget", _:
                tidings.forget(node)
                follows.pop(node, None)
                told_at.pop(node, None)
                owed.discard(node)
            case "asked", _:
                tidings.asked(node, ticks * TICK)
                asked_at[node] = ticks
                owed.discard(node)
            case "changed", ModelName() as model:
                tidings.changed([model], ticks * TICK)
                changed_at[model] = ticks
                owed |= {one for one, models in follows.items() if model in models}
            case _, int() as count:
                drive(count)
    drive(round(LONGEST / TICK) + 2)
    assert not owed
