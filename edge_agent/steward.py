"""The only place that carries out what `reconcile` decides: it looks, decides, acts, and rests until something happens.

Nothing here polls: a Desired, the end of a transfer, a session that comes or goes, and the end of a setback each wake
it. All methods belong to the loop's thread; the disk's work hops to another, one action at a time and in order. Only
switches don't wait their turn: they go on beside looking and tidying, which may take long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import tzinfo
from functools import partial
from math import inf

from edge_agent.chores import CHORE_PAUSE, Chores
from edge_agent.facts import NodeFacts
from edge_agent.fetcher import Fetcher
from edge_agent.goals import Goals, newest, understand
from edge_agent.meanwhile import meanwhile, undisturbed
from edge_agent.metering import LOOK_AGAIN, Metering
from edge_agent.orders import Orders
from edge_agent.prover import Prover
from edge_agent.reconcile import Action, Activate, Drop, Fetch, Go, Observed, Prove, Refuse, reconcile, wanted
from edge_agent.setbacks import Setbacks
from edge_agent.standings import Since, standings
from edge_agent.stock import Stock, Store
from edge_agent.switching import Move, Switching
from edge_agent.transfers import Transfers
from edge_agent.trials import Forget, GoBack, Judge, Try
from edge_agent.usage import Usage
from edge_agent.watchers import Active, Switch, Watchers
from modelsyncd.daemon.log import Log
from modelsyncd.digest import Digest
from modelsyncd.errors import DamageError, ModelsyncError, NotFoundError
from modelsyncd.names import ModelRef
from modelsyncd.session.effects import Finished, Quoted
from modelsyncd.session.faults import fault_of
from modelsyncd.session.frames import Desired, Report, Standing
from modelsyncd.store.version import Version
from modelsyncd.wire.nouns import decode_release


class Steward:
    """Keeps the node as the hub wants it. `jitter` gives numbers from 0 to 1; `keep` beats the hub's, None does not.

    `relax` is called in a thread when nothing is left to fetch; `lent` says what some transfers may be coded against.
    `zone` is the node's, None for the system's. `facts` are what the node is; without them, every variant fits.
    """

    def __init__(
        self,
        store: Store,
        orders: Orders,
        watchers: Watchers,
        *,
        keep: int | None = None,
        jitter: Callable[[], float] = lambda: 1.0,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        relax: Callable[[], object] = lambda: None,
        lent: Callable[[Iterable[Digest]], frozenset[Digest]] = lambda _: frozenset(),
        usage: Usage | None = None,
        zone: tzinfo | None = None,
        switching: Switching | None = None,
        facts: NodeFacts | None = None,
    ) -> None:
        self._store = store
        self._orders = orders
        self._watchers = watchers
        self._switching = switching or Switching(store, watchers, clock=clock, wall=wall)
        self._keep = keep
        self._facts = facts
        self._clock = clock
        self._relax = relax
        self._lent = lent
        self._since = Since()
        self._log = Log()
        self._desired: Desired | None = None
        self._proposed: Desired | None = None
        self._goals: Goals | None = None
        self._stock = Stock()
        self._stale = False
        self._doubtful = False
        self._turns = 0  # switches beside something else
        self._prover = Prover(store)
        self._transfers = Transfers()
        self._metering = Metering(self._transfers, usage or Usage(), clock, wall, zone)
        self._setbacks = Setbacks(clock, jitter)
        self._chores = Chores(store, clock)
        self._kicked = asyncio.Event()
        self._changed = asyncio.Event()

    # --- what others want to know ---

    @property
    def generation(self) -> int:
        """Of the Desired that is followed; 0 before the first."""
        return self._goals.generation if self._goals is not None else 0

    @property
    def refs(self) -> list[ModelRef]:
        """Every channel that is assigned or active here, by name."""
        assigned = self._goals.refs if self._goals is not None else frozenset()
        return sorted(assigned | self._stock.active.keys(), key=str)

    @property
    def holds(self) -> tuple[Digest, ...]:
        """Manifests that are here whole."""
        return tuple(sorted({version.manifest for version in self._stock.held}))

    @property
    def fetching(self) -> bool:
        """Whether bytes travel."""
        return bool(self._transfers.taking)

    def active(self, ref: ModelRef) -> Active | None:
        """What the channel leads to; None while there is nothing, or while it is known to be damaged."""
        return self._stock.serving(ref)

    def standings(self) -> tuple[Standing, ...]:
        """Where each assignment stands now."""
        found = standings(self._goals, self._observed(), self._transfers.costs, self._metering.to_wall, self._clock())
        return self._since.dated(found, self._metering.moment.wall)

    async def report(self) -> Report:
        """Where everything stands, and the disk; a disk that does not answer counts as full and empty."""
        try:
            free, used = await asyncio.to_thread(self._store.disk)
        except ModelsyncError as error:
            self._log.failure("store.unreadable", error)
            free = used = 0
        return self._metering.report(self.generation, self.standings(), free, used, self._stock.room)

    @property
    def changed(self) -> asyncio.Event:
        """Set when something is different from now. Ask for it before looking, so that no change slips between."""
        return self._changed

    # --- what happens ---

    async def load(self) -> None:
        """Reads from the disk what was and what should be; before `run`. Raises DiskError."""
        self._stock = await asyncio.to_thread(self._store.observe)
        if self._facts is not None:
            await asyncio.to_thread(self._facts.look)
        await self._switching.load(self._kicked.set)
        await self._metering.load()
        desired = await asyncio.to_thread(self._orders.load)
        if desired is not None:
            self._follow(desired)

    def propose(self, desired: Desired) -> None:
        """The hub said this. It is made durable before anything follows from it."""
        known = self._proposed or self._desired
        if newest(known, desired) is not desired:
            self._log.warning("desired.old", generation=desired.generation, known=known.generation if known else 0)
            return
        self._proposed = desired
        self._kicked.set()

    def attach(self, pump: Fetcher) -> None:
        """A session is up: what is lacking can be fetched."""
        self._transfers.attach(pump)
        self._stale = True
        self._kicked.set()

    def detach(self) -> None:
        """The session is over. What was in transfer is no setback: the next session goes on where it ended."""
        self._transfers.detach(self._clock())
        self._metering.close()
        self._kicked.set()

    def finished(self, end: Finished) -> None:
        """A transfer ended."""
        if end.manifest not in self._transfers.taking:
            return
        self._transfers.finish(end, self._clock())
        self._metering.close()
        self._stale = True  # what is staged, or whole, has changed
        if end.fault is not None:
            self._setbacks.fail(end.manifest, end.fault)
        else:
            self._setbacks.clear(end.manifest)
            cost = self._transfers.costs[end.manifest]
            self._log.info("transfer.settled", manifest=end.manifest, wire=cost.wire, coded=cost.coded)
        self._kicked.set()

    def quoted(self, word: Quoted) -> None:
        """The hub says what a transfer takes that waits for leave."""
        self._transfers.quoted(word, self._clock())
        if word.final:
            self._metering.foresee(word.manifest, self._goals, self._stock.room)
        self._kicked.set()

    def look(self) -> None:
        """Something changed on the disk that nobody else tells of: a version was marked as damaged."""
        self._stale = True
        self._kicked.set()

    def hasten(self) -> None:
        """Somebody knows better: looks at the disk anew, and tries at once what was to be tried later."""
        self._stale = self._doubtful = True
        self._setbacks.hasten()
        self._chores.hasten()
        self._kicked.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._prover.run(self._proved))
                group.create_task(self._switching.run())
                await self._rounds()
        finally:
            self._metering.end()

    # --- inside ---

    async def _rounds(self) -> None:
        before: list[Action] = []
        while True:
            self._kicked.clear()
            await self._take_note()
            await self._look()
            await self._metering.save()
            await self._switching.save()  # last: nothing follows from a verdict that came while others were waited for
            now, observed = self._clock(), self._observed()
            plan = reconcile(self._goals, observed, now)
            if self._goals is not None:
                self._metering.mind(wanted(self._goals, observed), observed.held, observed.link)
            actions = [action for action in plan.actions if not self._chores.postponed(action, now)]
            if actions and actions == before:
                # Done without an error, and yet to be done: the disk does not show what was done to it.
                self._log.error("steward.stuck", action=type(actions[0]).__name__.lower(), pause_s=CHORE_PAUSE)
                await self._rest(now + CHORE_PAUSE)
            turns = self._turns
            for action in actions:
                if self._proposed is None or not isinstance(action, Fetch | Go):  # a new word may pause it
                    await self._carry_out(action)
                if self._switching.urgent or self._turns != turns:  # the rest was decided on what is not so any more
                    break
            undisturbed = self._proposed is None and not self._switching.urgent and self._turns == turns
            before = actions if undisturbed else []
            self._tell()
            if not actions:
                wake_at = inf if plan.wake_at is None else min(plan.wake_at, now + LOOK_AGAIN)
                await self._rest(wake_at if not plan.actions else min(wake_at, self._chores.next_try))

    async def _turn(self) -> None:
        """Switches what is to be switched now, and nothing else."""
        await self._switching.save()
        await self._take_note()
        for action in reconcile(self._goals, self._observed(), self._clock()).actions:
            if isinstance(action, Move | Drop | Prove):
                self._turns += not isinstance(action, Prove)
                await self._carry_out(action)
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _understand(self, desired: Desired) -> Goals:
        facts = self._facts.known if self._facts is not None else None
        return understand(desired, decode_release, keep=self._keep, facts=facts)

    def _follow(self, desired: Desired) -> None:
        self._desired = desired
        self._stale = True  # what fits is decided on what the disk has now
        self._goals = self._understand(desired)
        manifests = {goal.version.manifest for goal in self._goals.goals}
        self._setbacks.renew(manifests)
        self._transfers.keep(manifests)
        self._switching.heed({goal.ref: goal.retry for goal in self._goals.goals})
        for misfit in self._goals.misfits:
            if misfit.fault is not None:
                self._log.error("assignment.refused", model=str(misfit.ref), why=misfit.fault.message)

    async def _take_note(self) -> None:
        while self._proposed is not None:
            desired, self._proposed = self._proposed, None
            if desired != self._desired:
                goals = self._understand(desired)
                for action in reconcile(goals, self._observed(), self._clock()).actions:
                    if isinstance(action, Drop):  # a pause does not wait for the disk
                        self._drop(action.manifests)
                try:
                    await asyncio.to_thread(self._orders.save, desired)
                except ModelsyncError as error:
                    # Followed all the same: it may be what makes room, and the hub repeats it after a restart.
                    self._log.failure("orders.unsaved", error, generation=desired.generation)
                self._follow(desired)
                self._log.info("desired.new", generation=desired.generation, assignments=len(desired.assignments))

    async def _look(self) -> None:
        if not (self._stale or self._setbacks):  # what failed may fit by now
            return
        look = self._store.inspect if self._doubtful else self._store.observe
        self._stale = self._doubtful = False
        landed = self._transfers.landed()
        try:
            work = partial(asyncio.to_thread, look)
            stock = await undisturbed(work, self._kicked, self._turn, lambda: self._turns)
            before, self._stock = self._stock, stock
            for active in stock.mended(before):  # that is news to those who watch for it
                self._watchers.tell(Switch(active, 0))
        except ModelsyncError as error:
            self._log.failure("store.unreadable", error)
            for manifest in landed:
                self._setbacks.fail(manifest, fault_of(error))
        self._transfers.release(landed)
        if landed and not self._transfers.taking:
            await asyncio.to_thread(self._relax)

    def _observed(self) -> Observed:
        goals = {goal.version for goal in self._goals.goals} if self._goals is not None else set()
        return Observed(
            held=self._stock.held,
            damaged=self._stock.damaged,
            unproven=frozenset(version for version in goals if not self._store.proven(version)),
            proving=self._prover.pending,
            active={ref: active.version for ref, active in self._stock.active.items()},
            variants={ref: active.distinct for ref, active in self._stock.active.items()},
            previous=self._stock.previous,
            staged=self._stock.staged,
            taking=self._transfers.taking,
            lent=self._lent(self._transfers.taking),
            room=self._stock.room,
            tried=self._switching.tried,
            setbacks=self._setbacks.all,
            online=self._transfers.online,
            link=self._metering.link(),
        )

    async def _carry_out(self, action: Action) -> None:
        match action:
            case Drop(manifests):
                self._drop(manifests)
            case Fetch(offer, priority):
                self._transfers.fetch(offer, priority)
            case Go():
                await self._let_go(action)
            case Refuse(manifest, fault):
                self._setbacks.fail(manifest, fault)
            case Prove(version):
                self._prover.ask(version)
            case Activate() | Try() | Judge() | GoBack() | Forget():
                await self._move(action)
            case _:
                self._stale = True
                await meanwhile(partial(self._chores.do, action), self._kicked, self._turn)

    def _drop(self, manifests: Sequence[Digest]) -> None:
        self._stale = True  # they may leave something staged that nobody wants
        self._transfers.drop(manifests, self._clock())

    async def _let_go(self, go: Go) -> None:
        """Says what it will take before it takes it."""
        self._metering.foresee(go.manifest, self._goals, self._stock.room)
        if go.manifest in self._transfers.forecasts.untold:
            self._transfers.tell(await self.report())
        if self._proposed is None:  # else the hub said something new meanwhile
            self._transfers.go(go.manifest, go.allowance, self._clock())

    async def _move(self, move: Move) -> None:
        self._stale = self._stale or not isinstance(move, Judge | Forget)
        try:
            self._stock = await self._switching.make(move, self._stock)
        except ModelsyncError as error:
            if isinstance(move, Activate | Try):
                self._failed(move.version, error)
            else:
                self._log.failure("switch.failed", error, model=str(move.ref))
            return
        if isinstance(move, Activate | Try):
            self._setbacks.clear(move.version.manifest)

    def _proved(self, version: Version, error: ModelsyncError | None) -> None:
        self._stale = True
        if error is not None:
            self._failed(version, error)
        self._kicked.set()

    def _failed(self, version: Version, error: ModelsyncError) -> None:
        """A version was not switched to. One that is damaged, or gone, is fetched again at once: that is no setback."""
        if not isinstance(error, DamageError | NotFoundError):
            self._setbacks.fail(version.manifest, fault_of(error))

    async def _rest(self, until: float) -> None:
        try:
            async with asyncio.timeout(None if until == inf else max(0.0, until - self._clock())):
                await self._kicked.wait()
        except TimeoutError:
            self._stale = True
