"""Elements as integers that lie in the order of their values, so that a small change is a small difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelsyncd.codec import native
from modelsyncd.codec.hint import Hint
from modelsyncd.digest import Buffer
from modelsyncd.errors import DamageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pattern = NDArray[np.integer]

_MANTISSAS = {"f64": 52, "f32": 23, "f16": 10, "bf16": 7, "f8_e4m3": 3, "f8_e5m2": 2}


@dataclass(frozen=True, slots=True)
class Grain:
    """How elements lie in a chunk: `width` bytes each, the first whole one `edge` bytes behind the chunk's start.

    `mantissa`: bits of a float's mantissa; 0 for integers, which have no exponent. `floor`: the smallest magnitude
    but zero that occurs, as a bit pattern; the order has no gap between zero and it.
    """

    width: int
    edge: int
    mantissa: int
    floor: int = 0

    @property
    def bits(self) -> int:
        """Bits of an element."""
        return 8 * self.width

    def elements(self, plain: Buffer) -> tuple[Pattern, bytes]:
        """The whole elements' bit patterns, and the odd bytes before and behind them."""
        import numpy as np  # noqa: PLC0415 - an idle agent never loads it

        edge = min(self.edge, len(plain))
        count = (len(plain) - edge) // self.width
        found = np.frombuffer(plain, dtype=f"<u{self.width}", count=count, offset=edge)
        return found, bytes(plain[:edge]) + bytes(plain[edge + count * self.width :])

    def count(self, size: int) -> int:
        """Whole elements in a chunk of `size` bytes."""
        return (size - min(self.edge, size)) // self.width

    def order(self, pattern: Pattern) -> Pattern:
        """Integers in the order of the values; differences of them wrap around."""
        if not self.mantissa:
            return pattern
        sign = pattern >> (self.bits - 1)
        size = pattern & ((1 << (self.bits - 1)) - 1)
        if self.floor > 1:
            zero = size == 0
            size -= self.floor - 1
            size[zero] = 0
        size ^= -sign
        return size

    def disorder(self, ordered: Pattern) -> Pattern:
        """The bit patterns again."""
        if not self.mantissa:
            return ordered
        sign = ordered >> (self.bits - 1)
        size = ordered ^ -sign
        if self.floor > 1:
            zero = size == 0
            size += self.floor - 1
            size[zero] = 0
        size |= sign << (self.bits - 1)
        return size


def change_of(old: Pattern, new: Pattern, grain: Grain) -> Pattern:
    """How far each element moved in that order: away from zero is up, towards it is down."""
    import numpy as np  # noqa: PLC0415

    if native.on() and grain.width < 8:
        from modelsyncd.codec.compiled import elements  # noqa: PLC0415

        change = np.empty(old.shape, dtype=old.dtype)
        elements.changes(old.ravel(), new.ravel(), grain.mantissa, grain.floor, change.ravel())
        return change
    return _turn(grain.order(new) - grain.order(old), old, grain)


def changed(old: Pattern, change: Pattern, grain: Grain) -> Pattern:
    """The elements that moved so far. `change` may be overwritten."""
    import numpy as np  # noqa: PLC0415

    if native.on() and grain.width < 8:
        from modelsyncd.codec.compiled import elements  # noqa: PLC0415

        new = np.empty(old.shape, dtype=old.dtype)
        elements.changed(old.ravel(), change.ravel(), grain.mantissa, grain.floor, new.ravel())
        return new
    change = _turn(change, old, grain)
    change += grain.order(old)
    return grain.disorder(change)


def _turn(change: Pattern, old: Pattern, grain: Grain) -> Pattern:
    """Counts changes away from zero as positive and changes towards it as negative, and back."""
    if not grain.mantissa:
        return change
    sign = -(old >> (grain.bits - 1))
    change ^= sign
    change -= sign
    return change


def grain_of(hint: Hint) -> Grain:
    """What a hint says about how elements lie."""
    width = hint.width
    return Grain(width, -hint.phase % width, _MANTISSAS.get(hint.dtype, 0))


def checked(width: int, edge: int, mantissa: int, floor: int) -> Grain:
    """A grain as a payload describes it. Raises DamageError when it can't be."""
    if width not in (1, 2, 4, 8) or edge >= width or mantissa >= 8 * width - 1 or floor >= 1 << (8 * width - 1):
        raise DamageError("a chunk has elements that can't be")
    return Grain(width, edge, mantissa, floor)


def smallest(grain: Grain, *patterns: Pattern) -> int:
    """The floor of these elements."""
    if not grain.mantissa:
        return 0
    mask = (1 << (grain.bits - 1)) - 1
    if native.on() and grain.width < 8:
        from modelsyncd.codec.compiled import elements  # noqa: PLC0415

        floor = min((elements.least(pattern, mask) for pattern in patterns), default=0)
        return floor if floor <= mask else 0
    least = []
    for pattern in patterns:
        size = pattern & mask
        size -= 1  # zero becomes the largest of all
        if len(size):
            least.append(int(size.min()) + 1)
    floor = min(least, default=0)
    return floor if floor < 1 << (grain.bits - 1) else 0
