"""The only place that says what happens beside the transfers in a node's session: Desired goes out, reports come in.

Both are level-triggered: whenever something may have changed, the node's whole Desired is worked out anew and sent if
it says anything new; of the reports that came while one was stored, the newest is stored next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from cloud_hub.board import Board, Told
from cloud_hub.catalog import Catalog
from cloud_hub.events import Event, NodeChanged
from cloud_hub.gate import removed
from cloud_hub.herald import Follow, Herald
from cloud_hub.presence import Live, Newest, Presence
from cloud_hub.tidings import told_about
from modelsyncd.errors import ModelsyncError, NotFoundError, first_of
from modelsyncd.link.pump import Pump, Word
from modelsyncd.session.faults import fault_of
from modelsyncd.session.frames import Desired, Facts, Feature, Hello, Report, Tidings
from modelsyncd.wire.nouns import encode_report


class _Over(Exception):  # noqa: N818 - ends the TaskGroup; nobody outside sees it
    """The conversation has ended without a fault."""


class NodeSession:
    """One node's session. `hear` is the pump's `deliver`."""

    def __init__(
        self,
        node: str,
        catalog: Catalog,
        board: Board,
        presence: Presence,
        herald: Herald,
        *,
        tell: Callable[[Event], None],
        heed: Callable[[Desired], None] = lambda _: None,
        clock: Callable[[], float],
    ) -> None:
        """`heed` hears what the node is told."""
        self._node = node
        self._catalog = catalog
        self._board = board
        self._presence = presence
        self._herald = herald
        self._tell = tell
        self._heed = heed
        self._clock = clock
        self._greeted: Newest[Hello] = Newest()
        self._reported: Newest[Report] = Newest()
        self._facts: Facts | None = None
        """What a report said that may not be the one that is stored."""
        self._live: Live | None = None

    def hear(self, said: Word) -> None:
        """Takes what the node said; never waits."""
        match said:
            case Hello():
                if self._live is not None:
                    self._live.greeting = said
                self._greeted.put(said)
            case Report(facts=facts):
                self._facts = facts if facts is not None else self._facts
                self._reported.put(said)
            case _:
                pass  # a transfer's end is the node's to report

    async def run(self, pump: Pump, turn: Callable[[Pump], Awaitable[None]]) -> None:
        """Has the pump turned, and does all that goes with it, until the conversation ends. Raises ModelsyncError."""
        live = self._live = Live(self._node, lambda why: pump.close(fault_of(why)), lambda: pump.rate)
        try:
            with (
                self._presence.enter(live),
                self._herald.hearing(self._node, lambda: pump.say(Tidings())) as follow,
            ):
                await self._converse(pump, turn, live, follow)
        finally:
            await self._store_last()
            self._tell(NodeChanged(self._clock(), self._node))

    async def _converse(self, pump: Pump, turn: Callable[[Pump], Awaitable[None]], live: Live, follow: Follow) -> None:
        failure: ModelsyncError | None = None
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._say_desired(pump, live, follow))
                group.create_task(self._store_reports())
                await turn(pump)
                raise _Over
        except* _Over:
            pass
        except* ModelsyncError as errors:
            failure = first_of(errors)
        if failure is not None:
            raise failure

    async def _say_desired(self, pump: Pump, live: Live, follow: Follow) -> None:
        hello = await self._greeted.take()
        await asyncio.to_thread(self._catalog.nodes.seen, self._node, hello.software, hello.facts, self._clock())
        self._tell(NodeChanged(self._clock(), self._node))
        live.stirred.put(True)
        before: Told | None = None
        while True:
            await live.stirred.take()
            try:
                told = await asyncio.to_thread(self._board.look, self._node)
            except NotFoundError:
                live.cut(removed(self._node))
                return
            # What it may publish is no part of a Desired, but a new one has it try again what was refused before.
            if before is None or told.rights != before.rights or _differs(told.desired, before.desired):
                self._heed(told.desired)
                pump.say(told.desired)
                before = told
                if Feature.TIDINGS in hello.features:
                    follow(told_about(told.desired))

    async def _store_reports(self) -> None:
        while True:
            await self._store(await self._reported.take())

    async def _store(self, report: Report) -> None:
        await asyncio.to_thread(self._catalog.nodes.report, self._node, encode_report(report), self._clock())
        facts, self._facts = self._facts, None
        if facts is not None and await asyncio.to_thread(self._catalog.nodes.learn, self._node, facts):
            self._stir()
        self._tell(NodeChanged(self._clock(), self._node))

    def _stir(self) -> None:
        """Another variant may fit it now."""
        if self._live is not None:
            self._live.stirred.put(True)

    async def _store_last(self) -> None:
        report = self._reported.empty()
        if report is not None:
            await self._store(report)


def _differs(one: Desired, other: Desired) -> bool:
    """In more than when it was said."""
    return replace(one, generation=other.generation) != other
