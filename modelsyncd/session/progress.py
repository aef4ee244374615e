"""How far a transfer has come."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """Bytes of one transfer's content: plain, but `wire`, which counts encoded payload of either part.

    `had` was there before the transfer began; `done` includes it; `resent` arrived more than once.
    """

    total: int = 0
    had: int = 0
    done: int = 0
    wire: int = 0
    resent: int = 0
