"""A node minds its manners: real steward, uplink and store, a hub in memory, and a wall clock that the test moves."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge_agent import holds, uplink
from modelsyncd.errors import RoadError
from modelsyncd.manners import manners
from modelsyncd.names import ModelName
from modelsyncd.plan import Priced
from modelsyncd.session.frames import FEATURES, Hold, Part, Phase, Report, Standing
from tests.fakes.mannered_node import Node
from tests.fakes.node_hub import NodeHub
from tests.fakes.versions import STEP, changed, published, some_files

CHUNKS = 40
FILES = some_files(random.Random(1), CHUNKS)
ONE = published(FILES)
TWO = published(changed(FILES, "model.bin", 3 * STEP, b"new"), 2)
VEST = published(some_files(random.Random(2), CHUNKS), model=ModelName("acme", "vest"))
SIZE = ONE.manifest.content_size
PAPERS = len(ONE.manifest_bytes)  # a few bytes less on the wire


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path, NodeHub())


@pytest.fixture(autouse=True)
def _told_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uplink, "REPORT_PAUSE", 0.02)


def content(hub: NodeHub) -> list[int]:
    return [ordinal for _, part, ordinal in hub.given if part is Part.CONTENT]


def on_hold(hold: Hold) -> Callable[[Standing], bool]:
    return lambda one: one.hold is hold


def give_on(hub: NodeHub) -> None:
    """Without stopping any more, also what is being loaded now."""
    gate, hub.gate = hub.gate, None
    assert gate is not None
    for _ in range(2 * CHUNKS):
        gate.release()


def halves(size: int) -> list[Priced]:
    """A hub that promises half of what it takes."""
    return [Priced(alone=size, alone_wire=size // 2)]


def guesses(size: int) -> list[Priced]:
    """Half of it is worked out, and takes as much as it says; the rest follows when the test lets it."""
    return [
        Priced(alone=size // 2, alone_wire=size // 2, left=size - size // 2),
        Priced(alone=size, alone_wire=size),
    ]


# --- plans first ---


async def test_what_it_will_take_is_reported_before_the_first_byte_of_the_content(node: Node) -> None:
    node.hub.want(ONE)
    async with node.running():
        await node.until_active(ONE)
        standing = await node.hub.reported(lambda one: one.phase is Phase.ACTIVE)
    first = next(n for n, one in enumerate(node.hub.heard) if isinstance(one, tuple) and one[1] is Part.CONTENT)
    told = [one for one in node.hub.heard[:first] if isinstance(one, Report)]
    forecast = told[-1].standings[0].forecast
    assert forecast is not None
    assert (forecast.had, forecast.priced) == (0, Priced(alone=SIZE, alone_wire=SIZE))
    assert PAPERS / 2 < forecast.spent <= PAPERS
    assert forecast.disk >= SIZE
    assert (forecast.revision, forecast.made_at) == (1, node.wall)
    assert standing.forecast == forecast
    assert standing.bytes_wire <= forecast.wire * 1.01


async def test_an_update_is_foreseen_as_what_is_new_and_at_the_rate_of_the_one_before(node: Node) -> None:
    node.hub.want(ONE)
    async with node.running():
        node.hub.limit(manners(rate=SIZE // 2))
        await node.until_active(ONE)
        node.hub.limit()
        node.hub.want(TWO)
        await node.until_active(TWO)
        standing = await node.hub.reported(lambda one: one.active == 2)
    forecast = standing.forecast
    assert forecast is not None
    assert (forecast.had, forecast.priced.plain) == (SIZE - STEP, STEP)
    assert SIZE / 4 < forecast.rate < SIZE * 4
    assert forecast.seconds == STEP / forecast.rate


async def test_more_than_was_foreseen_is_foreseen_anew_and_told_before_it_comes(node: Node) -> None:
    node.hub.quote = halves
    node.hub.want(ONE)
    async with node.running():
        await node.until_active(ONE)
        standing = await node.hub.reported(lambda one: one.phase is Phase.ACTIVE)
    assert standing.forecast is not None
    assert standing.forecast.revision > 2
    assert node.hub.asked >= standing.forecast.revision
    allowed, came = 0.0, 0
    for word in node.hub.heard:
        if isinstance(word, Report) and word.standings and word.standings[0].forecast is not None:
            allowed = word.standings[0].forecast.wire * 1.01
        elif isinstance(word, tuple):
            came += STEP if word[1] is Part.CONTENT else PAPERS
            assert came <= allowed + 2 * node.window or word[1] is Part.MANIFEST


async def test_an_estimate_is_gone_by_after_a_while(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds, "QUOTE_PATIENCE", 0.05)
    node.hub.quote = guesses
    node.hub.exact.clear()
    node.hub.want(ONE)
    async with node.running():
        await node.until_active(ONE)
        standing = await node.hub.reported(lambda one: one.phase is Phase.ACTIVE)
    assert standing.forecast is not None
    assert standing.forecast.priced.left == SIZE - SIZE // 2
    assert not standing.forecast.priced.exact


async def test_an_exact_word_is_waited_for_a_moment(node: Node) -> None:
    node.hub.quote = guesses
    node.hub.exact.clear()
    node.hub.want(ONE)
    async with node.running():
        await node.hub.reported(on_hold(Hold.QUOTE))
        await node.hub.until(lambda: node.hub.asked)
        assert content(node.hub) == []
        node.hub.exact.set()
        await node.until_active(ONE)
        standing = await node.hub.reported(lambda one: one.phase is Phase.ACTIVE)
    assert standing.forecast is not None
    assert standing.forecast.priced.exact


async def test_a_hub_that_says_nothing_of_prices_is_taken_to_need_all_of_it(node: Node) -> None:
    node.hub.features = FEATURES
    node.hub.want(ONE)
    async with node.running():
        await node.until_active(ONE)
        standing = await node.hub.reported(lambda one: one.phase is Phase.ACTIVE)
    assert node.hub.asked == 0
    assert standing.forecast is not None
    assert standing.forecast.priced == Priced(left=SIZE)


async def test_a_link_that_breaks_costs_a_window_at_most_and_what_it_takes_is_asked_anew(node: Node) -> None:
    node.hub.want(ONE)
    node.hub.gate = asyncio.Semaphore(20)
    async with node.running():
        await node.hub.reported(lambda one: one.bytes_done >= 15 * STEP)
        give_on(node.hub)
        await node.hub.cut()
        await node.until_active(ONE)
        standing = await node.hub.reported(lambda one: one.phase is Phase.ACTIVE)
    assert node.hub.asked == 2
    assert standing.forecast is not None
    assert standing.forecast.revision <= 2  # what was lost on the way may be more than a hundredth
    assert len(content(node.hub)) <= CHUNKS + 1 + node.window // STEP + 1
    assert standing.bytes_wire <= standing.forecast.wire * 1.01


# --- the month ---


async def test_a_plan_that_breaks_the_month_waits_and_says_so(node: Node) -> None:
    node.hub.want(ONE)
    node.hub.limit(manners(month_bytes=SIZE))
    async with node.running():
        standing = await node.hub.reported(on_hold(Hold.BUDGET))
        assert standing.forecast is not None
        assert SIZE < standing.forecast.wire <= SIZE + PAPERS
        assert standing.hold_until == 0  # no month is large enough
        report = node.hub.reports[-1]
        assert (report.month, report.month_wire, report.utc_offset) == ("2026-11", standing.bytes_wire, "+00:00")
        node.hub.limit(manners(month_bytes=2 * SIZE))
        await node.until_active(ONE)
    assert node.hub.asked == 2


async def test_a_new_month_lets_it_go(node: Node) -> None:
    node.hub.want(ONE)
    node.hub.limit(manners(month_bytes=SIZE + SIZE // 2))
    async with node.running():
        await node.until_active(ONE)
        node.hub.want(VEST)
        standing = await node.hub.reported(on_hold(Hold.BUDGET))
        assert standing.hold_until == datetime(2026, 12, 1, tzinfo=UTC).timestamp()
        assert standing.forecast is not None
        node.at(datetime(2026, 12, 1, tzinfo=UTC))
        await node.until_active(VEST)
        await node.hub.until(lambda: node.hub.reports[-1].month == "2026-12")
        await node.hub.until(lambda: node.hub.reports[-1].month_wire >= SIZE)


async def test_a_restart_gives_no_budget_twice(node: Node) -> None:
    node.hub.want(ONE)
    async with node.running():
        await node.until_active(ONE)
    node.hub.want(VEST)
    node.hub.limit(manners(month_bytes=SIZE + SIZE // 2))
    async with node.running():
        await node.hub.reported(on_hold(Hold.BUDGET))
        assert node.hub.reports[-1].month_wire >= SIZE
    assert all(manifest != VEST.version.manifest for manifest, part, _ in node.hub.given if part is Part.CONTENT)


async def test_an_assignment_has_a_month_of_its_own(node: Node) -> None:
    node.hub.want(ONE, VEST)
    node.hub.limit(manners(), manners(), manners(month_bytes=SIZE // 2))
    async with node.running():
        await node.until_active(ONE)
        await node.hub.until(lambda: node.hub.reports[-1].standings[1].hold is Hold.BUDGET)
        assert node.hub.reports[-1].standings[0].hold is Hold.NONE


async def test_what_somebody_let_through_comes_though_the_month_is_used_up(node: Node) -> None:
    node.hub.want(ONE)
    node.hub.limit(manners(month_bytes=10))
    async with node.running():
        await node.hub.reported(on_hold(Hold.BUDGET))
        assert node.hub.given == []
        node.hub.limit(manners(month_bytes=10), consent=TWO.version.manifest)  # another one
        await node.hub.until(lambda: node.hub.reports[-1].generation == node.hub.wanted.generation)
        assert node.hub.given == []
        node.hub.limit(manners(month_bytes=10), consent=ONE.version.manifest)
        await node.until_active(ONE)


async def test_a_tight_month_waits_for_the_exact_word(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds, "QUOTE_PATIENCE", 0.0)
    node.hub.quote = guesses
    node.hub.exact.clear()
    node.hub.want(ONE)
    node.hub.limit(manners(month_bytes=SIZE + SIZE // 10))
    async with node.running():
        await node.hub.until(lambda: node.hub.asked)
        for _ in range(5):
            node.steward.look()
            await node.steward.changed.wait()
        assert content(node.hub) == []
        assert node.steward.standings()[0].hold is Hold.QUOTE
        node.hub.exact.set()
        await node.until_active(ONE)


async def test_two_that_fit_alone_and_not_together_come_one_at_a_time(node: Node) -> None:
    node.hub.want(ONE, VEST)
    node.hub.limit(manners(month_bytes=SIZE + SIZE // 2))
    async with node.running():
        await node.hub.until(
            lambda: (
                node.hub.reports
                and sorted(one.hold.name for one in node.hub.reports[-1].standings) == ["BUDGET", "NONE"]
                and any(one.phase is Phase.ACTIVE for one in node.hub.reports[-1].standings)
            )
        )
        assert node.hub.reports[-1].month_wire <= SIZE + SIZE // 2


# --- a person's word, the hour, the rate ---


async def test_a_pause_keeps_what_is_there_and_going_on_fetches_the_rest(node: Node) -> None:
    node.hub.want(ONE)
    node.hub.gate = asyncio.Semaphore(20)
    async with node.running():
        await node.hub.reported(lambda one: one.bytes_done >= 15 * STEP)
        node.hub.limit(manners(paused=True))
        await node.hub.reported(on_hold(Hold.PAUSED))
        give_on(node.hub)
        node.hub.limit()
        await node.until_active(ONE)
        assert len(node.hub.hellos) == 1
    assert len(content(node.hub)) <= CHUNKS + 1 + 2  # but for what was asked for when it was paused


async def test_a_pause_of_one_lets_the_other_come(node: Node) -> None:
    node.hub.want(ONE, VEST)
    node.hub.limit(manners(), manners(paused=True), manners())
    async with node.running():
        await node.until_active(VEST)
        assert node.steward.standings()[0].hold is Hold.PAUSED
    assert {manifest for manifest, _, _ in node.hub.given} == {VEST.version.manifest}


async def test_a_paused_node_still_goes_back_to_what_it_has(node: Node) -> None:
    node.hub.want(ONE)
    async with node.running():
        await node.until_active(ONE)
        node.hub.want(TWO)
        await node.until_active(TWO)
        node.hub.limit(manners(paused=True, openings=["sat"], month_bytes=1))
        node.hub.want(ONE)
        await node.until_active(ONE)


async def test_an_opening_is_waited_for_and_its_end_stops_the_rest(node: Node) -> None:
    node.hub.want(ONE)
    node.hub.limit(manners(openings=["22:00-06:00"]))
    node.hub.gate = asyncio.Semaphore(10)
    async with node.running():
        standing = await node.hub.reported(on_hold(Hold.WINDOW))
        assert standing.hold_until == datetime(2026, 11, 4, 22, tzinfo=UTC).timestamp()
        assert node.hub.given == []
        node.at(datetime(2026, 11, 4, 22, tzinfo=UTC))
        await node.hub.reported(lambda one: one.bytes_done >= 5 * STEP)
        node.at(datetime(2026, 11, 5, 6, tzinfo=UTC))
        await node.hub.reported(on_hold(Hold.WINDOW))
        give_on(node.hub)
        node.at(datetime(2026, 11, 5, 23, tzinfo=UTC))
        await node.until_active(ONE)


async def test_limits_hold_after_a_restart_before_the_hub_says_them_again(node: Node) -> None:
    node.hub.want(ONE)
    node.hub.limit(manners(paused=True))
    async with node.running():
        await node.hub.reported(on_hold(Hold.PAUSED))
    node.hub.away = RoadError("no route")
    async with node.running():
        assert node.steward.standings()[0].hold is Hold.PAUSED


async def test_what_is_lacking_with_the_hub_away_says_so(node: Node) -> None:
    node.hub.want(ONE)
    node.hub.gate = asyncio.Semaphore(0)
    async with node.running():
        await node.hub.reported(lambda one: one.phase is Phase.FETCHING)
        node.hub.away = RoadError("no route")
        await node.hub.cut()
        async with asyncio.timeout(5):
            while node.steward.standings()[0].hold is not Hold.OFFLINE:
                await node.steward.changed.wait()
        assert node.steward.standings()[0].since == node.wall


async def test_a_rate_is_kept_and_changes_within_a_session(node: Node) -> None:
    node.hub.want(ONE)
    node.hub.limit(manners(rate=STEP))  # 40 seconds for all of it
    loop = asyncio.get_running_loop()
    async with node.running():
        began = loop.time()
        await node.hub.reported(lambda one: one.bytes_done >= 3 * STEP)
        assert loop.time() - began >= 1.0
        assert len(content(node.hub)) <= 6
        node.hub.limit(manners(rate=100 * SIZE))
        await node.until_active(ONE)
        assert loop.time() - began < 20
    assert len(node.hub.hellos) == 1


async def test_an_urgent_model_overtakes_a_bulk_one_within_a_window(node: Node) -> None:
    node.hub.want(ONE)
    node.hub.gate = asyncio.Semaphore(10)
    async with node.running():
        await node.hub.reported(lambda one: one.bytes_done >= 5 * STEP)
        node.hub.has[VEST.version.manifest] = VEST
        urgent = replace(node.hub.wanted.assignments[0], model=VEST.version.model, offer=VEST.offer, priority=9)
        node.hub.say(replace(node.hub.wanted, assignments=(*node.hub.wanted.assignments, urgent)))
        await node.hub.until(lambda: len(node.hub.reports[-1].standings) == 2)
        async with asyncio.timeout(20):
            while not any(one.hold is Hold.PRIORITY for one in node.hub.reports[-1].standings):
                said = len(node.hub.reports)
                node.hub.gate.release()
                await node.hub.until(lambda said=said: len(node.hub.reports) > said)  # type: ignore[misc]
        give_on(node.hub)
        await node.until_active(VEST, ONE)
    given = [manifest for manifest, part, _ in node.hub.given if part is Part.CONTENT]
    beside = given[given.index(VEST.version.manifest) :][: CHUNKS + 1].count(ONE.version.manifest)
    assert beside <= node.window // STEP  # what was on its way when the first chunk of the urgent one was asked for
    assert given[-1] == ONE.version.manifest
