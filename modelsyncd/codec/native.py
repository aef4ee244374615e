"""The only place that decides whether the coder's loops run as machine code: where a program can load it, once it pays.

Compiled and interpreted loops write and read the very same bytes, so it may change from one chunk to the next. A
program says at its start how machine code is loaded (modelsyncd/daemon/loops.py); who says nothing stays with numpy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

AFTER = 16 << 20
"""Bytes that numpy codes first: what loading takes, and less than what most models have."""
_AGAIN = 4 << 20  # bytes until somebody asks again

Load = Callable[[], bool | None]
"""Loads the loops: True when they are there, False when they never will be, None when it is worth asking again."""


@dataclass(slots=True)
class _State:
    """Threads may count past one another: it only moves the moment."""

    on: bool = False
    load: Load | None = None
    left: int = AFTER
    decided: bool = False


_state = _State()


def on() -> bool:
    """Whether loops run compiled from here on."""
    return _state.on


def offer(load: Load) -> None:
    """Says how loops are loaded, for when enough was coded; once for a process."""
    if not _state.decided:
        _state.decided, _state.load = True, load


def worked(size: int) -> None:
    """Says that so many bytes are about to be coded."""
    if _state.load is None:
        return
    _state.left -= size
    if _state.left > 0:
        return
    found = _state.load()
    if found is None:
        _state.left = _AGAIN
    else:
        _state.load = None
        _state.on = found


def use(*, compiled: bool) -> None:
    """Decides by hand. Whoever says `compiled` has loaded them, or waits until they are compiled."""
    if compiled:
        import modelsyncd.codec.compiled.every  # noqa: F401, PLC0415
    _state.decided, _state.load = True, None
    _state.on = compiled
