"""The only place that answers Sedna's workers and does what follows: the part of a LocalController that they talk to.

A worker is answered as soon as its report is durable here, for it blocks until then. Reports are carried out in order,
each until it is done, over restarts too; what takes long, as publishing does, holds no word about a version up.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Protocol

from edge_agent.outbox.words import Measured, Origin, Publication, Stored
from edge_agent.sedna.deeds import Deed, Judge, Known, Publish, Record, Vouch, deeds
from edge_agent.sedna.failures import Failures
from edge_agent.sedna.jobs import Job
from edge_agent.sedna.keeper import Channels, Keeper
from edge_agent.sedna.reports import COMPLETED, DEPLOY, FAILED, INFERENCE, Report, parse_report
from edge_agent.sedna.results import publishable
from edge_agent.sedna.spool import Spool
from edge_agent.watchers import Active
from modelsyncd.daemon.log import Log
from modelsyncd.errors import BadInputError, ConflictError, DiskError, DiskFullError, ModelsyncError, RefusedError
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


@dataclass(frozen=True, slots=True)
class Entry:
    """A report as it is kept: when it came, and what was known then."""

    worker: str
    body: bytes
    known: Known
    at: float

    def encode(self) -> bytes:
        """For the spool."""
        body = base64.b64encode(self.body).decode()
        said = {"worker": self.worker, "body": body, "known": asdict(self.known), "at": self.at}
        return json.dumps(said).encode()


def decode(raw: bytes) -> Entry:
    """What `encode` wrote. Raises BadInputError."""
    try:
        said = json.loads(raw)
        body, known = base64.b64decode(said["body"]), Known(**said["known"])
        return Entry(str(said["worker"]), body, known, float(said["at"]))
    except (ValueError, KeyError, TypeError) as error:
        raise BadInputError("a report that waits here can't be read") from error


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
        self._quick: asyncio.Queue[tuple[int, Entry, Job, Deed]] = asyncio.Queue()
        self._slow: asyncio.Queue[tuple[int, Entry, Job, Deed]] = asyncio.Queue()
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
        entry = Entry(worker, body, self._known(job, report), self._wall())
        found = deeds(job, report, entry.known)
        Log().info("sedna.reported", job=job.name, worker=worker, kind=report.kind, status=report.status)
        if not found:
            return _answer(200, "OK")
        try:
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
            group.create_task(self._carry_out(self._quick))
            group.create_task(self._carry_out(self._slow))

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
        if job is None:
            await asyncio.to_thread(self._spool.done, number)
        else:
            self._enqueue(number, entry, job, deeds(job, report, entry.known))

    def _job_of(self, report: Report) -> Job | None:
        """By its whole name; else, as some workers know no namespace, the only one with that last part."""
        job = self._jobs.get(report.owner)
        if job is not None:
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
        self._left[number] = len(found)
        for deed in found:
            queue = self._slow if isinstance(deed, Publish | Judge) else self._quick
            queue.put_nowait((number, entry, job, deed))

    async def _carry_out(self, queue: asyncio.Queue[tuple[int, Entry, Job, Deed]]) -> None:
        while True:
            number, entry, job, deed = await queue.get()
            try:
                await self._insist(partial(self._do, entry, job, deed), job)
            except Exception as error:  # noqa: BLE001 - a report must not end the agent, at this start and each after it
                Log().failure("sedna.not-done", error, job=job.name)
            self._left[number] -= 1
            if not self._left[number]:
                del self._left[number]
                async with self._writing:
                    await self._insist(partial(asyncio.to_thread, self._spool.done, number), job)

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
                await self._outbox.record(_measured(job, deed, entry.at))
            case Vouch():
                await self._vouch(entry.worker, job, deed)
            case Publish():
                await self._publish(job, deed)
            case Judge():
                await self._judge(entry, job, deed)

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

    async def _publish(self, job: Job, deed: Publish) -> None:
        path = await asyncio.to_thread(publishable, job, deed.url)
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

        stored = await self._outbox.store(wanted, check=check)
        Log().info("sedna.published", job=job.name, path=path, id=stored.id, known=stored.known)

    async def _judge(self, entry: Entry, job: Job, deed: Judge) -> None:
        serving = self._channels.active(job.serving)
        if serving is not None and serving.number == deed.new:
            return  # a report that was carried out before a restart
        log = Log().bind(job=job.name, version=deed.new, against=deed.old, why=deed.why)
        await self._outbox.record(_measured(job, Record(deed.new, "eval", {"promoted": float(deed.better)}), entry.at))
        if not deed.better:
            log.info("sedna.kept")
            return
        path = self._keeper.version_path(job.name, deed.new)
        if path is None:
            raise ConflictError(
                f"{job.model}:{deed.new} was better, and is not here any more",
                safe=f"{job.serving} stays as it is",
                hint=f"modelsyncctl promote {job.model}:{deed.new} {job.serving.channel}",
            )
        channel = job.serving.channel or ""
        await self._outbox.store(Publication(path, job.model, channel=channel, note=deed.why, user=USER))
        log.info("sedna.promoted")


def _measured(job: Job, deed: Record, at: float) -> list[Measured]:
    return [
        Measured(job.model, deed.number, name, value, stage=deed.stage, at=at) for name, value in deed.metrics.items()
    ]


def _answer(status: int, message: str) -> tuple[int, Json]:
    """As a LocalController writes it."""
    return status, {"Status": status, "Message": message}
