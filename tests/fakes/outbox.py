"""An outbox in memory: it keeps what it is given, and the test is the hub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_agent.outbox.words import Done, Item, Measured, Publication, Sending, Stored
from modelsyncd.digest import digest_of
from modelsyncd.errors import ModelsyncError, NotFoundError
from modelsyncd.session.faults import error_of, fault_of


@dataclass
class FakeOutbox:
    """edge_agent.outbox.words.Outbox."""

    kept: dict[str, bytes] = field(default_factory=dict)
    waiting: dict[str, Item] = field(default_factory=dict)
    sent: dict[str, Done] = field(default_factory=dict)
    numbers: list[Measured] = field(default_factory=list)
    hastened: int = 0
    meanwhile: Callable[[], None] = lambda: None
    """Called when all was read, before the last check."""
    gate: asyncio.Event | None = None
    """Waited for after the first word on how far reading is, when there is one."""
    given_up: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def store(
        self,
        wanted: Publication,
        reading: Callable[[int, int], None] = lambda _done, _total: None,
        check: Callable[[], None] = lambda: None,
    ) -> Stored:
        content = await asyncio.to_thread(_content, wanted.path)
        reading(0, len(content))
        try:
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        reading(len(content), len(content))
        self.meanwhile()
        await asyncio.to_thread(check)
        manifest = digest_of(content)
        for item in self.waiting.values():
            if (item.manifest, item.publication.model) == (manifest, wanted.model):
                return Stored(item.id, manifest, len(content), known=True)
        name = f"{len(self.kept) + 1:06}"
        self.kept[name] = content
        self.waiting[name] = Item(name, wanted, manifest, Sending(0, len(content), 0, "the hub is away"), 1_000.0)
        return Stored(name, manifest, len(content))

    async def follow(self, id: str) -> AsyncIterator[Sending | Done]:  # noqa: A002
        while True:
            if id in self.sent:
                yield self.sent[id]
                return
            item = self._item(id)
            if item.refused and item.fault is not None:
                raise error_of(item.fault)
            news = self._news
            yield item.sending
            await news.wait()

    def items(self) -> Sequence[Item]:
        return list(self.waiting.values())

    def withdraw(self, id: str) -> bool:  # noqa: A002
        item = self._item(id)
        del self.waiting[id]
        self._tell()
        return not item.sending.waits

    def hasten(self) -> None:
        self.hastened += 1

    async def record(self, numbers: Sequence[Measured]) -> None:
        self.numbers += numbers

    @property
    def records(self) -> int:
        return len(self.numbers)

    # --- the hub ---

    def travel(self, id: str, done: int) -> None:  # noqa: A002
        """So many bytes of it have come."""
        item = self._item(id)
        self.waiting[id] = replace(item, sending=Sending(done, item.sending.total, done // 2))
        self._tell()

    def settle(self, id: str, number: int) -> None:  # noqa: A002
        """The hub has it."""
        item = self.waiting.pop(id)
        self.sent[id] = Done(item.publication.model, number, digest_of(b"release"), True, item.sending.total // 2)
        self._tell()

    def refuse(self, id: str, error: ModelsyncError) -> None:  # noqa: A002
        """The hub does not want it."""
        self.waiting[id] = replace(self._item(id), fault=fault_of(error), refused=True)
        self._tell()

    def _item(self, id: str) -> Item:  # noqa: A002
        if id not in self.waiting:
            raise NotFoundError(f"there is no {id} in the outbox")
        return self.waiting[id]

    def _tell(self) -> None:
        before, self._news = self._news, asyncio.Event()
        before.set()


def _content(path: Path) -> bytes:
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    return b"".join(file.read_bytes() for file in files)
