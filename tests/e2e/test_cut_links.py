"""Links that break in the middle: what was on its way travels again, what was durable does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.fleet import until_active
from tests.e2e.processes import HubProgram
from tests.e2e.travel import SIZE, WORDS, allowed, check_cost, check_pushed, pushing, syncing
from tests.fakes.link.shape import Cut, Way
from tests.fault.reach import FULL

KINDS = [
    pytest.param(Cut.RESET, id="reset"),
    pytest.param(Cut.END, id="orderly end", marks=pytest.mark.slow),
    pytest.param(Cut.SILENCE, id="silence", marks=pytest.mark.slow),
    *([pytest.param(Cut.HALF, id="half open", marks=pytest.mark.slow)] if FULL else []),
]

# A relay that says nothing still has a kernel that acknowledges: only the taker's patience of 60 s can notice.
SILENCE_ENDS = 100.0  # seconds


@pytest.mark.parametrize("how", KINDS)
def test_a_push_over_a_link_that_is_cut_sends_at_most_a_window_again(
    own_hub: HubProgram, tmp_path: Path, how: Cut
) -> None:
    with pushing(own_hub, tmp_path) as push:
        push.link.cut_at(Way.UP, 11_000_000, how)
        done = push.end()
        assert push.link.cuts == 1
        assert (done["number"], done["created"], done["bytes_had"]) == (1, True, 0)
        check_cost(push.link, Way.UP, faults=1)
        assert SIZE <= done["bytes_wire"] <= allowed(2)  # what was written and never left counts here, too
        check_pushed(push, tmp_path)


@pytest.mark.parametrize("how", KINDS)
def test_a_sync_over_a_link_that_is_cut_fetches_at_most_a_window_again(
    own_hub: HubProgram, tmp_path: Path, how: Cut
) -> None:
    with syncing(own_hub, tmp_path) as sync:
        sync.link.cut_at(Way.DOWN, 11_000_000, how)
        sync.end(SILENCE_ENDS)
        assert sync.link.cuts == 1
        check_cost(sync.link, Way.DOWN, faults=1)


@pytest.mark.slow
def test_a_link_that_breaks_every_few_seconds_still_brings_everything(own_hub: HubProgram, tmp_path: Path) -> None:
    cuts = range(3_000_000, SIZE + 3_000_000, 3_000_000)
    with syncing(own_hub, tmp_path) as sync:
        for at in cuts:
            sync.link.cut_at(Way.DOWN, at)
        sync.end()
        assert sync.link.cuts >= 4
        assert sync.link.carried(Way.DOWN) <= allowed(sync.link.cuts)


def test_a_link_that_is_cut_while_nothing_travels_costs_only_words(own_hub: HubProgram, tmp_path: Path) -> None:
    with syncing(own_hub, tmp_path) as sync:
        sync.end()
        before = sync.link.carried(Way.DOWN)
        connections = sync.link.connections
        sync.link.cut()
        own_hub.ctl.json("push", str(sync.origin), "far/model", "--channel", "canary")
        own_hub.ctl.json("assign", "far/model@canary", "--node", sync.agent.name)
        until_active(sync.agent, "far/model@canary", 1)
        assert sync.link.connections > connections
        assert sync.link.carried(Way.DOWN) - before <= WORDS
