"""The only lock that is given in the order in which it was asked for.

Python's own may be taken again at once by whoever gives it back: somebody who writes in a loop, as a gc does, would
keep all others waiting.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """A lock for threads. Not to be taken twice by one thread."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Alone, after all who asked before."""
        mine = self._asked()
        try:
            mine.acquire()
        except BaseException:
            self._given_up(mine)
            raise
        try:
            yield
        finally:
            with self._guard:
                self._next()

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        with self._guard:
            return len(self._waiting)

    def _asked(self) -> threading.Lock:
        """A lock that can be taken when it is the asker's turn."""
        mine = threading.Lock()
        with self._guard:
            if self._taken:
                mine.acquire()
                self._waiting.append(mine)
            self._taken = True
        return mine

    def _given_up(self, mine: threading.Lock) -> None:
        with self._guard:
            if mine in self._waiting:
                self._waiting.remove(mine)
            else:  # the turn came in the same moment
                self._next()

    def _next(self) -> None:
        if self._waiting:
            self._waiting.popleft().release()
        else:
            self._taken = False
