"""The only place that says how hard chunks are coded for a peer: as its link asks for, and as it was promised.

Where bytes are counted, or may come no faster than somebody said, a fast link is no reason to send more of them.

A link that turns out faster than it was would have chunks coded less hard, and more would travel than was said. So what
was quoted to the end is given with the effort of the quote.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from modelsyncd.codec.profile import Profile, profile_for
from modelsyncd.digest import Digest
from modelsyncd.manners import FREE, Manners
from modelsyncd.session.frames import Desired

Effort = Callable[[float], Profile]
"""How hard chunks are coded for a link that carries so many bytes a second; 0 when that is not known yet."""

FEWEST = 1.0  # bytes a second: a link on which every byte counts
PROMISES = 256  # manifests whose effort is remembered for one peer

EFFORTS: Mapping[str, Effort] = MappingProxyType(
    {
        "auto": profile_for,
        "smallest": lambda _: Profile.SMALLEST,
        "fast": lambda _: Profile.FAST,
        "plain": lambda _: Profile.PLAIN,
    }
)
"""By the word of the setting `coding`."""


def heeding(effort: Effort, rate: float, several: Iterable[Manners]) -> Profile:
    """The effort for a link of `rate` bytes a second (0 for unknown) that is used as these say."""
    several = list(several)
    if any(one.month_bytes for one in several):
        return effort(FEWEST)
    caps = [one.rate for one in several if one.rate]
    return effort(min([*caps, *([rate] if rate else [])], default=0.0))


class Efforts:
    """How hard chunks are coded for one peer: as was quoted for their manifest, else as its link is. For one loop."""

    def __init__(self, effort: Effort) -> None:
        self._effort = effort
        self._overall = FREE
        self._own: dict[Digest, Manners] = {}
        self._promised: OrderedDict[Digest, Profile] = OrderedDict()

    def heed(self, desired: Desired) -> None:
        """From now on the peer uses its link as it is told here."""
        self._overall = desired.manners
        offered = ((one.offer, one.manners) for one in desired.assignments)
        self._own = {offer.manifest: manners for offer, manners in offered if offer is not None and manners != FREE}

    def of(self, manifest: Digest, rate: float) -> Profile:
        """The effort for chunks of this manifest, on a link of `rate` bytes a second."""
        return self._promised.get(manifest) or self.fitting(manifest, rate)

    def fitting(self, manifest: Digest, rate: float) -> Profile:
        """The same, whatever was promised."""
        return heeding(self._effort, rate, (self._overall, self._own.get(manifest, FREE)))

    def promise(self, manifest: Digest, profile: Profile) -> None:
        """From now on this manifest's chunks are given so."""
        self._promised[manifest] = profile
        self._promised.move_to_end(manifest)
        while len(self._promised) > PROMISES:
            self._promised.popitem(last=False)
