"""The only place that has trials judged: one gate runs for each, and what it finds is told once.

A trial that is over, because a job spoke or something newer came, is not judged any more: its gate is ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from edge_agent.gates import Gate, Verdict, judge
from edge_agent.trials import Trial
from edge_agent.watchers import Switch
from modelsyncd.daemon.log import Log
from modelsyncd.names import ModelRef

Tell = Callable[[ModelRef, Trial, Verdict], None]


class Judges:
    """What is being judged. All methods belong to the loop's thread."""

    def __init__(self, gates: Mapping[ModelRef, Gate]) -> None:
        self._gates = gates
        self._asked: dict[ModelRef, tuple[Trial, Switch, float]] = {}
        self._tasks: dict[ModelRef, tuple[Trial, asyncio.Task[None]]] = {}
        self._changed = asyncio.Event()

    @property
    def judging(self) -> Mapping[ModelRef, Trial]:
        """What was asked for and not told of yet."""
        return {ref: trial for ref, (trial, _, _) in self._asked.items()}

    def ask(self, ref: ModelRef, trial: Trial, switch: Switch, seconds: float) -> None:
        """Has a trial judged within so many seconds, once."""
        self._asked[ref] = (trial, switch, seconds)
        self._changed.set()

    def keep(self, trials: Mapping[ModelRef, Trial]) -> None:
        """All others are over."""
        over = [ref for ref, (trial, _, _) in self._asked.items() if trials.get(ref) != trial]
        for ref in over:
            del self._asked[ref]
            self._changed.set()

    async def run(self, tell: Tell) -> None:
        """Until it is cancelled; that ends the gates that run."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._changed.wait()
                self._changed.clear()
                for ref, (trial, task) in list(self._tasks.items()):
                    if ref not in self._asked or self._asked[ref][0] != trial:
                        task.cancel()
                        del self._tasks[ref]
                for ref, (trial, switch, seconds) in self._asked.items():
                    if ref not in self._tasks:
                        task = group.create_task(self._judge(ref, trial, switch, seconds, tell))
                        self._tasks[ref] = (trial, task)

    async def _judge(self, ref: ModelRef, trial: Trial, switch: Switch, seconds: float, tell: Tell) -> None:
        Log().info("trial.began", model=str(ref), version=trial.version.number, seconds=seconds)
        try:
            verdict = await judge(self._gates[ref], switch, seconds, trial.starts)
        except Exception as error:  # noqa: BLE001 - the task's outermost frame: a gate of ours that breaks proves nothing
            Log().failure("gate.broken", error)
            verdict = Verdict(False, "its gate could not be run")
        if self._asked.get(ref, (None,))[0] == trial:
            tell(ref, trial, verdict)
