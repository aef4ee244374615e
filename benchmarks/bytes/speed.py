"""The only place that times the codecs: both profiles, by both kinds of loops, beside zstd -1, in one thread."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import zstandard
from blake3 import blake3

from benchmarks.bytes.pairs import BY_NAME
from benchmarks.table import show
from modelsyncd.bases import Read, gather
from modelsyncd.codec import native, registry
from modelsyncd.codec.hint import Hint
from modelsyncd.codec.profile import Profile
from modelsyncd.daemon.loops import Workshop, kept_folder
from modelsyncd.digest import Buffer, Digest
from modelsyncd.link.malloc import raise_thresholds
from modelsyncd.manifest import ChunkTable
from modelsyncd.matching import Hints, match
from modelsyncd.store.source import scan

NAMES = ("fp32-300", "bf16-300", "fp16-300", "onnx-int8-300", "last-two-layers", "first-fp32")
ROUNDS = 3
LOOPS = {"numpy": False, "compiled": True}
LINKS = (("20 Mbit/s", 20e6), ("1 Gbit/s", 1e9))


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk that travels, and what it is coded against."""

    plain: bytes
    base: bytes | None
    hint: Hint
    digest: bytes


@dataclass(frozen=True, slots=True)
class Speed:
    """Of one way to code: payload bytes, and CPU seconds to encode and decode all of it."""

    coded: int
    encode: float
    decode: float


def run(cache: Path) -> None:
    """Prints one table. Raises SystemExit where numba is not installed or can't compile."""
    raise_thresholds()  # as all programs do
    if not Workshop(kept_folder()).wait():
        raise SystemExit("loops can't be compiled here: pip install 'modelsyncd[fast]'")
    rows = []
    for name in NAMES:
        pieces = _pieces(BY_NAME[name].old(cache), BY_NAME[name].new(cache))
        size = sum(len(piece.plain) for piece in pieces)
        usual = _measured(pieces, Usual())
        rows.append(_row(name, "zstd -1", size, usual, usual))
        for profile in (Profile.SMALLEST, Profile.FAST):
            for loops, compiled in LOOPS.items():
                native.use(compiled=compiled)
                ours = _measured(pieces, Ours(profile))
                rows.append(_row(name, f"{profile.name.lower()}, {loops}", size, ours, usual))
    rates = ("encode MB/s", "of zstd -1", "decode MB/s", "of zstd -1", "CPU s/GB, both")
    links = tuple(f"saved at {name}, s/GB" for name, _ in LINKS)
    show(
        "Codecs in one thread, BLAKE3 of the plain bytes on both sides included; link seconds against sending it plain",
        ("pair", "coding", "MB that differ", "payload %", *rates, *links),
        rows,
    )


def _pieces(old: Path | None, new: Path) -> list[Piece]:
    """Those that the old file has nowhere, with what resembles them there."""
    with scan(new) as source, scan(old or new) as before:
        table, had, hints = ChunkTable(source.manifest), ChunkTable(before.manifest), Hints(source.manifest)
        there = {had.digest(ordinal) for ordinal in range(len(had))} if old is not None else set[Digest]()
        found = match(source.manifest, before.manifest, _reader(new), _reader(old or new))
        pieces = []
        for ordinal in range(len(table)):
            chunk = table.chunk(ordinal)
            if chunk.digest not in there:
                runs = found.runs(ordinal) if old is not None else None
                base = None if runs is None else gather(runs, _reader(old or new))
                pieces.append(Piece(source.read(ordinal), base, hints.of(ordinal), chunk.digest))
    return pieces


def _reader(path: Path) -> Read:
    held = path.read_bytes()
    return lambda file, offset, size: held[offset : offset + size]


class Coder(Protocol):
    """One way to code a chunk."""

    def encode(self, piece: Piece) -> tuple[registry.Codec, Buffer]:
        """Its payload, and by which codec."""

    def decode(self, codec: registry.Codec, payload: Buffer, piece: Piece) -> Buffer:
        """The plain bytes again."""


class Usual:
    """What everybody has: zstd's level 1."""

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(level=1)
        self._decompressor = zstandard.ZstdDecompressor()

    def encode(self, piece: Piece) -> tuple[registry.Codec, Buffer]:
        """Without a base."""
        return registry.Codec.ZSTD, self._compressor.compress(piece.plain)

    def decode(self, codec: registry.Codec, payload: Buffer, piece: Piece) -> Buffer:
        """Knows its size from the frame."""
        return self._decompressor.decompress(payload)


class Ours:
    """One of the profiles, by the same door as the hub, the agent and ctl."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    def encode(self, piece: Piece) -> tuple[registry.Codec, Buffer]:
        """Whatever is smallest among what this profile tries."""
        return registry.encode(piece.plain, registry.READABLE, piece.hint, piece.base, self._profile)

    def decode(self, codec: registry.Codec, payload: Buffer, piece: Piece) -> Buffer:
        """With the base, if it was coded against it."""
        base = piece.base if codec in registry.NEEDS_BASE else None
        return registry.decode(codec, payload, len(piece.plain), base)


def _measured(pieces: Sequence[Piece], coder: Coder) -> Speed:
    """The median of some rounds. Raises RuntimeError when what comes back is not what went in."""
    encodes, decodes, coded = [], [], 0
    for _ in range(ROUNDS):
        began = time.process_time()
        payloads = [coder.encode(piece) for piece in pieces if blake3(piece.plain).digest()]
        encodes.append(time.process_time() - began)
        coded = sum(len(payload) for _, payload in payloads)
        began = time.process_time()
        for piece, (codec, payload) in zip(pieces, payloads, strict=True):
            back = coder.decode(codec, payload, piece)
            if blake3(back).digest() != piece.digest:
                raise RuntimeError("a chunk did not come back as it was")
        decodes.append(time.process_time() - began)
    return Speed(coded, statistics.median(encodes), statistics.median(decodes))


def _row(name: str, coding: str, size: int, speed: Speed, usual: Speed) -> tuple[object, ...]:
    cpu = (speed.encode + speed.decode) / size * 1e9
    saved = [(size - speed.coded) * 8 / rate / size * 1e9 for _, rate in LINKS]
    return (
        BY_NAME[name].title,
        coding,
        f"{size / 1e6:.1f}",
        f"{speed.coded / size * 100:.3g}",
        f"{size / 1e6 / speed.encode:.0f}",
        usual.encode / speed.encode,
        f"{size / 1e6 / speed.decode:.0f}",
        usual.decode / speed.decode,
        f"{cpu:.1f}",
        *(f"{seconds:.1f}" for seconds in saved),
    )


if __name__ == "__main__":
    run(Path(sys.argv[1]))
