"""The only list of what jobs ask about versions that are tried on this node, for whoever answers it."""

from __future__ import annotations

from typing import Protocol

from modelsyncd.names import ModelRef


class Trial(Protocol):
    """A version that has to prove itself."""

    @property
    def number(self) -> int:
        """Release number."""

    @property
    def seconds_left(self) -> float:
        """Until the version before it comes back."""


class Failed(Protocol):
    """A version that did not prove itself."""

    @property
    def number(self) -> int:
        """Release number."""

    @property
    def why(self) -> str:
        """In a sentence."""

    @property
    def at(self) -> float:
        """Seconds since 1970 UTC."""


class Trying(Protocol):
    """Who knows of trials. All methods belong to the loop's thread."""

    def confirm(self, ref: ModelRef, number: int, works: bool, why: str, who: str) -> bool:
        """Takes a job's word about a version; whether it counted."""

    def retry(self, ref: ModelRef) -> int:
        """Lets what failed be tried again; its number, 0 for none."""

    async def settled(self) -> None:
        """Returns when what was said is durable, or when the disk refused it."""

    def trial(self, ref: ModelRef) -> Trial | None:
        """What is tried now."""

    def failed(self, ref: ModelRef) -> Failed | None:
        """What failed last and was not tried again."""
