"""The only place that says how long the other side may take to make room for one frame."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from modelsyncd.errors import NoProgressError

PUT_PATIENCE = 90.0  # seconds: longer than a taker's own patience, which knows more


async def put(writing: Awaitable[None], patience: float) -> None:
    """Waits until a frame is taken. Raises NoProgressError after `patience` seconds, and what the writing raises."""
    try:
        async with asyncio.timeout(patience):
            await writing
    except TimeoutError as error:
        raise NoProgressError(
            f"the other side took nothing for {patience:.0f} seconds", safe="what it has stored is kept"
        ) from error
