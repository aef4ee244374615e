"""The hub's client that blocks, with the methods of the other one, so that one suite of tests fits both."""

from __future__ import annotations

import asyncio
import builtins
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from modelsyncd.client import AsyncHubClient, HubClient, LocalModel, Model, Node, Outbox, Published, Release, Shown
from modelsyncd.client.hub_values import Which

T = TypeVar("T")


class ThreadedHub:
    """modelsyncd.client.HubClient, each call in a thread."""

    def __init__(
        self, target: str | Path | None = None, *, cache: str | os.PathLike[str] | None = None, keep: int = 2
    ) -> None:
        self.client = HubClient(target, cache=cache, keep=keep)

    async def list(self) -> list[LocalModel]:
        return await asyncio.to_thread(self.client.list)

    async def get(self, ref: Which, wait: float | None = None) -> Model:
        return await asyncio.to_thread(self.client.get, ref, wait)

    async def show(self, ref: str) -> Shown:
        return await asyncio.to_thread(self.client.show, ref)

    async def release(self, ref: Which) -> Release:
        return await asyncio.to_thread(self.client.release, ref)

    @asynccontextmanager
    async def acquire(self, ref: Which, wait: float | None = None, *, holder: str = "") -> AsyncIterator[Model]:
        held = self.client.acquire(ref, wait, holder=holder)
        model = await asyncio.to_thread(held.__enter__)
        try:
            yield model
        finally:
            await asyncio.to_thread(held.__exit__, None, None, None)

    def follow(self, ref: str) -> AsyncGenerator[Model, None]:
        return _stepping(lambda: self.client.follow(ref))

    def watch(self, ref: str) -> AsyncGenerator[Model, None]:
        return _stepping(lambda: self.client.watch(ref))

    def releases(
        self, model: str, *, labels: Mapping[str, str] | None = None, after: int = 0, wait: float | None = None
    ) -> AsyncGenerator[Release, None]:
        return _stepping(lambda: self.client.releases(model, labels=labels, after=after, wait=wait))

    async def nodes(self, labels: Mapping[str, str] | None = None) -> builtins.list[Node]:
        return await asyncio.to_thread(self.client.nodes, labels)

    async def publish(self, path: Path, model: str, **rest: object) -> Published:
        return await asyncio.to_thread(self.client.publish, path, model, **rest)  # type: ignore[arg-type]

    async def promote(self, ref: Which, channel: str, note: str = "") -> int:
        return await asyncio.to_thread(self.client.promote, ref, channel, note)

    async def record(
        self, model: Which, metrics: Mapping[str, float], *, dataset: str = "", stage: str = "", at: float = 0.0
    ) -> int:
        return await asyncio.to_thread(self.client.record, model, metrics, dataset=dataset, stage=stage, at=at)

    async def confirm(self, model: Model | str, works: bool = True, why: str = "", *, number: int = 0) -> bool:
        return await asyncio.to_thread(self.client.confirm, model, works, why, number=number)

    async def outbox(self) -> Outbox:
        return await asyncio.to_thread(self.client.outbox)

    async def __aenter__(self) -> ThreadedHub:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.client.close)


async def _stepping(begin: Callable[[], Iterator[T]]) -> AsyncGenerator[T, None]:
    steps = begin()
    try:
        while (step := await asyncio.to_thread(next, steps, None)) is not None:
            yield step
    finally:
        await asyncio.to_thread(steps.close)  # type: ignore[attr-defined]


AnyHub = AsyncHubClient | ThreadedHub
HUB_CLIENTS: dict[str, type[AsyncHubClient] | type[ThreadedHub]] = {"async": AsyncHubClient, "blocking": ThreadedHub}
