"""The only place that words where each assignment stands, from the same facts that `reconcile` decides on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from edge_agent.goals import Goal, Goals
from edge_agent.holds import Held, Ruling, rule
from edge_agent.reconcile import Observed, is_active, wanted
from edge_agent.trials import Failed
from modelsyncd.digest import Digest
from modelsyncd.errors import GateFailedError
from modelsyncd.session.faults import fault_of
from modelsyncd.session.frames import Fault, Hold, Phase, Standing
from modelsyncd.session.progress import Progress

_NO_PROGRESS = Progress()
_FREE = Held(Hold.NONE)


def standings(
    goals: Goals | None,
    observed: Observed,
    progress: Mapping[Digest, Progress],
    wall: Callable[[float], float] = lambda moment: moment,
    now: float = 0.0,
) -> tuple[Standing, ...]:
    """One for each assignment, by name; `wall` turns a moment of the clock of `now` into 1970 seconds."""
    if goals is None:
        return ()
    ruling = rule(wanted(goals, observed), observed.held, observed.link, now)
    found = [
        _of_goal(goal, observed, ruling, progress.get(goal.version.manifest, _NO_PROGRESS), wall)
        for goal in goals.goals
    ]
    for misfit in goals.misfits:
        active = observed.active.get(misfit.ref)
        found.append(
            Standing(
                misfit.ref.model,
                misfit.ref.channel or "",
                Phase.WANTED if misfit.fault is None else Phase.REFUSED,
                desired=misfit.number,
                active=active.number if active else 0,
                fault=misfit.fault,
                active_variant=observed.variants.get(misfit.ref, ""),
            )
        )
    return tuple(sorted(found, key=lambda one: (one.model, one.channel)))


def outline(found: tuple[Standing, ...]) -> tuple[object, ...]:
    """What is worth a word to the hub at once: all but the bytes."""
    return tuple(
        (
            *(one.model, one.channel, one.phase, one.desired, one.staged, one.active, one.fault),
            *(one.variant, one.active_variant),
            *(one.hold, one.forecast.revision if one.forecast is not None else 0),
        )
        for one in found
    )


class Since:
    """Remembers since when each assignment's phase and hold are as they are."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, str], tuple[Phase, Hold, float]] = {}

    def dated(self, found: tuple[Standing, ...], wall: float) -> tuple[Standing, ...]:
        """The same with `since`, in seconds since 1970; what is not among them is forgotten."""
        before, self._known = self._known, {}
        for one in found:
            phase, hold, since = before.get((one.model, one.channel), (None, None, wall))
            same = (phase, hold) == (one.phase, one.hold)
            self._known[one.model, one.channel] = (one.phase, one.hold, since if same else wall)
        return tuple(replace(one, since=self._known[one.model, one.channel][2]) for one in found)


def _of_goal(
    goal: Goal, observed: Observed, ruling: Ruling, progress: Progress, wall: Callable[[float], float]
) -> Standing:
    active = observed.active.get(goal.ref)
    held = goal.version in observed.held
    phase = _phase(goal, observed, progress)
    manifest = goal.version.manifest
    setback = observed.setbacks.get(manifest) if phase is not Phase.ACTIVE else None
    failed = observed.tried.bars(goal.ref, goal.version, goal.retry)
    hold = _hold(goal, phase, observed, ruling)
    return Standing(
        model=goal.ref.model,
        channel=goal.ref.channel or "",
        phase=phase,
        desired=goal.version.number,
        staged=goal.version.number if held and phase not in (Phase.ACTIVE, Phase.CONFIRMING) else 0,
        active=active.number if active else 0,
        bytes_total=goal.size,
        bytes_done=goal.size if held else progress.done,
        bytes_had=goal.size if held and not progress.total else progress.had,  # nothing was ever fetched for it
        bytes_wire=progress.wire,
        fault=_why(goal, failed) if failed and phase is Phase.ROLLED_BACK else setback.fault if setback else None,
        next_try=wall(setback.next_try) if setback and phase is Phase.FAILED else 0.0,
        bytes_coded=progress.coded,
        giver_cpu=progress.giver_cpu,
        taker_cpu=progress.taker_cpu,
        forecast=observed.link.forecasts.get(manifest),
        hold=hold.hold,
        hold_until=hold.until,
        bytes_resent=progress.resent,
        rate=observed.link.rates.get(manifest, 0.0),
        tries=setback.tries if setback else 0,
        variant=goal.variant,
        active_variant=observed.variants.get(goal.ref, ""),
    )


def _why(goal: Goal, failed: Failed) -> Fault:
    """What the hub is told of a version that gave way."""
    led = f"{failed.back.model}:{failed.back.number} is active again" if failed.back else "nothing is active"
    number = failed.version.number
    return fault_of(
        GateFailedError(
            f"{failed.version.model}:{number} did not prove itself on this node: {failed.why}",
            safe=led,
            hint=f"publish a better release, or have this one tried again: modelsyncctl retry {goal.ref}",
        )
    )


def _hold(goal: Goal, phase: Phase, observed: Observed, ruling: Ruling) -> Held:
    if goal.version in observed.held or phase in (Phase.STAGED, Phase.ROLLED_BACK):
        return _FREE
    if goal.ref in ruling.held:
        return ruling.held[goal.ref]
    if not observed.online:
        return Held(Hold.OFFLINE)
    manifest, taking = goal.version.manifest, observed.taking
    if manifest not in taking:
        return _FREE
    if manifest not in observed.link.going:
        return Held(Hold.QUOTE)
    urgent = (taking.get(other, goal.priority) > taking[manifest] for other in observed.link.going)
    return Held(Hold.PRIORITY) if any(urgent) else _FREE


def _phase(goal: Goal, observed: Observed, progress: Progress) -> Phase:
    manifest = goal.version.manifest
    if is_active(goal, observed):
        return Phase.ACTIVE
    if observed.tried.bars(goal.ref, goal.version, goal.retry):  # until the channel leads elsewhere, nothing is back
        return Phase.CONFIRMING if observed.active.get(goal.ref) == goal.version else Phase.ROLLED_BACK
    trial = observed.tried.known.trials.get(goal.ref) if goal.ref in observed.tried.gated else None
    if trial is not None and trial.version == goal.version:
        return Phase.CONFIRMING if observed.active.get(goal.ref) == goal.version else Phase.ACTIVATING
    if manifest in observed.taking and goal.version not in observed.held:
        return Phase.STAGED if 0 < progress.total <= progress.done else Phase.FETCHING
    if manifest in observed.setbacks:
        return Phase.FAILED
    return Phase.VERIFIED if goal.version in observed.held else Phase.WANTED
