"""The only place where a version that is given is matched with those that a peer holds: once for all of its chunks.

Matching reads samples of both versions, and what it found out is kept for the versions and bases that were used last;
all nodes with the same bases share it, and so come to the same codings.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cloud_hub.contents import Content, Contents
from modelsyncd.bases import Read, Run
from modelsyncd.daemon.log import Log
from modelsyncd.digest import Buffer, Digest
from modelsyncd.errors import ModelsyncError, NotFoundError
from modelsyncd.matching import Bases, promising

CONSIDERED = 8  # bases of a peer whose manifests are looked at
CHOICES = 16  # versions with bases that are kept, with all that is known of them
QUIET = 60.0  # seconds in which no more is said of a base that can't be read


@dataclass(frozen=True, slots=True)
class Resemblance:
    """Bytes of a base, end to end, that resemble a chunk."""

    base: Content
    runs: Sequence[Run]


@dataclass(frozen=True, slots=True)
class _Choice:
    """The bases that are worth a look, and what the chunks of one version resemble in them."""

    contents: Sequence[Content]
    bases: Bases

    def of(self, ordinal: int) -> Resemblance | None:
        chosen = self.bases.of(ordinal)
        return None if chosen is None else Resemblance(self.contents[chosen.base], chosen.runs)


class Pairs:
    """What chunks resemble in bases. Safe to use from any thread."""

    def __init__(self, contents: Contents, clock: Callable[[], float] = time.monotonic) -> None:
        self._contents = contents
        self._clock = clock
        self._log = Log()
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Digest, tuple[Digest, ...]], _Choice] = OrderedDict()
        self._said: dict[Digest, float] = {}

    def resembling(self, target: Content, named: Sequence[Digest], ordinals: Sequence[int]) -> dict[int, Resemblance]:
        """What each of these chunks resembles in the best of the bases; a chunk that resembles nothing is left out.

        Bases that are not here are passed over.
        """
        choice = self._choice(target, tuple(named[:CONSIDERED]))
        found: dict[int, Resemblance] = {}
        for ordinal in ordinals if choice.contents else ():
            like = choice.of(ordinal)
            if like is not None:
                found[ordinal] = like
        return found

    def complain(self, manifest: Digest, error: ModelsyncError) -> None:
        """Says that bytes of a version could not be read as a base, or samples of it; seldom, as all nodes meet it."""
        now = self._clock()
        with self._lock:
            quiet = now < self._said.get(manifest, now)
            self._said = {name: until for name, until in self._said.items() if until > now}
            self._said.setdefault(manifest, now + QUIET)
        if not quiet:
            self._log.failure("base.unread", error, manifest=manifest)

    def _choice(self, target: Content, named: tuple[Digest, ...]) -> _Choice:
        key = (target.name, named)
        with self._lock:
            choice = self._kept.get(key)
            if choice is not None:
                self._kept.move_to_end(key)
                return choice
        here = [content for name in named if (content := self._content(name)) is not None]
        worth = [here[number] for number in promising(target.manifest, [each.manifest for each in here])]
        readers = [(each.manifest, self._sampler(each)) for each in worth]
        choice = _Choice(worth, Bases(target.manifest, self._sampler(target), readers))
        with self._lock:
            choice = self._kept.setdefault(key, choice)  # another thread's, if it was first: it knows more by now
            while len(self._kept) > CHOICES:
                self._kept.popitem(last=False)
        return choice

    def _sampler(self, content: Content) -> Read:
        """A reader for samples: zeros for what can't be read. One damaged chunk says nothing about the others."""

        def read(file: int, offset: int, size: int) -> Buffer:
            try:
                return content.read(file, offset, size)
            except ModelsyncError as error:
                self.complain(content.name, error)
                return bytes(size)

        return read

    def _content(self, name: Digest) -> Content | None:
        try:
            return self._contents.named(name)
        except NotFoundError:
            return None  # a peer may hold what this hub never had
        except ModelsyncError as error:
            self.complain(name, error)
            return None
