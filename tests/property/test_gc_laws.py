"""A gc beside pushes that come, break, stop and are taken up again, bundles, pins, moves, nodes, readers and kills:
nothing that is needed ever goes, and all that is not goes with the next one.

The catalogue, the packs and the blobs are real; what is done beside a gc is done between any two of its steps.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cloud_hub.catalog import By, Whom
from cloud_hub.catalog.retentions import RetentionRow
from cloud_hub.collector import Progress
from modelsyncd.errors import BadInputError, ConflictError, NotFoundError, NumberTakenError
from modelsyncd.names import ModelRef, parse_model
from modelsyncd.release import Member, Parent
from modelsyncd.session.frames import Phase, Report, Standing
from modelsyncd.store import failpoints
from modelsyncd.store.failpoints import Point
from modelsyncd.wire.nouns import encode_report
from tests.fakes import gc_laws
from tests.fakes.gc_hub import STEP, GcHub, Killed, Pushing
from tests.fakes.publisher import publication

BLOCKS = [random.Random(number).randbytes(STEP) for number in range(12)]
MODELS = ("acme/helmet", "acme/vest", "acme/line")
CHANNELS = ("stable", "canary")
NODES = ("n1", "n2")
GRACE = 100.0
DEADLY = (
    Point.RELEASES_REMOVED,
    Point.CHUNKS_SWEPT,
    Point.RECORDS_COPIED,
    Point.CHUNKS_MOVED,
    Point.PACK_RETIRED,
    Point.PACK_DELETED,
    Point.RECORDS_SYNCED,
    Point.CHUNKS_INDEXED,
    Point.RELEASE_WHOLE,
    Point.CHANGE_MADE,
    Point.CHANGE_KEPT,
    Point.PACK_CLOSED,
    Point.PACK_ADOPTED,
)
MODEL, NUMBER = st.sampled_from(MODELS), st.integers(1, 8)
SOURCES = st.lists(st.tuples(MODEL, NUMBER), max_size=2, unique=True)


class GcBesideAll(RuleBasedStateMachine):
    """What people, pushes, nodes, jobs and a gc do to a hub's stores, in any order."""

    @initialize()
    def begin(self) -> None:
        self.hub = GcHub()
        self.holding = gc_laws.Holding()
        self.pushes: list[Pushing] = []
        self.gc: Iterator[Progress] | None = None
        catalog = self.hub.catalog
        catalog.retentions.set(RetentionRow("acme/*", 1, None, By("a", self.hub.wall)))
        for node in NODES:
            invite = catalog.nodes.invite(node, {}, expires_at=1e9, now=self.hub.wall)
            catalog.nodes.redeem(invite, node, node.encode(), now=self.hub.wall)
        for number, blocks in enumerate(([0, 1, 2], [2, 3, 4], [4, 5, 6], [6, 7, 8]), 1):
            self._offer("acme/helmet", blocks, "stable" if number < 3 else "")
            self.push_on(len(self.pushes) - 1, 100)
        self.hub.wall += 5_000.0
        self.before = gc_laws.seen(self.hub, self.holding)

    def _die(self) -> None:
        self.gc, self.pushes, self.holding.reads = None, [], {}
        self.hub.die()

    # --- pushes ---

    @rule(
        model=MODEL,
        blocks=st.lists(st.sampled_from(range(12)), min_size=1, max_size=4),
        channel=st.sampled_from(("", *CHANNELS)),
        sources=SOURCES,
        bundled=st.booleans(),
        broken=st.frozensets(st.integers(0, 3), max_size=1),
    )
    def offer(
        self,
        *,
        model: str,
        blocks: list[int],
        channel: str,
        sources: list[gc_laws.Name],
        bundled: bool,
        broken: frozenset[int],
    ) -> None:
        self._offer(model, blocks, channel, sources, bundled=bundled, broken=broken)

    def _offer(
        self,
        model: str,
        blocks: list[int],
        channel: str,
        sources: Sequence[gc_laws.Name] = (),
        *,
        bundled: bool = False,
        broken: frozenset[int] = frozenset(),
    ) -> None:
        catalog = self.hub.catalog
        parents: list[Parent] = []
        members: list[Member] = []
        for name, number in sources:
            with contextlib.suppress(NotFoundError):
                row = catalog.models.release(ModelRef(parse_model(name), number=number))
                parents.append(Parent(row.model, number, row.digest, "fine-tuned-from"))
                members.append(Member(row.model, number, row.digest, f"part-{len(members)}"))
        what = publication(
            {"m": b"".join(BLOCKS[block] for block in blocks)},
            model=model,
            number=catalog.models.next_number(parse_model(model)),
            channel=channel,
            step=STEP,
            parents=() if bundled else tuple(parents),
            members=tuple(members) if bundled else (),
        )
        self.pushes = [*self.pushes, Pushing(self.hub.intake(), what, broken)][-4:]

    @precondition(lambda self: self.pushes)
    @rule(which=st.integers(0, 3), steps=st.sampled_from((1, 2, 3, 100)))
    def push_on(self, which: int, steps: int) -> None:
        pushing = self.pushes[which % len(self.pushes)]
        try:
            for _ in range(steps):
                next(pushing.steps)
        except (StopIteration, NumberTakenError):
            self.pushes.remove(pushing)
        except BadInputError as error:
            if not (pushing.what.release.members and "as it is here" in error.message):
                raise  # else a member of the bundle went meanwhile
            self.pushes.remove(pushing)

    # --- people, nodes and jobs ---

    @rule(model=MODEL, number=NUMBER, channel=st.sampled_from(CHANNELS))
    def promote(self, model: str, number: int, channel: str) -> None:
        with contextlib.suppress(NotFoundError):
            ref = ModelRef(parse_model(model), number=number)
            self.hub.catalog.models.promote(ref, channel, "a", "", self.hub.wall)

    @rule(model=MODEL, channel=st.sampled_from(CHANNELS))
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

    @rule(model=MODEL, number=NUMBER)
    def pin(self, model: str, number: int) -> None:
        self.hub.catalog.pins.pin(ModelRef(parse_model(model), number=number), Whom(), By("a", self.hub.wall))
        self.holding.pins.add((model, number))

    @rule(model=MODEL, number=NUMBER)
    def unpin(self, model: str, number: int) -> None:
        with contextlib.suppress(NotFoundError):
            self.hub.catalog.pins.unpin(ModelRef(parse_model(model), number=number), Whom(), By("a", self.hub.wall))
            self.holding.pins.discard((model, number))

    @rule(models=st.sampled_from(("acme/*", "acme/vest")), newest=st.sampled_from((None, 1, 2)))
    def retain(self, models: str, newest: int | None) -> None:
        self.hub.catalog.retentions.set(RetentionRow(models, newest, None, By("a", self.hub.wall)))

    @rule(node=st.sampled_from(NODES), names=SOURCES, phase=st.sampled_from((Phase.FETCHING, Phase.ACTIVE)))
    def report(self, node: str, names: list[gc_laws.Name], phase: Phase) -> None:
        """A node says what it fetches or has; releases that are gone are nothing that a gc could keep."""
        standings = tuple(
            Standing(parse_model(model), "stable", phase, desired=number, active=number if phase is Phase.ACTIVE else 0)
            for model, number in names
        )
        self.hub.catalog.nodes.report(node, encode_report(Report(1, standings)), self.hub.wall)
        self.holding.reports[node] = set(names)

    @rule(model=MODEL, number=NUMBER)
    def read(self, model: str, number: int) -> None:
        with contextlib.suppress(NotFoundError):
            row = self.hub.catalog.models.release(ModelRef(parse_model(model), number=number))
            self.hub.stock.underway.given(row.variants[0].manifest.digest)
            self.holding.reads[model, number] = self.hub.wall

    @rule(seconds=st.sampled_from((1.0, 90.0, 5_000.0)))
    def wait(self, seconds: float) -> None:
        self.hub.wall += seconds

    # --- gc ---

    @rule(dry=st.booleans(), grace=st.sampled_from((0.0, GRACE)))
    def begin_gc(self, dry: bool, grace: float) -> None:
        if self.gc is None:
            self.gc = self.hub.collector.run("a", dry=dry, grace=grace)

    @precondition(lambda self: self.gc)
    @rule(steps=st.sampled_from((1, 1, 2, 5, 100)))
    def gc_on(self, steps: int) -> None:
        assert self.gc is not None
        for _ in range(steps):
            if next(self.gc, None) is None:
                self.gc = None
                return

    @rule(point=st.sampled_from(DEADLY), nth=st.integers(1, 3), pushing=st.booleans())
    def kill(self, point: Point, nth: int, pushing: bool) -> None:
        """At the nth passing of a point, or when there is none."""
        left = [nth]

        def met(passed: Point) -> None:
            if passed is point:
                left[0] -= 1
                if not left[0]:
                    raise Killed

        failpoints.watch(met)
        try:
            if pushing and self.pushes:
                self.push_on(0, 100)
                failpoints.watch(None)
                self.before = gc_laws.seen(self.hub, self.holding)  # a channel may have moved
                failpoints.watch(met)
            self.begin_gc(dry=False, grace=0.0)
            self.gc_on(1_000)
        except Killed:
            pass
        finally:
            failpoints.watch(None)
        self._die()

    # --- laws ---

    @invariant()
    def whatever_a_release_needs_is_here_and_right(self) -> None:
        if hasattr(self, "before"):
            gc_laws.check_whole(self.hub)

    @invariant()
    def what_went_was_held_by_nothing(self) -> None:
        if hasattr(self, "before"):
            now = gc_laws.seen(self.hub, self.holding)
            gc_laws.check_gone(self.before, now)
            self.before = now

    def teardown(self) -> None:
        """All that is garbage goes with the next gc."""
        if not hasattr(self, "before"):
            return
        self._die()
        self.hub.wall += 20_000.0
        self.hub.writer.seal()
        for _ in self.hub.collector.run("a", dry=False, grace=0.0):
            pass
        gc_laws.check_clean(self.hub)
        gc_laws.check_whole(self.hub)
        self.hub.close()


STEPS = int(os.environ.get("MODELSYNCD_GC_STEPS", "600"))  # 100,000 are the full reach


@pytest.mark.slow
def test_gc_beside_pushes_bundles_pins_moves_nodes_readers_and_kills_takes_all_garbage_and_nothing_else() -> None:
    reach = settings(
        max_examples=STEPS // 40,
        stateful_step_count=40,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(GcBesideAll, settings=reach)
