"""A hub, what people, pushes, nodes and jobs do to it, and a gc that goes on a step at a time beside all of that.

Whatever is done, `look` holds it to the laws: it is to be called after each deed, and before the next one.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Collection, Iterator, Sequence

from cloud_hub.catalog import By, Whom
from cloud_hub.catalog.retentions import RetentionRow
from cloud_hub.collector import Progress
from cloud_hub.underway import REMEMBERED
from modelsyncd.digest import Digest
from modelsyncd.errors import BadInputError, ConflictError, DamageError, NotFoundError, NumberTakenError
from modelsyncd.names import ModelRef, parse_model
from modelsyncd.release import Member, Parent
from modelsyncd.session.frames import Phase, Report, Standing
from modelsyncd.wire.nouns import encode_report
from tests.fakes import gc_laws
from tests.fakes.gc_hub import STEP, GcHub, Pushing
from tests.fakes.gc_laws import Name
from tests.fakes.publisher import publication

BLOCKS = [random.Random(number).randbytes(STEP) for number in range(12)]
MODELS = ("acme/helmet", "acme/vest", "acme/line")
CHANNELS = ("stable", "canary")
NODES = ("n1", "n2")
PUSHES = 4  # at once, at most


class GcWorld:
    """Begins with releases of which most may go. Its deeds raise AssertionError where a promise is broken."""

    def __init__(self) -> None:
        self.hub = GcHub(self._pause)
        self.holding = gc_laws.Holding()
        self.pushes: list[Pushing] = []
        self.content: dict[Name, tuple[Sequence[int], str]] = {}
        self._gc: Iterator[Progress] | None = None
        self._young: frozenset[Digest] = frozenset()
        self._stepping = False
        self._pauses: list[int] = []
        self.before = gc_laws.Seen({}, {}, {})
        self.retain("acme/*", 1)
        for node in NODES:
            invite = self.hub.catalog.nodes.invite(node, {}, expires_at=1e9, now=self.hub.wall)
            self.hub.catalog.nodes.redeem(invite, node, node.encode(), now=self.hub.wall)
        for number, blocks in enumerate(([0, 1, 2], [2, 3, 4], [4, 5, 6], [6, 7, 8]), 1):
            self.offer("acme/helmet", blocks, "stable" if number < 3 else "")
            self.push_on(-1, 100)
        self.fill(7)
        self.hub.wall += 5_000.0
        self.look()

    def look(self) -> None:
        """Holds what has happened since it was last called to the laws."""
        now = gc_laws.seen(self.hub, self.holding)
        gc_laws.check_gone(self.before, now)
        self.before = now

    def pick(self, which: int) -> Name:
        """Any release for odd numbers; for even ones one that nothing holds, if there is one."""
        held = self.before.held
        names = sorted(self.before.sources, key=lambda name: (name in held, name))
        free = sum(name not in held for name in names)
        return names[which % len(names)] if which % 2 or not free else names[which // 2 % free]

    def die(self) -> None:
        """The hub is killed, and started again."""
        self._gc, self.pushes, self.holding.reads, self._pauses = None, [], {}, []
        self.hub.die()

    def fill(self, count: int) -> None:
        """So many releases more, in pairs of a parent and its child; only the last of each model are held."""
        for number in range(count):
            model = MODELS[number // 2 % 2]
            parents = [max(name for name in self.before.sources if name[0] == model)] if number % 2 else []
            blocks = [(number * 5 + 9) % 12, number % 12][: 1 + number % 2]
            self.offer(model, blocks, "", parents, file=f"m{number}-{self.hub.wall:.0f}")  # a manifest of its own
            self.push_on(-1, 100)
            self.look()

    def rest(self) -> None:
        """Nodes fall silent, nothing is pinned any more, and whoever read has read."""
        for node in NODES:
            self.report(node, [], Phase.ACTIVE)
        for name in sorted(self.holding.pins):
            self.unpin(name)
        self.hub.wall += 5_000.0
        self.look()

    def end(self) -> None:
        """All that is garbage goes with the next gc of a hub that was killed."""
        try:
            self.die()
            self.hub.wall += 20_000.0
            self.hub.writer.seal()
            for _ in self.hub.collector.run("a", dry=False, grace=0.0):
                pass
            gc_laws.check_clean(self.hub)
            gc_laws.check_whole(self.hub)
        finally:
            self.hub.close()

    # --- pushes ---

    def offer(
        self,
        model: str,
        blocks: Sequence[int],
        channel: str = "",
        sources: Collection[Name] = (),
        *,
        bundled: bool = False,
        broken: frozenset[int] = frozenset(),
        file: str = "m",
    ) -> None:
        """A push is about to begin; the oldest is cut when there are too many. Sources are parents or members."""
        models = self.hub.catalog.models
        number = models.next_number(parse_model(model))
        found = [(name, models.release(self._ref(name)).digest) for name in sources]
        parents = [Parent(parse_model(name), at, digest, "fine-tuned-from") for (name, at), digest in found]
        members = [Member(parse_model(name), at, digest, f"part-{at}-of-{name[5:]}") for (name, at), digest in found]
        what = publication(
            {file: b"".join(BLOCKS[block] for block in blocks)},
            model=model,
            number=number,
            channel=channel,
            step=STEP,
            parents=() if bundled else tuple(parents),
            members=tuple(members) if bundled else (),
        )
        self.content[model, number] = blocks, file
        self.pushes = [*self.pushes, Pushing(self.hub.intake(), what, self.hub.wall, broken)][-PUSHES:]

    def push_on(self, which: int, steps: int, pauses: Sequence[int] = ()) -> None:
        """A push goes so many steps; each time that it has looked what is here, a gc goes as many as `pauses` say."""
        if not self.pushes:
            return
        pushing = self.pushes[which % len(self.pushes)]
        self._pauses = list(pauses)
        pushing.silent = max(pushing.silent, self.hub.wall - pushing.went)
        pushing.went = self.hub.wall
        try:
            for _ in range(steps):
                next(pushing.steps)
        except (StopIteration, NumberTakenError):
            self.pushes.remove(pushing)
        except BadInputError as error:
            if not (pushing.what.release.members and "as it is here" in error.message):
                raise  # else a member of the bundle went meanwhile
            self.pushes.remove(pushing)
        except DamageError:
            assert pushing.silent >= REMEMBERED, "what a push counted on was swept"
            self.pushes.remove(pushing)  # it has to look once more
        finally:
            self._pauses = []

    def come_from(self, which: int, *, bundled: bool, steps: int) -> None:
        """A child of a release, or a bundle with it as its member, is offered, and pushed so many steps."""
        self.offer(MODELS[which % 3], [which % 12], sources=[self.pick(which)], bundled=bundled)
        self.push_on(-1, steps)

    def repeat(self, which: int, steps: int) -> None:
        """A release with the very manifest of another is offered, and pushed so many steps."""
        blocks, file = self.content[self.pick(which)]
        self.offer(MODELS[which % 3], blocks, file=file)
        self.push_on(-1, steps)

    def push_all(self) -> None:
        """All pushes come to their end."""
        while self.pushes:
            self.push_on(0, 100)

    def _pause(self) -> None:
        if self._pauses and not self._stepping:
            steps = self._pauses.pop(0)
            if steps:
                self.begin_gc(dry=False, grace=0.0)
            self.gc_on(steps)

    # --- people, nodes and jobs ---

    def promote(self, name: Name, channel: str) -> None:
        """A channel is moved to it."""
        self.hub.catalog.models.promote(self._ref(name), channel, "a", "", self.hub.wall)

    def roll_back(self, model: str, channel: str) -> None:
        """One rollback is always possible where there was a move before."""
        models = self.hub.catalog.models
        try:
            history = models.history(parse_model(model))
        except NotFoundError:
            return
        moves = [move for move in history.moves if move.channel == channel]
        forward = bool(moves) and moves[0].kind != "rollback" and moves[0].from_number > 0
        try:
            row = models.rollback(parse_model(model), channel, "a", "", self.hub.wall)
        except (NotFoundError, ConflictError):
            assert not forward
        else:
            assert not forward or row.to_number == moves[0].from_number

    def pin(self, name: Name) -> None:
        """For everybody."""
        self.hub.catalog.pins.pin(self._ref(name), Whom(), By("a", self.hub.wall))
        self.holding.pins.add(name)

    def unpin(self, name: Name) -> None:
        """Nothing happens where it isn't pinned."""
        with contextlib.suppress(NotFoundError):
            self.hub.catalog.pins.unpin(self._ref(name), Whom(), By("a", self.hub.wall))
            self.holding.pins.discard(name)

    def retain(self, models: str, newest: int | None, age: float | None = None) -> None:
        """A rule that keeps so many, or those of so many seconds; everything for None and None."""
        self.hub.catalog.retentions.set(RetentionRow(models, newest, age, By("a", self.hub.wall)))

    def report(self, node: str, names: Collection[Name], phase: Phase) -> None:
        """A node says what it fetches or has, and nothing of what it said before."""
        standings = tuple(
            Standing(parse_model(model), "stable", phase, desired=number, active=number if phase is Phase.ACTIVE else 0)
            for model, number in names
        )
        self.hub.catalog.nodes.report(node, encode_report(Report(1, standings)), self.hub.wall)
        self.holding.reports[node] = set(names)

    def read(self, name: Name) -> None:
        """Somebody begins to read it."""
        row = self.hub.catalog.models.release(self._ref(name))
        self.hub.stock.underway.given(row.variants[0].manifest.digest)
        self.holding.reads[name] = self.hub.wall

    def _ref(self, name: Name) -> ModelRef:
        return ModelRef(parse_model(name[0]), number=name[1])

    # --- gc ---

    def begin_gc(self, *, dry: bool, grace: float) -> None:
        """Nothing happens while one is under way."""
        if self._gc is None:
            self._gc = self.hub.collector.run("a", dry=dry, grace=grace)
            young = self.hub.catalog.packs.young(self.hub.wall - grace)
            self._young = frozenset(place.digest for place in self.hub.places() if place.pack in young)

    def gc_on(self, steps: int) -> None:
        """So many steps, or to its end; what lay in a young pack when it began is known after them."""
        young = self._young if self._gc is not None else frozenset()
        removed = 0
        for _ in range(steps):
            progress = self._step()
            if progress is None:
                break
            if progress.removed != removed:
                self.look()
            removed = progress.removed
        known = {place.digest for place in self.hub.places()}
        assert known >= young, "a chunk of a young pack was swept"

    def _step(self) -> Progress | None:
        if self._gc is None:
            return None
        self._stepping = True
        try:
            progress = next(self._gc, None)
        except DamageError as error:
            raise AssertionError(f"a gc found damage: {error.message}") from error
        finally:
            self._stepping = False
        if progress is None:
            self._gc = None
        return progress


Deed = Callable[[GcWorld, int], object]

DEEDS: dict[str, Deed] = {
    "pin": lambda world, which: world.pin(world.pick(which)),
    "unpin": lambda world, which: world.unpin(world.pick(which)),
    "report": lambda world, which: world.report(NODES[which % 2], [world.pick(which)], Phase.ACTIVE),
    "fetch": lambda world, which: world.report(NODES[which % 2], [world.pick(which)], Phase.FETCHING),
    "fall silent": lambda world, which: world.report(NODES[which % 2], [], Phase.ACTIVE),
    "read": lambda world, which: world.read(world.pick(which)),
    "promote": lambda world, which: world.promote(world.pick(which), CHANNELS[which % 2]),
    "roll back": lambda world, which: world.roll_back(world.pick(which)[0], CHANNELS[which % 2]),
    "begin a child": lambda world, which: world.come_from(which, bundled=False, steps=2),
    "begin a bundle": lambda world, which: world.come_from(which, bundled=True, steps=2),
    "bear a child": lambda world, which: world.come_from(which, bundled=False, steps=100),
    "put a bundle together": lambda world, which: world.come_from(which, bundled=True, steps=100),
    "offer the same": lambda world, which: world.repeat(which, 0),
    "push the same": lambda world, which: world.repeat(which, 100),
    "offer another": lambda world, which: world.offer(MODELS[which % 3], [which % 12, (which + 5) % 12]),
    "push a step": lambda world, which: world.push_on(which, 1),
    "push two steps": lambda world, which: world.push_on(-1, 2),
    "push": lambda world, which: world.push_on(-1, 100),
    "push all": lambda world, which: world.push_all(),
    "push, paused": lambda world, which: world.push_on(-1, 100, [which % 4, which // 2 % 3, 1, 1, 1, 1]),
    "push, paused long": lambda world, which: world.push_on(-1, 100, [0] * (which % 6) + [100]),
    "wait": lambda world, which: setattr(world.hub, "wall", world.hub.wall + (1.0, 90.0, 5_000.0)[which % 3]),
}
HOLDING = (
    "pin",
    "report",
    "fetch",
    "read",
    "promote",
    "roll back",
    "bear a child",
    "put a bundle together",
    "begin a child",
    "begin a bundle",
    "push the same",
    "push all",
)
"""Deeds by which something comes to be held, or begins to."""
