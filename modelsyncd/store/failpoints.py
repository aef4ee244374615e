"""The only place that names the moments between durable steps, and where a test may end the process at one of them.

    MODELSYNCD_FAILPOINTS="chunks-written=kill"            SIGKILL to the own process when it passes there
    MODELSYNCD_FAILPOINTS="any=kill@137"                   at the 137th passing of whichever point
    MODELSYNCD_FAILPOINTS="records-synced=error:ENOSPC@2"  the second passing raises what a full disk raises
    MODELSYNCD_FAILPOINTS="rows-kept=pause:/tmp/fifo"      waits until somebody has opened that FIFO and closed it again

Several are separated by commas. A program reads the variable once, when it starts. Law: without it, `passing` compares
one name with None, and nothing of this can happen. docs/durability.md has the points in the order of a life.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from modelsyncd.errors import BadInputError
from modelsyncd.names import nearest

VARIABLE = "MODELSYNCD_FAILPOINTS"
ANY = "any"
_WISH = re.compile(r"([a-z-]+)=(kill|error|pause)(?::(.+?))?(?:@([1-9][0-9]{0,8}))?")


class Point(Enum):
    """A moment between two steps: what has been done just then. Its name in the variable is in lower case with hyphens.

    Each one is passed at exactly one place of the code.
    """

    # files and names, of every program
    FOLDER_MADE = "a folder has its name, which is not synced"
    FILE_WRITTEN = "a small file is durable under its temporary name"
    FILE_RENAMED = "a small file has its name, which is not synced"
    NAME_WAITS = "something durable is about to get its final name"
    NAME_GIVEN = "something durable has its final name, which is not synced"
    LINK_MADE = "a new link is there under its temporary name"
    LINK_SWITCHED = "a link leads to its new target, and the folder is not synced"
    FILE_REMOVED = "a file's name is gone, and the folder is not synced"
    TREE_DOOMED = "a folder has lost its name, durably, and is there still under a temporary one"
    # a version on its way to a node, or into a folder
    STAGING_MADE = "the files of a staging have their sizes, and their names are not synced"
    CHUNKS_WRITTEN = "chunks are written to their final offsets, and not synced"
    CHUNKS_SYNCED = "chunks are durable, and no row says so"
    FILE_SEALED = "one file of a whole staging is read-only and durable"
    STAGING_SEALED = "all of a staging is durable"
    # a node's cache
    CACHE_BARE = "the cache's file is there, without its tables"
    CACHE_MADE = "the cache has its tables"
    CACHE_SET_ASIDE = "a damaged cache is out of the way, and there is no new one"
    ROWS_WRITTEN = "rows of durable chunks are written in a transaction that is open"
    ROWS_KEPT = "rows of durable chunks are in the cache"
    SEEDS_COPIED = "chunks from other versions are durable in a staging, and no row says so"
    CACHE_SETTLED = "the cache says that a version is whole"
    CACHE_DROPPED = "the cache says nothing more of a manifest"
    # a node's tree
    MANIFEST_KEPT = "a manifest is kept under its digest, and its pieces are still staged"
    PIECES_DROPPED = "a manifest is kept, and its staged pieces are gone"
    RELEASE_KEPT = "a release is kept, and its version has no name"
    VERSION_NAMED = "a version has its name, and nobody was told"
    VERSION_UNSETTLED = "a version is in the tree, and the cache says that it is on its way"
    FILE_MENDED = "one file of a damaged version is replaced"
    VERSION_MENDED = "every file of a damaged version is right, and what was staged is still there"
    VERSION_MARKED = "a version is marked as damaged"
    PREVIOUS_NOTED = "what a channel leads to is noted, and it still leads there"
    TRIAL_WAITS = "what is on trial, or failed, is about to be written"
    TRIAL_KEPT = "what is on trial, or failed, is durable, and its channel leads where it led"
    CHANNEL_SWITCHED = "a channel leads to another version, and nobody was told"
    CHANNEL_LED_BACK = "a channel leads back to what proved itself, and nobody was told"
    CHANNEL_UNLINKED = "a channel's link is gone, and what it led to before is still noted"
    VERSION_REMOVED = "a version is gone, and its papers are there"
    PAPERS_REMOVED = "a release that nobody needs is gone, and manifests are there"
    VERSION_PRUNED = "a version is gone with its papers, and the cache speaks of it"
    CONTENT_DISCARDED = "the staged content of a manifest is gone, and its pieces are there"
    STAGING_DISCARDED = "all that was staged of a manifest is gone, and the cache speaks of it"
    # a node's word and identity
    ORDERS_HEARD = "the hub's word is about to be written"
    ORDERS_KEPT = "the hub's word is durable, and nobody follows it"
    NODE_KEY_KEPT = "a node's new key is durable, and nobody was asked"
    INVITE_KEPT = "an invite is durable beside the key, and nobody was asked"
    ENROLMENT_ANSWERED = "the hub has let a node in, and its certificate is in memory only"
    IDENTITY_KEPT = "a node's certificate is durable, and the facts about it are not"
    # what a node publishes
    OUTBOX_COPIED = "a copy of what is to be published is durable under a temporary name"
    OUTBOX_STORED = "a copy counts as an outbox item, and nobody was told"
    OUTBOX_CONFIRMED = "the hub has an outbox item, and it waits here still"
    OUTBOX_SENT = "an outbox item counts as sent, and nobody was told"
    NUMBERS_SPOOLED = "numbers are durable, and nobody was told"
    NUMBERS_CONFIRMED = "the hub has numbers, and they wait here still"
    # a hub's packs
    STORE_CLAIMED = "the mark for the packs' place lies in the spool"
    PACK_BEGUN = "a pack is there with its first bytes"
    RECORDS_WRITTEN = "chunks are written to a pack, and not synced"
    RECORDS_SYNCED = "chunks are durable in a pack, and in no index"
    CHUNKS_INDEXED = "chunks are in the index, and nobody was told"
    PACK_CLOSED = "a full pack is cut to its length, and still in the spool"
    PACK_ADOPTED = "a full pack is in its place, and the next one is not begun"
    PACK_TRIMMED = "a pack that a killed hub left is cut to its whole records, and still in the spool"
    PACKS_RECOVERED = "packs that a killed hub left are in their places, and new chunks of them in no index"
    CHUNKS_FORGOTTEN = "damaged chunks are out of the index"
    RELEASES_REMOVED = "releases that no rule keeps are out of the catalogue, and their chunks are there"
    CHUNKS_SWEPT = "chunks that nothing needs are out of the index, and in their packs"
    RECORDS_COPIED = "chunks of a sparse pack are durable in another one, and the index knows the first"
    CHUNKS_MOVED = "chunks of a sparse pack are known in another one, and lie in the first, too"
    PACK_RETIRED = "a pack that holds nothing is out of the index, and there still"
    PACK_DELETED = "a pack that no index knows is gone"
    # a hub's catalogue
    TABLES_MADE = "the tables are there in a transaction that is open"
    FORMAT_RAISED = "the tables of one later format are there in a transaction that is open"
    CATALOGUE_OPEN = "the catalogue has its tables"
    CHANGE_MADE = "a change of the catalogue is written in a transaction that is open"
    CHANGE_KEPT = "a change of the catalogue is durable, and nobody was told"
    RELEASE_ENTERED = "a release is entered, and its channel not moved, in a transaction that is open"
    RELEASE_WHOLE = "all of a pushed release is durable, and it is no release yet"
    RELEASE_COMMITTED = "a release is committed, and nobody was told"
    INVITE_REDEEMED = "a node is entered, and has no certificate"
    REPORT_KEPT = "a node's report is kept"
    AUTHORITY_KEPT = "one file of the hub's authority is durable"
    CONTEXT_WAITS = "a hub is about to write the context that lets people in"
    # a hub's codings
    CODINGS_LAID = "codings are durable in a pack that is open"
    CODINGS_SEALED = "a pack of codings is in its place, and in no index"
    CODINGS_KNOWN = "the codings of a pack are in the index"
    CODINGS_EVICTED = "a pack of codings is out of the index, and there still"
    STRAY_REMOVED = "one pack that no index knows is removed"

    @property
    def word(self) -> str:
        """Its name in the variable."""
        return self.name.lower().replace("_", "-")


_met: Callable[[Point], None] | None = None


def passing(point: Point) -> None:
    """Says that this moment has come. May raise DiskError, but only where that was asked for."""
    if _met is not None:
        _met(point)


def arm(wishes: str = "") -> None:
    """From now on what the variable's text says happens, and nothing else; nothing at all for "".

    Raises BadInputError for a name that is no point, or a text that can't be read; then nothing is changed.
    """
    parsed = [_parsed(each.strip()) for each in wishes.split(",") if each.strip()]
    watch(_Plan(parsed).meet if parsed else None)


def arm_from(environment: Mapping[str, str]) -> None:
    """To be called once, when a program starts. Raises BadInputError."""
    arm(environment.get(VARIABLE, ""))


def watch(met: Callable[[Point], None] | None) -> None:
    """Has `met` called at each point from now on, in whichever thread; None ends that."""
    global _met  # noqa: PLW0603 - the one switch: a lookup in an object would be paid at each passing
    _met = met


@dataclass(frozen=True, slots=True)
class _Wish:
    """What shall happen at the `nth` passing of a point; of any when `point` is None."""

    point: Point | None
    action: str
    argument: str
    nth: int


def _parsed(text: str) -> _Wish:
    match = _WISH.fullmatch(text)
    if match is None:
        raise BadInputError(
            f"{VARIABLE} has {text[:80]!r}, which is no failpoint",
            hint="write POINT=kill, POINT=error:ENOSPC or POINT=pause:FIFO, with @N for the Nth passing",
        )
    word, action, argument, nth = match[1], match[2], match[3] or "", int(match[4] or 1)
    words = {point.word: point for point in Point}
    if word != ANY and word not in words:
        close = nearest(word, words)
        raise BadInputError(
            f"{VARIABLE}: there is no failpoint {word!r}",
            hint=f"did you mean {' or '.join(close)}?" if close else "docs/durability.md lists them",
        )
    if (action == "kill") != (not argument) or (action == "error" and not hasattr(errno, argument)):
        raise BadInputError(
            f"{VARIABLE}: {text[:80]!r} can't be done",
            hint="kill stands alone; error needs a name as in errno(3), pause the path of a FIFO",
        )
    return _Wish(words.get(word), action, argument, nth)


class _Plan:
    """Counts passings and does what is wished. Safe to use from any thread."""

    def __init__(self, wishes: list[_Wish]) -> None:
        self._wishes = wishes
        self._lock = threading.Lock()
        self._passed: Counter[Point | None] = Counter()

    def meet(self, point: Point) -> None:
        with self._lock:
            self._passed[point] += 1
            self._passed[None] += 1
            due = [wish for wish in self._wishes if self._is_due(wish, point)]
        for wish in due:
            _fulfil(wish, point)

    def _is_due(self, wish: _Wish, point: Point) -> bool:
        return wish.point in (None, point) and self._passed[wish.point] == wish.nth


def _fulfil(wish: _Wish, point: Point) -> None:
    if wish.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif wish.action == "pause":
        Path(wish.argument).read_bytes()  # of a FIFO: waits for a writer, then for its end
    else:
        from modelsyncd.store.durable import disk_error  # noqa: PLC0415 - which passes points itself

        number = int(getattr(errno, wish.argument))
        raise disk_error(OSError(number, os.strerror(number)), Path(f"<{point.word}>"))
