"""The only place that switches channels as `reconcile` says: it tries versions, hears verdicts, and tells of switches.

Law: a trial is durable before its switch, and a verdict before anything follows from it, but for the way back, which
waits for no disk that refuses. The first verdict about a trial is the only one. A trial lasts no longer than its
deadline on the wall's clock, and no longer than that after a start of the agent, whatever the clock does. Where that
was over before a start, it has its time again, a few times, and each is counted on the disk before it begins.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from edge_agent.gates import WHY, Gate, Verdict
from edge_agent.hooks import Hooks
from edge_agent.judges import Judges
from edge_agent.reconcile import Activate
from edge_agent.stock import Stock, Store
from edge_agent.trial_file import TrialFile
from edge_agent.trials import PARDONED, Failed, Forget, GoBack, Judge, Known, Trial, Tried, Try
from edge_agent.watchers import Active, Switch, Watchers
from modelsyncd.daemon.log import Log
from modelsyncd.errors import ModelsyncError
from modelsyncd.names import ModelRef
from modelsyncd.store.version import Version

Move = Activate | Try | Judge | GoBack | Forget


@dataclass(frozen=True, slots=True)
class OnTrial:
    """A version that waits for a job's word."""

    number: int
    seconds_left: float


class Switching:
    """All channels. `clock` never goes back, `wall` is seconds since 1970. All methods belong to the loop's thread."""

    def __init__(
        self,
        store: Store,
        watchers: Watchers,
        file: TrialFile | None = None,
        gates: Mapping[ModelRef, Gate] | None = None,
        hooks: Hooks | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._watchers = watchers
        self._file = file or TrialFile()
        self._gates = dict(gates or {})
        self._hooks = hooks or Hooks()
        self._judges = Judges(self._gates)
        self._clock = clock
        self._wall = wall
        self._known = Known()
        self._saved = Known()
        self._ends: dict[ModelRef, float] = {}  # of trials, on `clock`
        self._judged: dict[ModelRef, float] = {}  # when a version failed whose channel is to be led back, on `clock`
        self.urgent = False
        """Whether a version failed since `save` was called last: nothing else is as urgent as the way back."""
        self._retries: Mapping[ModelRef, int] = {}
        self._writing = asyncio.Lock()
        self._kick: Callable[[], object] = lambda: None
        self._log = Log()

    # --- what others want to know ---

    @property
    def tried(self) -> Tried:
        """What decisions about trials depend on."""
        judging = frozenset(ref for ref, trial in self._judges.judging.items() if self._known.trials.get(ref) == trial)
        return Tried(frozenset(self._gates), self._known, judging)

    def trial(self, ref: ModelRef) -> OnTrial | None:
        """What waits for a job's word there."""
        trial, gate = self._known.trials.get(ref), self._gates.get(ref)
        if trial is None or gate is None or not gate.confirm:
            return None
        return OnTrial(trial.version.number, max(0.0, self._ends.get(ref, 0.0) - self._clock()))

    def failed(self, ref: ModelRef) -> Failed | None:
        """What failed there last, and was not tried again."""
        return next((one for one in reversed(self._known.failures.get(ref, ())) if one.retry != PARDONED), None)

    # --- what happens ---

    async def load(self, kick: Callable[[], object]) -> None:
        """Reads what was on trial; `kick` is called whenever something is to be decided anew. Raises DiskError."""
        self._kick = kick
        self._known = self._saved = await asyncio.to_thread(self._file.load)
        now, wall = self._clock(), self._wall()
        self._known = self._saved.begun_again(wall)
        try:
            await self._write()
        except ModelsyncError as error:  # what is not counted does not begin: else it might do so forever
            self._log.failure("trials.unsaved", error)
            self._known = self._saved
        self._ends = {ref: now + trial.left(wall) for ref, trial in self._known.trials.items()}

    def heed(self, retries: Mapping[ModelRef, int]) -> None:
        """How often somebody at the hub said that what failed on a channel is to be tried again."""
        self._retries = retries

    def confirm(self, ref: ModelRef, number: int, works: bool, why: str, who: str) -> bool:
        """A job's word. That a version works counts where it is waited for, that it does not during any trial."""
        trial, gate = self._known.trials.get(ref), self._gates.get(ref)
        if trial is None or gate is None or trial.version.number != number or (works and not gate.confirm):
            return False
        self._judge(ref, trial, Verdict(works, f"{why or 'no reason given'} ({who})" if not works else ""))
        return True

    def retry(self, ref: ModelRef) -> int:
        """What failed last is tried again; its number, 0 for none."""
        failed = self.failed(ref)
        if failed is None:
            return 0
        self._change(self._known.pardoned(ref, failed.version))
        self._kick()
        return failed.number

    async def save(self) -> None:
        """Makes durable what was found out. What the disk refuses is kept in mind, and saved with the next word."""
        self.urgent = False
        await self.settled()

    async def settled(self) -> None:
        """Returns when what was said is durable, or when the disk refused it."""
        try:
            while self._known != self._saved:
                await self._write()
        except ModelsyncError as error:
            self._log.failure("trials.unsaved", error)

    async def make(self, move: Move, stock: Stock) -> Stock:
        """Carries one out; what there is then. Raises ModelsyncError, and nothing was switched."""
        match move:
            case Activate(ref, version):
                active = await asyncio.to_thread(self._store.activate, ref, version)
                self._change(self._known.forgiven(ref, version))
                return self._tell(active, stock)
            case Try():
                return await self._try(move, stock)
            case Judge(ref):
                self._ask(ref, stock)
            case GoBack(ref, None):
                await asyncio.to_thread(self._store.unlink, ref)
                self._log.warning("trial.nothing_left", model=str(ref))
                return self._led_back(ref, replace(stock, active=_without(stock.active, ref)))
            case GoBack(ref, Version() as version):
                active = await asyncio.to_thread(self._store.go_back, ref, version)
                return self._tell(active, self._led_back(ref, stock))
            case Forget(ref):
                self._change(self._known.ended(ref))
        return stock

    async def run(self) -> None:
        """Has trials judged and hooks run, until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._judges.run(self._judge))
            group.create_task(self._hooks.run())

    # --- inside ---

    async def _try(self, move: Try, stock: Stock) -> Stock:
        deadline = self._gates[move.ref].deadline
        before, trial = self._known, Trial(move.version, move.back, self._wall(), deadline, move.retry)
        self._change(before.tried(move.ref, trial))  # from here on a verdict about what is there now comes too late
        try:
            await self._write()
        except ModelsyncError:
            self._change(self._known.undone(move.ref, before))  # what was said of other channels meanwhile stays
            raise
        self._ends[move.ref] = self._clock() + deadline
        # Where this fails, the link may lead to either version: what is seen there next decides.
        active = await asyncio.to_thread(self._store.try_out, move.ref, move.version, move.back)
        stock = self._tell(active, stock)
        self._ask(move.ref, stock)
        return stock

    async def _write(self) -> None:
        """Makes durable what is known now. Raises DiskError."""
        async with self._writing:
            known = self._known
            if known != self._saved:
                await asyncio.to_thread(self._file.save, known)
                self._saved = known

    def _ask(self, ref: ModelRef, stock: Stock) -> None:
        trial, active = self._known.trials.get(ref), stock.active.get(ref)
        if trial is None or active is None or active.version != trial.version:
            return
        left = max(0.0, self._ends.get(ref, 0.0) - self._clock())
        back = trial.back.number if trial.back is not None else 0
        self._judges.ask(ref, trial, Switch(active, back), left)

    def _judge(self, ref: ModelRef, trial: Trial, verdict: Verdict) -> None:
        """The one verdict about a trial."""
        if self._known.trials.get(ref) != trial:
            return
        log = self._log.bind(model=str(ref), version=trial.version.number)
        if verdict.works:
            self._change(self._known.ended(ref))
            log.info("trial.proven")
        else:
            retry = max(trial.retry, self._retries.get(ref, 0))
            why = verdict.why[:WHY]
            self._change(self._known.failed(ref, Failed(trial.version, trial.back, why, self._wall(), retry)))
            log.warning("trial.failed", why=why)
            self._judged[ref] = self._clock()
            self.urgent = True
        self._kick()

    def _led_back(self, ref: ModelRef, stock: Stock) -> Stock:
        since = self._judged.pop(ref, None)
        if since is not None:
            self._log.info("trial.led_back", model=str(ref), after_ms=round(1_000 * (self._clock() - since), 1))
        self._change(self._known.ended(ref))
        return stock

    def _change(self, known: Known) -> None:
        if known == self._known:
            return
        self._known = known
        self._judges.keep(known.trials)
        self._kick()  # it is to be saved

    def _tell(self, active: Active, stock: Stock) -> Stock:
        before = stock.active.get(active.ref)
        switch = Switch(active, before.number if before is not None else 0)
        self._watchers.tell(switch)
        self._hooks.call(switch)
        self._log.info("version.active", model=str(active.ref), version=active.number, digest=active.manifest)
        return replace(stock, active={**stock.active, active.ref: active})


def _without(active: Mapping[ModelRef, Active], ref: ModelRef) -> dict[ModelRef, Active]:
    return {one: leads for one, leads in active.items() if one != ref}
