"""The only place that keeps the folders of Sedna's jobs in step with what is active on the node.

Everything is worked out anew from what is active and what lies in the folders, after each switch and at each start: a
kill between two steps leaves one of them to be done, and nothing to be undone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from edge_agent.leases import Lease, Leases
from edge_agent.sedna import names
from edge_agent.sedna.failures import Failures
from edge_agent.sedna.folder import Folder
from edge_agent.sedna.jobs import Job
from edge_agent.sedna.words import Words, Written
from edge_agent.watchers import Active, Watchers
from modelsyncd.daemon.log import Log
from modelsyncd.errors import BadInputError, ModelsyncError
from modelsyncd.names import ModelRef
from modelsyncd.store.durable import disk_errors
from modelsyncd.store.version import Version

PAUSE = 30.0  # seconds before a folder that could not be written is tried again
LEFT_BEHIND = 300.0  # seconds: whoever made a copy of the word has read it by then


class Channels(Protocol):
    """What is active here."""

    def active(self, ref: ModelRef) -> Active | None:
        """What the channel leads to."""


@dataclass(slots=True)
class Kept:
    """What is known of one job: its folders, what was written there, and since when nobody is told of a file."""

    job: Job
    folders: tuple[Folder, ...]
    words: Words = field(default_factory=Words)
    named: dict[ModelRef, tuple[str, Active]] = field(default_factory=dict)
    leases: dict[Version, Lease] = field(default_factory=dict)
    unnamed: dict[Path, float] = field(default_factory=dict)
    ready: bool = False


class Keeper:
    """All jobs of the node. Belongs to the loop's thread; `run` is the only one that writes.

    `missing` is told of a version that lacks the model's file, with a sentence why.
    """

    def __init__(
        self,
        jobs: Iterable[Job],
        channels: Channels,
        watchers: Watchers,
        leases: Leases,
        failures: Failures,
        *,
        data: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._channels = channels
        self._watchers = watchers
        self._leases = leases
        self._failures = failures
        self.missing: Callable[[Job, Active, str], object] = lambda _job, _active, _why: None
        self._clock = clock
        self._kept = {
            job.name: Kept(job, tuple(Folder(place, data, shared=job.shared) for place in job.places)) for job in jobs
        }
        self._due: dict[str, float] = {}
        self._fresh: set[str] = set(self._kept)
        self._switched: set[str] = set()
        self._kicked = asyncio.Event()
        self._changed = asyncio.Event()

    @property
    def changed(self) -> asyncio.Event:
        """Set when all jobs were looked at anew. Ask for it before looking, so that no change slips between."""
        return self._changed

    def words(self, job: str) -> Words:
        """What workers of a job were told."""
        return self._kept[job].words

    def again(self) -> None:
        """Somebody knows better: what workers could not load gets a new word, so that they try it again."""
        for name, kept in self._kept.items():
            last = kept.words.last
            if last is not None and last.word in self._failures.of(name):
                self._switched.add(name)
            self._fresh.add(name)
        self._kicked.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            with self._watchers.watch(None) as watch:
                group.create_task(self._work())
                async for switch in watch:
                    for name, kept in self._kept.items():
                        if switch.active.ref in (kept.job.serving, kept.job.candidate):
                            self._fresh.add(name)
                        if switch.active.ref == kept.job.serving:
                            self._switched.add(name)
                    self._kicked.set()

    async def _work(self) -> None:
        while True:
            self._kicked.clear()
            for name, kept in self._kept.items():
                if name in self._fresh or self._due.get(name, 0.0) <= self._clock():
                    await self._keep(name, kept)
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()
            pause = min(self._due.values(), default=PAUSE) - self._clock()
            try:
                async with asyncio.timeout(max(0.0, pause)):
                    await self._kicked.wait()
            except TimeoutError:
                continue

    async def _keep(self, name: str, kept: Kept) -> None:
        """One look at one job."""
        switched = name in self._switched
        self._fresh.discard(name)
        self._switched.discard(name)
        serving, candidate = (self._channels.active(ref) for ref in (kept.job.serving, kept.job.candidate))
        self._due[name] = self._clock() + max(kept.job.grace, 1.0)
        try:
            await self._show(kept, serving, candidate, again=switched)
            await self._tidy(kept)
        except ModelsyncError as error:
            Log().failure("sedna.not-shown", error, job=name)
            self._due[name] = self._clock() + PAUSE
            if switched:
                self._switched.add(name)

    async def _show(self, kept: Kept, serving: Active | None, candidate: Active | None, *, again: bool) -> None:
        job = kept.job
        for active in (candidate, serving):
            if active is not None and active.version not in kept.leases:
                kept.leases[active.version] = self._leases.hold(active.version, f"sedna {job.name}")
        if not kept.ready:
            await asyncio.to_thread(_prepare, kept)
            kept.ready = True
        failed = self._failures.of(job.name)
        if candidate is not None:
            await self._show_candidate(kept, candidate)
        if serving is None:
            return
        try:
            word = await asyncio.to_thread(_shown, kept, serving, failed, again)
        except BadInputError as error:
            Log().failure("sedna.no-file", error, job=job.name, model=str(serving.ref), version=serving.number)
            self.missing(job, serving, error.message)
            return
        kept.named[job.serving] = (word, serving)
        if kept.words.last is None or kept.words.last.word != word:
            Log().info("sedna.shown", job=job.name, model=str(serving.ref), version=serving.number, word=word)
        kept.words.write(Written(word, serving.number))
        if candidate is not None and job.candidate in kept.named:
            fresh = kept.named[job.candidate]
            await asyncio.to_thread(_pair, kept, fresh, (word, serving))

    async def _show_candidate(self, kept: Kept, candidate: Active) -> None:
        word = candidate.version.folder_name
        try:
            file = model_file(kept.job, candidate)
        except BadInputError as error:
            Log().failure("sedna.no-file", error, job=kept.job.name, model=str(candidate.ref), version=candidate.number)
            return
        await asyncio.to_thread(_show_candidate, kept, file, word)
        kept.named[kept.job.candidate] = (word, candidate)

    async def _tidy(self, kept: Kept) -> None:
        """Removes what nobody is told of any more, once that has been so for a while."""
        named = {names.versioned(word) for word, _ in kept.named.values()}
        now = self._clock()
        found = await asyncio.to_thread(_versions, kept) if kept.named else []
        kept.unnamed = {path: kept.unnamed.get(path, now) for path in found if path.name not in named}
        old = [path for path, since in kept.unnamed.items() if now - since >= kept.job.grace]
        await asyncio.to_thread(_remove, kept, old)
        for path in old:
            del kept.unnamed[path]
        if kept.unnamed:
            self._due[kept.job.name] = min(kept.unnamed.values()) + kept.job.grace
        words = {names.word_of(path.name) for path in kept.unnamed} | {word for word, _ in kept.named.values()}
        for version in [one for one in kept.leases if not any(names.is_word_of(word, one) for word in words)]:
            kept.leases.pop(version).release()


def folder_of(active: Active) -> Path:
    """The folder of its version, also when it is a single file."""
    return next(path for path in (active.path, *active.path.parents) if path.name == active.version.folder_name)


def model_file(job: Job, active: Active) -> Path:
    """Which file of a version is the model. Raises DiskError, and BadInputError for settings that do not fit it."""
    folder = folder_of(active)
    if job.file:
        file = folder / job.file
    elif active.path != folder:
        file = active.path
    else:
        raise BadInputError(
            f"{active.ref.model}:{active.number} has several files",
            hint=f'say which is the model: file = "…" in [sedna.job."{job.name}"]',
        )
    with disk_errors(file):
        there = file.is_file()
    if not there:
        raise BadInputError(
            f"{active.ref.model}:{active.number} has no file {job.file!r}, which is the model for {job.name}",
            safe="workers keep the model that they have",
            hint="publish it with that file, or change `file` in the settings",
        )
    return file


def _prepare(kept: Kept) -> None:
    for folder in kept.folders:
        folder.prepare()


def _shown(kept: Kept, active: Active, failed: frozenset[str], again: bool) -> str:
    """Shows the version in all folders; returns its word. Raises BadInputError, DiskError."""
    file = model_file(kept.job, active)
    there = kept.folders[0].word()
    stays = names.is_word_of(there, active.version) and not (again and there in failed)
    word = there if stays else names.word_for(active.version, failed)
    for folder in kept.folders:
        folder.show(file, word)
    return word


def _show_candidate(kept: Kept, file: Path, word: str) -> None:
    for folder in kept.folders:
        folder.show_candidate(file, word)


def _pair(kept: Kept, *named: tuple[str, Active]) -> None:
    new, old = ((model_file(kept.job, active), word) for word, active in named)
    for folder in kept.folders:
        folder.pair(new, old)


def _versions(kept: Kept) -> list[Path]:
    return [path for folder in kept.folders for path in folder.versions()]


def _remove(kept: Kept, paths: list[Path]) -> None:
    for folder in kept.folders:
        folder.sweep(time.time() - LEFT_BEHIND)
    kept.folders[0].remove(paths)
