"""The client of a hub for asyncio programs; each method does what `hub.HubClient`'s does."""

from __future__ import annotations

import asyncio
import builtins
import os
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType

from modelsyncd.client.asking import Parent, measured
from modelsyncd.client.hub_publishing import Publisher
from modelsyncd.client.hub_values import Which, channelled, context_of, exact, released
from modelsyncd.client.model import LocalModel, LocalVersion, Model, Shown
from modelsyncd.client.outgoing import Outbox, Published, Watcher
from modelsyncd.client.released import Node, Release
from modelsyncd.client.target import seconds_of
from modelsyncd.digest import digest_of, to_text
from modelsyncd.errors import BadInputError, ConflictError
from modelsyncd.exchange import news
from modelsyncd.exchange.fetching import fetch, version_of
from modelsyncd.exchange.hub import Hub, open_hub
from modelsyncd.exchange.places import usual_cache
from modelsyncd.exchange.rack import Rack, Racked, open_rack
from modelsyncd.exchange.retry import insist
from modelsyncd.names import ModelRef, parse_channel, parse_model, parse_ref
from modelsyncd.release import Release as Opened
from modelsyncd.store.durable import Lock
from modelsyncd.store.version import has_shape
from modelsyncd.trust import context as contexts
from modelsyncd.wire.v1 import catalog_pb2 as pb
from modelsyncd.wire.v1 import records_pb2

KEEP = 2  # versions of each model, besides those that are held or that a channel leads to


class AsyncHubClient:
    """A hub, as a job in the cloud sees it. An asynchronous context manager.

    >>> async with AsyncHubClient("hub:admin.toml") as hub:
    ...     async with hub.acquire("acme/helmet@stable") as model:
    ...         print(model.number)
    7
    """

    def __init__(
        self, target: str | Path | None = None, *, cache: str | os.PathLike[str] | None = None, keep: int = KEEP
    ) -> None:
        if keep < 1:
            raise BadInputError(f"at least one version has to be kept, not {keep}")
        self._context = contexts.read(context_of(target))
        self.target = self._context.hub
        self.cache = Path(cache) if cache is not None else usual_cache()
        self._keep = keep
        self._stack = AsyncExitStack()
        self._opened: tuple[Hub, Rack] | None = None

    # --- what is there ---

    async def list(self) -> list[LocalModel]:
        """The channels of the hub, by name. Raises RoadError when the hub does not answer."""
        found = []
        for view in await self._hub.models():
            for channel in view.channels:
                ref = ModelRef(parse_model(view.model), channel=channel.name)
                found.append(await self._listed(ref, channel.number))
        return found

    async def get(self, ref: Which, wait: float | None = None) -> Model:
        """A release, from the cache if it is there, else fetched. Raises NotFoundError, InvalidNameError, RoadError."""
        async with self.acquire(ref, wait) as model:
            return model

    async def show(self, ref: str) -> Shown:
        """All that is known here of one channel. Raises NotFoundError, RoadError."""
        parsed = channelled(ref)
        number = (await self._hub.release(str(parsed))).number
        versions = await asyncio.to_thread(self._rack.versions, parsed.model)
        return Shown(await self._listed(parsed, number), tuple(map(_local, versions)), previous=0)

    async def nodes(self, labels: Mapping[str, str] | None = None) -> builtins.list[Node]:
        """The nodes with these labels, by name. Raises RoadError."""
        answer = await self._hub.ask(self._hub.catalog.ListNodes, pb.ListNodesRequest(selector=labels or {}))
        return [Node(one.name, one.online, dict(one.labels), one.last_seen) for one in answer.nodes]

    async def release(self, ref: Which) -> Release:
        """What the hub says of a release, without fetching it. Raises NotFoundError, RoadError."""
        return released(await self._hub.release(exact(ref)))

    # --- holding on to it, and hearing of what is new ---

    @asynccontextmanager
    async def acquire(self, ref: Which, wait: float | None = None, *, holder: str = "") -> AsyncIterator[Model]:
        """A release, kept in the cache until the block ends. Raises NotFoundError, InvalidNameError, RoadError."""
        del holder  # for an agent's people; here nobody asks
        model, lock = await self.acquired(ref, wait)
        with lock:
            yield model

    async def acquired(self, ref: Which, wait: float | None = None) -> tuple[Model, Lock]:
        """As `acquire`, for whoever releases the lock by itself."""
        view = await self._view(ref, seconds_of(wait))
        return await self._take(_channel_of(ref), view)

    async def follow(self, ref: str, *, holder: str = "") -> AsyncGenerator[Model, None]:
        """What a channel names now, and then each switch, for ever: each is held until the one after it was fetched."""
        del holder
        held: Lock | None = None
        parsed = _channel(ref)
        try:
            async for view in news.switches(self._hub, parsed):
                model, lock = await self._take(parsed, view)
                if held is not None:
                    held.release()
                held = lock
                yield model
        finally:
            if held is not None:
                held.release()

    async def watch(self, ref: str) -> AsyncGenerator[Model, None]:
        """What a channel names now, and then each switch, for ever, each fetched. Raises InvalidNameError."""
        parsed = _channel(ref)
        async for view in news.switches(self._hub, parsed):
            model, lock = await self._take(parsed, view)
            lock.release()
            yield model

    async def releases(
        self, model: str, *, labels: Mapping[str, str] | None = None, after: int = 0, wait: float | None = None
    ) -> AsyncGenerator[Release, None]:
        """The releases of a model with these labels that are there, and then those that come, each once."""
        wanted = dict(labels or {}).items()
        views = news.releases(self._hub, parse_model(model), after)
        try:
            while True:
                async with asyncio.timeout(wait):
                    while not wanted <= (found := released(await anext(views))).labels.items():
                        pass
                yield found
        except TimeoutError:
            return
        finally:
            await views.aclose()

    # --- the way up ---

    async def publish(
        self,
        path: str | os.PathLike[str],
        model: str,
        *,
        parents: Iterable[Parent | Release] = (),
        labels: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        note: str = "",
        wait: bool = True,
        progress: Watcher | None = None,
    ) -> Published:
        """A folder or file becomes a release; returns when the hub has it."""
        del wait  # there is no outbox here: to be stored is to be published
        publisher = Publisher(self._hub, self._rack, parse_ref(model), progress)
        return await publisher.publish(Path(path), parents, dict(labels or {}), dict(metrics or {}), note)

    async def promote(self, ref: Which, channel: str, note: str = "") -> int:
        """Moves a channel to a release; the number that it named before, 0 for none."""
        request = pb.PromoteRequest(ref=exact(ref), channel=parse_channel(channel), note=note)
        answer = await insist(lambda: self._hub.ask(self._hub.catalog.Promote, request))
        return answer.move.from_number

    async def record(
        self,
        model: Which,
        metrics: Mapping[str, float],
        *,
        dataset: str = "",
        stage: str = "",
        at: float = 0.0,
        variant: str | None = None,
    ) -> int:
        """Keeps numbers about a release at the hub, once each; the release's number."""
        if not metrics:
            raise BadInputError("there is no number to keep")
        about = await self.release(model)
        numbers = [
            records_pb2.Number(
                model=about.name,
                number=about.number,
                name=name,
                value=value,
                dataset=dataset,
                stage=stage,
                at=at or time.time(),
                key=uuid.uuid4().bytes,
                variant=measured(model, variant) or "",
            )
            for name, value in metrics.items()
        ]
        request = records_pb2.RecordNumbersRequest(numbers=numbers)
        answer = await insist(lambda: self._hub.ask(self._hub.records.RecordNumbers, request))
        if answer.refused:
            raise BadInputError(answer.refused[0].why, safe=f"{answer.added} others were kept")
        return about.number

    async def confirm(self, model: Model | str, works: bool = True, why: str = "", *, number: int = 0) -> bool:
        """False: a hub waits for nobody's word. Here so that the same program runs beside an agent."""
        del model, works, why, number
        return False

    async def outbox(self) -> Outbox:
        """Empty: what is published from here is at the hub when `publish` returns."""
        return Outbox((), 0)

    # --- the connection ---

    async def close(self) -> None:
        """Hangs up; the cache stays."""
        self._opened = None
        await self._stack.aclose()

    @property
    def _hub(self) -> Hub:
        return self._both[0]

    @property
    def _rack(self) -> Rack:
        return self._both[1]

    @property
    def _both(self) -> tuple[Hub, Rack]:
        if self._opened is None:
            raise ConflictError("this client is not open", hint="async with AsyncHubClient() as hub: …")
        return self._opened

    async def _view(self, ref: Which, wait: float) -> pb.ReleaseView:
        """The release, or the first one that a channel names within so many seconds."""
        if not wait:
            return await self._hub.release(exact(ref))
        parsed = channelled(exact(ref))
        try:
            async with asyncio.timeout(None if wait == float("inf") else wait):
                if parsed.channel is None:
                    return await insist(lambda: self._hub.release(str(parsed)))
                async for view in news.switches(self._hub, parsed):
                    return view
        except TimeoutError:
            pass
        return await self._hub.release(str(parsed))  # which says what is wrong

    async def _take(self, channel: ModelRef | None, view: pb.ReleaseView) -> tuple[Model, Lock]:
        """Fetches a release, and holds it."""
        version, _variant, opened = version_of(view)
        lock = await asyncio.to_thread(self._rack.hold, version)
        try:
            found = await fetch(self._hub, self._rack, view)
            return await asyncio.to_thread(self._enter, channel, opened, view, found), lock
        except BaseException:
            lock.release()
            raise

    def _enter(self, channel: ModelRef | None, opened: Opened, view: pb.ReleaseView, found: Racked) -> Model:
        link = self._rack.switch(channel, found.version) if channel is not None else None
        self._rack.tidy(found.version.model, time.time())
        return Model(
            name=str(found.version.model),
            channel=channel.channel or "" if channel is not None else "",
            number=view.number,
            manifest=to_text(found.version.manifest),
            release=to_text(digest_of(view.signed.release)),
            path=found.path,
            channel_path=found.path if link is None else link / found.path.relative_to(found.folder),
            labels=dict(opened.labels),
            active_since=link.lstat().st_mtime if link is not None else 0.0,
            variant=opened.variant(found.version.manifest).name,
            forms=len(opened.variants),
        )

    async def _listed(self, ref: ModelRef, number: int) -> LocalModel:
        """A channel, and what the cache has of it."""
        active = None
        if (await asyncio.to_thread(self._rack.led_to, ref)).startswith(f"{number}-"):
            view = await self._hub.release(f"{ref.model}:{number}")
            version, _variant, opened = version_of(view)
            found = await asyncio.to_thread(self._rack.find, version)
            if found is not None:
                active = await asyncio.to_thread(self._enter, ref, opened, view, found)
        phase = "active" if active is not None else "wanted"
        return LocalModel(str(ref.model), ref.channel or "", phase, number, active)

    async def __aenter__(self) -> AsyncHubClient:
        rack = await asyncio.to_thread(partial(open_rack, self.cache, self._keep))
        self._opened = await self._stack.enter_async_context(open_hub(self._context, "modelsyncd.client")), rack
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _channel(ref: str) -> ModelRef:
    """A reference to a channel. Raises BadInputError for a number: that never switches."""
    parsed = channelled(ref)
    if parsed.channel is None:
        raise BadInputError(f"{ref} is one release for ever", hint=f"watch a channel: {parsed.model}@stable")
    return parsed


def _channel_of(ref: Which) -> ModelRef | None:
    if isinstance(ref, str):
        parsed = channelled(ref)
        return parsed if parsed.channel is not None else None
    return None


def _local(one: Racked) -> LocalVersion:
    version = one.version
    whole = has_shape(one.folder, one.manifest)
    return LocalVersion(version.number, to_text(version.manifest), one.path, one.manifest.content_size, whole)
