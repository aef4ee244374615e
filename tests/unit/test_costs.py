"""What a transfer takes is counted, not guessed: ways add up, framing is said apart, time needs a rate."""

from __future__ import annotations

import pytest

from modelsyncd.plan import Costs, Share, make

PLAN = make([1_000] * 10, [0, 1, 2, 3])


def test_all_ways_together_are_what_is_on_the_wire() -> None:
    costs = Costs(PLAN, coded=Share(3, 3_000, 90, 4), alone=Share(1, 1_000, 800), manifest=Share(1, 500, 400))
    assert costs.wire == 90 + 800 + 400
    assert costs.counted == PLAN.fetch == 4_000


def test_shares_add_up_in_every_field() -> None:
    assert Share(1, 10, 5, 2) + Share(2, 20, 6, 0) == Share(3, 30, 11, 2)


def test_framing_grows_with_chunks_bases_and_their_runs_and_is_nothing_for_nothing() -> None:
    assert Costs(PLAN).framing == 0
    alone = Costs(PLAN, alone=Share(4, 4_000, 4_000))
    coded = Costs(PLAN, coded=Share(4, 4_000, 4_000, 4))
    in_pieces = Costs(PLAN, coded=Share(4, 4_000, 4_000, 400))
    assert 0 < alone.framing < coded.framing < in_pieces.framing


def test_time_counts_payload_and_framing_and_is_unknown_without_a_rate() -> None:
    costs = Costs(PLAN, alone=Share(1, 1_000, 1_000_000))
    assert costs.seconds(0) == 0
    assert costs.seconds(100_000) == pytest.approx((1_000_000 + costs.framing) / 100_000)
