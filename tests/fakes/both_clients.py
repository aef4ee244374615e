"""The client that blocks, with the methods of the other one, so that one suite of tests fits both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from modelsyncd.client import AsyncClient, Client, Findings, LocalModel, Model, Outbox, Published, Shown

P = ParamSpec("P")
T = TypeVar("T")


class Threaded:
    """modelsyncd.client.Client, each call in a thread."""

    def __init__(self, target: str | Path | None = None, *, token: str = "") -> None:
        self.client = Client(target, token=token)

    async def list(self) -> list[LocalModel]:
        return await asyncio.to_thread(self.client.list)

    async def get(self, ref: str, wait: float | None = None) -> Model:
        return await asyncio.to_thread(self.client.get, ref, wait)

    async def show(self, ref: str) -> Shown:
        return await asyncio.to_thread(self.client.show, ref)

    async def find(self, query: str = "", **rest: object) -> Findings:
        return await asyncio.to_thread(self.client.find, query, **rest)  # type: ignore[arg-type]

    @asynccontextmanager
    async def acquire(self, ref: str, wait: float | None = None, *, holder: str = "") -> AsyncIterator[Model]:
        held = self.client.acquire(ref, wait, holder=holder)
        try:
            yield await asyncio.to_thread(held.__enter__)
        finally:
            await asyncio.to_thread(held.__exit__, None, None, None)

    def follow(self, ref: str, *, holder: str = "") -> AsyncGenerator[Model, None]:
        return _stepping(lambda: self.client.follow(ref, holder=holder))

    def watch(self, ref: str = "") -> AsyncGenerator[Model, None]:
        return _stepping(lambda: self.client.watch(ref))

    async def confirm(self, model: Model | str, works: bool = True, why: str = "", *, number: int = 0) -> bool:
        return await asyncio.to_thread(self.client.confirm, model, works, why, number=number)

    async def retry(self, ref: str) -> int:
        return await asyncio.to_thread(self.client.retry, ref)

    async def publish(self, path: Path, model: str, **rest: object) -> Published:
        return await asyncio.to_thread(self.client.publish, path, model, **rest)  # type: ignore[arg-type]

    async def record(
        self,
        model: Model | str,
        metrics: Mapping[str, float],
        *,
        dataset: str = "",
        stage: str = "",
        at: float = 0.0,
        variant: str | None = None,
    ) -> int:
        record = partial(self.client.record, dataset=dataset, stage=stage, at=at, variant=variant)
        return await asyncio.to_thread(record, model, metrics)

    async def outbox(self) -> Outbox:
        return await asyncio.to_thread(self.client.outbox)

    async def withdraw(self, id: str) -> bool:  # noqa: A002
        return await asyncio.to_thread(self.client.withdraw, id)

    async def hasten(self) -> None:
        await asyncio.to_thread(self.client.hasten)

    async def close(self) -> None:
        await asyncio.to_thread(self.client.close)

    async def __aenter__(self) -> Threaded:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def _stepping(begin: Callable[[], Generator[Model, None, None]]) -> AsyncGenerator[Model, None]:
    models = begin()
    try:
        while (model := await asyncio.to_thread(next, models, None)) is not None:
            yield model
    finally:
        await asyncio.to_thread(models.close)


AnyClient = AsyncClient | Threaded
CLIENTS: dict[str, type[AsyncClient] | type[Threaded]] = {"async": AsyncClient, "blocking": Threaded}
