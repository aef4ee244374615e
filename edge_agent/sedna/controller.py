"""The only place that answers Sedna's workers and does what follows: the part of a LocalController that they talk to.

A worker is answered as soon as its report is durable here, for it blocks until then. A job's reports are carried out in
order, each until it is done, over restarts too; what takes long, as publishing does, holds no word about a version up,
and no job another.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from edge_agent.outbox.words import Measured, Origin, Publication, Stored
from edge_agent.sedna.deeds import Deed, Known, Pair, Publish, Record, Vouch, deeds
from edge_agent.sedna.entry import KEY, Entry, decode
from edge_agent.sedna.failures import Failures
from edge_agent.sedna.jobs import Job
from edge_agent.sedna.keeper import Channels, Keeper
from edge_agent.sedna.reports import COMPLETED, DEPLOY, FAILED, INFERENCE, Report, parse_report
from edge_agent.sedna.results import mark, publishable
from edge_agent.sedna.spool import MOST, Spool
from edge_agent.watchers import Active
from modelsyncd.daemon.log import Log
from modelsyncd.errors import (
    BadInputError,
    ConflictError,
    DiskError,
    DiskFullError,
    ModelsyncError,
    RefusedError,
    SourceChangedError,
)
from modelsyncd.names import ModelRef

PAUSE = 30.0  # seconds before something that the disk refused is tried again
TRIES = 10
COUNTING = 600.0  # seconds between two records of a worker's running counts
_STRANGERS = 100
USER = "sedna"
Json = Mapping[str, object]


class Confirming(Protocol):
    """Who takes a word about a version."""

    def confirm(self, ref: ModelRef, number: int, works: bool, why: str, who: str) -> bool:
        """Whether it counted."""


class Tray(Protocol):
    """Where goes what is for the hub; see `edge_agent.outbox.words.Outbox`."""

    async def store(
        self,
        wanted: Publication,
        reading: Callable[[int, int], None] = ...,
        check: Callable[[], None] = ...,
    ) -> Stored:
        """Keeps a copy; durable when it returns."""

    async def record(self, numbers: Sequence[Measured]) -> None:
        """Keeps numbers until the hub has them."""


_Task = tuple[int, Entry, Job, Deed]


@dataclass(slots=True)
class _Line:
    """What waits of one job, so that no job waits for another: words that somebody waits for, and what takes long."""

    quick: asyncio.Queue[_Task] = field(default_factory=asyncio.Queue)
    slow: asyncio.Queue[_Task] = field(default_factory=asyncio.Queue)
    reports: int = 0


class Controller:
    """Belongs to the loop's thread; `run` carries out what `answer` took, and what `load` found."""

    def __init__(
        self,
        jobs: Mapping[str, Job],
        channels: Channels,
        trying: Confirming,
        keeper: Keeper,
        *,
        outbox: Tray,
        failures: Failures,
        spool: Spool,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._jobs = jobs
        self._channels = channels
        self._trying = trying
        self._keeper = keeper
        self._outbox = outbox
        self._failures = failures
        self._spool = spool
        self._wall = wall
        self._lines = {name: _Line() for name in jobs}
        self._most = MOST // max(1, len(jobs))
        self._left: dict[int, int] = {}
        self._counted: dict[str, float] = {}
        self._strangers: set[str] = set()
        self._writing = asyncio.Lock()

    async def answer(self, worker: str, body: bytes) -> tuple[int, Json]:
        """Status and body for `POST /sedna/workers/WORKER/info`."""
        try:
            report = parse_report(worker, body)
        except BadInputError as error:
            return _answer(400, error.message)
        job = self._job_of(report)
        if job is None:
            self._note_stranger(report)
            return _answer(200, "OK")
        if report.kind == INFERENCE and not self._is_due(report):
            return _answer(200, "OK")
        known, at = self._known(job, report), self._wall()
        found = deeds(job, report, known)
        Log().info("sedna.reported", job=job.name, worker=worker, kind=report.kind, status=report.status)
        if not found:
            return _answer(200, "OK")
        try:
            if self._lines[job.name].reports >= self._most:
                raise ConflictError(
                    f"{self._most} reports of {job.name} wait to be carried out", hint="look at the log"
                )
            urls = [deed.url for deed in found if isinstance(deed, Publish)]
            marks = await asyncio.to_thread(_marks, job, urls) if urls else {}
            entry = Entry(worker, body, known, at, os.urandom(KEY).hex(), marks)
            async with self._writing:
                number = await asyncio.to_thread(self._spool.put, entry.encode())
        except (DiskError, ConflictError) as error:
            Log().failure("sedna.not-kept", error, job=job.name, worker=worker)
            return _answer(503, error.message)
        self._enqueue(number, entry, job, found)
        return _answer(200, "OK")

    async def load(self) -> None:
        """Takes up what waits; before anything is answered. Raises DiskError."""
        for number, raw in await asyncio.to_thread(self._spool.load):
            await self._resume(number, raw)

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            for line in self._lines.values():
                group.create_task(self._carry_out(line, line.quick))
                group.create_task(self._carry_out(line, line.slow))

    def lacking(self, job: Job, active: Active, why: str) -> None:
        """A version came without the file that the job's workers need."""
        self._say(job, active.number, False, why, f"sedna {job.name}")

    # --- inside ---

    async def _resume(self, number: int, raw: bytes) -> None:
        try:
            entry = decode(raw)
            report = parse_report(entry.worker, entry.body)
        except BadInputError as error:
            Log().failure("sedna.not-read", error, number=number)
            job = None
        else:
            job = self._job_of(report)
        # The settings may have changed since it came, so that nothing follows from it any more.
        if job is None or not (found := deeds(job, report, entry.known)):
            await asyncio.to_thread(self._spool.done, number)
        else:
            self._enqueue(number, entry, job, found)

    def _job_of(self, report: Report) -> Job | None:
        """By its whole name; else, for workers that know no namespace, the only one with that last part."""
        job = self._jobs.get(report.owner)
        if job is not None or not report.homeless:
            return job
        last = "/" + report.owner.partition("/")[2]
        found = [one for name, one in self._jobs.items() if name.endswith(last)]
        return found[0] if len(found) == 1 else None

    def _note_stranger(self, report: Report) -> None:
        if report.owner not in self._strangers and len(self._strangers) < _STRANGERS:
            self._strangers.add(report.owner)
            Log().warning("sedna.unknown-job", job=report.owner[:200], worker=report.worker[:200])

    def _is_due(self, report: Report) -> bool:
        """Running counts come every half minute and only grow: one in ten minutes says as much."""
        key, now = f"{report.owner} {report.worker}", self._wall()
        if now - self._counted.get(key, -COUNTING) < COUNTING:
            return False
        if len(self._counted) > _STRANGERS:
            self._counted.clear()
        self._counted[key] = now
        return True

    def _known(self, job: Job, report: Report) -> Known:
        serving, candidate = (self._channels.active(ref) for ref in (job.serving, job.candidate))
        loads = report.kind == DEPLOY and report.status in (COMPLETED, FAILED)
        loaded = self._keeper.words(job.name).loaded(report.worker) if loads else None
        return Known(
            serving=serving.number if serving else 0,
            candidate=candidate.number if candidate else 0,
            loaded=loaded.number if loaded else 0,
            word=loaded.word if loaded else "",
        )

    def _enqueue(self, number: int, entry: Entry, job: Job, found: list[Deed]) -> None:
        line = self._lines[job.name]
        line.reports += 1
        self._left[number] = len(found)
        for deed in found:
            queue = line.slow if isinstance(deed, Publish) else line.quick
            queue.put_nowait((number, entry, job, deed))

    async def _carry_out(self, line: _Line, queue: asyncio.Queue[_Task]) -> None:
        while True:
            number, entry, job, deed = await queue.get()
            try:
                await self._insist(partial(self._do, entry, job, deed), job)
            except Exception as error:  # noqa: BLE001 - a report must not end the agent, at this start and each after it
                Log().failure("sedna.not-done", error, job=job.name)
            self._left[number] -= 1
            if not self._left[number]:
                del self._left[number]
                await self._insist(partial(self._finish, number), job)
                line.reports -= 1

    async def _finish(self, number: int) -> None:
        async with self._writing:  # in each try: whoever reports meanwhile does not wait for the disk's good mood
            await asyncio.to_thread(self._spool.done, number)

    async def _insist(self, work: Callable[[], Awaitable[object]], job: Job) -> None:
        """Does it, again after a while where the disk was in the way; what can't be done is said and left.

        A full disk is waited for. All else that a disk says may come from what a job has put there.
        """
        tries = 0
        while True:
            try:
                await work()
            except DiskError as error:
                tries += not isinstance(error, DiskFullError)
                if tries >= TRIES:
                    Log().failure("sedna.not-done", error, job=job.name)
                    return
                Log().failure("sedna.waits", error, job=job.name)
                await asyncio.sleep(PAUSE)
            except ModelsyncError as error:
                Log().failure("sedna.not-done", error, job=job.name)
                return
            else:
                return

    async def _do(self, entry: Entry, job: Job, deed: Deed) -> None:
        match deed:
            case Record():
                await self._outbox.record(_measured(job, deed, entry))
            case Pair():
                await self._outbox.record([*_measured(job, deed.old, entry), *_measured(job, deed.new, entry)])
            case Vouch():
                await self._vouch(entry.worker, job, deed)
            case Publish():
                await self._publish(entry, job, deed)

    async def _vouch(self, worker: str, job: Job, deed: Vouch) -> None:
        if not deed.works and deed.word:
            await asyncio.to_thread(self._failures.add, job.name, deed.word)
        self._say(job, deed.number, deed.works, deed.why, f"sedna {job.name} {worker}")

    def _say(self, job: Job, number: int, works: bool, why: str, who: str) -> None:
        log = Log().bind(job=job.name, version=number)
        try:
            counted = self._trying.confirm(job.serving, number, works, why, who)
        except ModelsyncError as error:
            log.failure("sedna.not-confirmed", error, works=works)
        else:
            log.info("sedna.confirmed", works=works, why=why or None, counted=counted)

    async def _publish(self, entry: Entry, job: Job, deed: Publish) -> None:
        path = await asyncio.to_thread(publishable, job, deed.url)
        reported = entry.marks.get(deed.url, "")
        parents = (Origin(ModelRef(job.model, number=deed.parent)),) if deed.parent else ()
        wanted = Publication(
            path=path,
            model=job.model,
            channel=job.candidate.channel or "" if deed.first else "",
            parents=parents,
            labels=deed.labels,
            metrics=deed.metrics,
            note=f"trained by {job.name}",
            user=USER,
        )

        def check() -> None:
            if publishable(job, deed.url) != path:
                raise RefusedError(f"{path} was put elsewhere while it was read", safe="it was not published")
            if reported and mark(path) != reported:
                raise SourceChangedError(
                    f"{path} is not what {job.name} reported any more: it was written to since",
                    safe="it was not published",
                    hint="let each round write into a folder of its own",
                )

        await asyncio.to_thread(check)  # before the outbox reads all of it
        stored = await self._outbox.store(wanted, check=check)
        Log().info("sedna.published", job=job.name, path=path, id=stored.id, known=stored.known)


def _measured(job: Job, deed: Record, entry: Entry) -> list[Measured]:
    return [
        Measured(
            job.model,
            deed.number,
            name,
            value,
            stage=deed.stage,
            at=entry.at,
            key=entry.key(deed.number, deed.stage, name, value),
        )
        for name, value in deed.metrics.items()
    ]


def _marks(job: Job, urls: Sequence[str]) -> dict[str, str]:
    """How what was reported looks now; nothing for what can't be published: that is said when it is tried."""
    found: dict[str, str] = {}
    for url in urls:
        with suppress(ModelsyncError):
            found[url] = mark(publishable(job, url))
    return found


def _answer(status: int, message: str) -> tuple[int, Json]:
    """As a LocalController writes it."""
    return status, {"Status": status, "Message": message}
