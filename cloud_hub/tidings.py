"""The only place that says which nodes are told, and when, that the catalogue changed about what they follow: pure.

Laws: after each change whoever follows the model is told, or asks by itself; no node is told twice within its pause;
and one `take` names few nodes, so that a fleet which follows one model asks one after the other.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf

from modelsyncd.manners import is_dear
from modelsyncd.names import ModelName
from modelsyncd.session.frames import Desired

TICK = 0.2  # seconds between two `take`s
AT_ONCE = 10  # nodes of one `take`: 50 in a second, each of which costs about 6 ms of the hub's core when it asks
PAUSE = 5.0  # seconds between two words to one node, at least
LONGEST = 60.0  # what the pause grows to while changes don't end


def told_about(desired: Desired) -> frozenset[ModelName]:
    """Models of which a node is told; where bytes are dear, none: it asks by itself, some time later."""
    if is_dear(desired.manners):
        return frozenset()
    return frozenset(each.model for each in desired.assignments if not is_dear(each.manners))


@dataclass(slots=True)
class _Follower:
    models: frozenset[ModelName] | None = None
    """None before it was said for the first time in a session."""
    told_at: float = -inf
    pause: float = PAUSE
    due: float = inf


class Tidings:
    """Nodes by name, what they follow, and who is due. Times are seconds of one clock that never goes back."""

    def __init__(self, jitter: Callable[[], float]) -> None:
        """`jitter` gives numbers from 0 to 1: which of those come first that are due at the same time."""
        self._jitter = jitter
        self._followers: dict[str, _Follower] = {}
        self._by_model: dict[ModelName, set[str]] = {}
        self._changed_at: dict[ModelName, float] = {}
        self._asked_at: dict[str, float] = {}  # stays when a session ends: a question may come before its session does
        self._fresh: set[ModelName] = set()  # that changed since the last `take`: a fleet is gone through once for many
        self._queue: list[tuple[float, float, str]] = []  # with words that were taken back: `_Follower.due` counts

    @property
    def next_at(self) -> float:
        """When somebody is due, -inf for at once; inf for nobody."""
        if self._fresh:
            return -inf
        while self._queue and not self._counts(self._queue[0]):
            heapq.heappop(self._queue)
        return self._queue[0][0] if self._queue else inf

    def follow(self, node: str, models: frozenset[ModelName], now: float) -> None:
        """From now on the node is told of these and of no others; at once, if something of them may be news to it.

        A node that never asked does so by itself: its session has just begun.
        """
        follower = self._followers.setdefault(node, _Follower())
        before, follower.models = follower.models, models
        for model in (before or frozenset()) - models:
            self._leave(model, node)
        for model in models:
            self._by_model.setdefault(model, set()).add(node)
        if not models:
            follower.due = inf
        elif self._changed_since(node, models) if before is None else models - before:
            self._will_tell(follower, node, now)

    def forget(self, node: str) -> None:
        """The node's session is over."""
        follower = self._followers.pop(node, None)
        if follower is not None:
            for model in follower.models or ():
                self._leave(model, node)

    def changed(self, models: Iterable[ModelName], now: float) -> None:
        """Something changed about these models."""
        for model in models:
            self._changed_at[model] = now
            if model in self._by_model:
                self._fresh.add(model)

    def everything_changed(self, now: float) -> None:
        """Something changed, and nobody knows about which models."""
        self.changed(self._by_model, now)

    def asked(self, node: str, now: float) -> None:
        """The node asks now: of what changed until now it need not be told."""
        self._asked_at[node] = now
        if (follower := self._followers.get(node)) is not None:
            follower.due = inf

    def take(self, now: float) -> list[str]:
        """Who is to be told now."""
        for model in self._fresh:
            for node in self._by_model.get(model, ()):
                if self._asked_at.get(node, -inf) <= self._changed_at[model]:
                    self._will_tell(self._followers[node], node, now)
        self._fresh.clear()
        found: list[str] = []
        while len(found) < AT_ONCE and self.next_at <= now:
            _, _, node = heapq.heappop(self._queue)
            self._told(self._followers[node], now)
            found.append(node)
        return found

    def _told(self, follower: _Follower, now: float) -> None:
        """Where changes don't end, the node asks less and less often; what is rare it hears at once."""
        endless = now - follower.told_at <= 2 * follower.pause
        follower.pause = min(2 * follower.pause, LONGEST) if endless else PAUSE
        follower.told_at, follower.due = now, inf

    def _changed_since(self, node: str, models: frozenset[ModelName]) -> bool:
        """Whether something changed since the node asked, while it was not known what it follows."""
        asked_at = self._asked_at.get(node, inf)
        return any(self._changed_at.get(model, -inf) >= asked_at for model in models)

    def _will_tell(self, follower: _Follower, node: str, now: float) -> None:
        at = max(now, follower.told_at + follower.pause)
        if at < follower.due:
            follower.due = at
            heapq.heappush(self._queue, (at, self._jitter(), node))

    def _counts(self, entry: tuple[float, float, str]) -> bool:
        follower = self._followers.get(entry[2])
        return follower is not None and follower.due == entry[0]

    def _leave(self, model: ModelName, node: str) -> None:
        there = self._by_model[model]
        there.discard(node)
        if not there:
            del self._by_model[model]
