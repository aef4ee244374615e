"""The only place that knows what a node's link costs now: what came this month, what is to come, and who pays for it.

All methods belong to the loop's thread, but for what `save` hands to another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import tzinfo

from edge_agent.goals import Goal, Goals
from edge_agent.holds import Link, pace, rule
from edge_agent.moment import Moment
from edge_agent.quota import Room
from edge_agent.transfers import Transfers
from edge_agent.usage import ALL, Usage
from modelsyncd.daemon.log import Log
from modelsyncd.digest import Digest
from modelsyncd.plan import Forecast
from modelsyncd.session.frames import Report, Standing
from modelsyncd.store.version import Version

LOOK_AGAIN = 300.0  # seconds after which the wall clock is looked at again: it may have been set meanwhile


class Metering:
    """Of one node. `clock` never goes back, `wall` is seconds since 1970; `zone` is its own, None for the system's."""

    def __init__(
        self,
        transfers: Transfers,
        usage: Usage,
        clock: Callable[[], float],
        wall: Callable[[], float],
        zone: tzinfo | None,
    ) -> None:
        self._transfers = transfers
        self._usage = usage
        self._clock = clock
        self._wall = wall
        self._zone = zone
        self._sponsors: Mapping[Digest, Goal] = {}
        self._log = Log()

    @property
    def moment(self) -> Moment:
        """Now."""
        return Moment(self._wall(), self._zone)

    @property
    def month_bytes(self) -> int:
        """Payload bytes that came this month."""
        self.charge()
        return self._usage.used(self.moment.month).get(ALL, 0)

    def report(
        self, generation: int, standings: tuple[Standing, ...], free: int, used: int, room: Room | None
    ) -> Report:
        """What the hub is told of this node; `free` and `used` are bytes of the disk."""
        moment = self.moment
        return Report(
            generation,
            standings,
            disk_free=free,
            disk_used=used,
            month_wire=self.month_bytes,
            month=moment.month,
            utc_offset=moment.utc_offset,
            quota=room.quota if room is not None else 0,
        )

    def to_wall(self, moment: float) -> float:
        """When a moment of the clock is, in seconds since 1970."""
        return self._wall() + moment - self._clock()

    def link(self) -> Link:
        """All of it, for a ruling."""
        transfers, moment = self._transfers, self.moment
        return Link(
            moment,
            self._usage.used(moment.month),
            transfers.forecasts.asking,
            transfers.due,
            transfers.forecasts.going,
            transfers.forecasts.made,
            transfers.rates,
        )

    async def load(self) -> None:
        """Reads what came this month before. Raises DiskError."""
        await asyncio.to_thread(self._usage.load)

    def mind(self, goals: Goals, held: frozenset[Version], link: Link) -> None:
        """From now on, what comes is paid for and paced as these goals say."""
        self._sponsors = rule(goals, held, link, self._clock()).sponsors
        self._transfers.pace(pace(goals, self._sponsors))

    def charge(self) -> bool:
        """Puts what came meanwhile on the month's accounts. Whether they are due to be saved."""
        now = self._clock()
        month = self.moment.month
        for manifest, count in self._transfers.take_stock(now).items():
            sponsor = self._sponsors.get(manifest)
            self._usage.count(month, count, sponsor.ref if sponsor is not None else None)
        return self._usage.due(now)

    def close(self) -> None:
        """A transfer, or all of them, came to an end: what it took is worth saving at once."""
        self.charge()
        self._usage.hurry()

    async def save(self) -> None:
        """Makes durable what is due."""
        if self.charge():
            await asyncio.to_thread(self._usage.write, self._usage.encode(self._clock()))

    def end(self) -> None:
        """Saves on the way out. Blocks."""
        self.close()
        if self._usage.due(self._clock()):
            self._usage.write(self._usage.encode(self._clock()))

    def foresee(self, manifest: Digest, goals: Goals | None, room: Room | None) -> None:
        """Makes the forecast of what waits for leave, and notes one that says something new in the log."""
        if manifest not in self._transfers.forecasts.asking:
            return
        goal = next((one for one in goals.goals if one.version.manifest == manifest), None) if goals else None
        staged = room.staged.get(manifest, 0) if room is not None else 0
        made = self._transfers.foresee(manifest, max(0, goal.room - staged) if goal is not None else 0, self._wall())
        if made is not None:
            self._note(manifest, goal, made)

    def _note(self, manifest: Digest, goal: Goal | None, made: Forecast) -> None:
        self._log.info(
            "plan.new" if made.revision == 1 else "plan.again",
            model=str(goal.ref) if goal is not None else None,
            manifest=manifest,
            had=made.had,
            coded=made.priced.coded,
            plain=made.priced.alone + made.priced.left,
            wire=made.wire,
            disk=made.disk,
            rate=made.rate or None,
            seconds=made.seconds or None,
            revision=made.revision,
            anyway=True if goal is not None and goal.consent == manifest else None,
        )
