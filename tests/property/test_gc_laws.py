"""A gc beside pushes that come, stop and are taken up again, pins, moves, readers and kills: nothing needed ever goes.

The catalogue, the packs and the blobs are real; what is done beside a gc is done between any two of its steps.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

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

from cloud_hub import sweep
from cloud_hub.catalog import By, Catalog, Whom
from cloud_hub.catalog.retentions import RetentionRow
from cloud_hub.collector import Collector, Progress
from cloud_hub.commit import HubIntake
from cloud_hub.stock import Stock
from cloud_hub.tables import PieceTable
from modelsyncd.codec.registry import READABLE, Codec, decode
from modelsyncd.digest import Digest, digest_of
from modelsyncd.errors import ConflictError, NotFoundError, NumberTakenError
from modelsyncd.names import ModelRef, parse_model
from modelsyncd.release import ManifestRef
from modelsyncd.session.effects import Keep
from modelsyncd.session.frames import Part
from modelsyncd.store import failpoints
from modelsyncd.store.blobs import Blobs, open_blobs
from modelsyncd.store.failpoints import Point
from modelsyncd.store.packs import PackReader, PackWriter, Record, recover
from tests.fakes.hub_store import ADMIN
from tests.fakes.publisher import Publication, publication

STEP = 96  # bytes of a chunk
PACK = 1_500  # bytes of a pack
BATCH = 2  # chunks that arrive at once
BLOCKS = [random.Random(number).randbytes(STEP) for number in range(12)]
MODELS = ("acme/helmet", "acme/vest")
CHANNELS = ("stable", "canary")
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


class Killed(BaseException):
    """The process ends here."""


class Pushing:
    """A push as a session drives it, one step at a time."""

    def __init__(self, intake: HubIntake, what: Publication) -> None:
        self.what = what
        self.steps = self._steps(intake, what)

    def _steps(self, intake: HubIntake, what: Publication) -> Iterator[None]:
        if _now(intake.consider(what.offer)) is not None:
            return
        yield
        for part in Part:
            missing = _now(intake.survey(what.offer, part)).ordinals
            yield
            for start in range(0, len(missing), BATCH):
                chunks = _now(what.load(what.manifest, part, missing[start : start + BATCH], READABLE, ()))
                _now(intake.keep([Keep(what.offer, part, c.ordinal, Codec(c.codec), c.payload, None) for c in chunks]))
                yield
        _now(intake.complete(what.offer))


class GcBesideAll(RuleBasedStateMachine):
    """What people, pushes and a gc do to a hub's stores, in any order."""

    @initialize()
    def begin(self) -> None:
        place = "/dev/shm" if Path("/dev/shm").is_dir() else None
        self.folder = Path(tempfile.mkdtemp(dir=place))
        self.wall = 1_000.0
        self.pushes: list[Pushing] = []
        self.gc: Iterator[Progress] | None = None
        self.patches = contextlib.ExitStack()
        self.patches.enter_context(patch.object(asyncio, "to_thread", _here))
        for name, value in (("PAGE", 3), ("MANIFESTS", 1)):
            self.patches.enter_context(patch.object(sweep, name, value))
        self._open()
        self.catalog.retentions.set(RetentionRow("acme/*", 1, None, By("a", self.wall)))
        for number, blocks in enumerate(([0, 1, 2], [2, 3, 4], [4, 5, 6], [6, 7, 8]), 1):
            self._offer("acme/helmet", blocks, "stable" if number < 3 else "")
            self.push_on(len(self.pushes) - 1, 100)
        self.pinned: set[tuple[str, int]] = set()
        self.wall += 5_000.0

    def _open(self) -> None:
        self.catalog = Catalog.open(f"sqlite:///{self.folder}/catalog.db")
        self.blobs: Blobs = open_blobs(f"file://{self.folder}/packs")
        spool = self.folder / "spool"
        self.catalog.chunks.add(recover(spool, self.blobs, self.catalog.chunks.end), self.wall)
        writer, self.reader = PackWriter(spool, self.blobs, pack_bytes=PACK), PackReader(spool, self.blobs)
        self.stock = Stock(self.catalog, writer, self.reader, self.folder, clock=lambda: self.wall)
        self.stock.underway._clock = lambda: self.wall
        self.writer = writer
        self.collector = Collector(self.catalog, self.stock, self.blobs, clock=lambda: self.wall)

    def _die(self) -> None:
        """What is in memory is lost, what is on the disk is not."""
        self.gc, self.pushes = None, []
        pack = self.writer._pack
        if pack is not None:
            pack.close()
        self.catalog.close()
        self._open()

    # --- pushes ---

    @rule(model=st.sampled_from(MODELS), blocks=st.lists(st.sampled_from(range(12)), min_size=1, max_size=4),
          channel=st.sampled_from(("", *CHANNELS)))  # fmt: skip
    def offer(self, model: str, blocks: list[int], channel: str) -> None:
        self._offer(model, blocks, channel)

    def _offer(self, model: str, blocks: list[int], channel: str) -> None:
        number = self.catalog.models.next_number(parse_model(model))
        content = {"m": b"".join(BLOCKS[block] for block in blocks)}
        what = publication(content, model=model, number=number, channel=channel, step=STEP)
        arrivals: Any = _Arrivals()
        intake = HubIntake(ADMIN, self.catalog, self.stock, arrivals, tell=_ignore, clock=lambda: self.wall)
        self.pushes = [*self.pushes, Pushing(intake, what)][-4:]

    @precondition(lambda self: self.pushes)
    @rule(which=st.integers(0, 3), steps=st.sampled_from((1, 2, 3, 100)))
    def push_on(self, which: int, steps: int) -> None:
        pushing = self.pushes[which % len(self.pushes)]
        try:
            for _ in range(steps):
                next(pushing.steps)
        except (StopIteration, NumberTakenError):
            self.pushes.remove(pushing)

    # --- people and nodes ---

    @rule(model=st.sampled_from(MODELS), number=st.integers(1, 8), channel=st.sampled_from(CHANNELS))
    def promote(self, model: str, number: int, channel: str) -> None:
        with contextlib.suppress(NotFoundError):
            self.catalog.models.promote(ModelRef(parse_model(model), number=number), channel, "a", "", self.wall)

    @rule(model=st.sampled_from(MODELS), channel=st.sampled_from(CHANNELS))
    def roll_back(self, model: str, channel: str) -> None:
        """One rollback is always possible where there was a move before."""
        try:
            history = self.catalog.models.history(parse_model(model))
        except NotFoundError:
            return
        moves = [move for move in history.moves if move.channel == channel]
        forward = bool(moves) and moves[0].kind != "rollback" and moves[0].from_number > 0
        try:
            row = self.catalog.models.rollback(parse_model(model), channel, "a", "", self.wall)
        except (NotFoundError, ConflictError):
            assert not forward
        else:
            assert not forward or row.to_number == moves[0].from_number

    @rule(model=st.sampled_from(MODELS), number=st.integers(1, 8))
    def pin(self, model: str, number: int) -> None:
        self.catalog.pins.pin(ModelRef(parse_model(model), number=number), Whom(), By("a", self.wall))

    @rule(model=st.sampled_from(MODELS), number=st.integers(1, 8))
    def unpin(self, model: str, number: int) -> None:
        with contextlib.suppress(NotFoundError):
            self.catalog.pins.unpin(ModelRef(parse_model(model), number=number), Whom(), By("a", self.wall))
            self.pinned.discard((model, number))

    @rule(models=st.sampled_from(("acme/*", "acme/vest")), newest=st.sampled_from((None, 1, 2)))
    def retain(self, models: str, newest: int | None) -> None:
        self.catalog.retentions.set(RetentionRow(models, newest, None, By("a", self.wall)))

    @rule(model=st.sampled_from(MODELS), number=st.integers(1, 8))
    def read(self, model: str, number: int) -> None:
        with contextlib.suppress(NotFoundError):
            row = self.catalog.models.release(ModelRef(parse_model(model), number=number))
            self.stock.underway.given(row.variants[0].manifest.digest)

    @rule(seconds=st.sampled_from((1.0, 90.0, 5_000.0)))
    def wait(self, seconds: float) -> None:
        self.wall += seconds

    # --- gc ---

    @rule(dry=st.booleans(), grace=st.sampled_from((0.0, GRACE)))
    def begin_gc(self, dry: bool, grace: float) -> None:
        if self.gc is None:
            self.gc = self.collector.run("a", dry=dry, grace=grace)

    @precondition(lambda self: self.gc)
    @rule(steps=st.sampled_from((1, 2, 5, 100)))
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
        if not hasattr(self, "catalog"):
            return
        for ref in self._refs():
            assert self._is_here(ref), f"manifest {ref.digest.hex()[:12]} or its content is not here"

    @invariant()
    def what_was_pinned_stays(self) -> None:
        if not hasattr(self, "pinned"):
            return
        now = {
            (str(row.model), each.number)
            for row in self.catalog.models.list()
            for each in self._history(str(row.model))
        }
        pinned = {(str(row.ref.model), row.ref.number or 0) for row in self.catalog.pins.list()} & now
        assert self.pinned <= now, "a pinned release went"
        self.pinned = pinned

    def _history(self, model: str) -> Any:
        return self.catalog.models.history(parse_model(model)).releases

    def _refs(self) -> Iterator[ManifestRef]:
        for model in self.catalog.models.list():
            for row in self._history(str(model.model)):
                yield from (variant.manifest for variant in row.variants)

    def _is_here(self, ref: ManifestRef) -> bool:
        needed = [*sweep._digests(PieceTable(ref))]
        places = self.catalog.chunks.places(needed)
        if len(places) < len(set(needed)):
            return False
        needed += sweep._digests(self.stock.table(ref, Part.CONTENT))
        places = self.catalog.chunks.places(needed)
        rests = {place.digest: self.reader.read(place) for place in places.values()}
        return set(needed) == rests.keys() and all(
            digest_of(decode(places[name].codec, payload, places[name].plain_size)) == name
            for name, payload in rests.items()
        )

    def teardown(self) -> None:
        """All that is garbage goes with the next gc: nothing rests that nothing needs."""
        if not hasattr(self, "catalog"):
            return
        self._die()
        self.wall += 10 * sweep.PAGE + 10_000.0
        self.writer.seal()
        for _ in self.collector.run("a", dry=False, grace=0.0):
            pass
        needed = {
            digest
            for ref in self._refs()
            for digest in (*sweep._digests(PieceTable(ref)), *sweep._digests(self.stock.table(ref, Part.CONTENT)))
        }
        known = {place.digest for place in self.catalog.chunks.page(None, 100_000)}
        assert known == needed
        self.writer.seal()
        used, there = self.catalog.packs.used(), {Path(blob.key).stem for blob in self.blobs.list()}
        assert there == set(used), "a pack rests that nothing needs"
        self.whatever_a_release_needs_is_here_and_right()
        self.catalog.close()
        self.patches.close()
        shutil.rmtree(self.folder)


class _Arrivals:
    """As `Arrivals`, for what comes without a base."""

    def warm(self, batch: object) -> None:
        """There is nothing to read ahead."""

    def judged(self, keep: Keep, ref: ManifestRef, digest: Digest, size: int) -> Record:
        return Record(digest, keep.codec, keep.payload, size)


def _ignore(_: object) -> None:
    pass


async def _here(work: Callable[..., Any], *arguments: Any) -> Any:
    return work(*arguments)


def _now(work: Any) -> Any:
    """What a coroutine answers that never waits."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


STEPS = int(os.environ.get("MODELSYNCD_GC_STEPS", "600"))  # 100,000 are the full reach


@pytest.mark.slow
def test_gc_beside_pushes_pins_moves_readers_and_kills_takes_all_garbage_and_nothing_else() -> None:
    reach = settings(
        max_examples=STEPS // 40,
        stateful_step_count=40,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(GcBesideAll, settings=reach)
