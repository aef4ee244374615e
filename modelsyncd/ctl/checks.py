"""What a look for what is wrong finds: one frozen value for each thing that was looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from modelsyncd.errors import ModelsyncError


class State(StrEnum):
    """How a thing is."""

    WELL = "well"
    COULD_BE_BETTER = "could-be-better"
    WRONG = "wrong"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing. `advice` are lines to type or do; `facts` are for programs."""

    name: str
    state: State
    says: str
    advice: tuple[str, ...] = ()
    facts: tuple[tuple[str, object], ...] = ()
    error: ModelsyncError | None = None
    """What the command ends with when this is wrong."""


def wrong(name: str, error: ModelsyncError, **facts: object) -> Check:
    """A check that went wrong with this error."""
    advice = (error.hint,) if error.hint else ()
    return Check(name, State.WRONG, error.message, advice, tuple(facts.items()), error)


def worst(checks: Sequence[Check]) -> ModelsyncError | None:
    """What to end with: the first thing that is wrong."""
    return next((one.error for one in checks if one.error is not None), None)
