"""The only place that keeps the folders of model servers in step with what is active on this node.

Everything is worked out anew from what is active and what lies in the folders, after each switch and at each start: a
kill between two steps leaves one of them to be done, and nothing to be undone. First the version's folder, then what
says that it counts, then the server is asked to load; older folders go when it has, and when nobody holds them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Protocol

from edge_agent.layouts.folder import Laid, Shelf
from edge_agent.layouts.repository import load
from edge_agent.layouts.servers import HIGHEST_COUNTS, shape
from edge_agent.layouts.settings import Layout
from edge_agent.layouts.status import Standing, Standings
from edge_agent.leases import Lease, Leases
from edge_agent.watchers import Active, Watchers
from modelsyncd.daemon.log import Log
from modelsyncd.errors import ModelsyncError
from modelsyncd.link.backoff import Backoff
from modelsyncd.names import ModelRef
from modelsyncd.store.durable import disk_errors
from modelsyncd.store.tree import EdgeTree
from modelsyncd.store.version import Version

PAUSE = 30.0  # seconds before a folder that could not be written is tried again
LEASE_PAUSE = 5.0  # seconds at least between two looks whether somebody still holds an older version


class Channels(Protocol):
    """What is active here."""

    def active(self, ref: ModelRef) -> Active | None:
        """What a channel leads to, if it is whole."""


@dataclass(slots=True)
class Kept:
    """What is known of one layout: what lies there, who is asked, and since when a folder is one too many."""

    layout: Layout
    shelf: Shelf
    standing: Standing = field(default_factory=Standing)
    ready: bool = False
    leases: dict[Version, Lease] = field(default_factory=dict)
    spare: dict[int, float] = field(default_factory=dict)
    asking: asyncio.Task[None] | None = None
    kicked: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def holder(self) -> str:
        """Our name as one who holds versions."""
        return f"layout {self.layout.folder}"

    @property
    def behind(self) -> bool:
        """Whether the server has not loaded what lies there."""
        return bool(self.layout.reload) and self.standing.loaded != self.standing.shown


class Layouts:
    """All layouts of the node. Belongs to the loop's thread."""

    def __init__(
        self,
        layouts: Iterable[Layout],
        channels: Channels,
        tree: EdgeTree,
        watchers: Watchers,
        leases: Leases,
        *,
        data: Path,
        jitter: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._channels = channels
        self._tree = tree
        self._watchers = watchers
        self._leases = leases
        self._jitter = jitter
        self._clock = clock
        self._file = Standings(data)
        self._saving = asyncio.Lock()
        self._kept = {str(one.ref): Kept(one, Shelf(one.folder, one.files)) for one in layouts}
        self._changed = asyncio.Event()

    @property
    def changed(self) -> asyncio.Event:
        """Set when something is different from now. Ask for it before looking, so that no change slips between."""
        return self._changed

    def standing(self, ref: ModelRef) -> Standing:
        """Where the layout of a channel stands."""
        return self._kept[str(ref)].standing

    def again(self) -> None:
        """Somebody knows better: looks at all folders anew, and asks servers at once that were to be asked later."""
        for kept in self._kept.values():
            if kept.asking is not None:
                kept.asking.cancel()
                kept.asking = None
            kept.kicked.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        try:
            known = await asyncio.to_thread(self._file.load)
        except ModelsyncError as error:
            Log().failure("layouts.unreadable", error)
            known = {}
        async with asyncio.TaskGroup() as group:
            with self._watchers.watch(None) as watch:
                for name, kept in self._kept.items():
                    kept.standing = known.get(name, kept.standing)
                    group.create_task(self._keep(kept, group))
                async for switch in watch:
                    found = self._kept.get(str(switch.active.ref))
                    if found is not None:
                        found.kicked.set()

    async def _keep(self, kept: Kept, group: asyncio.TaskGroup) -> None:
        while True:
            kept.kicked.clear()
            try:
                again_in = await self._look(kept, group)
            except ModelsyncError as error:
                Log().failure("layout.not-shown", error, model=str(kept.layout.ref), folder=kept.layout.folder)
                await self._note(kept, replace(kept.standing, why=error.message))
                again_in = PAUSE
            try:
                async with asyncio.timeout(None if again_in == inf else again_in):
                    await kept.kicked.wait()
            except TimeoutError:
                continue

    async def _look(self, kept: Kept, group: asyncio.TaskGroup) -> float:
        """One look at one layout; seconds until the next one is due. Raises DiskError, ConflictError, BadInputError."""
        if not kept.ready:
            await asyncio.to_thread(kept.shelf.prepare)
            await self._hold(kept)
            kept.ready = True
        active = self._channels.active(kept.layout.ref)
        if active is None:
            return inf
        version = active.version
        if version not in kept.leases:
            kept.leases[version] = self._leases.hold(version, kept.holder)
        changed = await asyncio.to_thread(self._show, kept, version)
        word = version.folder_name
        if changed or kept.standing.shown != word:
            Log().info("layout.shown", model=str(active.ref), version=version.number, folder=kept.layout.folder)
            await self._note(kept, Standing(shown=word))
            self._forget_question(kept)
        elif kept.standing.why and not kept.behind:
            await self._note(kept, replace(kept.standing, why=""))
        if kept.behind:
            if kept.asking is None or kept.asking.done():
                kept.asking = group.create_task(self._ask(kept, word))
            return inf
        return await self._tidy(kept, version)

    def _show(self, kept: Kept, version: Version) -> bool:
        """Lays the version down, and says that it counts; whether anything had to be done for it."""
        source, shelf = self._tree.layout.version(version), kept.shelf
        paths = [file.path for file in self._tree.manifest(version.manifest).files]
        wanted = shape(kept.layout, version.number, paths, lambda path: _read(source / path))
        changed = shelf.lay(version.number, version.manifest, source, wanted.inside)
        for name, data in wanted.beside.items():
            changed |= shelf.write(name, data)
        if wanted.link:
            changed |= shelf.lead(wanted.link, version.number)
        if kept.layout.server in HIGHEST_COUNTS:
            for number in shelf.laid():
                if number > version.number:
                    shelf.remove(number)
                    changed = True
        return changed

    def _forget_question(self, kept: Kept) -> None:
        """What a server is being asked is about what lay there before."""
        if kept.asking is not None:
            kept.asking.cancel()
            kept.asking = None

    async def _ask(self, kept: Kept, word: str) -> None:
        """Until the server has loaded what lies there."""
        layout, backoff = kept.layout, Backoff(floor=0.5)
        log = Log().bind(model=str(layout.ref), version=word, server=layout.server)
        while True:
            began = self._clock()
            try:
                await load(layout.reload)
                break
            except ModelsyncError as error:
                if kept.standing.why != error.message:
                    log.failure("layout.not-loaded", error)
                    await self._note(kept, replace(kept.standing, why=error.message))
            await asyncio.sleep(backoff.next(self._jitter()))
        log.info("layout.loaded", took_s=self._clock() - began)
        await self._note(kept, Standing(shown=word, loaded=word))
        kept.kicked.set()

    async def _tidy(self, kept: Kept, current: Version) -> float:
        """Removes folders that are too many, once that has been so for a while; seconds until the next look."""
        laid = await asyncio.to_thread(kept.shelf.laid)
        spare, now = _too_many(laid, current.number, kept.layout.keep), self._clock()
        kept.spare = {number: kept.spare.get(number, now) for number in spare}
        for number, since in list(kept.spare.items()):
            version = Version(current.model, number, laid[number].manifest)
            others = set(self._leases.holders(version)) - {kept.holder}
            if now - since >= kept.layout.grace and not others:
                await asyncio.to_thread(kept.shelf.remove, number)
                del kept.spare[number], laid[number]
        await self._hold(kept, laid)
        self._tell()
        if not kept.spare:
            return inf
        return max(LEASE_PAUSE, min(kept.spare.values()) + kept.layout.grace - now)

    async def _hold(self, kept: Kept, laid: dict[int, Laid] | None = None) -> None:
        """Holds what lies there, and nothing else: it is in use, and its bytes are there in any case."""
        if laid is None:
            laid = await asyncio.to_thread(kept.shelf.laid)
        model = kept.layout.ref.model
        versions = {Version(model, one.number, one.manifest) for one in laid.values()}
        for version in kept.leases.keys() - versions:
            kept.leases.pop(version).release()
        for version in versions - kept.leases.keys():
            kept.leases[version] = self._leases.hold(version, kept.holder)

    async def _note(self, kept: Kept, standing: Standing) -> None:
        if standing == kept.standing:
            return
        async with self._saving:
            told = {str(one.layout.ref): one.standing for one in self._kept.values()}
            try:
                await asyncio.to_thread(self._file.save, told | {str(kept.layout.ref): standing})
            except ModelsyncError as error:
                Log().failure("layouts.unsaved", error)
            kept.standing = standing
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _too_many(laid: Iterable[int], current: int, keep: int) -> list[int]:
    """Of the numbers that lie there, those beside the current one and the newest before it."""
    older = sorted((number for number in laid if number < current), reverse=True)
    return [*older[keep - 1 :], *(number for number in laid if number > current)]


def _read(path: Path) -> bytes:
    with disk_errors(path):
        return path.read_bytes()
