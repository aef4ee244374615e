"""What an update cost adds up over sessions, and begins anew when the version is fetched again."""

from __future__ import annotations

from edge_agent.ledger import Ledger
from modelsyncd.digest import digest_of
from modelsyncd.session.progress import Progress

ONE, OTHER = digest_of(b"one"), digest_of(b"other")
FIRST = Progress(total=1_000, had=100, done=400, wire=150, coded=200, giver_cpu=0.5, taker_cpu=0.25)
REST = Progress(total=1_000, had=400, done=1_000, wire=300, resent=10, coded=500, giver_cpu=1.0, taker_cpu=0.5)


def test_a_session_that_goes_on_adds_to_the_one_before() -> None:
    ledger = Ledger()
    ledger.close(ONE, FIRST)
    assert ledger.sum(ONE, REST) == Progress(1_000, 100, 1_000, 450, 10, 700, 1.5, 0.75)


def test_what_became_durable_while_a_session_was_cut_off_counts_as_had() -> None:
    ledger = Ledger()
    ledger.close(ONE, FIRST)
    found = ledger.sum(ONE, Progress(total=1_000, had=450, done=450))
    assert (found.had, found.done) == (150, 450)


def test_a_session_that_has_not_looked_yet_takes_nothing_back() -> None:
    ledger = Ledger()
    ledger.close(ONE, FIRST)
    assert ledger.sum(ONE, Progress()) == FIRST
    assert ledger.sum(ONE, Progress(wire=20)).done == FIRST.done


def test_what_arrived_and_is_fetched_again_counts_anew() -> None:
    ledger = Ledger()
    ledger.begin(ONE)
    ledger.close(ONE, REST, settled=True)
    assert ledger.all() == {ONE: REST}
    ledger.begin(ONE)
    assert ledger.sum(ONE, FIRST) == FIRST


def test_what_failed_and_is_tried_again_does_not() -> None:
    ledger = Ledger()
    ledger.close(ONE, FIRST)
    ledger.begin(ONE)
    assert ledger.sum(ONE) == FIRST


def test_only_what_is_wanted_is_remembered() -> None:
    ledger = Ledger()
    ledger.close(ONE, REST, settled=True)
    ledger.close(OTHER, FIRST)
    ledger.keep({OTHER})
    assert ledger.all() == {OTHER: FIRST}
    ledger.begin(ONE)
