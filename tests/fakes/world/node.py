"""A node: the real steward and uplink on a made-up disk. It is killed and started again without warning."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC
from random import Random

from edge_agent.steward import Steward
from edge_agent.uplink import Uplink
from edge_agent.usage import Usage
from edge_agent.watchers import Watchers
from modelsyncd.codec.registry import Codec
from modelsyncd.digest import Digest, short
from modelsyncd.errors import RoadError
from modelsyncd.link.pump import FrameStream
from modelsyncd.session.frames import Frame, Give, Part
from modelsyncd.session.window import Window
from tests.fakes.versions import STEP
from tests.fakes.world.disk import Disk, DiskOrders, DiskStore
from tests.fakes.world.hub import Hub
from tests.fakes.world.ruling import EPOCH, Ruling
from tests.fakes.world.shelf import DiskShelf
from tests.fakes.world.wire import Link, Shape

FLOOR, CAP = 4 << 10, 16 << 10  # bytes of the window: versions here have a hundred kilobytes


class Node:
    """One node, whatever becomes of its process."""

    def __init__(self, name: str, disk: Disk, hub: Hub, rng: Random) -> None:
        self.name = name
        self.disk = disk
        self.link: Link | None = None
        self.up_shape = Shape(rng.choice((4e3, 3e4, 1e6)), rng.choice((0.001, 0.05, 0.6)))
        self.down_shape = Shape(rng.choice((6e3, 3e4, 1e6)), self.up_shape.delay)
        self.reachable = True
        self.skew = 0.0
        """Seconds by which its clock on the wall is wrong."""
        self.jumped = False
        """Whether it ever was."""
        self.breaks = 0
        """Sessions that brought something and ended."""
        self.delivered = 0
        """Payload bytes of content that arrived."""
        self.lost = 0
        """Payload bytes of content that were on their way when a session ended."""
        self.wrongs: list[str] = []
        """What should never have happened."""
        self.ruling: Ruling | None = None
        """What its manners allow; None while they are not known to it, or its clock is wrong."""
        self.steward: Steward | None = None
        self._hub = hub
        self._rng = rng
        self._usage = Usage()
        self._durable: set[tuple[Digest, int]] = set()
        self._sent_now = 0
        self._delivered_now = 0
        self._drops_now = 0
        self._again_now = 0
        self._store: DiskStore | None = None
        self._process: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None

    def start(self, group: asyncio.TaskGroup) -> None:
        """A new process on the disk as it is."""
        self._process = group.create_task(self._live())

    def kill(self) -> None:
        """The process is gone, without a word to anybody; the link's other end finds out by itself, or at once."""
        if self._process is None or self._store is None:
            return
        self._store.alive = False
        self.disk.die()
        self._process.cancel()
        self._process = None

    def disturbed(self) -> None:
        """Something happens now that ends what is under way, and not the session."""
        self._drops_now += self.steward is not None and self.steward.fetching

    def cut(self, how: str) -> None:
        """The link breaks."""
        if self.link is not None:
            self.link.cut(how)

    async def _live(self) -> None:
        loop = asyncio.get_running_loop()
        store = self._store = DiskStore(self.disk, self._forget)
        steward = self.steward = Steward(
            store,
            DiskOrders(self.disk, store),
            Watchers(),
            jitter=self._rng.random,
            clock=loop.time,
            wall=lambda: EPOCH + loop.time() + self.skew,
            usage=self._usage,
            zone=UTC,
        )
        await steward.load()
        uplink = Uplink(
            steward,
            self._connect,
            DiskShelf(self.disk, store, self._kept),
            software="node",
            jitter=self._rng.random,
            codecs=frozenset({Codec.STORED}),
            clock=loop.time,
            window=lambda: Window(first=FLOOR, floor=FLOOR, cap=CAP),
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(steward.run())
            group.create_task(uplink.run())

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[FrameStream]:
        await asyncio.sleep(2 * self.up_shape.delay + 0.001)
        if not (self._hub.up and self.reachable):
            raise RoadError("the hub can't be reached")
        self._sent_now = self._delivered_now = self._drops_now = self._again_now = 0
        if self.ruling is not None:
            self.ruling.sessions += 1
        link = self.link = Link(self.up_shape, self.down_shape, self._sent, self._seen)
        self._hub.spawn(self.name, link)
        try:
            yield link.node_end()
        finally:
            link.cut("reset")
            self.link = None
            self._session_over()

    def _sent(self, give: Frame) -> None:
        if isinstance(give, Give) and give.part is Part.CONTENT:
            self._sent_now += len(give.payload)

    def _seen(self, give: Frame) -> None:
        if not (isinstance(give, Give) and give.part is Part.CONTENT):
            return
        self.delivered += len(give.payload)
        self._delivered_now += len(give.payload)
        if self.ruling is not None:
            wrong = self.ruling.arrived(len(give.payload), asyncio.get_running_loop().time())
            self.wrongs += [wrong] if wrong else []
        if (give.manifest, give.ordinal) in self._durable:
            self._came_again(give)

    def _came_again(self, give: Give) -> None:
        """Who drops a transfer and takes it up again before its chunks came gets them twice: a window's, at most."""
        self._again_now += len(give.payload)
        if self._again_now > self._drops_now * (CAP + STEP):
            self.wrongs.append(f"chunk {give.ordinal} of {short(give.manifest)} was durable, and came again")

    def _session_over(self) -> None:
        """What was on its way is lost: a window at most, and one for each transfer that was dropped."""
        lost = self._sent_now - self._delivered_now
        self.lost += lost
        self.breaks += self._sent_now > 0
        most = (1 + self._drops_now) * (CAP + STEP)
        if lost > most:
            self.wrongs.append(f"{lost} bytes were lost with a session, and {most} at most should have been")

    def _kept(self, manifest: Digest, ordinals: Iterable[int]) -> None:
        self._durable.update((manifest, ordinal) for ordinal in ordinals)

    def _forget(self, manifest: Digest) -> None:
        """Its bytes were taken off the disk: they may come again."""
        self._durable = {key for key in self._durable if key[0] != manifest}
