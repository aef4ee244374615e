"""The only interpreter of a session's effects: reads frames, writes frames, and hops to the stores.

Everything that happens becomes an event and is stepped at once, in the loop's thread; what takes time runs in tasks
of one TaskGroup that `run` owns. Control frames overtake the bulk on the way out, and the giver loads nothing more
while `OUTBOX_BYTES` wait to be written, so memory is bounded by the window on one side and by that on the other.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Coroutine

from modelsyncd.digest import Digest
from modelsyncd.errors import ModelsyncError, RefusedError, RoadError, first_of
from modelsyncd.link.lanes import Stream, Wide
from modelsyncd.link.prices import Prices
from modelsyncd.link.put import PUT_PATIENCE, put
from modelsyncd.link.rate import Rate
from modelsyncd.session import effects as do
from modelsyncd.session import events as on
from modelsyncd.session.faults import error_of, fault_of
from modelsyncd.session.frames import Fault, Frame, Give, Offer, Part
from modelsyncd.session.ports import GiverStore, PriceStore, TakerStore
from modelsyncd.session.progress import Progress
from modelsyncd.session.session import Session

OUTBOX_BYTES = 2 << 20  # payload bytes that wait to be written before loading pauses
URGENT_FRAMES = 10_000  # control frames that wait to be written before reading pauses
BATCH_BYTES = 8 << 20  # encoded bytes that become durable together, at most
GATHER_BYTES = 2 << 20  # encoded bytes that are worth a sync of their own; for fewer, more are waited for …
GATHER_SECONDS = 0.01  # … but no longer than this


FrameStream = Stream
"""What a pump reads and writes."""

Word = Frame | do.Finished | do.Quoted
"""What the pump hands on: what the peer said, and what came of a transfer."""

_Question = do.Consider | do.Survey | do.Complete
"""What is asked of the taker's store for a whole transfer."""


class _Over(Exception):  # noqa: N818 - ends the TaskGroup; nobody outside sees it
    """The session has hung up, and everything said before is on the wire."""


class Pump:
    """Runs one session over one stream. All methods belong to the loop's thread."""

    def __init__(
        self,
        session: Session,
        stream: FrameStream,
        *,
        taker: TakerStore | None = None,
        giver: GiverStore | None = None,
        pricer: PriceStore | None = None,
        deliver: Callable[[Word], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        patience: float = PUT_PATIENCE,
    ) -> None:
        """`patience` in seconds: for the other side to make room for one frame."""
        self.session = session
        self._stream = stream
        if isinstance(stream, Wide):
            stream.told = session.widen
        self._taker = taker
        self._giver = giver
        self._deliver = deliver or (lambda _: None)
        self._clock = clock
        self._patience = patience
        self._urgent: deque[Frame] = deque()
        self._bulk: deque[Give] = deque()
        self._bulk_bytes = 0
        self._keeps: deque[do.Keep] = deque()
        self._keeping_bytes = 0
        self._loads: deque[do.Load] = deque()
        self._rate = Rate()
        self._prices = Prices(session, pricer, self._step, lambda: self.rate)
        self._giving: set[Digest] = set()  # manifests of whose content something was given
        self._loading = False
        self._idle_since: float | None = None
        self._wake_at: float | None = None
        self._hung_up = False
        self._fault: Fault | None = None
        self._to_write = asyncio.Event()
        self._room = asyncio.Event()
        self._to_keep = asyncio.Event()
        self._to_load = asyncio.Event()
        self._to_wake = asyncio.Event()
        self._said = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._early: list[on.Event] = []

    async def run(self) -> None:
        """Talks until either side hangs up.

        Returns when we hung up without a fault. Raises the fault's error otherwise, and RoadError when the stream just
        ended: that says nothing about any transfer.
        """
        failure: ModelsyncError | None = None
        task = asyncio.current_task()
        marks = task.cancelling() if task is not None else 0
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                group.create_task(self._write())
                group.create_task(self._keep())
                group.create_task(self._load())
                group.create_task(self._wake())
                self._apply(self.session.start(self._clock()))
                for event in self._early:
                    self._step(event)
                group.create_task(self._read())
        except* _Over:
            pass
        except* ModelsyncError as errors:
            failure = first_of(errors)
        finally:
            self._group = None
        if task is not None and task.cancelling() > marks:
            # A group that ends by an error leaves its own cancellation on the task (before Python 3.13), and 3.11.2
            # then takes the next timeout in this task for a wish to end it.
            task.uncancel()
        if failure is not None:
            raise failure
        if self._fault is not None:
            raise error_of(self._fault)

    def say(self, frame: Frame) -> None:
        """Sends a frame of ours: Desired, Report, Offer or Tidings."""
        self._step(on.Say(frame))

    def take(self, offer: Offer, priority: int = 0, *, gated: bool = False) -> None:
        """Begins to fetch what an offer names; a second call changes the priority.

        Of a `gated` one the content waits for `go`, after a Quoted was delivered.
        """
        self._step(on.Take(offer, priority, gated))

    def go(self, manifest: Digest, allowance: int | None = None) -> None:
        """Lets a gated transfer's content travel, as long as it takes no more than `allowance` payload bytes."""
        self._step(on.Go(manifest, allowance))

    def pace(self, pace: on.Pace) -> None:
        """How fast to ask, from now on."""
        self._step(pace)

    def drop(self, manifests: Collection[Digest]) -> None:
        """Stops fetching these; what is durable stays."""
        self._step(on.Drop(manifests))

    def close(self, fault: Fault | None = None) -> None:
        """Ends the session once what was said is on the wire."""
        self._step(on.Close(fault))

    def progress(self, manifest: Digest) -> Progress:
        """How far a transfer has come."""
        return self.session.progress(manifest)

    @property
    def rate(self) -> float:
        """Bytes a second that the link carries to the other side; 0 while too little was written to tell."""
        return self._rate.bytes_per_second

    # --- effects ---

    def _step(self, event: on.Event) -> None:
        if self._group is None:
            self._early.append(event)  # said before `run` begins: the first thing that it steps
            return
        self._apply(self.session.step(event, self._clock()))
        self._prices.tidy()

    def _apply(self, effects: list[do.Effect]) -> None:
        for effect in effects:
            match effect:
                case do.Send(Give() as give):
                    self._bulk.append(give)
                    self._bulk_bytes += len(give.payload)
                    self._to_write.set()
                case do.Send(frame):
                    self._urgent.append(frame)
                    self._to_write.set()
                case do.Keep():
                    self._keeps.append(effect)
                    self._keeping_bytes += len(effect.payload)
                    self._to_keep.set()
                case do.Load():
                    self._loads.append(effect)
                    self._to_load.set()
                case do.Deliver(frame):
                    self._deliver(frame)
                case do.Finished() | do.Quoted():
                    self._deliver(effect)
                case do.Price():
                    self._prices.begin(effect, self._tasks())
                case do.Consider():
                    self._spawn(effect, self._consider(effect))
                case do.Survey():
                    self._spawn(effect, self._survey(effect))
                case do.Complete():
                    self._spawn(effect, self._complete(effect))
                case do.WakeAt(when):
                    self._wake_at = when
                    self._to_wake.set()
                case do.HangUp(fault):
                    self._hung_up = True
                    self._fault = fault
                    self._bulk.clear()  # nobody counts on it, and what must still be said would wait behind it
                    self._to_write.set()

    def _spawn(self, asked: _Question, work: Coroutine[object, object, on.Event]) -> None:
        self._tasks().create_task(self._answer(asked, work))

    def _tasks(self) -> asyncio.TaskGroup:
        assert self._group is not None, "effects come out of steps, and steps are taken while run() runs"  # noqa: S101
        return self._group

    async def _answer(self, asked: _Question, work: Coroutine[object, object, on.Event]) -> None:
        """One question to the taker's store; its error ends that transfer only."""
        try:
            event = await work
        except ModelsyncError as error:
            event = on.Failed(asked.offer.manifest, asked.serial, fault_of(error))
        self._step(event)

    async def _consider(self, asked: do.Consider) -> on.Event:
        return on.Considered(asked.offer.manifest, asked.serial, await self._store().consider(asked.offer))

    async def _survey(self, asked: do.Survey) -> on.Event:
        missing = await self._store().survey(asked.offer, asked.part)
        return on.Surveyed(
            asked.offer.manifest, asked.serial, asked.part, missing.sizes, missing.ordinals, missing.bases
        )

    async def _complete(self, asked: do.Complete) -> on.Event:
        return on.Completed(asked.offer.manifest, asked.serial, await self._store().complete(asked.offer))

    def _store(self) -> TakerStore:
        if self._taker is None:
            raise RefusedError("nothing can be sent to this side")
        return self._taker

    # --- tasks ---

    async def _read(self) -> None:
        while (frame := await self._stream.read()) is not None:
            self._step(on.Received(frame))
            while len(self._urgent) >= URGENT_FRAMES:  # a peer that asks and does not read waits for itself
                self._said.clear()
                await self._said.wait()
        if not self._hung_up:
            raise RoadError("the other side ended the stream", safe="every chunk that arrived before is kept")

    async def _write(self) -> None:
        while True:
            while self._urgent or self._bulk:
                if self._urgent:
                    frame: Frame = self._urgent.popleft()
                    self._said.set()
                else:
                    frame = give = self._bulk.popleft()
                    self._bulk_bytes -= len(give.payload)
                    if self._bulk_bytes < OUTBOX_BYTES:
                        self._room.set()
                before = self._clock()
                await put(self._stream.write(frame), self._patience)
                if isinstance(frame, Give):
                    self._rate.wrote(len(frame.payload), self._clock() - before)
            if self._hung_up:
                raise _Over
            self._to_write.clear()
            if not self._loading and self._idle_since is None:
                self._idle_since = self._clock()
            await self._to_write.wait()

    async def _keep(self) -> None:
        while True:
            while self._keeps:
                await self._gather()
                await self._keep_batch(self._next_batch())
            self._to_keep.clear()
            await self._to_keep.wait()

    async def _gather(self) -> None:
        """Lets a few more chunks arrive while more are owed: a sync costs the same for one as for ten."""
        try:
            async with asyncio.timeout(GATHER_SECONDS):
                while self.session.awaits and self._keeping_bytes < GATHER_BYTES:
                    self._to_keep.clear()
                    await self._to_keep.wait()
        except TimeoutError:
            return

    def _next_batch(self) -> list[do.Keep]:
        """Arrivals of one transfer and part, in order: what came while the batch before became durable."""
        batch = [self._keeps.popleft()]
        size = len(batch[0].payload)
        while self._keeps and size < BATCH_BYTES:
            following = self._keeps[0]
            if (following.serial, following.part) != (batch[0].serial, batch[0].part):
                break
            batch.append(self._keeps.popleft())
            size += len(following.payload)
        self._keeping_bytes -= size
        return batch

    async def _keep_batch(self, batch: list[do.Keep]) -> None:
        manifest, part, serial = batch[0].offer.manifest, batch[0].part, batch[0].serial
        if not self.session.is_taking(manifest, serial):
            return  # dropped while it waited: nobody wants it any more
        try:
            kept = await self._store().keep(batch)
        except ModelsyncError as error:
            self._step(on.Failed(manifest, serial, fault_of(error)))
            return
        if kept.spoiled:
            self._step(on.Spoiled(manifest, serial, part, kept.spoiled))
        if kept.kept:
            self._step(on.Kept(manifest, serial, part, kept.kept, kept.cpu))

    async def _load(self) -> None:
        while True:
            while self._loads:
                while self._bulk_bytes >= OUTBOX_BYTES:
                    self._room.clear()
                    await self._room.wait()
                await self._load_one(self._loads.popleft())
            self._to_load.clear()
            await self._to_load.wait()

    async def _load_one(self, load: do.Load) -> None:
        self._note_wait(load)
        self._loading = True  # reading and encoding is nothing that the link is to blame for
        try:
            if self._giver is None:
                raise RefusedError("nothing can be fetched from this side")
            chunks = await self._giver.load(
                load.manifest, load.part, load.ordinals, load.codecs, load.bases, rate=self._rate.bytes_per_second
            )
        except ModelsyncError as error:
            self._giving.discard(load.manifest)  # it may be one that nobody here has ever heard of
            self._step(on.LoadFailed(load.manifest, load.serial, fault_of(error)))
            return
        finally:
            self._loading = False
        self._step(on.Loaded(load.manifest, load.serial, load.part, chunks))

    def _note_wait(self, load: do.Load) -> None:
        """Counts how long the peer left us idle in the middle of a transfer; between two, nobody waited for anybody."""
        idle_since, self._idle_since = self._idle_since, None
        if load.part is Part.MANIFEST:
            self._giving.discard(load.manifest)
            return
        under_way = load.manifest in self._giving and self.session.progress(load.manifest).wire
        if idle_since is not None and under_way:
            self._rate.waited(self._clock() - idle_since)
        self._giving.add(load.manifest)

    async def _wake(self) -> None:
        while True:
            self._to_wake.clear()
            if self._wake_at is None:
                await self._to_wake.wait()
                continue
            try:
                async with asyncio.timeout(max(0.0, self._wake_at - self._clock())):
                    await self._to_wake.wait()
            except TimeoutError:
                self._wake_at = None
                self._step(on.Woke())
