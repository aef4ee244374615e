"""Lives that end at a chosen instant: a child is forked, leads a life, and is killed where the test wants it.

A fork costs a few milliseconds, a program that starts a second: so every failpoint can be had in CI. Instants are the
calls and returns, of Python's functions and of C's, that our own code makes: the n-th is the same one in each run.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from modelsyncd.store import failpoints
from modelsyncd.store.failpoints import Point

Word = Sequence[Any]
Tell = Callable[..., None]
ROOT = Path(__file__).parents[2]
OURS = tuple(f"{ROOT / package}{os.sep}" for package in ("modelsyncd", "edge_agent", "cloud_hub"))
PHASE = "phase"


class Tale(Protocol):
    """A life that can be led again from wherever it was cut off."""

    name: str

    def begin(self, root: Path) -> None:
        """Makes what is there when the life begins."""

    def live(self, root: Path, tell: Tell) -> None:
        """Leads it to its end; tells what somebody may count on from then on, and which phase begins."""

    def check(self, root: Path, told: Sequence[Word]) -> None:
        """Raises AssertionError when what lies there is not what may be seen at this moment."""

    def check_end(self, root: Path, told: Sequence[Word]) -> None:
        """Raises AssertionError when what lies there after a whole life is not what it should be."""


def passings(tale: Tale, root: Path) -> Counter[Point]:
    """How often a life passes each point."""
    told = root.with_suffix(".told")
    tell = teller(told)
    tale.begin(root)

    def watched() -> None:
        failpoints.watch(lambda point: tell("passed", point.name))
        tale.live(root, lambda *_: None)

    assert in_child(watched) == 0
    return Counter(Point[name] for _, name in words(told))


def phases(tale: Tale, root: Path) -> Mapping[str, list[range]]:
    """The instants of each phase of a life."""
    told = root.with_suffix(".told")
    tell = teller(told)
    tale.begin(root)
    count = 0

    def count_one(_frame: FrameType, _event: str, _argument: object) -> None:
        nonlocal count
        count += _is_ours(_frame)

    def live() -> None:
        sys.setprofile(count_one)
        tale.live(root, lambda *word: tell(*word, count) if word[0] == PHASE else None)
        sys.setprofile(None)
        tell(PHASE, "end", count)

    assert in_child(live) == 0
    found: dict[str, list[range]] = {}
    marks = words(told)
    for (_, name, start), (_, _, end) in pairwise(marks):
        found.setdefault(name, []).append(range(start, end))
    return found


@dataclass(frozen=True)
class Death:
    """Where a life ends: by the text of a failpoint, or at an instant; and what to call it."""

    wishes: str = ""
    instant: int = 0

    @classmethod
    def within(cls, ranges: Sequence[range], rng: random.Random) -> Death:
        """At a random instant of a phase."""
        left = rng.randrange(sum(map(len, ranges)))
        for span in ranges:
            if left < len(span):
                return cls(instant=span.start + left + 1)
            left -= len(span)
        raise AssertionError("beyond the last instant")

    @contextmanager
    def due(self) -> Iterator[None]:
        """In the child: dies while the block runs."""
        failpoints.arm(self.wishes)
        left = self.instant

        def look(frame: FrameType, _event: str, _argument: object) -> None:
            nonlocal left
            if _is_ours(frame):
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        if self.instant:
            sys.setprofile(look)
        yield
        sys.setprofile(None)


def survive(tale: Tale, root: Path, *deaths: Death) -> int:
    """Lives from the beginning, dies so often, and lives on to the end; the oracle looks after each.

    Returns how many of the deaths came to pass. Raises AssertionError.
    """
    tale.begin(root)
    told = root.with_suffix(".told")
    died = 0
    for death in (*deaths, Death()):
        tell = teller(told)

        def live(death: Death = death, tell: Tell = tell) -> None:
            with death.due():
                tale.live(root, tell)

        status = in_child(live)
        try:
            assert status in (0, signal.SIGKILL), "it ended in another way"
            died += status == signal.SIGKILL
            tale.check(root, words(told))
            if status == 0:
                tale.check_end(root, words(told))
        except BaseException as error:
            error.add_note(f"{tale.name}: after {death}")
            raise
        tell("died" if status else "ended")
    return died


def in_child(work: Callable[[], None]) -> int:
    """Does this in a forked process: the signal that ended it, 0 when it came through. Raises AssertionError."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - the child's outermost frame
            sys.setprofile(None)
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0, "a life ended with an error"
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def teller(path: Path) -> Tell:
    """Writes words to a file, each at once: what was written stays written whoever is killed."""

    def tell(*word: object) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(descriptor, json.dumps(word).encode() + b"\n")
        os.close(descriptor)

    return tell


def words(path: Path) -> list[Word]:
    """What was told so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(OURS)
