"""What Sedna's jobs meet on a node, without the rest of it: channels that a test switches, and versions on the disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.leases import Leases
from edge_agent.outbox.words import Measured, Publication, Stored
from edge_agent.sedna.controller import Controller
from edge_agent.sedna.failures import Failures
from edge_agent.sedna.jobs import Job, understand
from edge_agent.sedna.keeper import Keeper
from edge_agent.sedna.settings import JobSettings
from edge_agent.sedna.spool import Spool
from edge_agent.watchers import Active, Switch, Watchers
from modelsyncd.digest import digest_of
from modelsyncd.names import ModelRef, parse_model, parse_ref
from modelsyncd.store.version import Version

STABLE, CANDIDATE = parse_ref("acme/helmet@stable"), parse_ref("acme/helmet@candidate")


class Channels:
    """The channels of a node, whose versions lie in a folder; and whoever is told of what works."""

    def __init__(self, data: Path, watchers: Watchers) -> None:
        self.data = data
        self.said: list[tuple[str, int, bool]] = []
        self._watchers = watchers
        self._active: dict[ModelRef, Active] = {}

    def active(self, ref: ModelRef) -> Active | None:
        return self._active.get(ref)

    def confirm(self, ref: ModelRef, number: int, works: bool, why: str, who: str) -> bool:
        assert bool(why) is not works
        assert who.startswith("sedna ")
        self.said.append((str(ref), number, works))
        return True

    def put(self, number: int, **files: bytes) -> Version:
        """Lays a version down; without files one with the single file model.pth."""
        content = {name.replace("__", "."): data for name, data in files.items()} or {"model.pth": b"%d" % number}
        version = Version(parse_model("acme/helmet"), number, digest_of(repr(sorted(content.items())).encode()))
        folder = self.folder(version)
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in content.items():
            (folder / name).write_bytes(data)
        return version

    def folder(self, version: Version) -> Path:
        return self.data / "models" / str(version.model) / "versions" / version.folder_name

    def switch(self, version: Version, ref: ModelRef = STABLE) -> Active:
        """As the steward does it: what is active, then the word."""
        folder = self.folder(version)
        inside = list(folder.iterdir())
        path = inside[0] if len(inside) == 1 else folder
        before = self._active.get(ref)
        active = Active(ref, version.number, version.manifest, version.manifest, path, path)
        self._active[ref] = active
        self._watchers.tell(Switch(active, before.number if before else 0))
        return active


class Tray:
    """An outbox that keeps what it is given in a list. While `open` is not set, storing takes for ever."""

    def __init__(self) -> None:
        self.stored: list[Publication] = []
        self.recorded: list[Measured] = []
        self.together: list[set[int]] = []
        """Releases about which numbers were recorded at once."""
        self.open = asyncio.Event()
        self.open.set()
        self.asked = asyncio.Event()
        self.errors: list[Exception] = []
        self.step: Callable[[], None] = lambda: None
        """Called before and after each thing that lasts; a test may end a life there."""

    async def store(
        self,
        wanted: Publication,
        reading: Callable[[int, int], None] = lambda _done, _total: None,
        check: Callable[[], None] = lambda: None,
    ) -> Stored:
        self.asked.set()
        await self.open.wait()
        if self.errors:
            raise self.errors.pop(0)
        check()
        self.step()
        self.stored.append(wanted)
        self.step()
        return Stored(f"{len(self.stored):06}", digest_of(b""), 0)

    async def record(self, numbers: Sequence[Measured]) -> None:
        self.step()
        self.recorded += numbers
        self.together.append({one.number for one in numbers})
        self.step()

    @property
    def numbers(self) -> dict[tuple[int, str, str], float]:
        """What was recorded, by release number, stage and name."""
        return {(one.number, one.stage, one.name): one.value for one in self.recorded}


@dataclass
class Node:
    """One job on one node. `live` is one life of its agent; what lies in `data` outlives it."""

    data: Path
    settings: JobSettings = field(default_factory=lambda: JobSettings("acme/helmet"))
    time: float = 0.0
    others: Mapping[str, JobSettings] = field(default_factory=dict)
    """More jobs, by their names."""
    watchers: Watchers = field(default_factory=Watchers)
    tray: Tray = field(default_factory=Tray)
    channels: Channels = field(init=False)
    leases: Leases = field(init=False)
    keeper: Keeper = field(init=False)
    controller: Controller = field(init=False)

    def __post_init__(self) -> None:
        self.channels = Channels(self.data, self.watchers)

    @property
    def job(self) -> Job:
        return understand("default/helmet", self.settings, self.data)

    @property
    def folder(self) -> Path:
        return self.job.places[0].folder

    @asynccontextmanager
    async def live(self) -> AsyncIterator[None]:
        """From start to kill."""
        jobs = {name: understand(name, one, self.data) for name, one in self.others.items()}
        job, failures = self.job, Failures(self.data)
        jobs[job.name] = job
        failures.load()
        self.leases = Leases()
        self.keeper = Keeper(
            jobs.values(), self.channels, self.watchers, self.leases, failures, data=self.data, clock=lambda: self.time
        )
        self.controller = Controller(
            jobs,
            self.channels,
            self.channels,
            self.keeper,
            outbox=self.tray,
            failures=failures,
            spool=Spool(self.data),
            wall=lambda: 1_000_000 + self.time,
        )
        self.keeper.missing = self.controller.lacking
        await self.controller.load()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.keeper.run()), group.create_task(self.controller.run())]
            yield
            for task in tasks:
                task.cancel()

    async def until(self, look: Callable[[], object]) -> None:
        """Returns once this is so. The keeper says when it has looked; all else is a few turns of the loop away."""
        async with asyncio.timeout(60):
            while not look():
                changed = self.keeper.changed
                if not look():
                    try:
                        async with asyncio.timeout(0.02):
                            await changed.wait()
                    except TimeoutError:
                        continue
