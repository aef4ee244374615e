"""The only place that decides what of an outbox is offered to the hub, when, and what an answer means for it.

Law: releases of one model arrive in the order in which they were stored. So one that the hub refused holds up those
behind it until somebody acts (a later one that went first would be overtaken by an older one afterwards); those of
other models pass it. One that is broken on this disk can't arrive any more, and holds up nothing.

Nothing of a conversation is remembered over a cut: an item is offered again, and the hub asks for what it lacks. It
knows content by its digest, so what was published by a try whose answer was lost is there already, and is ours.
All methods belong to the loop's thread; none of them blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from edge_agent.moment import Moment
from edge_agent.outbox.papers import Paper
from edge_agent.outbox.words import Item, Sending
from edge_agent.reconcile import Setback, set_back
from modelsyncd.digest import Digest
from modelsyncd.errors import DamageError, NumberTakenError
from modelsyncd.manners import FREE, Manners, is_closed, opens_at
from modelsyncd.names import ModelName
from modelsyncd.schedule import next_change
from modelsyncd.session.events import Settled
from modelsyncd.session.frames import Fault
from modelsyncd.session.progress import Progress

AT_ONCE = 3  # items of different models that are offered at the same time
LOOK_AGAIN = 300.0  # seconds after which the wall clock is looked at again: it may have been set meanwhile

OFFLINE = "the hub can't be reached"
PAUSED = "the node is paused at the hub"
SPENT = "the bytes of this month are used up"
COMING = "the same content is on its way to this node"
TURN = "others are sent first"


@dataclass(frozen=True, slots=True)
class Way:
    """How far an item has come. `base` is payload bytes of the sessions before this one."""

    done: int = 0
    wire: int = 0
    base: int = 0
    setback: Setback | None = None
    refused: bool = False
    broken: bool = False


class Sender:
    """What one outbox says to the hub."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        jitter: Callable[[], float],
        moment: Callable[[], Moment],
        spent: Callable[[], int],
        taking: Callable[[], Container[Digest]],
    ) -> None:
        """`spent` is payload bytes of this month; `taking` is what is being fetched now."""
        self._clock = clock
        self._jitter = jitter
        self._moment = moment
        self._spent = spent
        self._taking = taking
        self._items: dict[str, Paper] = {}
        self._ways: dict[str, Way] = {}
        self._numbers: dict[ModelName, int] = {}
        self._offered: dict[Digest, str] = {}
        self._manners: Manners = FREE
        self.online = False

    @property
    def rate(self) -> int:
        """Payload bytes a second that may travel; 0 for any."""
        return self._manners.rate

    # --- what is known ---

    def add(self, paper: Paper) -> None:
        """It waits from now on."""
        self._items.setdefault(paper.id, paper)
        self._ways.setdefault(paper.id, Way())

    def remove(self, name: str) -> None:
        """It waits no longer: the hub has it, or somebody took it back. An offer of it stays until it is answered."""
        self._items.pop(name, None)
        self._ways.pop(name, None)

    def paper(self, name: str) -> Paper | None:
        """An item that waits."""
        return self._items.get(name)

    @property
    def offered(self) -> Mapping[Digest, str]:
        """What was offered and not answered, with the item that it belongs to."""
        return self._offered

    def items(self, wall: float) -> Sequence[Item]:
        """What waits, in order; `wall` is seconds since 1970."""
        now = self._clock()
        return [self._item(paper, now, wall) for paper in self._ordered()]

    def _item(self, paper: Paper, now: float, wall: float) -> Item:
        way = self._ways[paper.id]
        setback = way.setback
        return Item(
            id=paper.id,
            publication=paper.publication,
            manifest=paper.manifest,
            sending=Sending(way.done, paper.size, way.wire, self._waits(paper, now)),
            stored_at=paper.stored_at,
            fault=setback.fault if setback else None,
            next_try=wall + setback.next_try - now if setback and setback.next_try < inf else 0.0,
            refused=way.refused or way.broken,
        )

    def number(self, model: ModelName, guess: int) -> int:
        """The number to offer next."""
        return self._numbers.get(model, guess)

    # --- what happens ---

    def attach(self) -> None:
        """A session is up: also what was refused is offered again, once."""
        self.online = True
        self._offered.clear()
        self.hasten()

    def detach(self) -> None:
        """The session is over. That is no setback: the next one goes on where this one ended."""
        self.online = False
        for name in self._offered.values():
            self._close(name)
        self._offered.clear()

    def heed(self, manners: Manners) -> None:
        """The hub's word on how the link may be used. It may have been changed together with a right."""
        self._manners = manners
        for name, way in self._ways.items():
            if way.refused:
                self._ways[name] = replace(way, setback=_now(way.setback, self._clock()), refused=False)

    def hasten(self) -> None:
        """Somebody acted: everything is tried at once, but for what is broken."""
        now = self._clock()
        for name, way in self._ways.items():
            if way.setback is not None and not way.broken:
                self._ways[name] = replace(way, setback=_now(way.setback, now), refused=False)

    def open(self) -> str:
        """Why nothing may be sent now; "" when it may."""
        if not self.online:
            return OFFLINE
        if self._manners.paused:
            return PAUSED
        if is_closed([self._manners], self._moment().local):
            at = opens_at([self._manners], self._moment().local)
            return f"outside the node's hours{f', which begin at {at:%a %H:%M}' if at else ''}"
        if self._manners.month_bytes and self._spent() >= self._manners.month_bytes:
            return SPENT
        return ""

    def due(self) -> Sequence[Paper]:
        """What is to be offered now; `begin` says that it was."""
        if self.open():
            return []
        now, free = self._clock(), AT_ONCE - len(self._offered)
        found: list[Paper] = []
        for paper in self._ordered():
            waits = paper.id in self._offered.values() or self._waits(paper, now)
            if len(found) < free and not waits and all(paper.manifest != one.manifest for one in found):
                found.append(paper)
        return found

    def begin(self, paper: Paper) -> None:
        """It was offered: what was said of an earlier try counts no more."""
        self._offered[paper.manifest] = paper.id
        self._ways[paper.id] = replace(self._ways[paper.id], refused=False)

    def wakes(self) -> float:
        """When to look again, on the clock; infinite for never."""
        if not self.online:
            return inf
        now = self._clock()
        tries = [way.setback.next_try for way in self._ways.values() if way.setback and way.setback.next_try > now]
        if self._items and (self._manners.openings or self._manners.month_bytes):
            moment = self._moment()
            change = moment.next(next_change(self._manners.openings, moment.local)) if self._manners.openings else inf
            tries.append(now + min(change - moment.wall, LOOK_AGAIN))
        return min(tries, default=inf)

    def travelled(self, name: str, progress: Progress) -> None:
        """How far the session says that it is."""
        paper, way = self._items.get(name), self._ways.get(name)
        if paper is None or way is None:
            return
        done = paper.size - max(0, progress.total - progress.done) if progress.total else way.done
        self._ways[name] = replace(way, done=max(0, min(done, paper.size)), wire=way.base + progress.wire)

    def answered(self, name: str) -> None:
        """Its offer is over, in whichever way."""
        self._offered = {manifest: holder for manifest, holder in self._offered.items() if holder != name}
        self._close(name)

    def settled(self, name: str, settled: Settled) -> None:
        """The hub has it."""
        paper = self._items.get(name)
        if paper is not None:
            model = paper.publication.model
            self._numbers[model] = max(self._numbers.get(model, 0), settled.number + 1)
        self.answered(name)

    def failed(self, name: str, fault: Fault) -> None:
        """It did not go well."""
        self.answered(name)
        paper, way = self._items.get(name), self._ways.get(name)
        if paper is None or way is None or self.open():  # the latter: we ended it ourselves
            return
        if fault.code == NumberTakenError.code:
            self._renumber(paper, way, fault)
            return
        setback = set_back(way.setback, fault, self._clock(), self._jitter())
        refused = not fault.retryable and fault.code != DamageError.code
        self._ways[name] = replace(way, setback=setback, refused=refused)

    def broke(self, name: str, fault: Fault) -> None:
        """Its copy is not what was stored: it can't be sent, and holds up nothing."""
        self.answered(name)
        way = self._ways.get(name)
        if way is not None:
            self._ways[name] = replace(way, setback=Setback(fault, 1, inf), refused=False, broken=True)

    # --- inside ---

    def _ordered(self) -> list[Paper]:
        return [self._items[name] for name in sorted(self._items)]

    def _close(self, name: str) -> None:
        way = self._ways.get(name)
        if way is not None:
            self._ways[name] = replace(way, base=way.wire)

    def _renumber(self, paper: Paper, way: Way, fault: Fault) -> None:
        """Somebody else published meanwhile: the hub says which number is free."""
        model = paper.publication.model
        before = self._numbers.get(model, 0)
        self._numbers[model] = fault.next_number or before + 1
        if self._numbers[model] == before:  # it would be refused in the same way: not at once again
            self._ways[paper.id] = replace(way, setback=set_back(way.setback, fault, self._clock(), self._jitter()))

    def _waits(self, paper: Paper, now: float) -> str:
        """Why nothing of it moves; "" when it does, or may."""
        if paper.id in self._offered.values():
            return ""
        way = self._ways[paper.id]
        if way.broken and way.setback is not None:
            return way.setback.fault.message
        if way.refused and way.setback is not None and way.setback.next_try > now:
            return f"the hub refused it: {way.setback.fault.message}"
        if closed := self.open():
            return closed
        if way.setback is not None and way.setback.next_try > now:
            return f"tried again in {way.setback.next_try - now:.0f} s: {way.setback.fault.message}"
        if before := self._before(paper):
            return f"waits for {before.id}, which was stored before it"
        if paper.manifest in self._offered or paper.manifest in self._taking():
            return COMING
        return TURN if len(self._offered) >= AT_ONCE else ""

    def _before(self, paper: Paper) -> Paper | None:
        """What of the same model was stored before, and can still arrive."""
        for one in self._ordered():
            if one.id == paper.id:
                return None
            if one.publication.model == paper.publication.model and not self._ways[one.id].broken:
                return one
        return None


def _now(setback: Setback | None, now: float) -> Setback | None:
    return None if setback is None else replace(setback, next_try=min(setback.next_try, now))
