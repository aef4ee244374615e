"""The only outbox of an agent that has none: it refuses what it can't keep."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

from edge_agent.outbox.words import Done, Item, Measured, Publication, Sending, Stored
from modelsyncd.errors import ModelsyncError, NotFoundError, WrongProtocolError


class NoOutbox:
    """As in `words.Outbox`."""

    records = 0

    async def store(
        self,
        wanted: Publication,
        reading: Callable[[int, int], None] = lambda _done, _total: None,
        check: Callable[[], None] = lambda: None,
    ) -> Stored:
        """Raises WrongProtocolError."""
        raise _absent()

    async def follow(self, id: str) -> AsyncIterator[Sending | Done]:  # noqa: A002
        """Raises NotFoundError."""
        raise NotFoundError(f"there is no {id!r} in the outbox")
        yield  # type: ignore[unreachable]  # makes this an iterator

    def items(self) -> Sequence[Item]:
        """None."""
        return ()

    def withdraw(self, id: str) -> None:  # noqa: A002
        """Raises NotFoundError."""
        raise NotFoundError(f"there is no {id!r} in the outbox")

    def hasten(self) -> None:
        """Nothing waits."""

    async def record(self, numbers: Sequence[Measured]) -> None:
        """Raises WrongProtocolError."""
        raise _absent()


def _absent() -> ModelsyncError:
    return WrongProtocolError("this agent publishes nothing yet", safe="nothing was stored", hint="modelsyncctl push")
