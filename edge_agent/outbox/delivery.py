"""The only place that carries an outbox's items to the hub: offers them, hears what came of it, and lets go.

Law: an item goes only after the hub's Settled, durably, and whoever follows it is told after that. All methods belong
to the loop's thread; `run` does one thing at a time, and the disk's work hops to another thread.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Protocol

from edge_agent.outbox.givers import Givers
from edge_agent.outbox.lineage import Lineage
from edge_agent.outbox.offering import Offering, offering
from edge_agent.outbox.papers import Paper
from edge_agent.outbox.rest import Rest
from edge_agent.outbox.sender import Sender
from edge_agent.outbox.words import Done
from modelsyncd.daemon.log import Log
from modelsyncd.digest import Digest
from modelsyncd.errors import BadInputError, DamageError, DiskError, ModelsyncError, NotFoundError
from modelsyncd.session.effects import Finished
from modelsyncd.session.events import Settled
from modelsyncd.session.faults import fault_of
from modelsyncd.session.frames import Frame
from modelsyncd.session.progress import Progress
from modelsyncd.store.durable import erase

GRACE = 900.0  # seconds for which content stays that the hub has: a channel that is moved to it needs no byte of it


class Speaker(Protocol):
    """What offers are said to: a session's pump, or a test's."""

    def say(self, frame: Frame) -> None:
        """Sends it."""

    def progress(self, manifest: Digest) -> Progress:
        """How far a transfer has come."""


@dataclass(frozen=True, slots=True)
class _End:
    """How an offer of an item ended."""

    name: str
    made: Offering
    finished: Finished


class Delivery:
    """Of one outbox. `done` is told what the hub has, `tell` that something changed."""

    def __init__(
        self,
        rest: Rest,
        sender: Sender,
        givers: Givers,
        lineage: Lineage,
        *,
        producer: Callable[[], str],
        clock: Callable[[], float],
        done: Callable[[str, Done], None],
        tell: Callable[[], None],
    ) -> None:
        self._rest = rest
        self._sender = sender
        self._givers = givers
        self._lineage = lineage
        self._producer = producer
        self._clock = clock
        self._done = done
        self._tell = tell
        self._pump: Speaker | None = None
        self._offerings: dict[str, Offering] = {}
        self._ends: deque[_End] = deque()
        self._sent_at: dict[str, float] = {}
        self._doomed: deque[Path] = deque()
        self._kicked = asyncio.Event()
        self._log = Log()

    def kick(self) -> None:
        """There may be something to do."""
        self._kicked.set()

    def doom(self, path: Path) -> None:
        """This has lost its name, and is to be erased."""
        self._doomed.append(path)
        self._kicked.set()

    # --- sessions ---

    def attach(self, pump: Speaker) -> None:
        """A session is up, and the hub has said its first word."""
        self._pump = pump
        self._sender.attach()
        self._tell()

    def detach(self) -> None:
        """The session is over."""
        self.look()
        self._pump = None
        self._sender.detach()
        for name in list(self._offerings):
            self._forget(name)
        self._tell()

    def look(self) -> None:
        """Takes note of how far everything is."""
        if self._pump is not None:
            for manifest, name in self._sender.offered.items():
                self._sender.travelled(name, self._pump.progress(manifest))

    def finished(self, end: Finished) -> bool:
        """An offer ended. False for what was not offered from here."""
        name = self._sender.offered.get(end.manifest)
        made = self._offerings.get(name or "")
        if name is None or made is None:
            return False
        self._sender.travelled(name, end.progress)
        self._ends.append(_End(name, made, end))
        self._kicked.set()
        return True

    # --- the work ---

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            self._kicked.clear()
            while self._ends:
                await self._take_note(self._ends.popleft())
            for paper in self._sender.due():
                await self._offer(paper)
            await self._sweep()
            await self._rested()

    async def _rested(self) -> None:
        now = self._clock()
        until = min(self._sender.wakes(), *(at + GRACE for at in self._sent_at.values()), inf)
        with suppress(TimeoutError):
            async with asyncio.timeout(None if until == inf else max(0.0, until - now)):
                await self._kicked.wait()

    async def _offer(self, paper: Paper) -> None:
        pump, made = self._pump, self._offerings.get(paper.id)
        if made is None:
            try:
                made = await asyncio.to_thread(offering, paper, self._rest, self._lineage, self._producer())
            except ModelsyncError as error:
                self._stumbled(paper, error)
                return
        if pump is None or pump is not self._pump or all(paper.id != one.id for one in self._sender.due()):
            return  # the session ended meanwhile, or somebody took it back
        self._offerings[paper.id] = made
        self._givers.add(paper.manifest, made.giver)
        self._sender.begin(paper)
        number = self._sender.number(paper.publication.model, made.guess)
        self._log.info("publish.offered", model=str(paper.publication.model), version=number, id=paper.id)
        pump.say(made.offer(number))
        self._tell()

    async def _take_note(self, end: _End) -> None:
        paper, settled = self._sender.paper(end.name), end.finished.settled
        if paper is None:
            self._sender.answered(end.name)  # taken back meanwhile
            return
        if settled is not None:
            try:
                await asyncio.to_thread(self._rest.confirm, end.name)
            except ModelsyncError as error:
                self._log.failure("outbox.unconfirmed", error, id=end.name)
                self._fail(paper, error)  # offered again: the hub says that it is there
                return
            self._arrived(paper, end.made, settled)
            return
        trouble = self._givers.failures.get(paper.manifest)
        if trouble is not None:
            self._stumbled(paper, trouble)
        elif end.finished.fault is not None:
            self._log.warning(
                "publish.failed", id=paper.id, error=end.finished.fault.code, why=end.finished.fault.message
            )
            self._sender.failed(paper.id, end.finished.fault)
            self._tell()

    def _arrived(self, paper: Paper, made: Offering, settled: Settled) -> None:
        wire = made.giver.wire
        self._sender.settled(paper.id, settled)
        self._sender.remove(paper.id)
        self._forget(paper.id)
        self._sent_at[paper.id] = self._clock()
        ours = made.made(settled)
        self._log.info(
            "publish.settled", model=str(paper.publication.model), version=settled.number, created=ours, wire=wire
        )
        self._done(paper.id, Done(paper.publication.model, settled.number, settled.release_digest, ours, wire))

    def _stumbled(self, paper: Paper, error: ModelsyncError) -> None:
        """Our own copy could not be read: it is broken, or the disk is in a bad mood."""
        if isinstance(error, DamageError | BadInputError | NotFoundError):
            damage = DamageError(
                f"the copy of outbox item {paper.id} was changed on this disk: {error.message}",
                safe="nothing of it was published",
                hint="publish it again; look at the disk if it happens again",
            )
            self._log.failure("outbox.broken", damage, id=paper.id)
            self._sender.broke(paper.id, fault_of(damage))
            self._tell()
        else:
            self._fail(paper, error)

    def _fail(self, paper: Paper, error: ModelsyncError) -> None:
        self._sender.failed(paper.id, fault_of(error))
        self._forget(paper.id)
        self._tell()

    def _forget(self, name: str) -> None:
        made = self._offerings.pop(name, None)
        if made is not None:
            self._givers.remove(made.paper.manifest)

    # --- what was sent, and may be of use for a while ---

    def load(self) -> None:
        """Begins with what an earlier run left."""
        for paper in self._rest.sent:
            self._sent_at[paper.id] = self._clock()

    async def _sweep(self) -> None:
        """Removes what was sent a while ago, and what a later one of the same model makes stale."""
        while self._doomed:
            with suppress(DiskError):  # the next start removes it
                await asyncio.to_thread(erase, self._doomed.popleft())
        now, newest = self._clock(), {paper.publication.model: paper.id for paper in self._rest.sent}
        for paper in self._rest.sent:
            late = now - self._sent_at.get(paper.id, now) >= GRACE
            if late or newest[paper.publication.model] != paper.id:
                try:
                    await asyncio.to_thread(self._rest.drop, paper.id)
                except ModelsyncError as error:
                    self._log.failure("outbox.unswept", error, id=paper.id)
                self._sent_at.pop(paper.id, None)
