"""The only place that decides what a node does next: goals and what is observed in, actions out. It touches nothing.

Laws: a version is activated only when it is whole and every byte of it was hashed a moment ago; the active and the
previous version of a channel are never pruned, nor is what is pinned or what a transfer or a job counts on; nothing
is fetched that would not fit (`eviction`) or that is held up (`holds`), and a hold touches nothing but fetches; what
failed on a channel with a gate is not wanted there, and the way back leads to what proved itself (`trials`); with
nothing left to do the plan is empty, so deciding twice does nothing twice. Whoever carries a plan out observes and
decides again, until the plan is empty or waits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import inf

from edge_agent.eviction import evict, refusal
from edge_agent.goals import Goal, Goals, Misfit
from edge_agent.holds import Link, Ruling, rule
from edge_agent.pins import is_pinned
from edge_agent.quota import Room
from edge_agent.trials import Forget, GoBack, Judge, Tried, Try
from modelsyncd.digest import Digest
from modelsyncd.errors import DiskFullError
from modelsyncd.names import ModelName, ModelRef
from modelsyncd.session.faults import fault_of
from modelsyncd.session.frames import Fault, Offer
from modelsyncd.store.version import Version

RETRY_FLOOR = 2.0  # seconds after a first failure that may pass by itself
RETRY_CAP = 300.0  # seconds: a disk that was cleared or a hub that was mended is noticed within five minutes
STUBBORN_FLOOR = 60.0  # seconds after a failure that someone must act on first
STUBBORN_CAP = 3_600.0  # seconds: costs one question an hour, and heals without a visit to the node


@dataclass(frozen=True, slots=True)
class Setback:
    """A version that failed `tries` times in a row; `next_try` is seconds on the clock that `now` is read from."""

    fault: Fault
    tries: int
    next_try: float


@dataclass(frozen=True, slots=True)
class Observed:
    """What is on the node now. `taking` are the manifests in transfer with their priorities; none while offline."""

    held: frozenset[Version] = frozenset()
    damaged: frozenset[Version] = frozenset()
    unproven: frozenset[Version] = frozenset()
    """Those that were not read for a while: they are before anybody is switched to them."""
    proving: frozenset[Version] = frozenset()
    """Those that are being read."""
    active: Mapping[ModelRef, Version] = field(default_factory=dict)
    variants: Mapping[ModelRef, str] = field(default_factory=dict)
    """What the active ones are called among those of their releases."""
    previous: Mapping[ModelRef, Version] = field(default_factory=dict)
    staged: frozenset[Digest] = frozenset()
    taking: Mapping[Digest, int] = field(default_factory=dict)
    lent: frozenset[Digest] = frozenset()
    """Manifests that what is in transfer may be coded against, or that jobs hold."""
    room: Room | None = None
    """What the disk has; None where nobody counts it, and everything fits."""
    setbacks: Mapping[Digest, Setback] = field(default_factory=dict)
    online: bool = False
    link: Link = field(default_factory=Link)
    tried: Tried = field(default_factory=Tried)


@dataclass(frozen=True, slots=True)
class Drop:
    """Stop fetching what nobody wants any more, all at once."""

    manifests: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class Prove:
    """Read this version back: a channel is to be switched to it."""

    version: Version


@dataclass(frozen=True, slots=True)
class Activate:
    """Switch the channel's link to this version."""

    ref: ModelRef
    version: Version


@dataclass(frozen=True, slots=True)
class Unlink:
    """Take the channel's link away: the node no longer follows it."""

    ref: ModelRef


@dataclass(frozen=True, slots=True)
class Prune:
    """Delete this version."""

    version: Version


@dataclass(frozen=True, slots=True)
class Discard:
    """Delete what was staged of a manifest that is not wanted any more."""

    manifest: Digest


@dataclass(frozen=True, slots=True)
class Fetch:
    """Ask the hub for what this offer names; said again when only the priority changed."""

    offer: Offer
    priority: int


@dataclass(frozen=True, slots=True)
class Go:
    """Let the content of this manifest travel, which is to take so many payload bytes."""

    manifest: Digest
    allowance: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """Do not even begin to fetch a manifest, and say why: it can't be made to fit."""

    manifest: Digest
    fault: Fault


Action = Drop | Prove | Activate | Try | Judge | GoBack | Forget | Unlink | Prune | Discard | Fetch | Go | Refuse


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, in order, and when to decide again though nothing happened (None: when something happens)."""

    actions: tuple[Action, ...] = ()
    wake_at: float | None = None


def reconcile(goals: Goals | None, observed: Observed, now: float) -> Plan:
    """What to do about it. `goals` is None as long as no hub ever said anything: then everything stays as it is.

    Switches come first, because jobs wait for them; room is made before more is fetched.
    """
    steps = tuple(observed.tried.steps(observed.active, observed.held))
    if goals is None:
        return Plan(steps)
    goals = wanted(goals, observed)
    ruling = rule(goals, observed.held, observed.link, now)
    unlinks = observed.active.keys() - goals.refs
    actions: list[Action] = [step for step in steps if step.ref not in unlinks]  # first: what failed is in use
    dropped = tuple(sorted(observed.taking.keys() - ruling.sponsors.keys()))
    actions += [Drop(dropped)] if dropped else []
    going_back = {step.ref for step in steps if isinstance(step, GoBack)}
    ready = [goal for goal in goals.goals if _ready(goal, observed, now) and goal.ref not in going_back]
    switches = [_switch(goal, observed) for goal in ready]
    # the way back is not read first: until a moment ago it was in use
    unread = [one for one in switches if isinstance(one, Activate | Try) and one.version in observed.unproven]
    proofs = dict.fromkeys(one.version for one in unread)
    actions += [Prove(version) for version in proofs if version not in observed.proving]
    switches = [one for one in switches if one.version not in proofs]
    unlinking = [Unlink(ref) for ref in sorted(unlinks, key=str)]
    actions += [*switches, *unlinking]
    if not (switches or unlinking or proofs or observed.tried.known.trials):
        # what is spare shows only once every channel leads where it should
        actions += [Prune(version) for version in _spare(goals, observed)]
    actions += [Discard(manifest) for manifest in _leftovers(goals, observed)]
    tidying = any(isinstance(action, Prune | Discard) for action in actions)
    actions += _fetches(goals, observed, ruling, now, tidying=tidying)
    actions += [Go(manifest, wire) for manifest, wire in ruling.leaves.items() if manifest in observed.taking]
    return Plan(tuple(actions), _wake_at(goals, observed, ruling, now))


def set_back(before: Setback | None, fault: Fault, now: float, jitter: float) -> Setback:
    """The setback after one more failure: waits double with each, and `jitter` (0 to 1) spreads a fleet's retries."""
    tries = 1 if before is None else before.tries + 1
    floor, cap = (RETRY_FLOOR, RETRY_CAP) if fault.retryable else (STUBBORN_FLOOR, STUBBORN_CAP)
    wait: float = min(cap, floor * 2 ** min(tries - 1, 30))
    return Setback(fault, tries, now + wait / 2 + jitter * wait / 2)


def is_active(goal: Goal, observed: Observed) -> bool:
    """Whether the channel leads to the goal, and the goal is whole and has nothing to prove."""
    leads = observed.active.get(goal.ref) == goal.version and goal.version in observed.held
    return leads and observed.tried.stands(goal.ref, goal.version)


def wanted(goals: Goals, observed: Observed) -> Goals:
    """The goals without those that failed here: their channels are assigned, and not followed for now."""
    barred = [goal for goal in goals.goals if observed.tried.bars(goal.ref, goal.version, goal.retry)]
    if not barred:
        return goals
    rest = tuple(goal for goal in goals.goals if goal not in barred)
    return replace(goals, goals=rest, misfits=(*goals.misfits, *(Misfit(goal.ref, None) for goal in barred)))


def _switch(goal: Goal, observed: Observed) -> Activate | Try | GoBack:
    """How the channel comes to lead to the goal."""
    ref, active = goal.ref, observed.active.get(goal.ref)
    if ref not in observed.tried.gated:
        return Activate(ref, goal.version)
    trial = observed.tried.on_trial(ref, active)
    if trial is not None and trial.back == goal.version:
        return GoBack(ref, goal.version)
    return Try(ref, goal.version, observed.tried.back(ref, active), goal.retry)


def _waits(goal: Goal, observed: Observed, now: float) -> bool:
    setback = observed.setbacks.get(goal.version.manifest)
    return setback is not None and setback.next_try > now


def _ready(goal: Goal, observed: Observed, now: float) -> bool:
    if goal.version not in observed.held or is_active(goal, observed) or _waits(goal, observed, now):
        return False
    trial = observed.tried.on_trial(goal.ref, observed.active.get(goal.ref))
    return trial is None or trial.version != goal.version


def _lacking(goals: Goals, observed: Observed) -> list[Goal]:
    return [goal for goal in goals.goals if goal.version not in observed.held]


def _fetches(goals: Goals, observed: Observed, ruling: Ruling, now: float, *, tidying: bool) -> Iterator[Action]:
    """What to fetch now, or what must happen first: room comes free, and is seen to be, before a byte is asked for.

    While something goes for other reasons (`tidying`), what does not fit yet waits to see what that brings.
    """
    budget = _Budget(goals, observed)
    for goal in _asked(observed, ruling, now):
        manifest = goal.version.manifest
        if manifest in observed.taking or budget.take(goal):
            yield Fetch(goal.offer, goal.priority)
        elif not tidying:
            yield from budget.make(goal)


def _asked(observed: Observed, ruling: Ruling, now: float) -> Iterator[Goal]:
    """One for each manifest: where two models want the same bytes, the second finds them here a little later."""
    if not observed.online:
        return
    for manifest, goal in ruling.sponsors.items():  # most urgent first
        if observed.taking.get(manifest) != goal.priority and not _waits(goal, observed, now):
            yield goal


class _Budget:
    """What is left of the room while one plan is made: what is in transfer has the room that it will still take."""

    def __init__(self, goals: Goals, observed: Observed) -> None:
        self._goals = goals
        self._observed = observed
        self._room = observed.room or Room(0, 0)
        self._left = self._room.left(goals.quota)
        self._promised = 0  # comes free by what this plan removes, and counts once it is seen to be
        coming = {goal.version.manifest: goal for goal in _lacking(goals, observed)}
        self._left -= sum(self._need(coming[manifest]) for manifest in observed.taking.keys() & coming.keys())
        self._kept = _reasons(goals, observed)
        self._spare = (observed.held | observed.damaged) - self._kept.keys()
        self._leftovers = observed.staged - coming.keys() - observed.taking.keys()

    def take(self, goal: Goal) -> bool:
        """Takes the room that a transfer needs, if there is that much."""
        if self._observed.room is None:
            return True
        need = self._need(goal)
        if need > self._left:
            return False
        self._left -= need
        return True

    def make(self, goal: Goal) -> Iterator[Action]:
        """What must go before it can be fetched, or the word that nothing helps."""
        need = self._need(goal)
        eviction = evict(need - self._left - self._promised, self._room, self._spare, self._leftovers)
        if eviction.short:
            yield Refuse(goal.version.manifest, fault_of(self._refusal(goal, need)))
            return
        yield from (Discard(manifest) for manifest in eviction.leftovers)
        yield from (Prune(version) for version in eviction.versions)
        self._left -= need
        self._promised += eviction.freed
        self._spare -= set(eviction.versions)
        self._leftovers -= set(eviction.leftovers)

    def _refusal(self, goal: Goal, need: int) -> DiskFullError:
        return refusal(
            f"{goal.version.model}:{goal.version.number}",
            need,
            room=self._room,
            left=self._left + self._promised,
            quota=self._goals.quota,
            reasons=self._kept,
        )

    def _need(self, goal: Goal) -> int:
        return max(0, goal.room - self._room.staged.get(goal.version.manifest, 0))


def _reasons(goals: Goals, observed: Observed) -> dict[Version, str]:
    """The versions that stay whatever room is needed, and why."""
    found: dict[Version, str] = {}
    for version in observed.held | observed.damaged:
        if version.manifest in observed.lent:
            found[version] = "in use"
        if _is_pinned(version, goals, observed):
            found[version] = "pinned"
    before = [*observed.previous.items(), *observed.tried.needed()]
    found |= {version: f"before on {ref.channel}" for ref, version in before}
    found |= {goal.version: f"wanted on {goal.ref.channel}" for goal in goals.goals}
    return found | {version: f"active on {ref.channel}" for ref, version in observed.active.items()}


def _is_pinned(version: Version, goals: Goals, observed: Observed) -> bool:
    own = observed.room.pins if observed.room is not None else frozenset()
    return is_pinned(version, goals.pins) or is_pinned(version, own)


def _spare(goals: Goals, observed: Observed) -> list[Version]:
    """Versions beyond what each model keeps, oldest first; what is active, previous, wanted or pinned stays.

    What is lent stays until the transfer is over: chunks on their way may need its bytes. A damaged version counts like
    any other: most of it is right, and saves that much when it is wanted again.
    """
    pinned = {*observed.active.values(), *observed.previous.values(), *(goal.version for goal in goals.goals)}
    pinned |= {version for _, version in observed.tried.needed()}
    spare: list[Version] = []
    for versions in _by_model(observed.held | observed.damaged).values():
        free = sorted(
            (one for one in versions if one not in pinned and not _is_pinned(one, goals, observed)),
            key=lambda v: (v.number, v.manifest),
            reverse=True,
        )
        room = max(0, goals.keep - (len(versions) - len(free)))
        spare += reversed(free[room:])
    return sorted(version for version in spare if version.manifest not in observed.lent)


def _by_model(versions: frozenset[Version]) -> dict[ModelName, list[Version]]:
    found: dict[ModelName, list[Version]] = {}
    for version in versions:
        found.setdefault(version.model, []).append(version)
    return found


def _leftovers(goals: Goals, observed: Observed) -> list[Digest]:
    """Staged bytes that no goal needs: a seed as long as anything is to be fetched, unless their room is needed."""
    needed = {goal.version.manifest for goal in _lacking(goals, observed)} | observed.taking.keys()
    setbacks = (observed.setbacks.get(manifest) for manifest in needed)
    if needed and not any(setback and setback.fault.code == DiskFullError.code for setback in setbacks):
        return []
    return sorted(observed.staged - needed)


def _wake_at(goals: Goals, observed: Observed, ruling: Ruling, now: float) -> float | None:
    """The next moment at which a setback is over that holds something up, or another ruling is due."""
    held_up = [
        observed.setbacks[goal.version.manifest].next_try
        for goal in goals.goals
        if not is_active(goal, observed) and _waits(goal, observed, now)
    ]
    moment = min([ruling.wake_at, *held_up])
    return moment if moment < inf else None
