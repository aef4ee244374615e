"""The only place that pairs a tensor with the tensor of a base that it is most likely a version of.

The rule: the same name, if samples look related; names alone fail for PyTorch's numbered storages and for formats that
make names up. Otherwise the likest of the same dtype and size, also turned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from modelsyncd.bases import Read
from modelsyncd.limits import LIMITS
from modelsyncd.manifest import Manifest, Tensor
from modelsyncd.matching.crowd import Crowd
from modelsyncd.matching.elements import Element, is_same, mean_bits, signature
from modelsyncd.matching.namesakes import Namesakes
from modelsyncd.matching.samples import Located, Samples, located, sides, turned

TRUSTED = 64  # bytes: a smaller tensor is taken by its name, for a look costs more than it can save
SEARCHED = 256  # bytes: a smaller one is not looked for under other names
UNKNOWN = 0.5  # likeness of what was not looked at

_WIRE = 1 << 32  # columns that can't be said in a Turned

Kind = tuple[str, int, tuple[int, ...]]
"""(dtype, size, shape) of tensors among which one is searched; no shape when it does not matter."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The tensor to code against, turned or not; `likeness` is 0 for equal samples and 1 for none in common."""

    file: int
    tensor: Tensor
    turned: bool
    likeness: float


class Pairs:
    """Pairs of the tensors of one manifest with those of one base; found when asked for, and kept."""

    def __init__(self, new: Manifest, base: Manifest, read_new: Read, read_base: Read) -> None:
        self._new_samples = Samples(read_new)
        self._base_samples = Samples(read_base)
        self._base = base
        self._namesakes = Namesakes(new, base)
        self._found: dict[tuple[int, int, str], Pair | None] = {}
        self._kinds: dict[Kind, list[Located]] | None = None
        self._crowds: dict[tuple[Kind, bool], Crowd[Located]] = {}

    def of(self, new: Located) -> Pair | None:
        """What to code this tensor against. Raises what the readers raise."""
        key = (new.file, new.tensor.offset, new.tensor.name)
        if key not in self._found:
            self._found[key] = self._find(new)
        return self._found[key]

    def _find(self, new: Located) -> Pair | None:
        size = new.tensor.size
        named = self._namesakes.of(new)
        if size <= TRUSTED:
            same = (Pair(base.file, base.tensor, False, UNKNOWN) for base in named if base.tensor.size == size)
            return next(same, None)
        best: Pair | None = None
        for base in named:
            pair, sure = self._named(new, base)
            if sure:
                return pair
            best = _better(best, pair)
        if size < SEARCHED:
            return best
        for pair in self._search(new):
            best = _better(best, pair)
        return best

    def _named(self, new: Located, base: Located) -> tuple[Pair | None, bool]:
        """The pair with a tensor of the same name, and whether nobody needs to look further."""
        pair = self._straight(new, base)
        if pair is None or pair.likeness * new.element.bits >= new.element.sure:
            return pair, False
        size = min(new.tensor.size, base.tensor.size)
        samples = self._new_samples.spread(new, size), self._base_samples.spread(base, size)
        return pair, is_same(*samples, new.element)

    def _straight(self, new: Located, base: Located) -> Pair | None:
        size = min(new.tensor.size, base.tensor.size)
        bits = mean_bits(self._new_samples.spread(new, size), self._base_samples.spread(base, size), new.element)
        return _pair(base, bits, new.element, turned=False)

    def _search(self, new: Located) -> Iterator[Pair | None]:
        """The likest of the same dtype and size, and of the shape the other way round."""
        tensor = new.tensor
        sample = self._new_samples.spread(new, tensor.size)
        straight = self._crowd((tensor.dtype, tensor.size, ()), blocks=False)
        for base in straight.likest(signature(sample, new.element)):
            yield self._straight(new, base)
        shape = sides(tensor)
        kind = (tensor.dtype, tensor.size, tensor.shape[::-1])
        if shape is None or kind not in self._by_kind():
            return
        sample = turned(self._new_samples.blocks(new), new)
        crowd = self._crowd(kind, blocks=True)
        for base in crowd.likest(signature(sample, new.element)):
            bits = mean_bits(sample, self._base_samples.blocks(base), new.element)
            yield _pair(base, bits, new.element, turned=True)

    def _crowd(self, kind: Kind, *, blocks: bool) -> Crowd[Located]:
        key = (kind, blocks)
        if key not in self._crowds:
            look = self._base_samples.blocks if blocks else self._whole
            members = self._by_kind().get(kind, [])
            signed = ((signature(look(member), member.element), member) for member in members)
            self._crowds[key] = Crowd(signed)
        return self._crowds[key]

    def _whole(self, where: Located) -> bytes:
        return self._base_samples.spread(where, where.tensor.size)

    def _by_kind(self) -> dict[Kind, list[Located]]:
        """The base's tensors that may be searched: all by dtype and size, matrices by shape as well."""
        if self._kinds is None:
            kinds: dict[Kind, list[Located]] = defaultdict(list)
            for base in located(self._base):
                tensor = base.tensor
                if tensor.size >= SEARCHED:
                    kinds[tensor.dtype, tensor.size, ()].append(base)
                    shape = sides(tensor)
                    if shape is not None and shape[0] <= LIMITS.turned_rows and shape[1] < _WIRE:
                        kinds[tensor.dtype, tensor.size, tensor.shape].append(base)
            self._kinds = dict(kinds)
        return self._kinds


def _pair(base: Located, bits: float, element: Element, *, turned: bool) -> Pair | None:
    return Pair(base.file, base.tensor, turned, bits / element.bits) if bits < element.related else None


def _better(best: Pair | None, other: Pair | None) -> Pair | None:
    """The likelier one; the first of equals."""
    if best is None or other is None:
        return best or other
    return other if other.likeness < best.likeness else best
