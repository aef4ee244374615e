"""The only place that says what a steward asks of whatever fetches: a session's pump, or a test's."""

from __future__ import annotations

from typing import Protocol

from modelsyncd.digest import Digest
from modelsyncd.session.frames import Offer
from modelsyncd.session.progress import Progress


class Fetcher(Protocol):
    """What fetches: a session's pump."""

    def take(self, offer: Offer, priority: int = 0) -> None:
        """Begins to fetch, or changes the priority."""

    def drop(self, manifest: Digest) -> None:
        """Stops fetching."""

    def progress(self, manifest: Digest) -> Progress:
        """How far a transfer has come."""
