"""The only place that carries out a gc: removes what no rule keeps, sweeps chunks that nothing needs, frees packs.

A dry run does the same looking and changes nothing. A kill at any instant leaves at worst garbage for the next one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace

from cloud_hub.catalog import Catalog
from cloud_hub.catalog.decisions import By
from cloud_hub.catalog.lineage import Name
from cloud_hub.repack import Freed, Repack
from cloud_hub.retention import judge
from cloud_hub.stock import Stock
from cloud_hub.sweep import Step, Sweep
from modelsyncd.digest import Digest
from modelsyncd.errors import ConflictError
from modelsyncd.names import ModelName, parse_model
from modelsyncd.store.blobs import Blobs
from modelsyncd.store.failpoints import Point, passing

GRACE = 86_400.0  # seconds: a push that was cut may be taken up again within a day, and nothing of it travels twice
_NONE: Mapping[Name, str] = {}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a gc is: what goes or went, with why; what is held, with by what; chunks and packs."""

    going: Mapping[Name, str] = field(default_factory=lambda: _NONE)
    spared: Mapping[Name, str] = field(default_factory=lambda: _NONE)
    removed: int = 0
    step: Step = field(default_factory=Step)
    freed: Freed = field(default_factory=Freed)


class Collector:
    """Runs one gc at a time. Everything here blocks."""

    def __init__(
        self,
        catalog: Catalog,
        stock: Stock,
        blobs: Blobs,
        *,
        removed: Callable[[Collection[ModelName]], object] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`removed` hears, in the thread of `run`, of which models releases went, once no more go."""
        self._catalog = catalog
        self._stock = stock
        self._blobs = blobs
        self._removed = removed
        self._clock = clock
        self._running = threading.Lock()

    def run(self, who: str, *, dry: bool, grace: float = GRACE) -> Generator[Progress, None, None]:
        """Says how far it is. Ending it anywhere is safe.

        Raises ConflictError while another one runs, DamageError when a manifest can't be read, DiskFullError,
        DiskError, RoadError; what went by then was needed by nobody.
        """
        if not self._running.acquire(blocking=False):
            raise ConflictError("a gc is under way at this hub", safe="nothing was changed", hint="wait for its end")
        try:
            yield from self._run(By(who, self._clock()), dry=dry, grace=grace)
        finally:
            self._running.release()

    def _run(self, by: By, *, dry: bool, grace: float) -> Iterator[Progress]:
        busy = self._stock.underway.busy
        verdict = judge(self._catalog.removals.look(busy()), self._catalog.retentions.list(), by.now)
        now = Progress(verdict.going, verdict.spared)
        yield now
        without = self._catalog.removals.manifests_without(verdict.going) if dry else frozenset()
        if not dry:
            with closing(self._remove(verdict.going, by, busy)) as batches:
                for gone in batches:
                    now = replace(now, removed=now.removed + gone)
                    yield now
        young = self._catalog.packs.young(by.now - grace)
        for step in Sweep(self._catalog, self._stock, young, without).run(dry=dry):
            now = replace(now, step=step)
            yield now
        if not dry:
            for freed in Repack(self._catalog, self._stock, self._blobs).run():
                now = replace(now, freed=freed)
                yield now

    def _remove(
        self, going: Mapping[Name, str], by: By, busy: Callable[[], Collection[Digest]]
    ) -> Generator[int, None, None]:
        """How many releases went, a batch at a time."""
        models: set[str] = set()
        try:
            for gone in self._catalog.removals.remove(going, by, busy):
                passing(Point.RELEASES_REMOVED)
                self._stock.swept()
                models.update(name.model for name in gone)
                yield len(gone)
        finally:
            if models:
                self._removed(list(map(parse_model, models)))
