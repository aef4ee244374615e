"""The only place that keeps and prints what the pairs cost: a file of results, and tables for docs/benchmarks.md."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.bytes.ours import Trip
from benchmarks.bytes.pairs import Pair
from benchmarks.bytes.peers import TOOLS, Cost
from benchmarks.table import show


@dataclass(frozen=True, slots=True)
class Row:
    """What one pair cost everybody."""

    pair: Pair
    size: int
    peers: Mapping[str, Cost]
    up: Trip
    down: Trip

    @property
    def ours(self) -> Trip:
        """In the direction that the pair is about."""
        return self.up if self.pair.up or self.pair.first else self.down

    @property
    def met(self) -> bool:
        """Whether we reach the goal."""
        return self.ours.bytes <= self.pair.goal * self.size


def write(rows: list[Row], path: Path) -> None:
    """Everything that was measured, as JSON."""
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1))


def tables(rows: list[Row]) -> None:
    """The goals; each peer's share; seconds and CPU."""
    goals, shares, work = [], [], []
    for row in rows:
        best = min(row.peers, key=lambda name: row.peers[name].bytes, default="")
        share = row.ours.bytes / row.size
        goals.append(
            (
                row.pair.title,
                f"{row.size / 1e6:.1f}",
                f"{_percent(row.peers[best].bytes, row.size)} ({best})" if best else "-",
                f"≤ {row.pair.goal * 100:g}",
                f"**{_percent(row.ours.bytes, row.size)}**",
                "met" if row.met else f"missed by {(share - row.pair.goal) * 100:.2g}",
            )
        )
        costs = [row.peers.get(name) for name in _names(rows)]
        shares.append((row.pair.title, *("-" if cost is None else _percent(cost.bytes, row.size) for cost in costs)))
        work.append(
            (
                row.pair.title,
                *(_percent(trip.bytes, row.size) for trip in (row.up, row.down)),
                *(f"{figure:.1f}" for trip in (row.up, row.down) for figure in _work(trip)),
                *("-" if cost is None else f"{cost.seconds:.1f}" for cost in costs),
            )
        )
    show(
        "Bytes at the socket to bring the new file to one who holds the old one, % of the new file",
        ("pair", "MB", "best peer", "goal", "ours", ""),
        goals,
    )
    show("Each peer, % of the new file", ("pair", *_names(rows)), shares)
    show(
        "Ours in both directions, and seconds on one machine (CPU seconds of giver, of taker)",
        ("pair", "push %", "sync %", "push s", "giver", "taker", "sync s", "giver", "taker", *_names(rows)),
        work,
    )


def _names(rows: list[Row]) -> list[str]:
    return [name for name in TOOLS if any(name in row.peers for row in rows)]


def _work(trip: Trip) -> tuple[float, float, float]:
    return trip.seconds, trip.giver_cpu, trip.taker_cpu


def _percent(part: int, whole: int) -> str:
    return f"{part / whole * 100:.3g}"
