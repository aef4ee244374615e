"""Whatever is on a node and whatever the hub wants: carrying plans out gets there, and on the way nothing is broken."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.goals import Goal, Goals
from edge_agent.reconcile import (
    Action,
    Activate,
    Discard,
    Drop,
    Fetch,
    Go,
    Observed,
    Prove,
    Prune,
    Refuse,
    Setback,
    Unlink,
    is_active,
    reconcile,
)
from edge_agent.trials import Forget, GoBack, Judge, Try
from modelsyncd.digest import Digest, digest_of
from modelsyncd.names import ModelName, ModelRef
from modelsyncd.release import SignedRelease
from modelsyncd.session.frames import Fault, Offer
from modelsyncd.store.version import Version

MODELS = [ModelName("acme", name) for name in ("helmet", "vest", "gate")]
CHANNELS = ["stable", "canary"]


def manifest_of(number: int) -> Digest:
    """Releases of different models with the same number share their content here, so that shared bytes occur."""
    return digest_of(b"manifest %d" % number)


def version(model: ModelName, number: int) -> Version:
    return Version(model, number, manifest_of(number))


def offer(which: Version) -> Offer:
    return Offer(SignedRelease(f"{which.model}:{which.number}".encode()), which.manifest)


def goal(ref: ModelRef, number: int, priority: int) -> Goal:
    which = version(ref.model, number)
    return Goal(ref, which, offer(which), digest_of(offer(which).release.release), 1, priority)


refs = st.builds(
    lambda model, channel: ModelRef(model, channel=channel), st.sampled_from(MODELS), st.sampled_from(CHANNELS)
)
versions = st.builds(version, st.sampled_from(MODELS), st.integers(1, 6))
setback = st.builds(
    Setback,
    st.sampled_from([Fault("disk-full", "full", retryable=True), Fault("damage", "bad")]),
    st.integers(1, 5),
    st.floats(0, 100),
)


@st.composite
def all_goals(draw: st.DrawFn) -> Goals:
    wanted = draw(st.dictionaries(refs, st.tuples(st.integers(1, 6), st.integers(-1, 1)), max_size=5))
    found = [goal(ref, number, priority) for ref, (number, priority) in wanted.items()]
    found.sort(key=lambda one: (-one.priority, str(one.ref)))
    return Goals(1, tuple(found), keep=draw(st.integers(1, 3)))


@st.composite
def all_observed(draw: st.DrawFn) -> Observed:
    known = draw(st.frozensets(versions, max_size=10))
    damaged = draw(st.frozensets(st.sampled_from(sorted(known)), max_size=3)) if known else frozenset()
    held = known - damaged
    links = [(ref, one) for one in known for ref in (ModelRef(one.model, channel=channel) for channel in CHANNELS)]
    active = dict(draw(st.lists(st.sampled_from(links), max_size=5)) if links else [])
    previous = dict(draw(st.lists(st.sampled_from(links), max_size=5)) if links else [])
    return Observed(
        held=held,
        damaged=damaged,
        unproven=draw(st.frozensets(st.sampled_from(sorted(held)))) if held else frozenset(),
        active=active,
        previous=previous,
        staged=draw(st.frozensets(st.builds(manifest_of, st.integers(1, 6)), max_size=3)),
        taking=draw(st.dictionaries(st.builds(manifest_of, st.integers(1, 6)), st.integers(-1, 1), max_size=2)),
        lent=draw(st.frozensets(st.builds(manifest_of, st.integers(1, 6)), max_size=2)),
        setbacks=draw(st.dictionaries(st.builds(manifest_of, st.integers(1, 6)), setback, max_size=3)),
        online=draw(st.booleans()),
    )


def carry_out(action: Action, seen: Observed, goals: Goals) -> Observed:
    """What a node looks like afterwards; asserts the laws at the moment they must hold."""
    match action:
        case Drop(manifests):
            return replace(seen, taking={key: value for key, value in seen.taking.items() if key not in manifests})
        case Prove(which):
            seen = replace(seen, unproven=seen.unproven - {which})
            if which.number % 3:
                return seen
            return replace(seen, held=seen.held - {which}, damaged=seen.damaged | {which})
        case Activate(ref, which):
            assert which in seen.held, "activated a version that is not whole"
            assert which not in seen.unproven, "activated a version that nobody looked at"
            before = seen.active.get(ref)
            previous = {**seen.previous, ref: before} if before is not None else seen.previous
            return replace(seen, active={**seen.active, ref: which}, previous=previous)
        case Unlink(ref):
            assert ref not in goals.refs, "unlinked a channel that is assigned"
            left = {key: value for key, value in seen.active.items() if key != ref}
            return replace(seen, active=left, previous={key: one for key, one in seen.previous.items() if key != ref})
        case Prune(which):
            assert which not in seen.active.values(), "pruned an active version"
            assert which not in seen.previous.values(), "pruned a previous version"
            rest = {one for one in seen.held | seen.damaged if one.model == which.model} - {which}
            assert which.manifest not in seen.lent, "pruned what a transfer counts on"
            assert len(rest) >= goals.keep, "kept fewer versions than asked"
            return replace(seen, held=seen.held - {which}, damaged=seen.damaged - {which})
        case Discard(manifest):
            assert manifest not in seen.taking, "threw away what is being fetched"
            return replace(seen, staged=seen.staged - {manifest})
        case Fetch(offered, priority):
            return replace(seen, taking={**seen.taking, offered.manifest: priority})
        case Go() | Refuse():
            raise AssertionError("nothing is limited here, and nothing asked for leave")
        case Try() | Judge() | GoBack() | Forget():
            raise AssertionError("no channel has a gate here")


def finish(seen: Observed, goals: Goals, manifest: Digest) -> Observed:
    """The transfer of this manifest ends well: it is one version then, of the model whose offer was asked for."""
    of = next(one for one in goals.goals if one.version.manifest == manifest and one.version not in seen.held)
    left = {key: value for key, value in seen.taking.items() if key != manifest}
    return replace(
        seen,
        held=seen.held | {of.version},
        damaged=seen.damaged - {of.version},
        taking=left,
        staged=seen.staged - {manifest},
    )


@given(all_goals(), all_observed())
@settings(max_examples=400, deadline=None)
def test_carrying_plans_out_leads_to_what_is_desired_and_then_nothing_is_left_to_do(
    goals: Goals, seen: Observed
) -> None:
    seen = replace(seen, online=True)
    now = 0.0
    for _ in range(60):
        plan = reconcile(goals, seen, now)
        for action in plan.actions:
            seen = carry_out(action, seen, goals)
        if not plan.actions and seen.taking:
            seen = finish(seen, goals, min(seen.taking))
        elif not plan.actions and plan.wake_at is not None:
            assert plan.wake_at > now
            now = plan.wake_at
        elif not plan.actions:
            break
    else:
        raise AssertionError("never came to rest")
    assert all(is_active(one, seen) for one in goals.goals)
    assert set(seen.active) <= goals.refs
    assert not seen.staged
    assert not seen.taking


@given(all_goals(), all_observed(), st.floats(0, 100))
@settings(max_examples=400, deadline=None)
def test_what_was_carried_out_is_not_asked_for_again(goals: Goals, seen: Observed, now: float) -> None:
    done = reconcile(goals, seen, now).actions
    after = seen
    for action in done:
        after = carry_out(action, after, goals)
    assert not set(done) & set(reconcile(goals, after, now).actions)


@given(all_goals(), all_observed(), st.floats(0, 100))
@settings(max_examples=300, deadline=None)
def test_nothing_is_fetched_while_offline_or_before_its_next_try(goals: Goals, seen: Observed, now: float) -> None:
    fetched = [action.offer.manifest for action in reconcile(goals, seen, now).actions if isinstance(action, Fetch)]
    assert len(fetched) == len(set(fetched))
    assert seen.online or not fetched
    assert all(manifest not in seen.setbacks or seen.setbacks[manifest].next_try <= now for manifest in fetched)


@given(all_observed(), st.floats(0, 100))
def test_before_the_hub_ever_spoke_nothing_is_touched(seen: Observed, now: float) -> None:
    plan = reconcile(None, seen, now)
    assert plan.actions == ()
    assert plan.wake_at is None
