"""The only place that shares out what may be asked for: one window among all transfers, rates, and who yields.

The highest priority gets all of the credit first, so an urgent transfer overtakes a bulk one within a window. A new
Want goes out only when it is worth a message.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf

from modelsyncd.digest import Digest
from modelsyncd.limits import LIMITS, Limits
from modelsyncd.session.effects import Effect, Send
from modelsyncd.session.events import Pace
from modelsyncd.session.flow import Flow
from modelsyncd.session.frames import Echo
from modelsyncd.session.pace import Bucket, Courtesy, credit
from modelsyncd.session.recall import Recall
from modelsyncd.session.taker import Taker
from modelsyncd.session.window import Window

SHORTEST = 0.001  # seconds until it is looked again: rounding makes some waits as good as none


class Grants:
    """What one side of a session may ask for."""

    def __init__(self, window: Window, limits: Limits = LIMITS, recall: Recall | None = None) -> None:
        self.kept_bytes = 0
        """Plain bytes that became durable."""
        self._recall = recall or Recall()
        self._limits = limits
        self._window = window
        self.flow = Flow()
        """How payload comes in."""
        self._courtesy = Courtesy()
        self._node: Bucket | None = None
        self._own: dict[Digest, Bucket] = {}
        self._yielding: frozenset[Digest] = frozenset()
        self._wake_at = inf

    @property
    def wake_at(self) -> float:
        """When more may be asked for though nothing happens; infinite for never."""
        return self._wake_at

    def start(self, now: float) -> None:
        """Begins with what an earlier session found out."""
        self._window.begin(self._recall.window_bytes(now))
        self.flow.begin(self._recall.rate(now))

    def pace(self, pace: Pace, now: float) -> None:
        """How fast, from now on."""
        self._node = _changed(self._node, pace.rate, now)
        own = {name: _changed(self._own.get(name), rate, now) for name, rate in pace.rates.items()}
        self._own = {name: bucket for name, bucket in own.items() if bucket is not None}
        self._yielding = pace.yielding

    def widen(self, lanes: int) -> None:
        """So many connections carry chunks from now on: each needs some of its own to do."""
        self._window.widen(lanes)

    def kept(self, count: int, now: float) -> None:
        """`count` plain bytes became durable."""
        self.kept_bytes += count
        self._window.kept(count, now)

    def arrived(self, count: int, now: float) -> None:
        """`count` bytes of payload that were asked for came."""
        self.flow.arrived(count, now)
        self._window.way = self.flow.way
        if self.flow.rate:
            self._recall.learn(self.flow.rate, now)

    def echoed(self, token: int, now: float) -> None:
        """The answer to an Echo of ours."""
        self._courtesy.answered(token, now)

    def share(self, takers: Mapping[Digest, Taker], now: float, *, frame_bytes: int, echoes: bool) -> list[Effect]:
        """The Wants that may go out now, or the Echo that must come back first; `echoes`: the peer answers those."""
        self._wake_at = inf
        effects: list[Effect] = []
        in_flight = sum(taker.outstanding for taker in takers.values())
        owed = any(taker.awaits for taker in takers.values())
        if not owed:
            self.flow.idle()
        for taker in sorted(takers.values(), key=lambda taker: -taker.priority):
            free = self._window.size - in_flight
            if not taker.hungry or (in_flight and free < self._window.size // 4):
                continue
            if taker.overrun:
                effects += [] if taker.in_flight else taker.ask()
                continue
            yields = echoes and taker.manifest in self._yielding
            before = taker.outstanding
            taker.buckets = tuple(self._buckets(taker.manifest))
            allowed = self._allowed(taker, now)
            if yields and (allowed <= 0 or not self._may_yield(in_flight, now, effects)):
                continue  # what an Echo tells is true now: none goes out before something may be asked for
            want = taker.want(min(free, allowed), frame_bytes or self._frame_bytes()) if allowed > 0 else None
            if want is not None:
                self._window.asked(now)
                if not owed:
                    self.flow.asked(now)
                    owed = True
                effects.append(Send(want))
                in_flight += taker.outstanding - before
                if yields:
                    self._courtesy.used()
        if not in_flight:
            self._window.idle()
        return effects

    def _frame_bytes(self) -> int:
        wanted = self.flow.frame_bytes
        return wanted if wanted < self._limits.frame_bytes else 0

    def _may_yield(self, in_flight: int, now: float, effects: list[Effect]) -> bool:
        if in_flight:
            return False  # it looks again when that is durable
        if self._courtesy.free:
            return True
        token = self._courtesy.ask(now)
        if token is not None:
            effects.append(Send(Echo(token)))
        self._wake_at = min(self._wake_at, self._courtesy.wake_at())
        return False

    def _allowed(self, taker: Taker, now: float) -> int:
        """Plain bytes that the rates allow now."""
        tokens = credit(taker.buckets, now)
        if tokens is None:
            return self._window.size
        if tokens <= 0:
            self._wake_at = min(self._wake_at, max(bucket.ready_at(now) for bucket in taker.buckets))
            return 0
        allowed = int(tokens / taker.ratio)
        if taker.in_flight and allowed < taker.next_size:
            # one chunk is asked for however little there is, but only when nothing is under way: look again by then
            missing = taker.next_size * taker.ratio - tokens
            wait = max(SHORTEST, missing / min(bucket.rate for bucket in taker.buckets))
            self._wake_at = min(self._wake_at, now + wait)
        return max(1, allowed)

    def _buckets(self, manifest: Digest) -> Iterable[Bucket]:
        own = self._own.get(manifest)
        return (bucket for bucket in (self._node, own) if bucket is not None)


def _changed(bucket: Bucket | None, rate: int, now: float) -> Bucket | None:
    if rate <= 0:
        return None
    if bucket is None:
        return Bucket(rate, now)
    bucket.change(rate, now)
    return bucket
