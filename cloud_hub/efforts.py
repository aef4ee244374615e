"""The only place that says how hard chunks are coded for a peer: as its link asks for, and as it was promised.

A link that turns out faster than it was would have chunks coded less hard, and more would travel than was said. So what
was quoted to the end is given with the effort of the quote.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from types import MappingProxyType

from modelsyncd.codec.profile import Profile, profile_for
from modelsyncd.digest import Digest

Effort = Callable[[float], Profile]
"""How hard chunks are coded for a link that carries so many bytes a second; 0 when that is not known yet."""

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


class Efforts:
    """How hard chunks are coded for one peer: as was quoted for their manifest, else as its link is. For one loop."""

    def __init__(self, effort: Effort) -> None:
        self._effort = effort
        self._promised: OrderedDict[Digest, Profile] = OrderedDict()

    def of(self, manifest: Digest, rate: float) -> Profile:
        """The effort for chunks of this manifest, on a link of `rate` bytes a second."""
        return self._promised.get(manifest) or self._effort(rate)

    def for_link(self, rate: float) -> Profile:
        """The effort that the link alone asks for."""
        return self._effort(rate)

    def promise(self, manifest: Digest, profile: Profile) -> None:
        """From now on this manifest's chunks are given so."""
        self._promised[manifest] = profile
        self._promised.move_to_end(manifest)
        while len(self._promised) > PROMISES:
            self._promised.popitem(last=False)
