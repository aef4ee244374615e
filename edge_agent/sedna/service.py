"""The only place that puts the parts for Sedna's jobs together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from edge_agent.leases import Leases
from edge_agent.sedna.controller import Confirming, Controller, Tray
from edge_agent.sedna.failures import Failures
from edge_agent.sedna.jobs import understand_all
from edge_agent.sedna.keeper import Channels, Keeper
from edge_agent.sedna.settings import SednaSettings
from edge_agent.sedna.spool import Spool
from edge_agent.sedna.users import uids
from edge_agent.watchers import Watchers
from modelsyncd.daemon.log import Log


class Sedna:
    """What a node does for the jobs that its settings name. Belongs to the loop's thread."""

    def __init__(
        self,
        settings: SednaSettings,
        data: Path,
        *,
        channels: Channels,
        trying: Confirming,
        watchers: Watchers,
        leases: Leases,
        outbox: Tray,
    ) -> None:
        """Raises BadInputError, InvalidNameError for settings that can't be."""
        jobs = understand_all(settings.job, data)
        self._listen = settings.listen
        self._users = uids(settings.users)
        self._failures = Failures(data)
        keeper = Keeper(jobs.values(), channels, watchers, leases, self._failures, data=data)
        spool = Spool(data)
        self.controller = Controller(
            jobs, channels, trying, keeper, outbox=outbox, failures=self._failures, spool=spool
        )
        keeper.missing = self.controller.lacking
        self._keeper = keeper

    def again(self) -> None:
        """Somebody knows better: what workers could not load is shown to them anew."""
        self._keeper.again()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Answers workers while the context is open, if there is an address for that; before `run`.

        Raises BadInputError for an address that others could reach, ConflictError when it is taken, DiskError.
        """
        await asyncio.to_thread(self._failures.load)
        await self.controller.load()
        async with AsyncExitStack() as stack:
            if self._listen:
                from edge_agent.http.server import serving_http  # noqa: PLC0415 - a library that few nodes need
                from edge_agent.sedna.lc import routes  # noqa: PLC0415 - the same

                address = await stack.enter_async_context(
                    serving_http(routes(self.controller, self._users), self._listen)
                )
                Log().info("sedna.serving", address=address)
            yield

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keeper.run())
            group.create_task(self.controller.run())
