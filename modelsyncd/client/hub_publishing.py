"""The only place where a job in the cloud publishes: with its lineage, and coded against what the cache has of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path

from modelsyncd.client.asking import Parent
from modelsyncd.client.hub_values import origins
from modelsyncd.client.outgoing import Published, Step, Watcher
from modelsyncd.client.released import Release
from modelsyncd.digest import digest_of, to_text
from modelsyncd.errors import BadInputError, RoadError
from modelsyncd.exchange.fetching import version_of
from modelsyncd.exchange.hub import Hub
from modelsyncd.exchange.local_base import LocalBase
from modelsyncd.exchange.publishing import Push, Watched, Wish, next_number
from modelsyncd.exchange.rack import Rack, base_of
from modelsyncd.exchange.retry import insist
from modelsyncd.exchange.thread import Check, in_thread
from modelsyncd.names import ModelRef, parse_model
from modelsyncd.release import Parent as Lineage
from modelsyncd.session.progress import Progress
from modelsyncd.store.source import Source, scan
from modelsyncd.wire.v1 import catalog_pb2 as pb


class Publisher:
    """One publication of a model, or of a channel that is moved to it."""

    def __init__(self, hub: Hub, rack: Rack, model: ModelRef, progress: Watcher | None) -> None:
        if model.number is not None:
            raise BadInputError(f"the hub gives the number: publish {model.model}, without :{model.number}")
        self._hub = hub
        self._rack = rack
        self._model = model
        self._progress = progress
        self._waits = ""

    async def publish(
        self,
        path: Path,
        parents: Iterable[Parent | Release],
        labels: dict[str, str],
        metrics: dict[str, float],
        note: str,
    ) -> Published:
        """Goes on for as long as it takes. Raises what the hub refuses it with, and what reading raises."""
        views = [(await self._ask(ref), role) for ref, role in origins(parents)]
        lineage = tuple(
            Lineage(parse_model(view.model), view.number, digest_of(view.signed.release), role) for view, role in views
        )
        wish = Wish(self._model.model, self._model.channel or "", labels, metrics, note, lineage)
        number = await insist(lambda: next_number(self._hub, wish.model))
        bases = await asyncio.to_thread(self._bases, [view for view, _ in views])
        try:
            with await in_thread(lambda check: self._scan(path, check)) as source:
                return await self._push(wish, source, bases, number)
        finally:
            for base in bases:
                base.source.close()

    async def _push(self, wish: Wish, source: Source, bases: Sequence[LocalBase], number: int) -> Published:
        size = source.manifest.content_size

        def progressed(progress: Progress) -> None:
            if progress.total:
                done = size - progress.total + progress.done
                self._tell(Step("sending", done, size, push.giver.wire))

        def lost(error: RoadError, _seconds: float) -> None:
            self._tell(Step("sending", 0, size, push.giver.wire, error.message))

        push = Push(self._hub, wish, source, bases, watched=Watched(progress=progressed, note=lost))
        landed = await push.run(number)
        return Published(
            model=str(wish.model),
            id="",
            manifest=to_text(push.ref.digest),
            size=size,
            number=landed.settled.number,
            release=to_text(landed.settled.release_digest),
            created=landed.ours,
            wire=push.giver.wire,
        )

    async def _ask(self, ref: str) -> pb.ReleaseView:
        return await insist(lambda: self._hub.release(ref))

    def _bases(self, views: Sequence[pb.ReleaseView]) -> list[LocalBase]:
        """The parents that the cache has, and else what it has of the model."""
        found = [self._rack.find(version_of(view)[0]) for view in views]
        there = [base_of(one) for one in found if one is not None]
        return there or self._rack.bases(self._model.model)

    def _scan(self, path: Path, check: Check) -> Source:
        def progress(done: int, total: int) -> None:
            check()
            self._tell(Step("reading", done, total))

        return scan(path, progress=progress)

    def _tell(self, step: Step) -> None:
        if self._progress is not None:
            self._progress(step)
