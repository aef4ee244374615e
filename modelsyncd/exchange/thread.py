"""The only place that hands long work to a thread in such a way that Ctrl-C ends it, too."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
Check = Callable[[], None]
"""Called now and then by the work; raises once nobody waits for it any more."""


class Abandoned(Exception):  # noqa: N818 -- no error: nobody is there to read it
    """Nobody waits for this work any more."""


async def in_thread(work: Callable[[Check], T]) -> T:
    """What the work returns or raises. When we are cancelled the work ends at its next check, not hours later."""
    abandoned = threading.Event()

    def check() -> None:
        if abandoned.is_set():
            raise Abandoned

    try:
        return await asyncio.to_thread(work, check)
    finally:
        abandoned.set()
