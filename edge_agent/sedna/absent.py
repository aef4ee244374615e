"""The only place that says what a node does for Sedna's jobs when it knows of none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class NoSedna:
    """Nothing."""

    def again(self) -> None:
        """Nothing was shown."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Answers nobody."""
        yield

    async def run(self) -> None:
        """Ends at once."""
