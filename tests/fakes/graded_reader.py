"""A second reader of graded payloads, written from docs/formats.md alone: slow, trusting, and without numpy."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import zstandard


class Row:
    """Bits, the lowest bit of the lowest byte first."""

    def __init__(self, data: bytes) -> None:
        self._bits = int.from_bytes(data, "little")

    def take(self, width: int) -> int:
        found = self._bits & ((1 << width) - 1)
        self._bits >>= width
        return found


class Facts:
    """Numbers one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")


def frequencies(weights: bytes) -> list[int]:
    amounts = [round(16 * 2 ** ((weight - 1) / 4)) if weight else 0 for weight in weights]
    count = sum(amount > 0 for amount in amounts)
    found = [1 + amount * (4096 - count) // sum(amounts) if amount else 0 for amount in amounts]
    found[found.index(max(found))] += 4096 - sum(found)
    return found


def range_decoded(states: list[int], words: bytes, tables: list[list[int]], names: list[int]) -> list[int]:
    symbols = []
    supply = iter(range(0, len(words), 2))
    for at, name in enumerate(names):
        lane = at % len(states)
        slot, begin, symbol = states[lane] % 4096, 0, 0
        while slot >= begin + tables[name][symbol]:
            begin += tables[name][symbol]
            symbol += 1
        often = tables[name][symbol]
        states[lane] = often * (states[lane] // 4096) + slot - begin
        if states[lane] < 1 << 16:
            place = next(supply)
            states[lane] = states[lane] << 16 | int.from_bytes(words[place : place + 2], "little")
        symbols.append(symbol)
    return symbols


def coarse_symbols(facts: Facts, words: bytes, rest: bytes, kinds: list[int]) -> tuple[list[int], bytes]:
    """The symbols and the plain part."""
    count, lanes = facts.number(1), 1 << facts.number(1)
    sparse = [flag != 0 for flag in facts.take(count)]
    sizes = {kind: (facts.number(4), facts.number(4)) for kind in range(count) if sparse[kind]}
    first = [sum(2 if flag else 1 for flag in sparse[:kind]) for kind in range(count)]
    tables = [frequencies(facts.take(facts.number(1) + 1)) for _ in range(count + sum(sparse))]
    names = [first[kind] for kind in kinds if not sparse[kind]]
    for kind, (gaps, others) in sizes.items():
        names += [first[kind]] * gaps + [first[kind] + 1] * others
    head = (lanes + 1) // 2
    lengths = Row(rest[:head])
    widths = [lengths.take(4) + 16 for _ in range(lanes)]
    took = head + (sum(widths) + 7) // 8
    low = Row(rest[head:took])
    states = [1 << width | low.take(width) for width in widths]
    decoded = iter(range_decoded(states, words, tables, names))
    dense = [next(decoded) for kind in kinds if not sparse[kind]]
    symbols = [0] * len(kinds)
    for kind, (gaps, others) in sizes.items():
        places = [at for at, other in enumerate(kinds) if other == kind]
        at, found = -1, []
        for gap in [next(decoded) for _ in range(gaps)]:
            at += gap if gap == 255 else gap + 1
            found += [] if gap == 255 else [at]
        for place in found[:others]:
            symbols[places[place]] = next(decoded)
    rest_of_dense = iter(dense)
    symbols = [symbol if sparse[kind] else next(rest_of_dense) for symbol, kind in zip(symbols, kinds, strict=True)]
    return symbols, b"".join((state & 0xFFFF).to_bytes(2, "little") for state in states) + rest[took:]


def decode(payload: bytes, base: bytes) -> bytes:
    """The chunk; `base` is zeros, as many as the chunk has bytes, where it was coded without one."""
    mark, width, edge, mantissa, group = payload[:5]
    low, floor = int.from_bytes(payload[5:7], "little"), int.from_bytes(payload[7:15], "little")
    length, stored = int.from_bytes(payload[15:19], "little"), int.from_bytes(payload[19:23], "little")
    raw, body = payload[23 : 23 + stored], payload[23 + stored :]
    facts = Facts(raw if length == stored else zstandard.ZstdDecompressor().decompress(raw))
    bits, size = 8 * width, len(base)
    edge = min(edge, size)
    count = (size - edge) // width
    odd = facts.take(size - count * width)
    groups = facts.take(-(-count // (1 << group)))
    filled = len(groups) << group
    old = [int.from_bytes(base[at : at + width], "little") for at in range(edge, edge + count * width, width)]
    old += [0] * (filled - count)
    decay = [0] * 1024
    if mantissa > 10 and any(flag & 128 for flag in groups):
        sunk = 0
        for at in range(1024):
            sunk += int.from_bytes(facts.take(4), "little", signed=True)
            decay[at] = sunk
    clients = facts.number(1) if mark & 2 else 1
    stepped = [at for at in range(filled) if mark & 1 and groups[at >> group] & 64]
    begun = [old[at] + decay[old[at] >> (mantissa - 10) & 1023] for at in stepped]
    led, body = _led(facts, body, begun, 1 << group) if mark & 1 else ([], body)
    there = dict(zip(stepped, led, strict=True))
    written = [at for at in range(filled) if groups[at >> group] & 15]
    changes = [0] * filled
    classes = [groups[at >> group] & 15 for at in written]
    exponents = [old[at] >> mantissa & ((1 << (bits - 1 - mantissa)) - 1) if mantissa else 0 for at in written]
    for at, change in zip(written, _changes(facts, body, width, classes, exponents, low), strict=True):
        changes[at] = change
    new = b""
    for at in range(count):
        change = changes[at]
        if groups[at >> group] & 128 and mantissa > 10:
            shift = decay[old[at] >> (mantissa - 10) & 1023]
            change += shift + _mean(old[at] + shift, clients, width)
        if mantissa and old[at] >> (bits - 1):
            change = -change
        if at in there:
            new += there[at].to_bytes(width, "little")
            continue
        ordered = (_order(old[at], bits, mantissa, floor) + change) % (1 << bits)
        new += _disorder(ordered, bits, mantissa, floor).to_bytes(width, "little")
    return odd[:edge] + new + odd[edge:]


def _mean(pattern: int, clients: int, width: int) -> int:
    """By how much the mean of so many equal floats is another one."""
    kind, number = {4: ("<f", "<I"), 8: ("<d", "<Q")}[width]
    (value,) = struct.unpack(kind, pattern.to_bytes(width, "little"))
    total = value
    for _ in range(clients - 1):
        (total,) = struct.unpack(kind, struct.pack(kind, total + value))
    (found,) = struct.unpack(number, struct.pack(kind, total / clients))
    return int(found) - pattern


def _led(facts: Facts, body: bytes, begun: list[int], group: int) -> tuple[list[int], bytes]:
    """The patterns of elements that stepped, and the body behind theirs."""
    count = len(begun) // group
    heights = struct.unpack(f"<{count}f", facts.take(4 * count))
    usual = facts.take(count)
    at = (len(begun) + 7) // 8
    end = at + facts.number(4)
    down, symbols = Row(body[:at]), zstandard.ZstdDecompressor().decompress(body[at:end])
    patterns = []
    for number, pattern in enumerate(begun):
        height = -heights[number // group] if down.take(1) else heights[number // group]
        (start,) = struct.unpack("<f", pattern.to_bytes(4, "little"))
        (there,) = struct.unpack("<I", struct.pack("<f", start + height))
        patterns.append(there)
    lengths = [
        (symbol + usual[number // group] - (there >> 23 & 255)) % 256
        for number, (symbol, there) in enumerate(zip(symbols, patterns, strict=True))
    ]
    size = (sum(lengths) + 7) // 8
    low = Row(body[end : end + size])
    found = []
    for there, length in zip(patterns, lengths, strict=True):
        number = low.take(length)
        rest = (number >> 1) + (1 << (length - 1) if length else 0)
        found.append((there + (-rest if number & 1 else rest)) % (1 << 32))
    return found, body[end + size :]


def _changes(  # noqa: PLR0917 - one call
    facts: Facts, body: bytes, width: int, classes: list[int], exponents: list[int], low: int
) -> Iterator[int]:
    if not classes:
        return
    span = facts.number(1)
    shift_of = {name: facts.take(span) for name in sorted(set(classes))}
    kind_of = {name: facts.take(span) for name in sorted(set(classes))}
    frame, words, far = (facts.number(4) for _ in range(3))
    escapes = [facts.number(width) for _ in range(far)]
    places = [min(max(exponent, low), low + span - 1) - low if span > 1 else 0 for exponent in exponents]
    cells = list(zip(classes, places, strict=True))
    shifts = [shift_of[name][place] for name, place in cells]
    kinds = [kind_of[name][place] for (name, place), shift in zip(cells, shifts, strict=True) if not shift]
    coarse: list[int] = []
    plain = body[frame + words :]
    if kinds:
        coarse, plain = coarse_symbols(facts, body[frame : frame + words], body[frame + words :], kinds)
    fine = iter(zstandard.ZstdDecompressor().decompress(body[:frame]) if any(shifts) else b"")
    few, beyond = iter(coarse), iter(escapes)
    numbers = [next(fine) if shift else next(few) for shift in shifts]
    sizes = [number + next(beyond) if number == 255 else number for number in numbers]
    row = Row(plain)
    taken = [row.take(shift + 1) if shift else 0 for shift in shifts]
    row.take(-sum(shift + 1 for shift in shifts if shift) % 8)
    for shift, size, bits_below in zip(shifts, sizes, taken, strict=True):
        if shift:
            number = size << shift | bits_below >> 1
            yield -number if bits_below & 1 else number
        else:
            yield -size if size and row.take(1) else size


def _order(pattern: int, bits: int, mantissa: int, floor: int) -> int:
    if not mantissa:
        return pattern
    magnitude = pattern & ((1 << (bits - 1)) - 1)
    if floor > 1 and magnitude:
        magnitude -= floor - 1
    return ~magnitude if pattern >> (bits - 1) else magnitude


def _disorder(ordered: int, bits: int, mantissa: int, floor: int) -> int:
    if not mantissa:
        return ordered
    negative = ordered >> (bits - 1)
    magnitude = (ordered ^ ((1 << bits) - 1)) if negative else ordered
    if floor > 1 and magnitude:
        magnitude += floor - 1
    return magnitude | negative << (bits - 1)
