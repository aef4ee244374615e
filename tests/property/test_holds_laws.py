"""Whatever the manners, the hour and the count of the month: they hold up fetches, in time, and touch nothing else."""

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edge_agent.goals import Goal, Goals
from edge_agent.holds import CAUTION, QUOTE_PATIENCE, Asking, Link, Ruling, pace, rule
from edge_agent.moment import Moment
from edge_agent.reconcile import Activate, Discard, Drop, Fetch, Go, Observed, Prove, Prune, Unlink, reconcile
from edge_agent.usage import ALL
from modelsyncd.digest import Digest
from modelsyncd.manners import FREE, Manners, is_closed
from modelsyncd.names import ModelRef
from modelsyncd.plan import Priced
from modelsyncd.schedule import Opening
from modelsyncd.session.frames import Hold
from tests.property.test_reconcile_laws import CHANNELS, MODELS, manifest_of, version
from tests.property.test_reconcile_laws import goal as goal_for

ZONES = (UTC, ZoneInfo("Europe/Berlin"), ZoneInfo("America/Sao_Paulo"), ZoneInfo("Asia/Kolkata"))
REFS = [ModelRef(model, channel=channel) for model in MODELS for channel in CHANNELS]
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
seeds = st.integers(0, 2**32)


@dataclass(frozen=True)
class Scene:
    """One seed's node: what it should hold, what it sees, and the time on its steady clock."""

    goals: Goals
    seen: Observed
    now: float

    @property
    def ruling(self) -> Ruling:
        return rule(self.goals, self.seen.held, self.seen.link, self.now)


def scene(seed: int) -> Scene:
    rng = random.Random(seed)
    wanted = rng.sample(REFS, rng.randint(1, 5))
    goals = [a_goal(rng, ref) for ref in wanted]
    goals.sort(key=lambda one: (-one.priority, str(one.ref)))
    versions = [version(model, number) for model in MODELS for number in range(1, 7)]
    held = frozenset(rng.sample(versions, rng.randint(0, 6)))
    taking = {manifest_of(rng.randint(1, 6)): rng.randint(-1, 1) for _ in range(rng.randint(0, 4))}
    waiting = {manifest for manifest in taking if rng.random() < 0.5}
    active = {ref: version(ref.model, rng.randint(1, 6)) for ref in rng.sample(REFS, rng.randint(0, 4))}
    seen = Observed(
        held=held,
        active=active,
        staged=frozenset(manifest_of(rng.randint(1, 6)) for _ in range(rng.randint(0, 3))),
        taking=taking,
        online=True,
        link=a_link(rng, waiting, frozenset(taking) - waiting),
    )
    return Scene(Goals(1, tuple(goals), keep=rng.randint(1, 3), manners=some_manners(rng)), seen, rng.uniform(0, 100))


def a_goal(rng: random.Random, ref: ModelRef) -> Goal:
    one = goal_for(ref, rng.randint(1, 6), rng.randint(-1, 1))
    consent = rng.choice([None, None, one.version.manifest, manifest_of(9)])
    return replace(one, papers=rng.randint(0, 10), manners=some_manners(rng), consent=consent)


def a_link(rng: random.Random, waiting: set[Digest], going: frozenset[Digest]) -> Link:
    asking = {}
    for manifest in sorted(waiting):
        offer = Priced(alone=rng.randint(0, 200), alone_wire=rng.randint(0, 100), left=rng.choice([0, 100]))
        asking[manifest] = Asking(offer, rng.uniform(0, 100), final=offer.exact or rng.random() < 0.3)
    due = {manifest: rng.randint(0, rng.choice([80, 300])) for manifest in sorted(going)}
    return Link(
        Moment(NEW_YEAR + rng.randrange(366 * 86_400), rng.choice(ZONES)),
        {account: rng.choice([0, 30, 90, 600]) for account in rng.sample([ALL, *map(str, REFS)], 3)},
        asking,
        due | {manifest: one.priced.wire for manifest, one in asking.items() if one.final},
        going,
    )


def some_manners(rng: random.Random) -> Manners:
    openings = [an_opening(rng) for _ in range(rng.choice([0, 0, 0, 1, 2]))]
    return Manners(
        rng.choice([0, 0, 1_000]),
        tuple(openings),
        rng.choice([0, 0, 100, 300, 1_000]),
        paused=rng.random() < 0.15,
        background=rng.random() < 0.5,
    )


def an_opening(rng: random.Random) -> Opening:
    days = tuple(sorted(rng.sample(range(7), rng.randint(1, 3))))
    return Opening(days, rng.randrange(1_440), rng.randrange(1_440))


def fetched(one: Scene) -> set[Digest]:
    """What travels after this plan: what is begun, and what is not stopped."""
    actions = reconcile(one.goals, one.seen, one.now).actions
    begun = {action.offer.manifest for action in actions if isinstance(action, Fetch)}
    dropped = {manifest for action in actions if isinstance(action, Drop) for manifest in action.manifests}
    return begun | (one.seen.taking.keys() - dropped)


@given(seeds)
@settings(max_examples=500, deadline=None)
def test_what_is_paused_or_closed_never_travels(seed: int) -> None:
    one = scene(seed)
    goals, seen = one.goals, one.seen
    local = seen.link.moment.local
    for manifest in fetched(one):
        wanted = [goal for goal in goals.goals if goal.version.manifest == manifest and goal.version not in seen.held]
        assert any(
            not (goals.manners.paused or goal.manners.paused or is_closed((goals.manners, goal.manners), local))
            for goal in wanted
        )


@given(seeds)
@settings(max_examples=1_500, deadline=None)
def test_what_is_known_to_break_the_month_never_travels_but_by_consent(seed: int) -> None:
    """All that may travel together fits into what is left, as far as it is known."""
    one = scene(seed)
    goals, seen = one.goals, one.seen
    ruling = one.ruling
    left = goals.manners.month_bytes - seen.link.used.get(ALL, 0) if goals.manners.month_bytes else None
    payers = [goal for goal in ruling.sponsors.values() if goal.consent != goal.version.manifest]
    needs = {goal.ref: seen.link.due.get(goal.version.manifest, goal.papers) for goal in payers}
    if left is not None and payers:
        assert sum(needs.values()) <= max(left, 0)
    for goal in payers:
        if goal.manners.month_bytes:
            assert needs[goal.ref] <= max(0, goal.manners.month_bytes - seen.link.used.get(str(goal.ref), 0))


@given(seeds)
@settings(max_examples=500, deadline=None)
def test_consent_lifts_the_month_and_nothing_else(seed: int) -> None:
    one = scene(seed)
    goals = one.goals
    agreed = replace(goals, goals=tuple(replace(goal, consent=goal.version.manifest) for goal in goals.goals))
    before, after = one.ruling.held, replace(one, goals=agreed).ruling.held
    assert all(held.hold is not Hold.BUDGET for held in after.values())
    assert after.items() <= before.items()


@given(seeds)
@settings(max_examples=500, deadline=None)
def test_manners_change_nothing_but_what_is_fetched(seed: int) -> None:
    one = scene(seed)
    goals, seen, now = one.goals, one.seen, one.now
    free = replace(goals, manners=FREE, goals=tuple(replace(goal, manners=FREE) for goal in goals.goals))
    touched = (Prove, Activate, Unlink, Prune, Discard)
    assert [one for one in reconcile(goals, seen, now).actions if isinstance(one, touched)] == [
        one for one in reconcile(free, seen, now).actions if isinstance(one, touched)
    ]
    allowed = fetched(replace(one, goals=free))
    assert fetched(one) <= allowed


@given(seeds)
@settings(max_examples=500, deadline=None)
def test_leave_is_given_to_what_waits_for_it_and_never_by_a_guess_that_may_not_fit(seed: int) -> None:
    one = scene(seed)
    goals, seen, now = one.goals, one.seen, one.now
    for action in reconcile(goals, seen, now).actions:
        if not isinstance(action, Go):
            continue
        asking = seen.link.asking[action.manifest]
        assert action.allowance == asking.priced.wire
        assert asking.final or now >= asking.since + QUOTE_PATIENCE
        budget = goals.manners.month_bytes
        sponsor = one.ruling.sponsors[action.manifest]
        if not asking.final and budget and sponsor.consent != action.manifest:
            assert asking.priced.wire * CAUTION <= budget - seen.link.used.get(ALL, 0)


@given(seeds, st.floats(0, 1))
@settings(max_examples=500, deadline=None)
def test_nothing_changes_by_itself_before_the_time_to_wake(seed: int, share: float) -> None:
    """But for the minute that a clock's change eats, which is why a node looks every few minutes, too."""
    one = scene(seed)
    goals, seen, now = one.goals, one.seen, one.now
    seen = replace(seen, setbacks={})
    ruling = one.ruling
    wait = min(ruling.wake_at, now + 20 * 86_400) - now
    later = replace(seen.link, moment=replace(seen.link.moment, wall=seen.link.moment.wall + wait * share * 0.999))
    assume(later.moment.month == seen.link.moment.month)
    assume(later.moment.utc_offset == seen.link.moment.utc_offset)
    again = rule(goals, seen.held, later, now + wait * share * 0.999)
    assert (again.held.keys(), again.sponsors, again.leaves) == (ruling.held.keys(), ruling.sponsors, ruling.leaves)


@given(seeds)
@settings(max_examples=500, deadline=None)
def test_a_hold_with_an_end_is_over_then_or_is_another(seed: int) -> None:
    one = scene(seed)
    goals, seen, now = one.goals, one.seen, one.now
    for ref, held in one.ruling.held.items():
        if not held.until:
            continue
        assert held.until > seen.link.moment.wall
        then = replace(seen.link, moment=replace(seen.link.moment, wall=held.until), used={}, due={}, asking={})
        assume(then.moment.utc_offset == seen.link.moment.utc_offset)
        again = rule(goals, seen.held, then, now + held.until - seen.link.moment.wall).held.get(ref)
        assert again is None or again.hold is not held.hold or held.hold is Hold.BUDGET


@given(seeds)
@settings(max_examples=500, deadline=None)
def test_a_plan_that_was_carried_out_is_not_made_again(seed: int) -> None:
    """Leave is given once, and what is held up is stopped once."""
    one = scene(seed)
    goals, seen, now = one.goals, one.seen, one.now
    ruling = one.ruling
    taking = {manifest: priority for manifest, priority in seen.taking.items() if manifest in ruling.sponsors}
    gone = ruling.leaves.keys() & taking.keys()
    link = replace(
        seen.link,
        asking={manifest: one for manifest, one in seen.link.asking.items() if manifest in taking.keys() - gone},
        going=seen.link.going & taking.keys() | gone,
        due={**seen.link.due, **{manifest: ruling.leaves[manifest] for manifest in gone}},
    )
    again = reconcile(goals, replace(seen, taking=taking, link=link), now).actions
    assert not [one for one in again if isinstance(one, Go) and one.manifest in gone]
    guessed = [one for manifest, one in seen.link.asking.items() if manifest in gone and not one.final]
    if not guessed and not [one for one in seen.link.due if one not in taking]:
        assert not [one for one in again if isinstance(one, Drop)]


@given(seeds)
@settings(max_examples=500, deadline=None)
def test_the_pace_is_the_nodes_and_that_of_whoever_pays(seed: int) -> None:
    one = scene(seed)
    goals = one.goals
    sponsors = one.ruling.sponsors
    asked = pace(goals, sponsors)
    assert asked.rate == goals.manners.rate
    for manifest, goal in sponsors.items():
        assert asked.rates.get(manifest, 0) == goal.manners.rate
        assert (manifest in asked.yielding) is (goals.manners.background or goal.manners.background)


def test_a_month_of_a_node_in_berlin_ends_at_its_midnight() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    moment = Moment(datetime(2026, 10, 31, 23, 30, tzinfo=UTC).timestamp(), berlin)
    assert (moment.month, moment.utc_offset) == ("2026-11", "+01:00")
    assert moment.month_ends == datetime(2026, 11, 30, 23, tzinfo=UTC).timestamp()
    assert Moment(moment.wall - timedelta(hours=1).total_seconds(), berlin).month == "2026-10"
    assert Moment(0.0, ZoneInfo("America/St_Johns")).utc_offset == "-03:30"
