"""How far a transfer has come."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """Bytes of one transfer's content: plain, but `wire`, which counts encoded payload of either part.

    `had` was there before the transfer began; `done` includes it; `resent` arrived more than once; `coded` came coded
    against a base. `giver_cpu` and `taker_cpu` are seconds spent on encoding, and on decoding and checking.
    """

    total: int = 0
    had: int = 0
    done: int = 0
    wire: int = 0
    resent: int = 0
    coded: int = 0
    giver_cpu: float = 0.0
    taker_cpu: float = 0.0
