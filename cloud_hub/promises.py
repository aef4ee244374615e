"""The only place that remembers what room the pushes under way were told that they have.

A push counts with what it still has to bring, from the survey that let it in to its end. Who pushes is held weakly: a
session that is gone, however it ended, holds no room. Safe to use from any thread.
"""

from __future__ import annotations

import threading
from weakref import WeakKeyDictionary

from modelsyncd.digest import Digest


class Promises:
    """Bytes by who pushes and what."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: WeakKeyDictionary[object, dict[Digest, int]] = WeakKeyDictionary()

    def make(self, who: object, manifest: Digest, size: int, room: int) -> int | None:
        """Promises `size` bytes of `room`, in place of what this push was promised before; None when it worked.

        Else nothing has changed, and the answer is how many bytes other pushes were promised.
        """
        with self._lock:
            others = sum(
                left
                for one, promised in self._of.items()
                for digest, left in promised.items()
                if (one, digest) != (who, manifest)
            )
            if size + others > room:
                return others
            self._of.setdefault(who, {})[manifest] = size
            return None

    def kept(self, who: object, manifest: Digest, size: int) -> None:
        """So many of the bytes are on the disk now."""
        with self._lock:
            promised = self._of.get(who, {})
            if manifest in promised:
                promised[manifest] = max(0, promised[manifest] - size)

    def end(self, who: object, manifest: Digest) -> None:
        """The push is over."""
        with self._lock:
            self._of.get(who, {}).pop(manifest, None)
