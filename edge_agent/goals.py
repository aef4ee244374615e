"""The only place that reads what the hub wants of this node: a Desired in, goals out, each judged by itself.

One assignment that makes no sense must not stop the others, so it becomes a misfit with a fault and stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edge_agent.quota import needed
from modelsyncd.digest import Digest, digest_of
from modelsyncd.errors import BadInputError, ModelsyncError, NoVariantError
from modelsyncd.fitting import misfits as keeps_off
from modelsyncd.manners import FREE, Manners
from modelsyncd.names import ModelName, ModelRef
from modelsyncd.release import Release, Variant
from modelsyncd.session.faults import fault_of
from modelsyncd.session.frames import Assignment, Desired, Facts, Fault, Offer, Unfit
from modelsyncd.store.version import Version


@dataclass(frozen=True, slots=True)
class Goal:
    """What one channel of this node should lead to; `size` is plain bytes of the content.

    `room` is what fetching it takes of the disk at most, `papers` are the bytes of its manifest. For the manifest
    `consent` the month's bytes may be exceeded. `retry` grows when somebody wants what failed here to be tried again.
    """

    ref: ModelRef
    version: Version
    offer: Offer
    release_digest: Digest
    size: int
    priority: int = 0
    room: int = 0
    papers: int = 0
    manners: Manners = FREE
    consent: Digest | None = None
    retry: int = 0
    variant: str = ""
    """Its name; "" when the release has no other."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """An assignment that can't be followed, and why; `fault` is None while its channel names no release yet.

    `number` is that of the release that it would lead to, 0 where that is not known.
    """

    ref: ModelRef
    fault: Fault | None
    number: int = 0


@dataclass(frozen=True, slots=True)
class Goals:
    """All that this node should hold, understood; `keep` versions of each model stay, at least 1.

    `pins` and `quota` (bytes, 0 for none) are the hub's; the node's own hold beside them (`quota.Room`). `manners` hold
    for all goals together.
    """

    generation: int
    goals: tuple[Goal, ...]
    misfits: tuple[Misfit, ...] = ()
    keep: int = 2
    pins: frozenset[ModelRef] = frozenset()
    quota: int = 0
    manners: Manners = FREE

    @property
    def refs(self) -> frozenset[ModelRef]:
        """Every channel that is assigned to this node, followed or not."""
        return frozenset(goal.ref for goal in self.goals) | frozenset(misfit.ref for misfit in self.misfits)


def newest(known: Desired | None, arrived: Desired) -> Desired:
    """The one to follow: a Desired that is older than what is known came late and is ignored."""
    return arrived if known is None or arrived.generation >= known.generation else known


def understand(
    desired: Desired, read: Callable[[bytes], Release], *, keep: int | None = None, facts: Facts | None = None
) -> Goals:
    """Reads each assignment with `read`, which may raise ModelsyncError; a `keep` of the node's own beats the hub's.

    With `facts`, what the node is now, a variant that does not fit it any more is not followed.
    """
    goals: list[Goal] = []
    misfits: list[Misfit] = []
    for assignment in _one_each(desired.assignments):
        ref = ModelRef(assignment.model, channel=assignment.channel)
        if assignment.offer is None:
            misfits.append(_unfit(ref, assignment.unfit))
            continue
        try:
            goal, variant = _goal(ref, assignment, assignment.offer, read)
        except ModelsyncError as error:
            misfits.append(Misfit(ref, fault_of(error)))
            continue
        why = [] if facts is None or desired.labels is None else keeps_off(variant.selector, desired.labels, facts)
        if why:
            said = Unfit(goal.version.number, (f"{variant.name}: {', '.join(why)}",))
            misfits.append(_unfit(ref, said))
        else:
            goals.append(goal)
    goals.sort(key=lambda goal: (-goal.priority, str(goal.ref)))
    kept = max(1, desired.keep if keep is None else keep)
    pins = frozenset(desired.pins)
    return Goals(desired.generation, tuple(goals), tuple(misfits), kept, pins, desired.quota, desired.manners)


def _one_each(assignments: Iterable[Assignment]) -> Iterable[Assignment]:
    """The most urgent of those that name the same channel."""
    best: dict[tuple[ModelName, str], Assignment] = {}
    for assignment in assignments:
        key = (assignment.model, assignment.channel)
        if key not in best or assignment.priority > best[key].priority:
            best[key] = assignment
    return best.values()


def _unfit(ref: ModelRef, unfit: Unfit | None) -> Misfit:
    """What is made of a channel that names nothing, or nothing that fits."""
    if unfit is None:
        return Misfit(ref, None)
    error = NoVariantError(
        f"no variant of {ref.model}:{unfit.number} fits this node: {'; '.join(unfit.why)}",
        safe="what is active stays active",
        hint=f"modelsyncctl push PATH {ref} --variant NAME --add-to {ref.model}:{unfit.number}",
    )
    return Misfit(ref, fault_of(error), unfit.number)


def _goal(
    ref: ModelRef, assignment: Assignment, offer: Offer, read: Callable[[bytes], Release]
) -> tuple[Goal, Variant]:
    release = read(offer.release.release)
    if release.model != ref.model:
        raise BadInputError(f"the hub offers {release.model} for {ref}", safe="what is active stays active")
    variant = release.variant(offer.manifest)
    manifest = variant.manifest
    version = Version(ref.model, release.number, manifest.digest)
    room = needed(manifest.content_size, manifest.files, manifest.size)
    goal = Goal(
        ref,
        version,
        offer,
        digest_of(offer.release.release),
        manifest.content_size,
        assignment.priority,
        room,
        manifest.size,
        assignment.manners,
        assignment.consent,
        assignment.retry,
        variant.name if len(release.variants) > 1 else "",
    )
    return goal, variant
