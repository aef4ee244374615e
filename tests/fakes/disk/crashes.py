"""The only place that says what a disk may look like after a power cut: a law, and every state that obeys it.

What was synced is there. What was not may be there or not, each step alone, whatever came before or after it, but:

1. Steps about one name in one folder keep their order, and so do changes of one file's size and mode: both rest in one
   inode. Of writes to one sector the last one that came is what it holds. No file system writes an older state over a
   newer one.
2. A rename is one step: it has happened in both folders or in neither, and a sync of either brings it. ext4, xfs, btrfs
   and f2fs log it as one; FAT does not, and has no symlinks, so an agent can't live there.
3. A symlink holds its target as soon as it has its name: ours are shorter than 60 bytes and rest in the inode.
4. A write is torn at any boundary of 512 bytes, in any order; a sector is whole. A sector that was lost holds zeros,
   what was there before, or what somebody deleted long ago (`Image.spoil`): ext4's data=ordered never shows that.

So this disk is worse than ext4, xfs or btrfs, which write all names and sizes in one order: a folder's names may come
without those made before, a size without its bytes, bytes without their size; a file's sync does not bring its name.

Which states are visited: after each step all sets of steps that include it and obey the law, if at most `limit`. Two
things are bounded. Steps that have waited for a sync for more than RECENT steps are all lost, all kept, or a random
set: nothing that we do now depends on one of them alone. And SQLite's pages, of which a log may have thousands
unsynced, are lost from some write on, with that write torn at each sector, or a random set: a log's frame that follows
a hole is not believed (each carries a checksum of all before it), so any set is read as the prefix before its hole.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from tests.fakes.disk.image import Image
from tests.fakes.disk.recording import Barrier, Event, Mark, ModeStep, NameStep, Recorder, SectorStep, SizeStep, Step

RECENT = 40  # steps after which one that was never synced is background
OPEN = 20  # steps up to which all sets are tried, if there are not more than `limit`
NAMED = 10  # how much more often than other steps a sample visits those about names: they are few, and decide most
RANDOM = 6  # random sets where there are too many

Kept = frozenset[int]
"""Indexes of pending steps."""


@dataclass(frozen=True, slots=True)
class Crash:
    """A disk after a power cut just after step `at`; `told` are the marks before it."""

    at: int
    how: str
    image: Image
    told: tuple[object, ...]


@dataclass
class Count:
    """How many states there were to visit, different ones among them, and groups that were sampled."""

    seen: int = 0
    different: int = 0
    sampled: int = 0


class Crashes:
    """One walk over a recording; the same again for the same seed."""

    def __init__(self, recorder: Recorder, *, seed: int, share: float = 1.0, limit: int = 512, since: int = 0) -> None:
        """A random `share` of the states with less than 1; only those after step `since`."""
        self.count = Count()
        self._since = since
        self._recorder = recorder
        self._rng = random.Random(seed)
        self._share = share
        self._limit = limit
        self._image = Image(recorder.nodes)
        self._pending: list[Step] = []
        self._before: list[tuple[Step, ...]] = []  # for each pending step, those that it can't be without
        self._places: dict[int, int] = {}  # the index of each pending step, by its identity
        self._last: dict[object, Step] = {}
        self._told: list[object] = []
        self._visited: set[tuple[bytes, int]] = set()

    def visit(self) -> Iterator[Crash]:
        """The states of the recording, each once for what was told by then."""
        before, events = self._recorder.events[: self._recorder.base], self._recorder.events[self._recorder.base :]
        self._image.keep(step for step in before if isinstance(step, NameStep | SizeStep | ModeStep | SectorStep))
        for at, group in groupby(events, key=lambda event: event.at):
            yield from self._after(at, list(group))

    def _after(self, at: int, group: Sequence[Event]) -> Iterator[Crash]:
        first = group[0]
        if isinstance(first, Mark):
            self._told.append(first.what)
            if at > self._since and self._is_visited(1.0):
                sets = [("nothing kept", frozenset[int]()), ("all kept", frozenset(range(len(self._pending))))]
                yield from self._chosen(at, [*sets, *self._randomly()])
        elif isinstance(first, Barrier):
            self._sync(first)
        else:
            new = len(self._pending)
            for step in group:
                assert isinstance(step, NameStep | SizeStep | ModeStep | SectorStep)
                self._before.append(self._direct(step))
                self._pending.append(step)
            if at > self._since and self._is_visited(NAMED if isinstance(first, NameStep) else 1.0):
                yield from self._chosen(at, self._sets(at, new))

    def _is_visited(self, weight: float) -> bool:
        """Half of the sampling is of moments, half of the states at one."""
        return self._rng.random() < weight * math.sqrt(self._share)

    def _chosen(self, at: int, sets: Sequence[tuple[str, Kept]]) -> Iterator[Crash]:
        self.count.seen += len(sets)
        wanted = max(1, round(len(sets) * math.sqrt(self._share)))
        for how, kept in sets if wanted == len(sets) else self._rng.sample(sets, wanted):
            image = self._image.copy()
            image.keep(step for index, step in enumerate(self._pending) if index in kept)
            yield from self._new(at, how, image)
        how, kept = self._rng.choice(sets)
        image = self._image.copy()
        image.keep(step for index, step in enumerate(self._pending) if index in kept)
        image.spoil(step for index, step in enumerate(self._pending) if index not in kept)
        yield from self._new(at, f"{how}, old bytes", image)

    def _new(self, at: int, how: str, image: Image) -> Iterator[Crash]:
        name = image.name(), len(self._told)
        if name not in self._visited:
            self._visited.add(name)
            self.count.different += 1
            yield Crash(at, how, image, tuple(self._told))

    # --- sets of steps ---

    def _sets(self, at: int, new: int) -> list[tuple[str, Kept]]:
        """The sets that include one of the steps from index `new` on."""
        fresh = range(new, len(self._pending))
        if any(self._is_sqlite(self._pending[index]) for index in fresh):
            return self._sqlite_sets(fresh)
        recent = [index for index, step in enumerate(self._pending) if self._is_recent(step, at)]
        sets = self._all_sets(recent, set(fresh)) if len(recent) <= OPEN else None
        if sets is None:
            self.count.sampled += 1
            sets = self._some_sets(recent, fresh)
        background = self._backgrounds(set(recent))
        return [(f"{len(kept)} kept, {name}", self._closed(kept | rest)) for kept in sets for name, rest in background]

    def _all_sets(self, indexes: Sequence[int], fresh: set[int]) -> list[Kept] | None:
        """Every set that obeys the law and has one of `fresh` in it; None when there are too many."""
        sets: list[set[int]] = [set()]
        for index in indexes:
            needs = self._needs(index) & set(indexes)
            sets += [{*kept, index} for kept in sets if needs <= kept]
            if len(sets) > 2 * self._limit:
                return None
        return [frozenset(kept) for kept in sets if kept & fresh]

    def _some_sets(self, indexes: Sequence[int], fresh: range) -> list[Kept]:
        sets = [frozenset(indexes), self._closed(frozenset(fresh))]
        sets += [self._closed(frozenset({index})) for index in [*fresh][:OPEN]]
        sets += [self._without(indexes, index) for index in [*indexes][-OPEN:]]
        sets += [self._random(indexes, chance) for chance in (0.2, 0.5, 0.8) for _ in range(RANDOM // 3)]
        return sets

    def _sqlite_sets(self, fresh: range) -> list[tuple[str, Kept]]:
        """SQLite's new write torn at each sector after all before it; random holes; names as they may be."""
        mine = [index for index, step in enumerate(self._pending) if self._is_sqlite(step)]
        others = sorted(set(range(len(self._pending))) - set(mine))
        earlier = frozenset(index for index in mine if index < fresh.start)
        torn = [("log torn", earlier | frozenset(fresh[: end + 1])) for end in range(len(fresh))]
        torn += [("log with holes", self._random(mine, 0.8) | {fresh[-1]}) for _ in range(2)]
        return [
            (how, self._closed(kept | rest))
            for how, kept in torn
            for rest in (frozenset[int](), frozenset(others), self._random(others, 0.5))
        ]

    def _backgrounds(self, recent: set[int]) -> list[tuple[str, Kept]]:
        rest = [index for index in range(len(self._pending)) if index not in recent]
        if not rest:
            return [("nothing old", frozenset())]
        some = self._pending_prefix(rest)
        return [("old ones lost", frozenset()), ("old ones kept", frozenset(rest)), ("some old ones", some)]

    def _pending_prefix(self, indexes: Sequence[int]) -> Kept:
        """Some of the old steps: of SQLite's all up to one of them, of the others any."""
        mine = [index for index in indexes if self._is_sqlite(self._pending[index])]
        others = sorted(set(indexes) - set(mine))
        return frozenset(mine[: self._rng.randint(0, len(mine))]) | self._random(others, 0.5)

    def _randomly(self) -> list[tuple[str, Kept]]:
        everything = range(len(self._pending))
        sets = [self._without(everything, index) for index in everything[-8:]]
        return [("random", self._closed(kept)) for kept in [*sets, self._pending_prefix(everything)]]

    def _random(self, indexes: Sequence[int], chance: float) -> Kept:
        """Some of these steps, each by chance, and what they can't be without."""
        return self._closed(frozenset(index for index in indexes if self._rng.random() < chance))

    def _without(self, indexes: Sequence[int], lost: int) -> Kept:
        """All of them but one, and what needs it."""
        return frozenset(index for index in indexes if index != lost and lost not in self._needs(index))

    def _closed(self, kept: Kept) -> Kept:
        """The set with all that its steps can't be without."""
        whole = set(kept)
        for index in kept:
            if self._before[index]:
                whole |= self._needs(index)
        return frozenset(whole)

    def _needs(self, index: int) -> set[int]:
        """Pending steps that came before this one if it came."""
        found: set[int] = set()
        ask = [index]
        while ask:
            for step in self._before[ask.pop()]:
                place = self._places.get(id(step))
                if place is not None and place not in found:
                    found.add(place)
                    ask.append(place)
        return found

    def _direct(self, step: Step) -> tuple[Step, ...]:
        """The last pending steps about the same things. For SQLite's own files the sets are made otherwise."""
        keys = frozenset[object]() if self._is_sqlite(step) else _keys(step)
        found = tuple({id(last): last for key in keys if (last := self._last.get(key)) is not None}.values())
        self._last.update(dict.fromkeys(keys, step))
        self._places[id(step)] = len(self._pending)
        return found

    def _is_sqlite(self, step: Step) -> bool:
        return not isinstance(step, NameStep) and step.node in self._recorder.sqlite

    def _is_recent(self, step: Step, at: int) -> bool:
        return at - step.at <= RECENT and not self._is_sqlite(step)

    # --- barriers ---

    def _sync(self, barrier: Barrier) -> None:
        durable = {index for index, step in enumerate(self._pending) if _is_synced(step, barrier)}
        if not barrier.whole:  # the size brings along what changed of the inode before it
            sizes = [index for index in durable if isinstance(self._pending[index], SizeStep)]
            durable = {index for index in durable if not isinstance(self._pending[index], ModeStep)} | {
                index for index in durable if index < max(sizes, default=0)
            }
        durable = set(self._closed(frozenset(durable)))
        self._image.keep(step for index, step in enumerate(self._pending) if index in durable)
        self._keep_pending([index for index in range(len(self._pending)) if index not in durable])
        self._bury()

    def _bury(self) -> None:
        """Drops steps in folders that nothing leads to, neither on the disk nor before a program's eyes."""
        alive = {node for _, node in self._image.tree()} | {0}
        alive |= {
            node
            for step in self._pending
            if isinstance(step, NameStep)
            for _, _, node in step.changes
            if node is not None
        }
        self._keep_pending([index for index, step in enumerate(self._pending) if not _is_buried(step, alive)])

    def _keep_pending(self, indexes: Sequence[int]) -> None:
        self._before = [self._before[index] for index in indexes]
        self._pending = [self._pending[index] for index in indexes]
        self._places = {id(step): index for index, step in enumerate(self._pending)}


def _keys(step: Step) -> frozenset[object]:
    """Steps that share one of these keep their order."""
    match step:
        case NameStep(changes=changes):
            return frozenset((folder, name) for folder, name, _ in changes)
        case SectorStep():
            return frozenset()
        case _:
            return frozenset({step.node})


def _is_synced(step: Step, barrier: Barrier) -> bool:
    if isinstance(step, NameStep):
        return any(folder == barrier.node for folder, _, _ in step.changes)
    return step.node == barrier.node


def _is_buried(step: Step, alive: set[int]) -> bool:
    if isinstance(step, NameStep):
        return all(folder not in alive for folder, _, _ in step.changes)
    return step.node not in alive
