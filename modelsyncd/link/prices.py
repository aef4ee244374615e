"""The only place that runs the working out of what chunks take: one task for each manifest, while somebody waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from modelsyncd.digest import Digest
from modelsyncd.errors import ModelsyncError, RefusedError
from modelsyncd.session import effects as do
from modelsyncd.session import events as on
from modelsyncd.session.faults import fault_of
from modelsyncd.session.ports import PriceStore
from modelsyncd.session.session import Session


class Prices:
    """The questions of one peer. `step` takes what comes of them; `rate` tells how fast the link is by now."""

    def __init__(
        self, session: Session, pricer: PriceStore | None, step: Callable[[on.Event], None], rate: Callable[[], float]
    ) -> None:
        self._session = session
        self._pricer = pricer
        self._step = step
        self._rate = rate
        self._tasks: dict[Digest, tuple[int, asyncio.Task[None]]] = {}

    def begin(self, asked: do.Price, group: asyncio.TaskGroup) -> None:
        """Works it out, instead of what was asked before about the same manifest."""
        before = self._tasks.pop(asked.manifest, None)
        if before is not None:
            before[1].cancel()
        self._tasks[asked.manifest] = asked.serial, group.create_task(self._work_out(asked))

    def tidy(self) -> None:
        """Ends what nobody waits for any more."""
        for manifest, (serial, task) in list(self._tasks.items()):
            if self._session.is_pricing(serial):
                continue
            del self._tasks[manifest]
            if task is not asyncio.current_task():  # that one ends by itself
                task.cancel()

    async def _work_out(self, asked: do.Price) -> None:
        try:
            if self._pricer is None:
                raise RefusedError("this side can't say what chunks would take")
            work = self._pricer.price(asked.manifest, asked.ordinals, asked.codecs, asked.bases, rate=self._rate())
            async with aclosing(work):
                async for priced in work:
                    self._step(on.Worked(asked.manifest, asked.serial, priced))
                    if not self._session.is_pricing(asked.serial):
                        return
        except ModelsyncError as error:
            self._step(on.LoadFailed(asked.manifest, asked.serial, fault_of(error)))
