"""The only place where admins say what is kept, and have the rest removed: the servicer of RetentionService."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping

from cloud_hub import gate
from cloud_hub.catalog import By, Catalog
from cloud_hub.catalog.lineage import Name
from cloud_hub.catalog.retentions import RetentionRow
from cloud_hub.collector import GRACE, Collector, Progress
from cloud_hub.patterns import parse_models
from modelsyncd.daemon.log import Log
from modelsyncd.errors import BadInputError, LimitError
from modelsyncd.limits import LIMITS
from modelsyncd.wire.status import Context, answering
from modelsyncd.wire.v1 import retention_pb2 as pb
from modelsyncd.wire.v1.retention_pb2_grpc import RetentionServiceServicer

_SAID = 0.5  # seconds between two answers of a gc
_MOST = 1 << 31  # of a number of releases


class RetentionApi(RetentionServiceServicer):
    """For admins only."""

    def __init__(self, catalog: Catalog, collector: Collector, *, clock: Callable[[], float] = time.time) -> None:
        self._catalog = catalog
        self._collector = collector
        self._clock = clock
        self._log = Log()

    @answering
    async def SetRetention(  # noqa: N802
        self, request: pb.SetRetentionRequest, context: Context
    ) -> pb.SetRetentionResponse:
        """Keeps a rule. Raises BadInputError and its kind."""
        row = _row(request.retention, str(gate.admin(context)), self._clock())
        await asyncio.to_thread(self._catalog.retentions.set, row)
        return pb.SetRetentionResponse(retention=_view(row))

    @answering
    async def RemoveRetention(  # noqa: N802
        self, request: pb.RemoveRetentionRequest, context: Context
    ) -> pb.RemoveRetentionResponse:
        """Ends a rule. Raises NotFoundError, InvalidNameError."""
        gate.admin(context)
        row = await asyncio.to_thread(self._catalog.retentions.remove, parse_models(request.models))
        return pb.RemoveRetentionResponse(retention=_view(row))

    @answering
    async def ListRetentions(  # noqa: N802
        self, request: pb.ListRetentionsRequest, context: Context
    ) -> pb.ListRetentionsResponse:
        """The rules."""
        gate.admin(context)
        rows = await asyncio.to_thread(self._catalog.retentions.list)
        return pb.ListRetentionsResponse(retentions=map(_view, rows))

    @answering
    async def Collect(  # noqa: N802
        self, request: pb.CollectRequest, context: Context
    ) -> AsyncIterator[pb.CollectResponse]:
        """Removes what nobody needs; says how far it is. Raises as `Collector.run`, and BadInputError."""
        caller = str(gate.admin(context))
        grace = request.grace if request.HasField("grace") else GRACE
        if not 0 <= grace < math.inf:
            raise BadInputError("grace is a number of seconds", hint="0 for none; a day when it is not said")
        steps = _Steps(self._collector.run(caller, dry=request.dry_run, grace=grace))
        last = Progress()
        try:
            async for last, first in _paced(steps):
                yield _answer(last, told=first)
        finally:
            await asyncio.to_thread(steps.end)
        if not request.dry_run:
            freed = last.freed
            self._log.info(
                "gc.done", releases=last.removed, chunks=last.step.swept, packs=freed.packs, bytes=freed.size
            )
        yield _answer(last, told=True, done=True)


class _Steps:
    """The steps of a gc, for several threads: a call may end while one of them is at work."""

    def __init__(self, steps: Generator[Progress, None, None]) -> None:
        self._steps = steps
        self._turn = threading.Lock()

    def next(self, seconds: float) -> Progress | None:
        """The last of the steps of so many seconds, at least one; None at the end."""
        until = time.monotonic() + seconds
        found: Progress | None = None
        with self._turn:
            for step in self._steps:
                found = step
                if time.monotonic() >= until:
                    break
        return found

    def end(self) -> None:
        with self._turn:
            self._steps.close()


async def _paced(steps: _Steps) -> AsyncIterator[tuple[Progress, bool]]:
    """The first step, and then the last one of each half second."""
    first = True
    while (step := await asyncio.to_thread(steps.next, 0.0 if first else _SAID)) is not None:
        yield step, first
        first = False


def _row(said: pb.Retention, who: str, now: float) -> RetentionRow:
    """Raises BadInputError, InvalidNameError, LimitError."""
    newest = said.newest if said.HasField("newest") else None
    seconds = said.seconds if said.HasField("seconds") else None
    if newest is not None and not 1 <= newest < _MOST:
        raise BadInputError("the newest release of a model always stays", hint="say how many stay: 1 or more")
    if seconds is not None and not 0 < seconds < math.inf:
        raise BadInputError("an age is more than nothing", hint="as in 30d")
    if len(said.note) > LIMITS.note_chars:
        raise LimitError(f"a note may have {LIMITS.note_chars} characters, not {len(said.note)}")
    return RetentionRow(parse_models(said.models), newest, seconds, By(who, now, said.note))


def _view(row: RetentionRow) -> pb.Retention:
    by = row.by
    return pb.Retention(models=row.models, newest=row.newest, seconds=row.seconds, note=by.note, who=by.who, at=by.now)


def _answer(now: Progress, *, told: bool, done: bool = False) -> pb.CollectResponse:
    return pb.CollectResponse(
        going=_judged(now.going) if told else (),
        spared=_judged(now.spared) if told else (),
        removed=now.removed,
        manifests=now.step.manifests,
        chunks=now.step.chunks,
        swept=now.step.swept,
        swept_bytes=now.step.swept_bytes,
        packs=now.freed.packs,
        copied_bytes=now.freed.copied,
        freed_bytes=now.freed.size,
        done=done,
    )


def _judged(names: Mapping[Name, str]) -> Iterator[pb.Judged]:
    return (pb.Judged(model=name.model, number=name.number, why=why) for name, why in sorted(names.items()))
