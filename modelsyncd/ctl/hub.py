"""The only place that connects a person's command to the hub of the chosen context."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from modelsyncd.ctl import context as contexts
from modelsyncd.ctl.asked import Asked
from modelsyncd.exchange.hub import Hub, open_hub

__all__ = ["Hub", "connect"]


@asynccontextmanager
async def connect(asked: Asked) -> AsyncIterator[Hub]:
    """The hub of the chosen context. Raises NotFoundError, BadInputError, DiskError; a dead link shows when asking."""
    context = contexts.chosen(asked, contexts.config_folder())
    async with open_hub(context, "modelsyncctl") as hub:
        yield hub
