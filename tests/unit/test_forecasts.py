"""Forecasts are made of final words or of what a transfer goes by, and again when they would be a hundredth off."""

from __future__ import annotations

import pytest

from edge_agent.forecasts import Forecasts
from modelsyncd.digest import digest_of
from modelsyncd.plan import Priced
from modelsyncd.session.effects import Quoted
from modelsyncd.session.progress import Progress

ONE, OTHER = digest_of(b"one"), digest_of(b"other")
TOTAL = 1_000


def quoted(forecasts: Forecasts, priced: Priced, *, final: bool = True, now: float = 0.0) -> None:
    forecasts.quoted(Quoted(ONE, priced, Progress(total=TOTAL), final=final), now)


def made(forecasts: Forecasts, spent: int = 0) -> int:
    """The revision of what was made; 0 for nothing."""
    forecast = forecasts.make(ONE, Progress(total=TOTAL, wire=spent), disk=7, rate=10.0, wall=5.0)
    return forecast.revision if forecast is not None else 0


def test_a_forecast_counts_what_came_and_what_is_here() -> None:
    forecasts = Forecasts()
    quoted(forecasts, Priced(coded=300, coded_wire=30, alone=100, alone_wire=90))
    assert made(forecasts, spent=50) == 1
    forecast = forecasts.made[ONE]
    assert (forecast.had, forecast.wire, forecast.disk, forecast.seconds, forecast.made_at) == (600, 170, 7, 12.0, 5.0)


def test_the_first_word_begins_the_wait_and_the_next_ones_do_not() -> None:
    forecasts = Forecasts()
    quoted(forecasts, Priced(left=10), final=False, now=3.0)
    quoted(forecasts, Priced(alone=5, left=5), final=False, now=9.0)
    assert forecasts.asking[ONE].since == 3.0
    forecasts.go(ONE, 0, 10)
    quoted(forecasts, Priced(left=10), final=False, now=20.0)
    assert forecasts.asking[ONE].since == 20.0


@pytest.mark.parametrize(("wire", "revision"), [(1_000, 0), (1_010, 0), (990, 0), (1_011, 2), (989, 2)])
def test_a_hundredth_makes_no_new_one(wire: int, revision: int) -> None:
    forecasts = Forecasts()
    quoted(forecasts, Priced(alone=1_000, alone_wire=1_000))
    assert made(forecasts) == 1
    quoted(forecasts, Priced(alone=1_000, alone_wire=wire))
    assert made(forecasts) == revision


def test_an_exact_word_replaces_a_guess_of_the_same_and_keeps_its_revision() -> None:
    forecasts = Forecasts()
    quoted(forecasts, Priced(alone=500, alone_wire=500, left=500), final=False)
    assert made(forecasts) == 1
    quoted(forecasts, Priced(alone=1_000, alone_wire=1_000))
    assert made(forecasts) == 0
    assert forecasts.made[ONE].priced.exact
    assert forecasts.made[ONE].revision == 1


def test_what_has_leave_is_due_what_it_may_still_take_and_what_asks_anew_has_no_leave() -> None:
    forecasts = Forecasts()
    quoted(forecasts, Priced(alone=1_000, alone_wire=1_000))
    made(forecasts)
    assert forecasts.due({ONE: 0}) == {ONE: 1_010}
    forecasts.go(ONE, 100, 1_000)
    assert forecasts.going == {ONE}
    assert forecasts.due({ONE: 600}) == {ONE: 510}
    assert forecasts.due({ONE: 5_000}) == {ONE: 0}
    quoted(forecasts, Priced(left=400), final=False)
    assert forecasts.going == frozenset()
    assert forecasts.due({ONE: 600}) == {}  # a guess is nothing to hold anything up by


def test_what_was_stopped_is_due_what_was_surely_foretold() -> None:
    forecasts = Forecasts()
    quoted(forecasts, Priced(alone=1_000, alone_wire=1_000))
    made(forecasts)
    forecasts.stop(ONE)
    assert forecasts.due({ONE: 10}) == {ONE: 1_000}
    forecasts.begin()
    assert forecasts.due({}) == {ONE: 1_010}


def test_what_was_guessed_for_want_of_a_word_is_asked_anew_in_the_next_session() -> None:
    forecasts = Forecasts()
    quoted(forecasts, Priced(left=1_000))
    made(forecasts)
    forecasts.stop(ONE)
    assert forecasts.due({}) == {ONE: 1_010}
    forecasts.begin()
    assert forecasts.due({}) == {}
    assert forecasts.made[ONE].wire == 1_000  # it is still what was told


def test_only_what_is_wanted_is_remembered() -> None:
    forecasts = Forecasts()
    quoted(forecasts, Priced(alone=1_000, alone_wire=1_000))
    made(forecasts)
    assert forecasts.untold == {ONE}
    forecasts.keep({OTHER})
    assert (forecasts.made, forecasts.asking, forecasts.untold, forecasts.due({})) == ({}, {}, set(), {})
