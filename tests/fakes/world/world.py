"""One seed, one course of events: releases come, links break, nodes die, disks fill, and in the end all is well."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

from modelsyncd.digest import Digest
from modelsyncd.manners import FREE, Manners, manners
from modelsyncd.names import ModelName, ModelRef
from modelsyncd.session.frames import Report
from modelsyncd.store.version import Version
from tests.fakes.versions import STEP, Published, published
from tests.fakes.world.clock import run
from tests.fakes.world.disk import Disk, forget_chunks
from tests.fakes.world.hub import Hub, Wish
from tests.fakes.world.node import CAP, Node
from tests.fakes.world.ruling import Ruling
from tests.fakes.world.wire import Link

NODES = 20
MODELS = tuple(ModelName("acme", name) for name in ("helmet", "plate", "voice"))
RELEASES = 4  # of each model
TROUBLE = 900.0  # seconds in which things happen
EVENTS = 200  # things that happen in that time, about
DEADLINE = 4 * 3_600.0  # seconds after the trouble by which all must be well: a setback waits an hour at most


@dataclass(frozen=True)
class Outcome:
    """What one seed came to."""

    seconds: float
    delivered: int
    lost: int
    breaks: int
    happened: tuple[str, ...]


class NotWellError(AssertionError):
    """A promise is broken, or some node never got where it should."""


def library(rng: Random) -> dict[Digest, Published]:
    """Some releases of each model; each shares chunks with the one before."""
    found: dict[Digest, Published] = {}
    for model in MODELS:
        files = {"model.bin": rng.randbytes(STEP * rng.randint(4, 24) + rng.randint(1, STEP))}
        for number in range(1, RELEASES + 1):
            release = published(files, number, model=model)
            found[release.version.manifest] = release
            plain = bytearray(files["model.bin"])
            for _ in range(rng.randint(1, 8)):
                at = rng.randrange(len(plain))
                plain[at : at + 64] = rng.randbytes(min(64, len(plain) - at))
            files = {"model.bin": bytes(plain)}
    return found


@dataclass
class World:
    """A hub and its nodes."""

    seed: int
    nodes: list[Node] = field(default_factory=list)
    happened: list[str] = field(default_factory=list)

    def run(self) -> Outcome:
        """From the first event until all is well. Raises NotWellError, HalfSeenError, StuckError."""
        rng = Random(self.seed)
        with _quiet():
            return run(lambda: self._live(rng), rng)

    async def _live(self, rng: Random) -> Outcome:
        forget_chunks()
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._rng = rng
            self._library = library(rng)
            self._hub = Hub(self._library, self._spawn, quotes=rng.random() < 0.8)
            self._hub.heard = self._heard
            self._said: dict[str, tuple[int, Manners]] = {}
            self._say_first()
            for number in range(NODES):
                node = Node(f"node{number}", Disk(self._library, rng), self._hub, rng)
                self.nodes.append(node)
                node.start(group)
            await self._trouble()
            await self._heal()
            seconds = await self._until_well()
            self._judge()
            for node in self.nodes:
                node.kill()
            self._hub.go_down()
        return Outcome(
            seconds,
            sum(node.delivered for node in self.nodes),
            sum(node.lost for node in self.nodes),
            sum(node.breaks for node in self.nodes),
            tuple(self.happened),
        )

    def _spawn(self, node: str, link: Link) -> None:
        self._group.create_task(self._hub.serve(node, link))

    # --- what happens ---

    def _say_first(self) -> None:
        for model in MODELS:
            self._hub.channels[ModelRef(model, channel="stable")] = self._release(model, 1)
        for number in range(NODES):
            some = self._rng.sample(MODELS, self._rng.randint(1, len(MODELS)))
            self._hub.wishes[f"node{number}"] = {ModelRef(model, channel="stable"): Wish() for model in some}

    def _release(self, model: ModelName, number: int) -> Published:
        return next(
            one for one in self._library.values() if one.version.model == model and one.version.number == number
        )

    async def _trouble(self) -> None:
        kinds: list[tuple[int, Callable[[Node], object]]] = [
            (6, self._cut),
            (3, self._silence),
            (4, self._kill),
            (2, self._lose_sight),
            (2, self._fill_disk),
            (1, self._restart_hub),
            (4, self._publish),
            (2, self._assign),
            (2, self._limit),
            (1, self._prioritise),
            (1, self._jump),
        ]
        for _ in range(EVENTS):
            await asyncio.sleep(self._rng.expovariate(EVENTS / TROUBLE))
            (what,) = self._rng.choices([kind for _, kind in kinds], [weight for weight, _ in kinds])
            node = self._rng.choice(self.nodes)
            now = asyncio.get_running_loop().time()
            self.happened.append(f"{now:8.2f} {node.name} {what.__name__[1:]}")
            what(node)

    def _later(self, what: Callable[[], object], longest: float) -> None:
        asyncio.get_running_loop().call_later(self._rng.random() * longest, what)

    def _cut(self, node: Node) -> None:
        node.cut(self._rng.choice(("reset", "quiet")))

    def _silence(self, node: Node) -> None:
        if node.link is not None:
            up, down = self._rng.choice(((True, True), (True, False), (False, True)))
            node.link.silence(up=up, down=down)

    def _kill(self, node: Node) -> None:
        if node.running:
            node.kill()
            self._later(lambda: self._start(node), 60.0)

    def _start(self, node: Node) -> None:
        if not node.running:
            node.start(self._group)

    def _lose_sight(self, node: Node) -> None:
        node.reachable = False
        node.cut("reset")
        self._later(lambda: setattr(node, "reachable", True), 400.0)

    def _fill_disk(self, node: Node) -> None:
        node.disk.full = True
        node.disturbed()
        self._later(lambda: setattr(node.disk, "full", False), 300.0)

    def _restart_hub(self, _: Node) -> None:
        self._hub.go_down()
        self._later(lambda: setattr(self._hub, "up", True), 120.0)

    def _publish(self, _: Node) -> None:
        model = self._rng.choice(MODELS)
        self._hub.channels[ModelRef(model, channel="stable")] = self._release(model, self._rng.randint(1, RELEASES))
        self._told()

    def _assign(self, node: Node) -> None:
        ref = ModelRef(self._rng.choice(MODELS), channel="stable")
        wished = self._hub.wishes[node.name]
        if ref in wished:
            del wished[ref]
        else:
            wished[ref] = Wish()
        self._told()

    def _limit(self, node: Node) -> None:
        node.ruling = None
        self._hub.manners[node.name] = self._rng.choice(
            (
                FREE,
                manners(rate=self._rng.choice((2_000, 20_000))),
                manners(paused=True),
                manners(background=True),
                manners(openings=("fri 08:00-08:05",)),
                manners(month_bytes=self._rng.choice((1_000, 50_000, 500_000))),
            )
        )
        self._told()
        self._said[node.name] = (self._hub.generation, self._hub.manners[node.name])

    def _heard(self, name: str, report: Report) -> None:
        """A node that knows its manners keeps to them, as long as its clock is right."""
        generation, wanted = self._said.get(name, (report.generation + 1, FREE))
        node = next(node for node in self.nodes if node.name == name)
        if report.generation >= generation and node.skew == 0.0:
            del self._said[name]
            now = asyncio.get_running_loop().time()
            node.ruling = Ruling(wanted, now, 0 if node.jumped else node.delivered, CAP)

    def _prioritise(self, node: Node) -> None:
        for wish in self._hub.wishes[node.name].values():
            wish.priority = self._rng.randint(0, 3)
        self._told()

    def _jump(self, node: Node) -> None:
        node.ruling = None
        node.jumped = True
        node.skew = self._rng.choice((-3.2e8, -3_600.0, 0.0, 3_600.0, 3.2e8))

    def _told(self) -> None:
        for node in self.nodes:
            node.disturbed()  # what is not wanted any more is dropped, with what is on its way
        self._hub.changed()

    # --- how it must end ---

    async def _heal(self) -> None:
        """The hub's last word comes before the last trouble is over: what that held up, nodes try by themselves."""
        self._hub.up = True
        self._hub.manners.clear()
        self._said.clear()
        for node in self.nodes:
            node.ruling = None
        self._told()
        await asyncio.sleep(60.0)
        for node in self.nodes:
            node.reachable = True
            node.disk.full = False
            self._start(node)

    async def _until_well(self) -> float:
        began = asyncio.get_running_loop().time()
        while lacking := [line for node in self.nodes for line in self._lacks(node)]:
            await asyncio.sleep(5.0)
            self._judge()
            passed = asyncio.get_running_loop().time() - began
            if passed > DEADLINE:
                raise NotWellError(f"{passed:.0f} seconds after the last trouble: {'; '.join(lacking[:5])}")
        return asyncio.get_running_loop().time() - began

    def _lacks(self, node: Node) -> list[str]:
        wanted = {ref: self._hub.channels[ref].version for ref in self._hub.wishes[node.name]}
        return [
            f"{node.name} {ref}: {_number(node, ref)} for {version.number}"
            for ref, version in wanted.items()
            if node.disk.links.get(ref) != version
        ] + [f"{node.name} still follows {ref}" for ref in node.disk.links.keys() - wanted.keys()]

    def _judge(self) -> None:
        for node in self.nodes:
            node.disk.judge()
            if node.wrongs:
                raise NotWellError(f"{node.name}: {'; '.join(node.wrongs[:3])}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Nobody reads what twenty nodes in trouble have to say."""
    log = logging.getLogger("modelsyncd")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


def _number(node: Node, ref: ModelRef) -> int:
    version: Version | None = node.disk.links.get(ref)
    return version.number if version is not None else 0
