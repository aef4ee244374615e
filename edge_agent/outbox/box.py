"""The only outbox that keeps what it is given: what jobs publish rests here until the hub has confirmed it.

Parts: `rest` is the disk, `sender` decides what is offered and when, `givers` reads chunks, `numbers` keeps what jobs
record. All methods belong to the loop's thread but where they say so; `run` owns what takes time.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection, Container, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import tzinfo
from math import inf
from pathlib import Path

from edge_agent.moment import Moment
from edge_agent.outbox.delivery import Delivery, Speaker
from edge_agent.outbox.givers import Givers
from edge_agent.outbox.lineage import Lineage
from edge_agent.outbox.numbers import Numbers, Post, post
from edge_agent.outbox.papers import Paper
from edge_agent.outbox.rest import Rest
from edge_agent.outbox.sender import Sender
from edge_agent.outbox.words import Done, Item, Measured, Publication, Sending, Stored
from edge_agent.quota import reserve
from edge_agent.usage import ALL, Usage
from modelsyncd.daemon.log import Log
from modelsyncd.digest import Digest
from modelsyncd.errors import ConflictError, ModelsyncError, NotFoundError
from modelsyncd.link.backoff import Backoff
from modelsyncd.names import parse_channel
from modelsyncd.release import check_labels
from modelsyncd.session.effects import Finished
from modelsyncd.session.faults import error_of
from modelsyncd.session.frames import Desired, Report, Waiting
from modelsyncd.store.durable import disk_errors
from modelsyncd.store.tree import EdgeTree

FOLDER = "outbox"
TOLD = 20  # items that a report names
REMEMBERED = 1_000  # items whose end is known to whoever asks late
LOOK_EVERY = 0.5  # seconds between two looks at how far something is


class NodeOutbox:
    """As in `words.Outbox`. `load` once, then `run`; the uplink attaches its sessions."""

    def __init__(
        self,
        folder: Path,
        tree: EdgeTree,
        *,
        producer: Callable[[], str],
        room: Callable[[], int] | None = None,
        hand: Post | None = None,
        usage: Usage | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        zone: tzinfo | None = None,
    ) -> None:
        """`folder` is the agent's. `producer` is "node/NAME", asked when something is offered.

        `room` is bytes that may still be written; the file system's without it. What is sent counts in `usage`.
        """
        self._wall = wall
        self._zone = zone
        self._usage = usage or Usage()
        self._tree = tree
        self._taking: Callable[[], Container[Digest]] = lambda: ()
        lineage = Lineage(tree)
        self._lineage = lineage
        self._rest = Rest(folder / FOLDER, room or (lambda: free(folder)), wall)
        self._sender = Sender(clock=clock, jitter=jitter, moment=self._moment, spent=self._spent, taking=self._fetched)
        self._givers = Givers(self._sender.open, rate=lambda: self._sender.rate, sent=self._charge)
        self._delivery = Delivery(
            self._rest,
            self._sender,
            self._givers,
            lineage,
            producer=producer,
            clock=clock,
            done=self._end,
            tell=self._tell,
        )
        self._numbers = Numbers(folder / FOLDER / "numbers")
        self._hand = hand
        self._jitter = jitter
        self._posting = asyncio.Event()
        self._done: OrderedDict[str, Done | ModelsyncError] = OrderedDict()
        self._changed = asyncio.Event()

    async def load(self) -> None:
        """Reads what waits; before anything else. Raises DiskError."""
        await asyncio.to_thread(self._rest.load)
        await asyncio.to_thread(self._numbers.load)
        for paper in self._rest.papers:
            self._sender.add(paper)
        self._delivery.load()

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._delivery.run())
            if self._hand is not None:
                group.create_task(post(self._numbers, self._hand, self._posting, self._sender.open, self._pause))

    # --- what a session asks ---

    @property
    def giver(self) -> Givers:
        """Gives what is offered."""
        return self._givers

    @property
    def offered(self) -> Collection[Digest]:
        """Manifests that are offered now."""
        return self._sender.offered

    def attach(self, pump: Speaker, taking: Callable[[], Container[Digest]]) -> None:
        """A session is up. `taking` are manifests that are being fetched in it."""
        self._taking = taking
        self._delivery.attach(pump)

    def detach(self) -> None:
        """The session is over."""
        self._delivery.detach()
        self._taking = lambda: ()

    def heed(self, desired: Desired) -> None:
        """The hub's word: it says how the link may be used."""
        self._sender.heed(desired.manners)
        self._tell()

    def finished(self, end: Finished) -> bool:
        """A transfer ended. Whether it was one from here."""
        return self._delivery.finished(end)

    def kick(self) -> None:
        """What is in the way of an offer may be gone."""
        self._delivery.kick()

    def reported(self, report: Report) -> Report:
        """The report, with what waits here."""
        items = self.items()
        return replace(
            report,
            outbox=tuple(map(_waiting, items[:TOLD])),
            outbox_length=len(items),
            outbox_bytes=sum(item.sending.total for item in items),
        )

    async def adopt(self, manifest: Digest) -> None:
        """What is to be fetched, and was published from here a moment ago, is staged with no byte of it travelling."""
        if all(paper.manifest != manifest for paper in self._rest.sent):
            return
        try:
            if await asyncio.to_thread(self._rest.hand_over, manifest, self._tree):
                Log().info("outbox.adopted", manifest=manifest)
        except ModelsyncError as error:
            Log().failure("outbox.unadopted", error, manifest=manifest)

    def taken(self) -> int:
        """Bytes of disk that all of it takes. Blocks; never raises."""
        return self._rest.taken()

    # --- what jobs ask ---

    async def store(
        self,
        wanted: Publication,
        reading: Callable[[int, int], None] = lambda _done, _total: None,
        check: Callable[[], None] = lambda: None,
    ) -> Stored:
        """As in `words.Outbox`."""
        if wanted.channel:
            parse_channel(wanted.channel)
        check_labels(wanted.labels)
        storing = _Storing(reading, check, asyncio.get_running_loop(), self._enter)
        try:
            paper, known = await asyncio.to_thread(storing.run, self._rest, self._lineage, wanted)
        except asyncio.CancelledError:
            storing.given_up = True
            raise
        if known:
            self.hasten()  # whoever publishes it again may know that what refused it is mended
        return Stored(paper.id, paper.manifest, paper.size, known)

    async def follow(self, id: str) -> AsyncIterator[Sending | Done]:  # noqa: A002
        """As in `words.Outbox`."""
        last: Sending | None = None
        while True:
            changed = self._changed
            end = self._done.get(id)
            if isinstance(end, ModelsyncError):
                raise end
            if end is not None:
                yield end
                return
            item = self._item(id)
            if item.refused and item.fault is not None:
                raise error_of(item.fault)
            if item.sending != last:
                yield (last := item.sending)
                continue  # whoever was told may have taken long
            await _wait(changed, LOOK_EVERY if item.manifest in self._sender.offered else inf)

    def items(self) -> Sequence[Item]:
        """As in `words.Outbox`."""
        self._delivery.look()
        return self._sender.items(self._wall())

    def withdraw(self, id: str) -> bool:  # noqa: A002
        """As in `words.Outbox`."""
        if isinstance(end := self._done.get(id), Done):
            raise ConflictError(
                f"{id} is at the hub already, as {end.model}:{end.number}",
                safe="nothing was changed",
                hint="a channel can be led back there: modelsyncctl rollback",
            )
        paper = self._sender.paper(id)
        if paper is None:
            raise _absent(id)
        on_its_way = self._sender.offered.get(paper.manifest) == id
        doomed = self._rest.withdraw(id)
        self._sender.remove(id)
        self._givers.remove(paper.manifest)
        if doomed is not None:
            self._delivery.doom(doomed)
        if on_its_way:
            why = f"{id} was taken out of the outbox while it was sent"
            hint = f"whether the hub has it: modelsyncctl history {paper.publication.model}"
            self._end(id, NotFoundError(why, safe="nothing more of it is sent", hint=hint))
        else:
            self._end(id, NotFoundError(f"{id} was taken out of the outbox before the hub had it"))
        return on_its_way

    def hasten(self) -> None:
        """As in `words.Outbox`."""
        self._sender.hasten()
        self._tell()

    async def record(self, numbers: Sequence[Measured]) -> None:
        """As in `words.Outbox`."""
        await asyncio.to_thread(self._numbers.add, numbers)
        self._posting.set()

    @property
    def records(self) -> int:
        """As in `words.Outbox`."""
        return self._numbers.waiting

    @property
    def changed(self) -> asyncio.Event:
        """Set when something is different from now. Ask for it before looking, so that no change slips between."""
        return self._changed

    # --- inside ---

    def _item(self, name: str) -> Item:
        found = next((one for one in self.items() if one.id == name), None)
        if found is None:
            raise _absent(name)
        return found

    def _enter(self, paper: Paper) -> None:
        if paper.id not in self._done:
            self._sender.add(paper)
            self._tell()

    def _end(self, name: str, how: Done | ModelsyncError) -> None:
        self._done[name] = how
        while len(self._done) > REMEMBERED:
            self._done.popitem(last=False)
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        self._delivery.kick()
        self._posting.set()

    def _fetched(self) -> Container[Digest]:
        return self._taking()

    def _moment(self) -> Moment:
        return Moment(self._wall(), self._zone)

    def _spent(self) -> int:
        return self._usage.used(self._moment().month).get(ALL, 0)

    def _charge(self, size: int) -> None:
        self._usage.count(self._moment().month, size)

    async def _pause(self, backoff: Backoff) -> None:
        await _wait(self._changed, backoff.next(self._jitter()))


class _Storing:
    """One publication on its way into the outbox, in a thread."""

    def __init__(
        self,
        reading: Callable[[int, int], None],
        check: Callable[[], None],
        loop: asyncio.AbstractEventLoop,
        enter: Callable[[Paper], None],
    ) -> None:
        self.given_up = False
        self._reading = reading
        self._check = check
        self._loop = loop
        self._enter = enter

    def run(self, rest: Rest, lineage: Lineage, wanted: Publication) -> tuple[Paper, bool]:
        """Blocks. What counts is entered even when nobody waits for it any more."""
        stored = rest.keep(wanted, lambda: lineage.parents(wanted.parents), self._read, self._judge)
        with suppress(RuntimeError):  # the loop is closed: the next start finds it
            self._loop.call_soon_threadsafe(self._enter, stored[0])
        return stored

    def _read(self, done: int, total: int) -> None:
        self._go_on()
        self._reading(done, total)

    def _judge(self) -> None:
        self._check()
        self._go_on()

    def _go_on(self) -> None:
        if self.given_up:
            raise ConflictError("whoever published this has left", safe="nothing was stored")


def free(folder: Path) -> int:
    """Bytes that the file system of a folder has for models. Raises DiskError."""
    with disk_errors(folder):
        system = os.statvfs(folder)
    return system.f_bavail * system.f_frsize - reserve(system.f_blocks * system.f_frsize)


def _waiting(item: Item) -> Waiting:
    sending = item.sending
    return Waiting(
        item.publication.model,
        item.manifest,
        bytes_total=sending.total,
        bytes_done=sending.done,
        bytes_wire=sending.wire,
        stored_at=item.stored_at,
        fault=item.fault,
        next_try=item.next_try,
    )


def _absent(name: str) -> NotFoundError:
    return NotFoundError(f"there is no {name[:40]!r} in the outbox", hint="see what is: modelsyncctl outbox")


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(None if seconds == inf else max(0.0, seconds)):
            await event.wait()
