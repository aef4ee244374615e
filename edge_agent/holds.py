"""The only place that says what holds a fetch up though nothing went wrong: a person's word, the hour, or the budget.

Pure: goals and what is known of the link in, a ruling out. A manifest that several assignments want is fetched for the
most urgent of them that nothing holds up, its sponsor: by the sponsor's manners, and on its account.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, inf

from edge_agent.goals import Goal, Goals
from edge_agent.moment import Moment
from edge_agent.usage import ALL
from modelsyncd.digest import Digest
from modelsyncd.manners import Manners, is_closed, opens_at
from modelsyncd.names import ModelRef
from modelsyncd.plan import Forecast, Priced
from modelsyncd.schedule import next_change
from modelsyncd.session.events import Pace
from modelsyncd.session.frames import Hold
from modelsyncd.session.taker import OVERRUN
from modelsyncd.store.version import Version

QUOTE_PATIENCE = 2.0  # seconds after the first estimate for which an exact one is waited for
CAUTION = 1.25  # times an estimate must be left of a budget to go by it


@dataclass(frozen=True, slots=True)
class Asking:
    """What the other side says a transfer will take, which waits for leave to go on.

    `since` is when its first word came; `final` when no better one will come.
    """

    priced: Priced
    since: float
    final: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """What is known of the link now. `used` is payload bytes of this month, by assignment and under `ALL`."""

    moment: Moment = field(default_factory=Moment)
    used: Mapping[str, int] = field(default_factory=dict)
    asking: Mapping[Digest, Asking] = field(default_factory=dict)
    due: Mapping[Digest, int] = field(default_factory=dict)
    """Payload bytes that are yet to come at most, for what has leave and for what was exactly foretold."""
    going: frozenset[Digest] = frozenset()
    """What has leave to fetch its content."""
    forecasts: Mapping[Digest, Forecast] = field(default_factory=dict)
    rates: Mapping[Digest, float] = field(default_factory=dict)
    """Payload bytes a second of late."""


@dataclass(frozen=True, slots=True)
class Held:
    """What holds an assignment up, and until when (seconds since 1970; 0 for unknown)."""

    hold: Hold
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class Ruling:
    """`sponsors` is what may be fetched, and for whom; `leaves` what may go on, with the payload bytes that it is due.

    `wake_at` is when it may be another, on the clock that `now` is read from; infinite for never.
    """

    held: Mapping[ModelRef, Held]
    sponsors: Mapping[Digest, Goal]
    leaves: Mapping[Digest, int]
    wake_at: float = inf


def rule(goals: Goals, held: frozenset[Version], link: Link, now: float) -> Ruling:
    """What holds up each assignment whose version is not among those that are `held` on the node."""
    court = _Court(goals, link, now)
    lacking = [goal for goal in goals.goals if goal.version not in held]
    for goal in sorted(lacking, key=lambda goal: (-goal.priority, goal.version.manifest not in link.going)):
        court.hear(goal)
    return Ruling(court.held, court.sponsors, court.leaves, court.wake_at)


def pace(goals: Goals, sponsors: Mapping[Digest, Goal]) -> Pace:
    """How fast to ask for what may be fetched."""
    return Pace(
        goals.manners.rate,
        {manifest: goal.manners.rate for manifest, goal in sponsors.items() if goal.manners.rate},
        frozenset(
            manifest for manifest, goal in sponsors.items() if goals.manners.background or goal.manners.background
        ),
    )


def with_margin(wire: float) -> int:
    """What a transfer may take that was let go for so many payload bytes, before it is asked about anew."""
    return ceil(wire * (1 + OVERRUN))


class _Court:
    """One ruling in the making: whoever comes later finds less left of the node's month."""

    def __init__(self, goals: Goals, link: Link, now: float) -> None:
        self.held: dict[ModelRef, Held] = {}
        self.sponsors: dict[Digest, Goal] = {}
        self.leaves: dict[Digest, int] = {}
        self.wake_at = inf
        self._goals = goals
        self._link = link
        self._now = now
        self._local = link.moment.local
        self._left = _left(goals.manners, link.used.get(ALL, 0))

    def hear(self, goal: Goal) -> None:
        """The most urgent first."""
        manifest = goal.version.manifest
        if manifest in self.sponsors:
            return
        several = (self._goals.manners, goal.manners)
        held = self._by_word_or_hour(several) or self._by_budget(goal)
        if held is not None:
            self.held[goal.ref] = held
            if held.until:
                self._wake(held.until)
            return
        self.sponsors[manifest] = goal
        for one in several:
            if one.openings:
                self._wake(self._link.moment.next(next_change(one.openings, self._local)))
        self._hear_quote(goal)
        self._left -= max(self._needs(goal), with_margin(self.leaves.get(manifest, 0)))

    def _by_word_or_hour(self, several: Sequence[Manners]) -> Held | None:
        if any(one.paused for one in several):
            return Held(Hold.PAUSED)
        if is_closed(several, self._local):
            at = opens_at(several, self._local)
            return Held(Hold.WINDOW, self._link.moment.next(at) if at is not None else 0.0)
        return None

    def _by_budget(self, goal: Goal) -> Held | None:
        left = self._left_for(goal)
        if left == inf:
            return None
        needs = self._needs(goal)
        if needs <= left and (left > 0 or goal.version.manifest in self._link.due):
            return None
        fits_a_month = all(
            not one.month_bytes or needs <= one.month_bytes for one in (self._goals.manners, goal.manners)
        )
        return Held(Hold.BUDGET, self._link.moment.month_ends if fits_a_month else 0.0)

    def _left_for(self, goal: Goal) -> float:
        """Of the month; without end where somebody said that it need not be kept."""
        if goal.consent == goal.version.manifest:
            return inf
        return min(self._left, _left(goal.manners, self._link.used.get(str(goal.ref), 0)))

    def _needs(self, goal: Goal) -> int:
        """Payload bytes, as far as they are known; to learn more, the manifest must come."""
        return self._link.due.get(goal.version.manifest, goal.papers)

    def _hear_quote(self, goal: Goal) -> None:
        asking = self._link.asking.get(goal.version.manifest)
        if asking is None:
            return
        if not asking.final:
            if asking.priced.wire * CAUTION > self._left_for(goal):
                return  # waits for the exact word
            if self._now < asking.since + QUOTE_PATIENCE:
                self.wake_at = min(self.wake_at, asking.since + QUOTE_PATIENCE)
                return
        self.leaves[goal.version.manifest] = asking.priced.wire

    def _wake(self, wall: float) -> None:
        self.wake_at = min(self.wake_at, self._now + wall - self._link.moment.wall)


def _left(manners: Manners, used: int) -> float:
    return manners.month_bytes - used if manners.month_bytes else inf
