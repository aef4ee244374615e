"""A gc beside pushes that come, break, stop and are taken up again, bundles, pins, moves, nodes, readers and kills:
nothing that is needed ever goes, and all that is not goes with the next one.

The catalogue, the packs and the blobs are real; what is done beside a gc is done between any two of its steps, and what
a gc does beside a push is done between any two of its looks.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from modelsyncd.session.frames import Phase
from modelsyncd.store import failpoints
from modelsyncd.store.failpoints import Point
from tests.fakes import gc_laws
from tests.fakes.gc_hub import Killed
from tests.fakes.gc_world import CHANNELS, DEEDS, HOLDING, MODELS, NODES, GcWorld

GRACE = 10_000.0  # seconds: longer than a push is remembered
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
WHICH = st.integers(0, 23)
STEPS_OF_A_GC = st.sampled_from((1, 1, 2, 2, 3, 3, 5, 8, 100))
DEED = st.one_of(st.sampled_from(HOLDING), st.sampled_from(sorted(DEEDS)))


class GcAmidDeeds(RuleBasedStateMachine):
    """One gc after the other, each with much to remove, and what people, nodes and jobs do between its steps."""

    @initialize()
    def begin(self) -> None:
        self.world = GcWorld()

    @rule(
        before=st.lists(st.tuples(DEED, WHICH), max_size=2),
        amid=st.lists(st.tuples(STEPS_OF_A_GC, DEED, WHICH), min_size=1, max_size=4),
        grace=st.sampled_from((0.0, 0.0, GRACE)),
        more=st.sampled_from((0, 4, 8, 12)),
        pause=st.sampled_from((1.0, 4_000.0)),
        keep=st.sampled_from(((1, None), (1, None), (None, 0.5))),
    )
    def do_beside_a_gc(
        self,
        *,
        before: Sequence[tuple[str, int]],
        amid: Sequence[tuple[int, str, int]],
        grace: float,
        more: int,
        pause: float,
        keep: tuple[int | None, float | None],
    ) -> None:
        """One that goes from its beginning to its end."""
        world = self.world
        world.gc_on(1_000)
        if more:
            world.rest()
            world.fill(more)
            world.retain("acme/*", *keep)
            world.retain("acme/vest", *keep)
            world.hub.wall += pause
        for deed, which in before:
            DEEDS[deed](world, which)
            world.look()
        world.begin_gc(dry=False, grace=grace)
        for steps, deed, which in amid:
            world.gc_on(steps)
            DEEDS[deed](world, which)
            world.look()
        world.gc_on(1_000)

    # --- laws ---

    @invariant()
    def what_went_was_held_by_nothing(self) -> None:
        if hasattr(self, "world"):
            self.world.look()

    @invariant()
    def whatever_a_release_needs_is_here_and_right(self) -> None:
        if hasattr(self, "world"):
            gc_laws.check_whole(self.world.hub)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.end()


class GcBesideAll(GcAmidDeeds):
    """What people, pushes, nodes, jobs and a gc do to a hub's stores, in any order."""

    # --- anything ---

    @rule(deed=DEED, which=WHICH)
    def do(self, deed: str, which: int) -> None:
        DEEDS[deed](self.world, which)

    @rule(
        model=st.sampled_from(MODELS),
        blocks=st.lists(st.sampled_from(range(12)), min_size=1, max_size=4),
        channel=st.sampled_from(("", *CHANNELS)),
        sources=st.frozensets(WHICH, max_size=2),
        bundled=st.booleans(),
        broken=st.frozensets(st.integers(0, 3), max_size=1),
        steps=st.sampled_from((0, 1, 2, 100)),
    )
    def offer(
        self,
        *,
        model: str,
        blocks: list[int],
        channel: str,
        sources: frozenset[int],
        bundled: bool,
        broken: frozenset[int],
        steps: int,
    ) -> None:
        names = {self.world.pick(which) for which in sources}
        self.world.offer(model, blocks, channel, sorted(names), bundled=bundled, broken=broken)
        self.world.push_on(-1, steps)

    @rule(which=WHICH, steps=st.sampled_from((1, 2, 3, 100)), pauses=st.lists(st.integers(0, 8), max_size=4))
    def push_on(self, which: int, steps: int, pauses: list[int]) -> None:
        self.world.push_on(which, steps, pauses)

    @rule(
        models=st.sampled_from(("acme/*", "acme/vest")),
        keep=st.sampled_from(((None, None), (1, None), (2, None), (None, 0.5), (None, 60.0))),
    )
    def retain(self, models: str, keep: tuple[int | None, float | None]) -> None:
        self.world.retain(models, *keep)

    @rule(node=st.sampled_from(NODES), which=st.frozensets(WHICH, max_size=3), phase=st.sampled_from(Phase))
    def report(self, node: str, which: frozenset[int], phase: Phase) -> None:
        self.world.report(node, {self.world.pick(each) for each in which}, phase)

    # --- gc ---

    @rule(dry=st.booleans(), grace=st.sampled_from((0.0, GRACE)))
    def begin_gc(self, dry: bool, grace: float) -> None:
        self.world.begin_gc(dry=dry, grace=grace)

    @rule(steps=STEPS_OF_A_GC)
    def gc_on(self, steps: int) -> None:
        self.world.gc_on(steps)

    @rule(point=st.sampled_from(DEADLY), nth=st.integers(1, 3), pushing=st.booleans())
    def kill(self, point: Point, nth: int, pushing: bool) -> None:
        """At the nth passing of a point, or when there is none."""
        left = [nth]

        def met(passed: Point) -> None:
            if passed is point:
                left[0] -= 1
                if not left[0]:
                    raise Killed

        try:
            if pushing:
                failpoints.watch(met)
                self.world.push_on(0, 100)
                failpoints.watch(None)
                self.world.look()  # a channel may have moved
            failpoints.watch(met)
            self.world.begin_gc(dry=False, grace=0.0)
            self.world.gc_on(1_000)
        except Killed:
            pass
        finally:
            failpoints.watch(None)
        self.world.die()


STEPS = int(os.environ.get("MODELSYNCD_GC_STEPS", "1200"))  # of both machines together; 100,000 are the full reach
RUN = 40  # steps from one beginning, at most


def _walk(machine: type[RuleBasedStateMachine], steps: int) -> None:
    reach = settings(
        max_examples=steps // RUN,
        stateful_step_count=RUN,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=reach)


@pytest.mark.slow
def test_what_comes_to_be_held_while_a_gc_removes_and_sweeps_stays() -> None:
    _walk(GcAmidDeeds, STEPS // 6)


@pytest.mark.slow
def test_gc_beside_pushes_bundles_pins_moves_nodes_readers_and_kills_takes_all_garbage_and_nothing_else() -> None:
    _walk(GcBesideAll, STEPS - STEPS // 6)
