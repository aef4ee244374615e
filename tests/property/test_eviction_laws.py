"""Whatever lies on a node and whatever is wanted: room is made with as little loss as can be, or nothing is touched."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.eviction import evict
from edge_agent.goals import Goal, Goals
from edge_agent.quota import Room
from edge_agent.reconcile import Discard, Fetch, Observed, Prune, Refuse, reconcile
from modelsyncd.digest import Digest, digest_of
from modelsyncd.errors import DiskFullError
from modelsyncd.names import ModelName, ModelRef
from modelsyncd.release import SignedRelease
from modelsyncd.session.frames import Offer
from modelsyncd.store.version import Version

MODELS = [ModelName("acme", name) for name in ("helmet", "vest", "gate")]


def version(model: ModelName, number: int) -> Version:
    return Version(model, number, digest_of(f"{model}:{number}".encode()))


def goal(which: Version, priority: int, room: int) -> Goal:
    offer = Offer(SignedRelease(f"{which.model}:{which.number}".encode()), which.manifest)
    ref = ModelRef(which.model, channel="stable")
    return Goal(ref, which, offer, digest_of(offer.release.release), room, priority, room)


versions = st.builds(version, st.sampled_from(MODELS), st.integers(1, 6))
sizes = st.integers(1, 50)
digests = st.builds(lambda number: digest_of(b"half %d" % number), st.integers(1, 4))


@st.composite
def rooms(draw: st.DrawFn) -> Room:
    held = draw(st.dictionaries(versions, sizes, max_size=10))
    staged = draw(st.dictionaries(digests, st.integers(0, 30), max_size=3))
    return Room(
        free=draw(st.integers(-10, 120)),
        used=sum(held.values()) + sum(staged.values()),
        quota=draw(st.integers(0, 200)),
        pins=frozenset(ModelRef(one.model, number=one.number) for one in draw(st.sets(versions, max_size=2))),
        versions=held,
        staged=staged,
        last_used={one: float(draw(st.integers(0, 5))) for one in held},
    )


@st.composite
def nodes(draw: st.DrawFn) -> tuple[Goals, Observed]:
    room = draw(rooms())
    known = sorted(room.versions)
    some = st.frozensets(st.sampled_from(known), max_size=3) if known else st.just(frozenset())
    wanted = draw(st.dictionaries(st.sampled_from(MODELS), st.tuples(st.integers(1, 9), sizes), max_size=3))
    goals = tuple(
        goal(version(model, number), priority, need) for priority, (model, (number, need)) in enumerate(wanted.items())
    )
    active = {ModelRef(one.model, channel="stable"): one for one in draw(some)}
    previous = {ModelRef(one.model, channel="stable"): one for one in draw(some)}
    lent = frozenset(one.manifest for one in draw(some))
    damaged = draw(some)
    coming = [one.version.manifest for one in goals if one.version not in room.versions]
    taking = dict.fromkeys(draw(st.sets(st.sampled_from(coming), max_size=1)), 0) if coming else {}
    observed = Observed(
        held=frozenset(known) - damaged,
        damaged=damaged,
        active=active,
        previous=previous,
        staged=frozenset(room.staged),
        taking=taking,
        lent=lent,
        room=room,
        online=True,
    )
    pins = frozenset(ModelRef(one.model, number=one.number) for one in draw(some))
    urgent_first = tuple(sorted(goals, key=lambda one: (-one.priority, str(one.ref))))
    return Goals(1, urgent_first, keep=100, pins=pins, quota=draw(st.integers(0, 200))), observed


@given(rooms(), st.integers(1, 120), st.data())
@settings(max_examples=300, deadline=None)
def test_what_goes_is_enough_and_none_of_it_is_needless(room: Room, missing: int, data: st.DataObject) -> None:
    spare = data.draw(st.frozensets(st.sampled_from(sorted(room.versions)))) if room.versions else frozenset()
    done = evict(missing, room, spare, room.staged)
    most = sum(room.versions[one] for one in spare) + sum(room.staged.values())
    assert bool(done.short) == (most < missing)
    if done.short:
        assert done.short == missing - most
        assert not done.versions + done.leftovers
        return
    freed = [room.versions[one] for one in done.versions] + [room.staged[one] for one in done.leftovers]
    assert done.freed == sum(freed) >= missing
    assert all(sum(freed) - size < missing for size in freed)
    assert set(done.versions) <= spare


@given(rooms(), st.integers(1, 120))
@settings(max_examples=300, deadline=None)
def test_a_version_that_stays_was_used_later_or_would_not_have_helped(room: Room, missing: int) -> None:
    done = evict(missing, room, room.versions, ())
    for stays in room.versions.keys() - set(done.versions) if done.versions else ():
        older = [one for one in done.versions if room.last_used[one] > room.last_used[stays]]
        # one that was used later goes only because this one is not large enough to go in its place
        freed = sum(room.versions[one] for one in done.versions)
        assert all(
            freed - room.versions[one] + room.versions[stays] < missing or _later(room, one, stays) for one in older
        )


def _later(room: Room, gone: Version, stays: Version) -> bool:
    return room.versions[stays] < room.versions[gone]


@given(nodes())
@settings(max_examples=200, deadline=None)
def test_what_is_active_previous_wanted_pinned_or_lent_never_goes(node: tuple[Goals, Observed]) -> None:
    goals, seen = node
    assert seen.room is not None
    pins = goals.pins | seen.room.pins
    for action in reconcile(goals, seen, 0.0).actions:
        if isinstance(action, Prune):
            which = action.version
            assert which not in seen.active.values()
            assert which not in seen.previous.values()
            assert which not in {one.version for one in goals.goals}
            assert ModelRef(which.model, number=which.number) not in pins
            assert which.manifest not in seen.lent


@given(nodes())
@settings(max_examples=200, deadline=None)
def test_what_is_fetched_fits_beside_what_is_under_way_and_what_can_never_fit_is_refused(
    node: tuple[Goals, Observed],
) -> None:
    goals, seen = node
    refused: set[Digest] = set()
    for _ in range(12):  # as the steward does: acts, looks, decides again
        actions = reconcile(goals, seen, 0.0).actions
        assert seen.room is not None
        begun = [one for one in actions if isinstance(one, Fetch) and one.offer.manifest not in seen.taking]
        needs = {one.version.manifest: one.room for one in goals.goals}
        new = [one.offer.manifest for one in begun]
        coming = [manifest for manifest in (*seen.taking, *new) if manifest in needs]
        lacking = sum(max(0, needs[manifest] - seen.room.staged.get(manifest, 0)) for manifest in coming)
        assert not new or lacking <= seen.room.left(goals.quota)
        refused |= {one.manifest for one in actions if isinstance(one, Refuse)}
        assert all(one.fault.code == DiskFullError.code for one in actions if isinstance(one, Refuse))
        seen = _carried_out(seen, actions)
        if not any(isinstance(one, Prune | Discard) for one in actions):
            break
    else:
        raise AssertionError("never came to rest")
    wanted = {one.version.manifest for one in goals.goals if one.version not in seen.held}
    assert wanted == seen.taking.keys() | refused


def _carried_out(seen: Observed, actions: tuple[object, ...]) -> Observed:
    assert seen.room is not None
    room = seen.room
    for action in actions:
        match action:
            case Prune(which):
                seen = replace(seen, held=seen.held - {which}, damaged=seen.damaged - {which})
                room = _without(room, room.versions.get(which, 0))
                room = replace(room, versions={key: one for key, one in room.versions.items() if key != which})
            case Discard(manifest):
                seen = replace(seen, staged=seen.staged - {manifest})
                room = _without(room, room.staged.get(manifest, 0))
                room = replace(room, staged={key: one for key, one in room.staged.items() if key != manifest})
            case Fetch(offer, priority):
                seen = replace(seen, taking={**seen.taking, offer.manifest: priority})
            case _:
                continue
    return replace(seen, room=room)


def _without(room: Room, size: int) -> Room:
    return replace(room, free=room.free + size, used=room.used - size)
