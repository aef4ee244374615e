"""The only place that says what a steward asks of whatever fetches: a session's pump, or a test's."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from modelsyncd.digest import Digest
from modelsyncd.session.events import Pace
from modelsyncd.session.frames import Frame, Offer
from modelsyncd.session.progress import Progress


class Fetcher(Protocol):
    """What fetches: a session's pump."""

    def take(self, offer: Offer, priority: int = 0, *, gated: bool = False) -> None:
        """Begins to fetch, or changes the priority; the content of a `gated` one waits for `go`."""

    def go(self, manifest: Digest, allowance: int | None = None) -> None:
        """Lets the content travel, as long as it takes no more payload bytes than that."""

    def pace(self, pace: Pace) -> None:
        """How fast to ask, from now on."""

    def drop(self, manifests: Collection[Digest]) -> None:
        """Stops fetching these."""

    def say(self, frame: Frame) -> None:
        """Sends a frame, before whatever is asked for next."""

    def progress(self, manifest: Digest) -> Progress:
        """How far a transfer has come."""
