"""The only place that keeps a session with the hub: connects, converses, and connects again whatever ended it.

Nothing depends on how a session ends: what is durable stays, what is lacking is asked for again, and the hub says what
it wants at the start of each. Waits between tries double up to a minute, are spread by `jitter`, and end at once when
somebody knows that the network is back (`hurry`). No count of tries and no time ends the trying.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from edge_agent.facts import NodeFacts
from edge_agent.outbox.crossing import Crossing
from edge_agent.outbox.outgoing import Adopting, Nothing, Outgoing
from edge_agent.standings import outline
from edge_agent.steward import Steward
from modelsyncd.codec.registry import READABLE, Codec
from modelsyncd.daemon.log import Log
from modelsyncd.errors import ModelsyncError, RoadError, first_of
from modelsyncd.link.attempt import outcome_of
from modelsyncd.link.backoff import Backoff
from modelsyncd.link.pump import FrameStream, Pump, Word
from modelsyncd.session.effects import Finished, Quoted
from modelsyncd.session.frames import FEATURES, PROTOCOL, Desired, Facts, Feature, Hello, Tidings, Waiting
from modelsyncd.session.ports import TakerStore
from modelsyncd.session.recall import Recall
from modelsyncd.session.session import PATIENCE, Session
from modelsyncd.session.window import Window

SPREAD = 10.0  # seconds over which nodes come back whose sessions have held for long
REPORT_PAUSE = 1.0  # seconds between reports that tell of bytes only
LOOK_EVERY = 600.0  # seconds between two looks at what the node is: runtimes and devices come and go

Connect = Callable[[], AbstractAsyncContextManager[FrameStream]]
"""Opens a stream to the hub; raises ModelsyncError."""


class Uplink:
    """One node's sessions, one after the other. All methods belong to the loop's thread."""

    def __init__(
        self,
        steward: Steward,
        connect: Connect,
        store: TakerStore,
        *,
        software: str,
        jitter: Callable[[], float],
        outbox: Outgoing | None = None,
        codecs: frozenset[Codec] = READABLE,
        clock: Callable[[], float] = time.monotonic,
        window: Callable[[], Window] = Window,
        backoff: Backoff | None = None,
        patience: float = PATIENCE,
        log: Log | None = None,
        facts: NodeFacts | None = None,
        tidings: Callable[[], None] | None = None,
    ) -> None:
        """`patience` in seconds: of nothing from a hub that owes something, until the session is given up.

        `tidings` hears that the catalogue changed about what the node follows; without it the hub never says so.
        """
        self._facts = facts or NodeFacts({}, dict)
        self._tidings = tidings
        self._steward = steward
        self._connect = connect
        self._outbox = outbox or Nothing()
        self._store = Adopting(store, self._outbox.adopt)
        self._software = software
        self._jitter = jitter
        self._codecs = codecs
        self._clock = clock
        self._window = window
        self._log = log or Log()
        self._backoff = backoff or Backoff()
        self._patience = patience
        self._welcomed_at: float | None = None
        self._recall = Recall()
        self._productive = False
        self._greeted = False
        self._hasty = False
        self._now = asyncio.Event()

    def hurry(self) -> None:
        """Tries at once instead of waiting; for someone who knows that the link is back. Nothing while there is a link.

        A try that is under way may wait for answers to what the old link lost: it is given up for a new one, but not
        two in a row, so that news without end can't keep it from connecting.
        """
        if not self._greeted:
            self._now.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            match await outcome_of(self._try):
                case None:
                    self._log.info("uplink.closed")
                    self._backoff.reset(self._spread())
                case ModelsyncError() as error:
                    self._log.failure("uplink.down", error)
                    if self._welcomed_at is not None and error.retryable:
                        # A link that breaks often still brings something each time; a hub that turns us out does not.
                        again = self._backoff.hasten if self._productive else self._backoff.reset
                        again(self._spread())
                case error:  # one session's fault must not take the jobs' agent away
                    self._log.failure("uplink.broken", error)
            self._greeted, self._welcomed_at, self._productive = False, None, False
            await self._wait(self._backoff.next(self._jitter()))

    def _spread(self) -> float:
        """Seconds over which the next try falls: the longer a session held, the less a moment matters.

        A hub that restarts ends the sessions of all nodes at once, most of them hours old: these come back one after
        the other. A link that breaks every few seconds loses a tenth of its time to this, at most.
        """
        held = 0.0 if self._welcomed_at is None else self._clock() - self._welcomed_at
        return min(SPREAD, held / 10)

    async def _try(self) -> None:
        """One session; given up when somebody is in a hurry before anybody has answered."""
        async with asyncio.TaskGroup() as group:
            session = group.create_task(outcome_of(self._session))
            hurrying = group.create_task(self._give_up(session))
            session.add_done_callback(lambda _: hurrying.cancel())
        if session.cancelled():
            raise RoadError("there may be a better network now", safe="nothing was said yet")
        if (failure := session.result()) is not None:
            raise failure

    async def _give_up(self, session: asyncio.Task[Exception | None]) -> None:
        if self._hasty:
            return
        await self._now.wait()
        session.cancel()

    async def _session(self) -> None:
        async with self._connect() as stream:
            await self._converse(stream)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._now.wait()
            self._hasty = True
        except TimeoutError:
            self._hasty = False
        finally:
            self._now.clear()

    async def _converse(self, stream: FrameStream) -> None:
        said = await asyncio.to_thread(self._facts.look)
        features = FEATURES if self._tidings is None else FEATURES | {Feature.TIDINGS}
        hello = Hello(PROTOCOL, self._software, self._codecs, self._steward.holds, features, said)
        session = Session(hello, window=self._window(), patience=self._patience, recall=self._recall)
        greeted = asyncio.Event()
        pump = Pump(
            session,
            stream,
            taker=self._store,
            giver=self._outbox.giver,
            deliver=lambda word: self._hear(word, greeted, crossing),
            clock=self._clock,
        )
        crossing = Crossing(pump, lambda: self._outbox.offered)
        failure: ModelsyncError | None = None
        try:
            async with asyncio.TaskGroup() as group:
                report = group.create_task(self._report(crossing, greeted, said))
                try:
                    await pump.run()
                finally:
                    report.cancel()
        except* ModelsyncError as errors:
            failure = first_of(errors)
        finally:
            self._productive = session.kept_bytes > 0 and session.awaits  # cut in the middle
            self._outbox.detach()
            self._steward.detach()
        if failure is not None:
            raise failure

    def _hear(self, word: Word, greeted: asyncio.Event, crossing: Crossing) -> None:
        match word:
            case Hello(software=software):
                self._log.info("uplink.up", hub=software)
                self._greeted = True
                self._now.clear()
                greeted.set()
            case Desired():
                self._welcomed_at = self._clock() if self._welcomed_at is None else self._welcomed_at
                self._steward.propose(word)
                self._outbox.heed(word)
            case Finished(manifest=manifest):
                if crossing.finished(manifest) or not self._outbox.finished(word):
                    self._steward.finished(word)
                self._outbox.kick()
                crossing.resume()
            case Quoted():
                self._steward.quoted(word)
            case Tidings() if self._tidings is not None:
                self._tidings()
            case _:
                return

    async def _report(self, crossing: Crossing, greeted: asyncio.Event, said: Facts) -> None:
        """Says where everything stands: at the start, at each change at once, and each second while bytes travel."""
        await greeted.wait()
        self._steward.attach(crossing)
        self._outbox.attach(crossing.pump, lambda: crossing.taking)
        async with asyncio.TaskGroup() as group:
            news = asyncio.Event()
            group.create_task(_relay(lambda: self._steward.changed, news))
            group.create_task(_relay(lambda: self._outbox.changed, news))
            group.create_task(self._keep_looking(news))
            await self._keep_reporting(crossing, news, said)

    async def _keep_looking(self, news: asyncio.Event) -> None:
        """Finds out from time to time whether the node is what it was."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            before = self._facts.known
            if await asyncio.to_thread(self._facts.look) != before:
                news.set()

    async def _keep_reporting(self, crossing: Crossing, news: asyncio.Event, said: Facts | None) -> None:
        last: tuple[object, ...] | None = None
        said_at = 0.0
        while True:
            news.clear()
            crossing.resume()
            report = self._outbox.reported(await self._steward.report())
            known = self._facts.known
            if known != said:
                said = None  # from now on each report says it: the hub may pass over any but the newest
                report = replace(report, facts=known)
            now = self._clock()
            shape = (
                report.generation,
                *outline(report.standings),
                *map(_outline, report.outbox),
                report.outbox_length,
                known,
            )
            moving = self._steward.fetching or bool(self._outbox.offered)
            if shape != last or (moving and now - said_at >= REPORT_PAUSE):
                crossing.say(report)
                last, said_at = shape, now
            try:
                async with asyncio.timeout(REPORT_PAUSE if moving else None):
                    await news.wait()
            except TimeoutError:
                continue


async def _relay(source: Callable[[], asyncio.Event], news: asyncio.Event) -> None:
    """Says each time that something changed, whoever made the event anew meanwhile."""
    while True:
        await source().wait()
        news.set()


def _outline(waiting: Waiting) -> tuple[object, ...]:
    """All of it but its bytes."""
    return (waiting.model, waiting.manifest, waiting.stored_at, waiting.fault)
