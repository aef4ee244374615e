"""The only place that makes forecasts of what the other side says, and knows what has leave to travel by which of them.

A forecast is made once the word is final, or when a transfer goes by an estimate. It is made again, as the next
revision, when what is to come would be another hundredth of it or more: every revision is told before bytes come by it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from edge_agent.holds import Asking, with_margin
from modelsyncd.digest import Digest
from modelsyncd.plan import Forecast
from modelsyncd.session.effects import Quoted
from modelsyncd.session.progress import Progress
from modelsyncd.session.taker import OVERRUN


class Forecasts:
    """What the manifests that a node wants will take. Times are handed in."""

    def __init__(self) -> None:
        self._made: dict[Digest, Forecast] = {}
        self._asking: dict[Digest, Asking] = {}
        self._until: dict[Digest, int] = {}  # payload bytes, from the first on, with which its leave ends
        self.untold: set[Digest] = set()
        """What has a newer forecast than anybody was told."""
        self._firm: set[Digest] = set()  # made of a final word, which counts when it is asked for again

    @property
    def asking(self) -> Mapping[Digest, Asking]:
        """What waits for leave."""
        return self._asking

    @property
    def going(self) -> frozenset[Digest]:
        """What has leave."""
        return frozenset(self._until)

    @property
    def made(self) -> Mapping[Digest, Forecast]:
        """The newest of each."""
        return self._made

    def quoted(self, word: Quoted, now: float) -> None:
        """The other side said this; what it is about waits now."""
        known = self._asking.get(word.manifest)
        self._until.pop(word.manifest, None)
        self._firm.discard(word.manifest)
        self._asking[word.manifest] = Asking(word.priced, known.since if known else now, word.final)

    def make(self, manifest: Digest, cost: Progress, *, disk: int, rate: float, wall: float) -> Forecast | None:
        """The forecast of what waits for leave, which took `cost` up to now; None while the one before holds."""
        asking, known = self._asking[manifest], self._made.get(manifest)
        if asking.final:
            self._firm.add(manifest)
        wire = cost.wire + asking.priced.wire
        holds = known is not None and abs(wire - known.wire) <= OVERRUN * known.wire
        if known is not None and holds and (known.priced.exact or not asking.priced.exact):
            return None
        revision = 1 if known is None else known.revision + (not holds)
        made = Forecast(cost.total - asking.priced.plain, asking.priced, cost.wire, disk, rate, revision, wall)
        self._made[manifest] = made
        if holds:
            return None
        self.untold.add(manifest)
        return made

    def go(self, manifest: Digest, spent: int, allowance: int) -> None:
        """It has leave for so many payload bytes more."""
        self._asking.pop(manifest, None)
        self._until[manifest] = spent + with_margin(allowance)

    def due(self, spent: Mapping[Digest, int]) -> Mapping[Digest, int]:
        """Payload bytes that are yet to come at most, where that is known; `spent` have come of each."""
        found = {name: with_margin(self._made[name].wire) for name in self._firm if name in self._made} | self._until
        found = {name: max(0, most - spent.get(name, 0)) for name, most in found.items()}
        return found | {name: with_margin(one.priced.wire) for name, one in self._asking.items() if one.final}

    def stop(self, manifest: Digest) -> None:
        """It is fetched no more."""
        self._asking.pop(manifest, None)
        self._until.pop(manifest, None)

    def begin(self) -> None:
        """Another session: what was guessed for want of a word is asked for anew."""
        for manifest in [*self._asking, *self._until]:
            self.stop(manifest)
        self._firm = {name for name in self._firm if name in self._made and self._made[name].priced.exact}

    def forget(self, manifest: Digest) -> None:
        """It arrived, and would be fetched anew."""
        self.stop(manifest)
        self._firm.discard(manifest)
        self.untold.discard(manifest)
        self._made.pop(manifest, None)

    def keep(self, wanted: Collection[Digest]) -> None:
        """Forgets all others."""
        for manifest in {*self._made, *self._asking, *self._until} - set(wanted):
            self.forget(manifest)
