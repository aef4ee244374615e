"""A chunk as differences that are graded by how large a change is usual where they lie: the smallest coding.

`docs/formats.md` says byte by byte what a payload looks like. Every count in one is bounded by the chunk's size, which
the reader knows beforehand.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from modelsyncd.codec import decay, native, numbers, patterns, scales, sides, steps
from modelsyncd.codec.hint import Hint
from modelsyncd.codec.numbers import Lay
from modelsyncd.codec.patterns import Grain
from modelsyncd.codec.scales import CLASSES, SPAN, Scales
from modelsyncd.digest import Buffer
from modelsyncd.errors import DamageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelsyncd.codec.patterns import Pattern

MARK = 0x10  # the first byte of every such payload
_WITH_STEPS = 1  # more, if groups stepped (steps.py)
_OF_CLIENTS = 2  # more, if what decayed is a mean of several clients' weights (decay.py)
_MARKS = frozenset(bytes((MARK + more,)) for more in range(4))
_HEAD = struct.Struct("<BBBBBHQ")
_DECAYED = 0x80  # in a group's byte: decay.py's table was subtracted
_STEPPED = 0x40  # steps.py foretold it
_LARGEST_GROUP = 10  # log2 of elements
_MOST_FACTS = 1 << 16  # bytes, beyond what grows with the chunk


@dataclass(frozen=True, slots=True)
class _Field:
    """A chunk's elements in groups of `1 << group`, the last one filled up with zeros."""

    grain: Grain
    group: int
    low: int
    span: int

    def rows(self, pattern: Pattern) -> Pattern:
        import numpy as np  # noqa: PLC0415 - an idle agent never loads it

        odd = -len(pattern) % (1 << self.group)
        padded = np.pad(pattern, (0, odd)) if odd else pattern
        return padded.reshape(-1, 1 << self.group)

    @property
    def lay(self) -> Lay:
        """What decides about cells, as numbers."""
        return Lay(self.group, self.grain.mantissa, self.low, self.span)

    def exponents(self, old: Pattern) -> NDArray[np.uint8]:
        """The base's exponents, counted from `low`, as far as they are told apart."""
        import numpy as np  # noqa: PLC0415

        if not self.grain.mantissa or self.span == 1:
            return np.zeros(old.shape, dtype=np.uint8)
        most = (1 << (self.grain.bits - 1 - self.grain.mantissa)) - 1
        field = (old >> self.grain.mantissa) & most
        found = np.clip(field, self.low, min(self.low + self.span - 1, most))
        found -= self.low
        return np.asarray(found, dtype=np.uint8)


def marked(payload: Buffer) -> bool:
    """Whether a payload is of this kind."""
    return bytes(payload[:1]) in _MARKS


def compress(plain: Buffer, base: Buffer | None, hint: Hint) -> bytes | None:
    """The payload; None when there is not one whole element or the differences are too wild for it."""
    import numpy as np  # noqa: PLC0415

    grain = patterns.grain_of(hint)
    new, odd = grain.elements(plain)
    if not len(new):
        return None
    old = np.zeros_like(new) if base is None else grain.elements(base)[0]
    grain = replace(grain, floor=_floor(grain, new, old, alone=base is None))
    field = _field(grain, old, hint)
    old, new = field.rows(old), field.rows(new)
    change = patterns.change_of(old, new, grain)
    decayed, change = _without_decay(change, old, grain)
    groups, table = decayed.groups, decayed.table
    stepped = None if base is None else _stepped(old, new, groups, table, grain)
    if base is None and grain.mantissa:
        groups |= change.any(axis=1)
    else:
        groups |= scales.classes(_levels(change, old, field))
    if stepped is not None:
        groups[stepped.groups] = _STEPPED
    classes = groups & np.uint8(CLASSES - 1)
    facts = odd + groups.tobytes() + (decay.write(table) if table is not None else b"")
    mark = MARK
    if decayed.clients > 1:
        mark += _OF_CLIENTS
        facts += bytes((decayed.clients,))
    led = b""
    if stepped is not None:
        more, led = steps.write(stepped, new)
        mark += _WITH_STEPS
        facts += more
    head = _HEAD.pack(mark, grain.width, grain.edge, grain.mantissa, field.group, field.low, grain.floor)
    if not classes.any():
        return head + sides.fold(facts) + led
    scale = scales.by_exponent(grain.mantissa) if base is None and grain.mantissa else None
    scale, (more, body) = _numbers(change, old, classes, field, scale)
    present = np.unique(classes[classes != 0])
    return head + sides.fold(facts + scales.write(scale, present) + more) + led + body


def _numbers(
    change: Pattern, old: Pattern, classes: NDArray[np.uint8], field: _Field, scale: Scales | None
) -> tuple[Scales, tuple[bytes, bytes]]:
    """What is usual where, measured if it is not known, and the changes in groups with a class: facts and body."""
    import numpy as np  # noqa: PLC0415

    if native.on() and field.grain.width < 8:
        return _numbers_compiled(change, old, classes, field, scale)
    moved = classes != 0
    if not moved.all():
        change, old, classes = change[moved], old[moved], classes[moved]
    negative = change >> (field.grain.bits - 1)
    size = ((change ^ -negative) + negative).ravel()
    cells = (classes.astype(np.uint16)[:, None] * np.uint16(field.span) + field.exponents(old)).ravel()
    scale = scale or scales.measure(size, cells, field.span)
    return scale, numbers.write(size, negative.ravel(), cells, scale)


def _numbers_compiled(
    change: Pattern, old: Pattern, classes: NDArray[np.uint8], field: _Field, scale: Scales | None
) -> tuple[Scales, tuple[bytes, bytes]]:
    import numpy as np  # noqa: PLC0415

    from modelsyncd.codec.compiled import cells, elements  # noqa: PLC0415

    lay = field.lay
    if scale is None:
        sums = np.zeros((3, CLASSES * field.span))
        elements.tally(change.ravel(), old.ravel(), classes, lay.group, lay.mantissa, lay.low, lay.span, *sums)
        scale = scales.fitting(sums[0], sums[1], sums[2], field.span)
    cut = cells.cut(change.ravel(), old.ravel(), classes, lay, scale.shifts, scale.kinds)
    return scale, numbers.folded(cut)


def _floor(grain: Grain, new: Pattern, old: Pattern, *, alone: bool) -> int:
    floor = patterns.smallest(grain, new, old)
    if not alone or not floor:
        return floor
    return ((floor - 1) >> grain.mantissa << grain.mantissa) + 1  # symbols then begin where exponents do


def _field(grain: Grain, old: Pattern, hint: Hint) -> _Field:
    columns = hint.columns
    group = min(max((columns & -columns).bit_length() - 1, 5), 8) if columns else 6
    if not grain.mantissa:
        return _Field(grain, group, 0, 1)
    magnitude = old & ((1 << (grain.bits - 1)) - 1)
    highest = int(magnitude.max()) >> grain.mantissa
    lowest = int(magnitude.min()) >> grain.mantissa
    low = max(lowest, highest - SPAN + 1)
    return _Field(grain, group, low, highest - low + 1)


@dataclass(frozen=True, slots=True)
class _Decayed:
    """A byte for each group; what decay did at each place, None if nowhere; whose mean it is."""

    groups: NDArray[np.uint8]
    table: NDArray[np.int32] | None
    clients: int


def _without_decay(change: Pattern, old: Pattern, grain: Grain) -> tuple[_Decayed, Pattern]:
    """What decayed, and the changes without that."""
    import numpy as np  # noqa: PLC0415

    groups = np.zeros(len(change), dtype=np.uint8)
    if not decay.can_be(grain):
        return _Decayed(groups, None, 1), change
    signed = change.view(f"<i{grain.width}")
    alone = decay.touched_only_by_decay(signed)
    if alone.sum() < 8:
        return _Decayed(groups, None, 1), change
    was, by = old[alone], signed[alone]
    place = decay.places(was, grain)
    table = decay.learn(by.ravel(), place.ravel())
    clients = decay.clients(by, was, table, grain)
    if clients > 1:
        table = decay.learn((by - decay.shift(was, table, clients, grain) + table.take(place)).ravel(), place.ravel())
    change[alone] -= decay.shift(was, table, clients, grain).astype(change.dtype)
    groups[alone] = _DECAYED
    return _Decayed(groups, table, clients), change


def _stepped(
    old: Pattern, new: Pattern, groups: NDArray[np.uint8], table: NDArray[np.int32] | None, grain: Grain
) -> steps.Steps | None:
    """The groups that stepped, among those without decay alone; None when none did."""
    found = steps.find(old, new, groups == 0, table, grain) if steps.can_be(grain) else None
    return found if found is not None and len(found.groups) else None


def _levels(change: Pattern, old: Pattern, field: _Field) -> NDArray[np.float64]:
    """The change of each group, in units that are the same for all exponents."""
    import numpy as np  # noqa: PLC0415

    if native.on() and field.grain.width < 8:
        from modelsyncd.codec.compiled import elements  # noqa: PLC0415

        lay, level = field.lay, np.empty(len(change), dtype=np.float32)
        elements.levels(change.ravel(), old.ravel(), lay.group, lay.mantissa, lay.low, lay.span, level)
        return level.astype(np.float64)
    negative = change >> (field.grain.bits - 1)
    real = ((change ^ -negative) + negative).astype(np.float32)
    if field.grain.mantissa and field.span > 1:
        unit = np.exp2(np.arange(field.span, dtype=np.float32) - np.float32(field.span))
        real *= unit.take(field.exponents(old))
    for _ in range(field.group):  # halves to halves: sums that are rounded the same in every loop
        half = real.shape[1] // 2
        real = real[:, :half] + real[:, half:]
    return real[:, 0].astype(np.float64)


def decompress(payload: Buffer, base: Buffer | None, size: int) -> bytes:
    """The `size` plain bytes. Raises DamageError."""
    import numpy as np  # noqa: PLC0415

    if len(payload) < _HEAD.size:
        raise DamageError("a chunk's payload ends early")
    mark, width, edge, mantissa, group, low, floor = _HEAD.unpack_from(payload)
    grain = patterns.checked(width, edge, mantissa, floor)
    if group > _LARGEST_GROUP or (mantissa and low >> (grain.bits - 1 - mantissa)):
        raise DamageError("a chunk has groups or exponents that can't be")
    count = grain.count(size)
    facts = sides.Facts(payload, _HEAD.size, 2 * size + _MOST_FACTS)
    odd = facts.take(size - count * width)
    groups = np.frombuffer(facts.take(-(-count >> group)), dtype=np.uint8)
    field = _Field(grain, group, low, 1)
    old = field.rows(np.zeros(count, dtype=f"<u{width}") if base is None else grain.elements(base)[0])
    table = decay.read(facts.take(decay.SIZE)) if (groups & _DECAYED).any() and decay.can_be(grain) else None
    body = payload[facts.end :]
    clients = facts.number(1) if (mark - MARK) & _OF_CLIENTS else 1
    if not 0 < clients <= decay.CLIENTS:
        raise DamageError("a chunk is the mean of more clients than it can be")
    stepped = np.flatnonzero(groups & _STEPPED) if (mark - MARK) & _WITH_STEPS else None
    if stepped is not None:
        if not steps.can_be(grain):
            raise DamageError("a chunk has steps that can't be")
        led, body = steps.read(facts, body, steps.shrunk(old[stepped], table, grain))
    classes = groups & np.uint8(CLASSES - 1)
    if classes.any():
        change = _restored(body, facts, field, old, classes)
    elif len(body):
        raise DamageError("a chunk without a change has numbers")
    else:
        change = np.zeros(old.shape, dtype=old.dtype)
    facts.finish()
    if table is not None:
        alone = (groups & _DECAYED) != 0
        change[alone] += decay.shift(old[alone], table, clients, grain).astype(change.dtype)
    new = patterns.changed(old, change, grain)
    if stepped is not None:
        new[stepped] = led
    new = new.ravel()[:count]
    before = min(edge, size)
    return odd[:before] + new.tobytes() + odd[before:]


def _restored(body: Buffer, facts: sides.Facts, field: _Field, old: Pattern, classes: NDArray[np.uint8]) -> Pattern:
    """The changes, 0 in groups without a class."""
    import numpy as np  # noqa: PLC0415

    present = np.unique(classes[classes != 0])
    scale = scales.read(facts, present, field.grain.bits)
    field = replace(field, span=scale.span)
    if native.on() and field.grain.width < 8:
        return numbers.read_compiled(facts, body, old.ravel(), classes, lay=field.lay, scale=scale).reshape(old.shape)
    moved = classes != 0
    if not moved.all():
        change = np.zeros(old.shape, dtype=old.dtype)
        change[moved] = _read(body, facts, field, old[moved], classes[moved], scale=scale)
        return change
    return _read(body, facts, field, old, classes, scale=scale)


def _read(
    body: Buffer, facts: sides.Facts, field: _Field, old: Pattern, classes: NDArray[np.uint8], *, scale: Scales
) -> Pattern:
    import numpy as np  # noqa: PLC0415

    cells = (classes.astype(np.uint16)[:, None] * np.uint16(scale.span) + field.exponents(old)).ravel()
    return numbers.read(facts, body, cells, scale, old.dtype).reshape(old.shape)
