"""The only place that puts the parts for Sedna's jobs together."""

from __future__ import annotations

import asyncio
from pathlib import Path

from edge_agent.leases import Leases
from edge_agent.outbox.words import Outbox
from edge_agent.sedna.controller import Controller
from edge_agent.sedna.failures import Failures
from edge_agent.sedna.jobs import understand_all
from edge_agent.sedna.keeper import Channels, Keeper
from edge_agent.sedna.settings import SednaSettings
from edge_agent.sedna.spool import Spool
from edge_agent.trying import Trying
from edge_agent.watchers import Watchers


class Sedna:
    """What a node does for the jobs that its settings name. Belongs to the loop's thread."""

    def __init__(
        self,
        settings: SednaSettings,
        data: Path,
        *,
        channels: Channels,
        trying: Trying,
        watchers: Watchers,
        leases: Leases,
        outbox: Outbox,
    ) -> None:
        """Raises BadInputError, InvalidNameError for settings that can't be."""
        jobs = understand_all(settings.job, data)
        self.listen = settings.listen
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

    async def run(self) -> None:
        """Until it is cancelled. Raises DiskError when what waits in the folder can't be read."""
        await asyncio.to_thread(self._failures.load)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keeper.run())
            group.create_task(self.controller.run())
