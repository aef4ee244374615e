"""The only place where kept promotion rules are set going: when numbers come, a release, or a candidate, and at start.

Nothing is lost by a crash between a number and its rule: what holds is carried out when the hub starts again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from cloud_hub.catalog import Catalog, MoveRow
from cloud_hub.events import Bus, Moved, Released
from cloud_hub.presence import Presence
from modelsyncd.daemon.log import Log
from modelsyncd.errors import ModelsyncError, NotFoundError, RefusedError
from modelsyncd.names import ModelName

PAUSE = 5.0  # seconds until a rule is tried again that could not be carried out
_NEWEST = ""  # what a rule judges that names no channel


class Promotion:
    """Carries out what rules say. All methods belong to one event loop."""

    def __init__(
        self, catalog: Catalog, presence: Presence, bus: Bus, *, log: Log, clock: Callable[[], float] = time.time
    ) -> None:
        self._catalog = catalog
        self._presence = presence
        self._bus = bus
        self._log = log
        self._clock = clock
        self._waiting: dict[ModelName, set[str | None]] = {}  # which candidates to judge, None for all
        self._news = asyncio.Event()

    def measured(self, model: ModelName) -> None:
        """Numbers came about the model's releases."""
        self._look(model, None)

    def tell(self, move: MoveRow) -> None:
        """Says to nodes and watchers that a channel was moved."""
        told = Moved(move.at, move.model, move.channel, move.from_number, move.to_number, move.who, move.why)
        self._bus.publish(told)
        self._presence.stir()

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hear())
            group.create_task(self._carry_out())

    def _look(self, model: ModelName, candidates: str | None) -> None:
        self._waiting.setdefault(model, set()).add(candidates)
        self._news.set()

    async def _hear(self) -> None:
        while True:
            with self._bus.subscribe(lambda event: isinstance(event, Released | Moved)) as events:
                await self._everything()
                try:
                    while (event := await events.next()) is not None:
                        match event:
                            case Released(model=model):
                                self._look(model, _NEWEST)
                            case Moved(model=model, channel=channel):
                                self._look(model, channel)
                            case _:
                                pass
                    return  # the hub stops
                except RefusedError:
                    continue  # more happened than could be heard: all are looked at

    async def _everything(self) -> None:
        while True:
            try:
                for model in await asyncio.to_thread(self._catalog.rules.models):
                    self._look(model, None)
            except ModelsyncError as error:
                self._log.failure("rules.unread", error)
                await asyncio.sleep(PAUSE)
            else:
                return

    async def _carry_out(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            waiting, self._waiting = self._waiting, {}
            for model, candidates in waiting.items():
                try:
                    await self._apply(model, candidates)
                except NotFoundError:
                    continue  # the model is gone
                except Exception as error:  # noqa: BLE001 - a rule must not end the hub, at this start and each after it
                    self._log.failure("rule.failed", error, model=str(model))
                    if not (isinstance(error, ModelsyncError) and error.retryable):
                        continue  # it is tried again when something comes that concerns it
                    await asyncio.sleep(PAUSE)
                    for one in candidates:
                        self._look(model, one)

    async def _apply(self, model: ModelName, candidates: set[str | None]) -> None:
        for one in {None} if None in candidates else candidates:
            for move in await asyncio.to_thread(self._catalog.rules.apply, model, one, self._clock()):
                self._log.info("rule.moved", channel=f"{model}@{move.channel}", to=move.to_number, rule_of=move.who)
                self.tell(move)
