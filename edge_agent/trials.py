"""The only place that knows the law of trials: what has to prove itself, what failed, and where the way back leads.

A trial begins with the switch to a version and ends with one verdict. While it runs, the version to go back to is the
last one that proved itself, however many newer ones were tried since. What failed is not tried again before somebody
says so. Nothing here acts or asks for the time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from modelsyncd.names import ModelRef
from modelsyncd.store.version import Version

REMEMBERED = 16  # failures of each channel
STARTS = 3  # of a trial's time: a version that takes the machine down each time must not be tried forever
PARDONED = -1  # less than anybody's count of retries


@dataclass(frozen=True, slots=True)
class Trial:
    """A version that a channel is switched to, and that has to prove itself.

    `back` is the last version that did, None when the channel led nowhere. `began` is seconds since 1970, `deadline`
    seconds from then. `retry` is how often somebody had said that what failed is to be tried again, `starts` how often
    its time began: once more after an absence in which it was over, because a node that was off proves nothing.
    """

    version: Version
    back: Version | None
    began: float
    deadline: float
    retry: int = 0
    starts: int = 1

    def left(self, wall: float) -> float:
        """Seconds left at `wall`; a clock that was set back gives no more than there were at first."""
        return max(0.0, min(self.deadline, self.began + self.deadline - wall))

    def begun_again(self, wall: float) -> Trial:
        """As it goes on after a start of the agent at `wall`: with its whole time if that was over, so often."""
        if self.left(wall) > 0 or self.starts >= STARTS:
            return self
        return replace(self, began=wall, starts=self.starts + 1)


@dataclass(frozen=True, slots=True)
class Failed:
    """A version that did not prove itself: not tried again before somebody's word counts more than `retry`.

    `back` is where the channel leads instead, None for nowhere; `at` is seconds since 1970.
    """

    version: Version
    back: Version | None
    why: str
    at: float
    retry: int = 0

    @property
    def number(self) -> int:
        """Release number."""
        return self.version.number


@dataclass(frozen=True, slots=True)
class Known:
    """What is on trial, one for each channel, and what failed, the oldest first. All methods give a new one."""

    trials: Mapping[ModelRef, Trial] = field(default_factory=dict)
    failures: Mapping[ModelRef, tuple[Failed, ...]] = field(default_factory=dict)

    def failure(self, ref: ModelRef, version: Version) -> Failed | None:
        """How a version failed on a channel."""
        return next((one for one in self.failures.get(ref, ()) if one.version.manifest == version.manifest), None)

    def tried(self, ref: ModelRef, trial: Trial) -> Known:
        """A trial begins; what was on trial there before is not any more, and that it failed before is forgotten."""
        return replace(self.forgiven(ref, trial.version), trials={**self.trials, ref: trial})

    def begun_again(self, wall: float) -> Known:
        """After a start of the agent."""
        return replace(self, trials={ref: trial.begun_again(wall) for ref, trial in self.trials.items()})

    def ended(self, ref: ModelRef) -> Known:
        """Nothing is on trial there any more."""
        return replace(self, trials={one: trial for one, trial in self.trials.items() if one != ref})

    def failed(self, ref: ModelRef, failed: Failed) -> Known:
        """What was on trial there failed."""
        rest = self.forgiven(ref, failed.version).ended(ref)
        return replace(rest, failures={**rest.failures, ref: (*rest.failures.get(ref, ()), failed)[-REMEMBERED:]})

    def pardoned(self, ref: ModelRef, version: Version) -> Known:
        """A version may be tried again there. That it failed stays known: the channel may yet have to be led back."""
        failures = self.failures.get(ref, ())
        kept = tuple(replace(one, retry=PARDONED) if one.version == version else one for one in failures)
        return replace(self, failures={**self.failures, ref: kept}) if kept else self

    def undone(self, ref: ModelRef, before: Known) -> Known:
        """What is known of one channel is as it was; all others stay as they are."""
        trials = {one: trial for one, trial in self.trials.items() if one != ref}
        failures = {one: failed for one, failed in self.failures.items() if one != ref}
        if ref in before.trials:
            trials[ref] = before.trials[ref]
        if ref in before.failures:
            failures[ref] = before.failures[ref]
        return replace(self, trials=trials, failures=failures)

    def forgiven(self, ref: ModelRef, version: Version) -> Known:
        """That a version failed there counts no more."""
        kept = tuple(one for one in self.failures.get(ref, ()) if one.version.manifest != version.manifest)
        rest = {one: failures for one, failures in self.failures.items() if one != ref}
        return replace(self, failures={**rest, ref: kept} if kept else rest)


@dataclass(frozen=True, slots=True)
class Try:
    """Switch a channel to a version that has to prove itself; `back` is where the way back leads, `retry` as above."""

    ref: ModelRef
    version: Version
    back: Version | None
    retry: int = 0


@dataclass(frozen=True, slots=True)
class Judge:
    """Find out whether the version on trial works."""

    ref: ModelRef


@dataclass(frozen=True, slots=True)
class GoBack:
    """Lead a channel back to what proved itself; nowhere for None."""

    ref: ModelRef
    version: Version | None


@dataclass(frozen=True, slots=True)
class Forget:
    """What is on trial there is so no more: the channel leads to what proved itself, or nobody judges."""

    ref: ModelRef


Step = Judge | GoBack | Forget


@dataclass(frozen=True, slots=True)
class Tried:
    """All that decisions about trials depend on: channels with a gate, what is known, and what is being judged."""

    gated: frozenset[ModelRef] = frozenset()
    known: Known = field(default_factory=Known)
    judging: frozenset[ModelRef] = frozenset()

    def stands(self, ref: ModelRef, version: Version) -> bool:
        """Whether a version that is active has nothing to prove there."""
        if ref not in self.gated:
            return True
        trial = self.known.trials.get(ref)
        return (trial is None or trial.version != version) and self.known.failure(ref, version) is None

    def on_trial(self, ref: ModelRef, active: Version | None) -> Trial | None:
        """The trial of what is active there."""
        trial = self.known.trials.get(ref) if ref in self.gated else None
        return trial if trial is not None and trial.version == active else None

    def bars(self, ref: ModelRef, version: Version, retry: int) -> Failed | None:
        """Why a version is not to be tried there; `retry` is how often somebody said that it is."""
        failed = self.known.failure(ref, version) if ref in self.gated else None
        return failed if failed is not None and retry <= failed.retry else None

    def back(self, ref: ModelRef, active: Version | None) -> Version | None:
        """Where the way back leads from whatever is switched to next."""
        trial = self.known.trials.get(ref)
        return trial.back if trial is not None else active

    def needed(self) -> Iterator[tuple[ModelRef, Version]]:
        """Versions that a way back leads to."""
        for ref, trial in self.known.trials.items():
            if ref in self.gated and trial.back is not None:
                yield ref, trial.back

    def steps(self, active: Mapping[ModelRef, Version], held: Collection[Version]) -> Iterator[Step]:
        """What is due whatever is wanted: first the ways back."""
        yield from self._ways_back(active, held)
        for ref, trial in self.known.trials.items():
            leads = active.get(ref)
            if ref not in self.gated or leads is None or leads == trial.back:
                yield Forget(ref)
            elif leads == trial.version and ref not in self.judging:
                yield Judge(ref)

    def _ways_back(self, active: Mapping[ModelRef, Version], held: Collection[Version]) -> Iterator[GoBack]:
        """From what failed, and from what was to give way to something newer on trial when the node went down."""
        for ref, leads in active.items():
            if ref not in self.gated:
                continue
            failed, trial = self.known.failure(ref, leads), self.known.trials.get(ref)
            if trial is not None and leads not in (trial.version, trial.back):
                yield GoBack(ref, trial.back if trial.back in held else None)
            elif failed is not None and (trial is None or leads != trial.version):
                yield GoBack(ref, failed.back if failed.back in held else None)
