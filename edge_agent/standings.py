"""The only place that words where each assignment stands, from the same facts that `reconcile` decides on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edge_agent.goals import Goal, Goals
from edge_agent.reconcile import Observed, is_active
from modelsyncd.digest import Digest
from modelsyncd.session.frames import Phase, Standing
from modelsyncd.session.progress import Progress

_NO_PROGRESS = Progress()


def standings(
    goals: Goals | None,
    observed: Observed,
    progress: Mapping[Digest, Progress],
    wall: Callable[[float], float] = lambda moment: moment,
) -> tuple[Standing, ...]:
    """One for each assignment, by name; `wall` turns a moment of the clock of `Setback.next_try` into 1970 seconds."""
    if goals is None:
        return ()
    found = [_of_goal(goal, observed, progress.get(goal.version.manifest, _NO_PROGRESS), wall) for goal in goals.goals]
    for misfit in goals.misfits:
        active = observed.active.get(misfit.ref)
        found.append(
            Standing(
                misfit.ref.model,
                misfit.ref.channel or "",
                Phase.WANTED if misfit.fault is None else Phase.REFUSED,
                active=active.number if active else 0,
                fault=misfit.fault,
            )
        )
    return tuple(sorted(found, key=lambda one: (one.model, one.channel)))


def outline(found: tuple[Standing, ...]) -> tuple[object, ...]:
    """What is worth a word to the hub at once: all but the bytes."""
    return tuple((one.model, one.channel, one.phase, one.desired, one.staged, one.active, one.fault) for one in found)


def _of_goal(goal: Goal, observed: Observed, progress: Progress, wall: Callable[[float], float]) -> Standing:
    active = observed.active.get(goal.ref)
    held = goal.version in observed.held
    phase = _phase(goal, observed, progress)
    setback = observed.setbacks.get(goal.version.manifest) if phase is not Phase.ACTIVE else None
    return Standing(
        model=goal.ref.model,
        channel=goal.ref.channel or "",
        phase=phase,
        desired=goal.version.number,
        staged=goal.version.number if held and phase is not Phase.ACTIVE else 0,
        active=active.number if active else 0,
        bytes_total=goal.size,
        bytes_done=goal.size if held else progress.done,
        bytes_had=goal.size if held and not progress.total else progress.had,  # nothing was ever fetched for it
        bytes_wire=progress.wire,
        fault=setback.fault if setback else None,
        next_try=wall(setback.next_try) if setback and phase is Phase.FAILED else 0.0,
        bytes_coded=progress.coded,
        giver_cpu=progress.giver_cpu,
        taker_cpu=progress.taker_cpu,
    )


def _phase(goal: Goal, observed: Observed, progress: Progress) -> Phase:
    manifest = goal.version.manifest
    if is_active(goal, observed):
        return Phase.ACTIVE
    if manifest in observed.taking and goal.version not in observed.held:
        return Phase.STAGED if 0 < progress.total <= progress.done else Phase.FETCHING
    if manifest in observed.setbacks:
        return Phase.FAILED
    return Phase.VERIFIED if goal.version in observed.held else Phase.WANTED
