"""What a node decides in the cases that people will ask about, one scenario each."""

from dataclasses import replace

import pytest

from edge_agent.goals import Goal, Goals, Misfit, newest, understand
from edge_agent.reconcile import (
    RETRY_CAP,
    STUBBORN_FLOOR,
    Activate,
    Discard,
    Drop,
    Fetch,
    Observed,
    Plan,
    Prune,
    Setback,
    Unlink,
    reconcile,
    set_back,
)
from modelsyncd.digest import digest_of
from modelsyncd.errors import BadInputError
from modelsyncd.names import ModelName, ModelRef
from modelsyncd.release import ManifestRef, Release, SignedRelease, Variant
from modelsyncd.session.frames import Assignment, Desired, Fault, Offer
from modelsyncd.store.version import Version

HELMET = ModelName("acme", "helmet")
STABLE = ModelRef(HELMET, channel="stable")
FULL = Fault("disk-full", "no room", retryable=True)


def version(number: int, model: ModelName = HELMET) -> Version:
    return Version(model, number, digest_of(f"{number}".encode()))


def goal(number: int, ref: ModelRef = STABLE, priority: int = 0) -> Goal:
    which = version(number, ref.model)
    signed = SignedRelease(f"{ref.model}:{number}".encode())
    return Goal(ref, which, Offer(signed, which.manifest), digest_of(signed.release), 10, priority)


def goals(*wanted: Goal, keep: int = 2) -> Goals:
    return Goals(1, wanted, keep=keep)


def release(model: ModelName, number: int) -> Release:
    return Release(model, number, (Variant("default", ManifestRef(version(number).manifest, 1, 10, 1, bytes(32))),))


def read(raw: bytes) -> Release:
    """A release's bytes are `namespace/name:number` in these tests."""
    model, _, number = raw.decode().partition(":")
    if not number:
        raise BadInputError("not a release")
    namespace, _, name = model.partition("/")
    return release(ModelName(namespace, name), int(number))


def assignment(raw: str, number: int = 1, channel: str = "stable", priority: int = 0) -> Assignment:
    return Assignment(HELMET, channel, Offer(SignedRelease(raw.encode()), version(number).manifest), priority)


def test_a_new_release_is_fetched_then_activated_then_nothing_is_left() -> None:
    wanted = goals(goal(1))
    seen = Observed(online=True)
    assert reconcile(wanted, seen, 0).actions == (Fetch(goal(1).offer, 0),)
    seen = replace(seen, taking={version(1).manifest: 0})
    assert reconcile(wanted, seen, 0) == Plan()
    seen = replace(seen, taking={}, held=frozenset({version(1)}))
    assert reconcile(wanted, seen, 0).actions == (Activate(STABLE, version(1)),)
    assert reconcile(wanted, replace(seen, active={STABLE: version(1)}), 0) == Plan()


def test_a_complete_version_is_activated_with_the_hub_away() -> None:
    seen = Observed(held=frozenset({version(1)}), online=False)
    assert reconcile(goals(goal(1)), seen, 0).actions == (Activate(STABLE, version(1)),)


def test_going_back_to_a_version_that_is_still_here_fetches_nothing() -> None:
    held = frozenset({version(1), version(2)})
    seen = Observed(held=held, active={STABLE: version(2)}, previous={STABLE: version(1)}, online=True)
    assert reconcile(goals(goal(1)), seen, 0).actions == (Activate(STABLE, version(1)),)


def test_a_link_to_a_version_that_has_gone_makes_it_fetched_again() -> None:
    seen = Observed(active={STABLE: version(1)}, online=True)
    assert reconcile(goals(goal(1)), seen, 0).actions == (Fetch(goal(1).offer, 0),)


def test_a_fetch_that_the_hub_no_longer_wants_is_dropped() -> None:
    seen = Observed(taking={version(1).manifest: 0}, online=True)
    assert reconcile(goals(goal(2)), seen, 0).actions == (Drop((version(1).manifest,)), Fetch(goal(2).offer, 0))


def test_a_changed_priority_is_said_again() -> None:
    seen = Observed(taking={version(1).manifest: 0}, online=True)
    assert reconcile(goals(goal(1, priority=5)), seen, 0).actions == (Fetch(goal(1).offer, 5),)


def test_an_unassigned_channel_loses_its_link_but_its_versions_stay_as_seeds() -> None:
    held = frozenset({version(1), version(2)})
    seen = Observed(held=held, active={STABLE: version(2)}, previous={STABLE: version(1)})
    assert reconcile(goals(), seen, 0).actions == (Unlink(STABLE),)


def test_the_oldest_versions_beyond_keep_are_pruned_and_never_the_active_or_the_previous_one() -> None:
    held = frozenset(version(number) for number in range(1, 7))
    seen = Observed(held=held, active={STABLE: version(2)}, previous={STABLE: version(1)})
    pruned = reconcile(goals(goal(2), keep=3), seen, 0).actions
    assert pruned == tuple(Prune(version(number)) for number in (3, 4, 5))


def test_the_active_and_the_previous_version_stay_even_when_one_is_to_be_kept() -> None:
    seen = Observed(
        held=frozenset({version(1), version(2)}), active={STABLE: version(2)}, previous={STABLE: version(1)}
    )
    assert reconcile(goals(goal(2), keep=1), seen, 0) == Plan()


def test_a_version_that_a_transfer_may_be_coded_against_is_pruned_only_when_it_is_over() -> None:
    held = frozenset(version(number) for number in range(1, 6))
    seen = Observed(held=held, active={STABLE: version(5)}, previous={STABLE: version(4)})
    lent = replace(seen, lent=frozenset({version(1).manifest}))
    assert reconcile(goals(goal(5), keep=2), lent, 0).actions == (Prune(version(2)), Prune(version(3)))
    assert Prune(version(1)) in reconcile(goals(goal(5), keep=2), seen, 0).actions


def test_a_version_that_waits_for_its_switch_is_not_pruned() -> None:
    held = frozenset({version(1), version(2), version(3)})
    seen = Observed(
        held=held,
        active={STABLE: version(3)},
        previous={STABLE: version(2)},
        setbacks={version(1).manifest: Setback(FULL, 1, 50)},
    )
    assert reconcile(goals(goal(1), keep=1), seen, 0) == Plan(wake_at=50)


def test_a_setback_is_waited_out_and_the_old_version_stays_meanwhile() -> None:
    seen = Observed(
        held=frozenset({version(1)}),
        active={STABLE: version(1)},
        setbacks={version(2).manifest: Setback(FULL, 1, 50)},
        online=True,
    )
    assert reconcile(goals(goal(2)), seen, 49) == Plan(wake_at=50)
    assert reconcile(goals(goal(2)), seen, 50).actions == (Fetch(goal(2).offer, 0),)


def test_staged_leftovers_serve_as_a_seed_until_all_is_here() -> None:
    left = version(9).manifest
    seen = Observed(staged=frozenset({left}), taking={version(1).manifest: 0}, online=True)
    assert reconcile(goals(goal(1)), seen, 0) == Plan()
    seen = replace(seen, taking={}, held=frozenset({version(1)}), active={STABLE: version(1)})
    assert reconcile(goals(goal(1)), seen, 0).actions == (Discard(left),)


def test_staged_leftovers_go_at_once_when_their_room_is_needed() -> None:
    left = version(9).manifest
    staged = frozenset({left, version(1).manifest})
    seen = Observed(staged=staged, setbacks={version(1).manifest: Setback(FULL, 1, 50)}, online=True)
    assert reconcile(goals(goal(1)), seen, 0) == Plan((Discard(left),), wake_at=50)


def test_two_models_with_the_same_content_are_fetched_one_after_the_other() -> None:
    vest = ModelRef(ModelName("acme", "vest"), channel="stable")
    wanted = goals(goal(1, priority=1), goal(1, ref=vest))
    seen = Observed(online=True)
    assert reconcile(wanted, seen, 0).actions == (Fetch(goal(1).offer, 1),)
    seen = Observed(online=True, held=frozenset({version(1)}), active={STABLE: version(1)})
    assert reconcile(wanted, seen, 0).actions == (Fetch(goal(1, ref=vest).offer, 0),)


def test_a_desired_of_an_older_generation_is_ignored() -> None:
    old, new = Desired(4, ()), Desired(5, (assignment("acme/helmet:1"),))
    assert newest(new, old) is new
    assert newest(old, new) is new
    assert newest(None, old) is old


def test_a_repeated_generation_replaces_what_was_known() -> None:
    first, again = Desired(4, ()), Desired(4, (assignment("acme/helmet:1"),))
    assert newest(first, again) is again


def test_one_senseless_assignment_does_not_stop_the_others() -> None:
    desired = Desired(1, (assignment("garbage", channel="canary"), assignment("acme/helmet:1")))
    understood = understand(desired, read)
    assert [one.version for one in understood.goals] == [version(1)]
    (misfit,) = understood.misfits
    assert misfit.ref.channel == "canary"
    assert misfit.fault is not None
    assert misfit.fault.code == "bad-input"


@pytest.mark.parametrize("raw", ["acme/vest:1", "acme/helmet:2"])
def test_a_release_of_another_model_or_without_the_manifest_is_a_misfit(raw: str) -> None:
    understood = understand(Desired(1, (assignment(raw, number=1),)), read)
    assert understood.goals == ()
    assert understood.misfits[0].fault is not None


def test_a_channel_that_names_nothing_yet_keeps_its_link() -> None:
    understood = understand(Desired(1, (Assignment(HELMET, "stable", None),)), read)
    assert understood.misfits == (Misfit(STABLE, None),)
    seen = Observed(held=frozenset({version(1)}), active={STABLE: version(1)})
    assert reconcile(understood, seen, 0) == Plan()


def test_goals_come_most_urgent_first_and_one_for_each_channel() -> None:
    low, high = assignment("acme/helmet:1"), assignment("acme/helmet:1", channel="canary", priority=9)
    twice = assignment("acme/helmet:1", channel="canary", priority=-9)
    understood = understand(Desired(1, (low, twice, high)), read)
    assert [(str(one.ref), one.priority) for one in understood.goals] == [("acme/helmet@canary", 9), (str(STABLE), 0)]


@pytest.mark.parametrize(("own", "hub", "kept"), [(None, 3, 3), (5, 3, 5), (None, 0, 1), (0, 3, 1)])
def test_the_nodes_own_keep_beats_the_hubs_and_is_at_least_one(own: int | None, hub: int, kept: int) -> None:
    assert understand(Desired(1, (), keep=hub), read, keep=own).keep == kept


def test_waits_double_with_each_failure_up_to_a_cap_and_jitter_never_makes_them_longer() -> None:
    waits = []
    before: Setback | None = None
    for _ in range(12):
        before = set_back(before, FULL, 1_000.0, 1.0)
        waits.append(before.next_try - 1_000.0)
    assert waits[:4] == [2.0, 4.0, 8.0, 16.0]
    assert waits[-1] == RETRY_CAP
    assert set_back(None, FULL, 1_000.0, 0.0).next_try == 1_001.0


def test_a_failure_that_someone_must_act_on_waits_longer_but_is_tried_again() -> None:
    first = set_back(None, Fault("damage", "bad bytes at the hub"), 0.0, 1.0)
    assert first.next_try == STUBBORN_FLOOR
    assert first.tries == 1
