"""The only place that adds up what fetching a manifest has cost, over all of its sessions since the agent started.

A session counts from nothing; people want to know what an update took, however often the link broke meanwhile.
"""

from __future__ import annotations

from collections.abc import Container

from modelsyncd.digest import Digest
from modelsyncd.session.progress import Progress

_NOTHING = Progress()


class Ledger:
    """What is known of each manifest that is or was fetched."""

    def __init__(self) -> None:
        self._past: dict[Digest, Progress] = {}
        self._settled: set[Digest] = set()

    def begin(self, manifest: Digest) -> bool:
        """It is asked for. Whether it counts anew: it had arrived before, and is fetched again."""
        if manifest not in self._settled:
            return False
        self._settled.discard(manifest)
        del self._past[manifest]
        return True

    def close(self, manifest: Digest, session: Progress, *, settled: bool = False) -> None:
        """A session's part of it is over; `settled` when all of it is here."""
        self._past[manifest] = self.sum(manifest, session)
        if settled:
            self._settled.add(manifest)

    def sum(self, manifest: Digest, session: Progress = _NOTHING) -> Progress:
        """All of it, with a session that is under way."""
        return joined(self._past.get(manifest, _NOTHING), session)

    def all(self) -> dict[Digest, Progress]:
        """Every manifest's sum, without sessions that are under way."""
        return dict(self._past)

    def keep(self, wanted: Container[Digest]) -> None:
        """Forgets all others."""
        self._past = {manifest: one for manifest, one in self._past.items() if manifest in wanted}
        self._settled = {manifest for manifest in self._settled if manifest in wanted}


def joined(past: Progress, session: Progress) -> Progress:
    """Both together. What a session finds there and nobody counted counts as had.

    That is what became durable while the session before was cut off.
    """
    travelled = past.done - past.had
    return Progress(
        total=session.total or past.total,
        had=max(0, session.had - travelled) if session.total else past.had,
        done=session.done if session.total else past.done,
        wire=past.wire + session.wire,
        resent=past.resent + session.resent,
        coded=past.coded + session.coded,
        giver_cpu=past.giver_cpu + session.giver_cpu,
        taker_cpu=past.taker_cpu + session.taker_cpu,
    )
