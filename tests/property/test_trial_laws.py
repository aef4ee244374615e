"""Whatever the hub wants, whatever gates find and whenever a node dies: what failed is not in use, what was proven is.

The node here does each durable step of a plan by itself, in the order in which `Switching` and the tree do them, and
may die between any two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge_agent.goals import Goal, Goals
from edge_agent.reconcile import Action, Discard, Fetch, Observed, Prune, Unlink, is_active, reconcile, wanted
from edge_agent.trials import Failed, Forget, GoBack, Judge, Known, Trial, Tried, Try
from modelsyncd.digest import digest_of
from modelsyncd.names import ModelName, ModelRef
from modelsyncd.release import SignedRelease
from modelsyncd.session.frames import Offer
from modelsyncd.store.version import Version

HELMET = ModelName("acme", "helmet")
REF = ModelRef(HELMET, channel="stable")
MOST = 60  # plans until a node has come to rest


def version(number: int) -> Version:
    return Version(HELMET, number, digest_of(b"manifest %d" % number))


@dataclass
class Disk:
    """What outlives the process."""

    held: set[Version] = field(default_factory=set)
    active: Version | None = None
    previous: Version | None = None
    known: Known = field(default_factory=Known)


@dataclass
class Node:
    """A process on that disk, with an oracle beside it that remembers what really happened."""

    disk: Disk = field(default_factory=Disk)
    number: int = 0
    retry: int = 0
    known: Known = field(default_factory=Known)
    judging: bool = False
    clock: float = 0.0
    proven: set[Version] = field(default_factory=set)
    barred: set[Version] = field(default_factory=set)

    def goals(self) -> Goals:
        if not self.number:
            return Goals(1, (), keep=1)
        which = version(self.number)
        offer = Offer(SignedRelease(b"%d" % self.number), which.manifest)
        goal = Goal(REF, which, offer, digest_of(b"release"), 1, retry=self.retry)
        return Goals(1, (goal,), keep=1)

    def observed(self) -> Observed:
        disk = self.disk
        previous = disk.previous if disk.previous in disk.held and disk.previous != disk.active else None
        return Observed(
            held=frozenset(disk.held),
            active={REF: disk.active} if disk.active is not None else {},
            previous={REF: previous} if previous is not None else {},
            online=True,
            tried=Tried(frozenset({REF}), self.known, frozenset({REF} if self.judging else ())),
        )

    def steps(self, action: Action) -> Iterator[None]:
        """Each step that is durable when the next `yield` is reached."""
        disk = self.disk
        match action:
            case Fetch(offer, _):
                disk.held.add(next(goal.version for goal in self.goals().goals if goal.offer == offer))
            case Try(_, which, back, retry):
                assert which not in self.barred, "tried again, and nobody said so"
                assert which in disk.held, "tried a version that is not whole"
                assert back is None or back in self.proven, "the way back leads to what never proved itself"
                self.clock += 1
                self.judging = False
                self.known = self.known.tried(REF, Trial(which, back, self.clock, 60.0, retry))
                disk.known = self.known
                yield
                if disk.active != which:
                    disk.previous = back or disk.previous
                    yield
                    disk.active = which
                yield
                self.judging = True
            case Judge():
                self.judging = True
            case GoBack(_, None):
                disk.active = disk.previous = None
                yield
                self.known = self.known.ended(REF)
            case GoBack(_, which):
                assert which in disk.held, "went back to what is not there"
                assert which in self.proven, "went back to what never proved itself"
                disk.previous = which
                yield
                disk.active = which
                yield
                self.known = self.known.ended(REF)
            case Forget():
                self.known = self.known.ended(REF)
            case Unlink():
                self.judging = False
                disk.active = disk.previous = None
            case Prune(which):
                assert which not in {disk.active, disk.previous}, "removed what is in use, or was before"
                assert which not in {trial.back for trial in self.known.trials.values()}, "removed the way back"
                disk.held.discard(which)
            case Discard() | _:
                raise AssertionError(f"nobody asked for {action}")
        if REF not in self.known.trials:
            self.judging = False

    def verdict(self, *, works: bool, saved: bool) -> None:
        """A gate has come to an end, where one runs; a node may die before that is on the disk."""
        trial = self.known.trials.get(REF)
        if trial is None or not self.judging or self.disk.active != trial.version:
            return
        self.judging = False
        if works:
            self.known = self.known.ended(REF)
        else:
            failed = Failed(trial.version, trial.back, "no", self.clock, max(trial.retry, self.retry))
            self.known = self.known.failed(REF, failed)
        if saved:
            self.save()
            if works:
                self.proven.add(trial.version)
            else:
                self.barred.add(trial.version)
                self.proven.discard(trial.version)
        else:
            self.die()

    def save(self) -> None:
        self.disk.known = self.known

    def die(self) -> None:
        """Another process takes over."""
        self.known, self.judging = self.disk.known, False

    def live(self, rounds: int, dies_after: int) -> None:
        """So many plans, or fewer; dies after so many durable steps."""
        left = dies_after
        for _ in range(rounds):
            self.save()
            plan = reconcile(self.goals(), self.observed(), 0.0)
            for action in plan.actions:
                for _ in self.steps(action):
                    left -= 1
                    if left == 0:
                        self.die()
                        return
            if not plan.actions:
                return

    def rests(self) -> bool:
        self.save()
        return not reconcile(self.goals(), self.observed(), 0.0).actions

    def forgive(self) -> None:
        """Somebody at the node says that what failed last is to be tried again."""
        failures = self.known.failures.get(REF, ())
        if failures:
            self.known = self.known.pardoned(REF, failures[-1].version)
            self.barred.discard(failures[-1].version)
            self.save()

    def heed(self) -> None:
        """Somebody at the hub says it."""
        self.retry += 1
        self.barred.discard(version(self.number))


happenings = st.one_of(
    st.tuples(st.just("want"), st.integers(0, 5)),
    st.tuples(st.just("verdict"), st.sampled_from([(True, True), (False, True), (True, False), (False, False)])),
    st.tuples(st.just("live"), st.tuples(st.integers(1, MOST), st.integers(1, 30))),
    st.tuples(st.just("die"), st.none()),
    st.tuples(st.just("forgive"), st.none()),
    st.tuples(st.just("heed"), st.none()),
)


def befall(node: Node, what: str, how: object) -> None:
    match what, how:
        case "want", int(number):
            node.number = number
        case "verdict", (bool(works), bool(saved)):
            node.verdict(works=works, saved=saved)
        case "live", (int(rounds), int(dies_after)):
            node.live(rounds, dies_after)
        case "die", _:
            node.die()
        case "forgive", _:
            node.forgive()
        case "heed", _:
            node.heed()
        case _:
            raise AssertionError(what)


@given(st.lists(happenings, max_size=40))
@example([("want", 1), ("live", (2, 4)), ("verdict", (False, True)), ("forgive", None)])  # before the way back
@settings(max_examples=400, deadline=None)
def test_what_failed_is_never_in_use_once_a_node_rests_and_what_was_proven_is_never_lost(
    story: list[tuple[str, object]],
) -> None:
    node = Node()
    for what, how in story:
        befall(node, what, how)
        if node.rests():
            active, trial = node.disk.active, node.known.trials.get(REF)
            assert active not in node.barred, "what failed is in use"
            assert active is None or active in node.proven or (trial is not None and trial.version == active)
            assert active is None or active in node.disk.held
            assert trial is None or trial.back is None or trial.back in node.disk.held
    node.number = 6  # something that was never tried, and works
    for _ in range(4):
        node.live(MOST, 1_000)
        node.verdict(works=True, saved=True)
    assert node.rests(), "never comes to rest"
    (goal,) = node.goals().goals
    assert is_active(goal, node.observed())
    assert not node.known.trials


@given(st.lists(happenings, max_size=30))
@settings(max_examples=200, deadline=None)
def test_what_failed_is_not_fetched_again_though_it_is_still_wanted(story: list[tuple[str, object]]) -> None:
    node = Node()
    for what, how in story:
        befall(node, what, how)
    for goal in node.goals().goals:
        if goal.version in node.barred and node.known.failure(REF, goal.version):
            gone = replace(node.observed(), held=frozenset(node.disk.held - {goal.version}), active={})
            plan = reconcile(node.goals(), gone, 0.0)
            assert not any(isinstance(action, Fetch | Try) for action in plan.actions)
            assert wanted(node.goals(), gone).refs == {REF}


def test_the_law_of_deadlines_holds_whatever_the_clock_does() -> None:
    trial = Trial(version(1), None, began=1_000.0, deadline=60.0)
    assert trial.left(1_010.0) == 50.0
    assert trial.left(2_000.0) == 0.0
    assert trial.left(0.0) == 60.0, "a clock that was set back gives no more than there was"
