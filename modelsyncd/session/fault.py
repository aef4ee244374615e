"""The only place that says what an error is while it travels; it needs nothing, so that a job's client loads little."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """An error as it travels: `code` for programs, the sentences for people."""

    code: str
    message: str
    safe: str = ""
    hint: str = ""
    retryable: bool = False
    next_number: int = 0
    """With "number-taken": the number that is free; 0 where it is not said."""
