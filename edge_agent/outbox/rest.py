"""The only place that knows how an outbox rests on the disk: what is durable, in which order, and what a kill leaves.

    outbox/<id>/content/…      our copy, read-only
    outbox/<id>/manifest       its manifest's exact bytes
    outbox/<id>/paper          what was wanted, with a checksum
    outbox/<id>.sent/          the hub has it; kept a while for versions that are made of it
    outbox/<id>.broken/        can't be understood; named in the log, and left to a person

Law: bytes, sync, rename, sync of the folder, word. An item is whole under its name or not there, and it loses its name
only when the hub has confirmed it, or who stored it takes it back. Ids grow: their order is the order of sending.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from edge_agent.outbox.copies import Reading, copy, listed
from edge_agent.outbox.papers import Paper, decode, encode
from edge_agent.outbox.words import Publication
from edge_agent.quota import needed
from modelsyncd.daemon.log import Log
from modelsyncd.digest import Digest, digest_of
from modelsyncd.errors import DamageError, DiskError, DiskFullError, ModelsyncError
from modelsyncd.manifest import Manifest
from modelsyncd.release import Parent
from modelsyncd.store import durable
from modelsyncd.store.failpoints import Point, passing
from modelsyncd.store.papers import read_paper
from modelsyncd.store.tree import EdgeTree
from modelsyncd.store.usage import taken
from modelsyncd.wire.nouns import encode_manifest, encode_release

CONTENT, MANIFEST, PAPER = "content", "manifest", "paper"
SENT, BROKEN = ".sent", ".broken"
MANIFEST_BYTES, MANIFEST_SHARE = 256, 4_096  # what a manifest takes for each file, and of the content, about


class Rest:
    """The folder of one outbox. Safe to use from any thread; every method but `papers` blocks."""

    def __init__(self, folder: Path, room: Callable[[], int], wall: Callable[[], float]) -> None:
        """`room` is bytes that may still be written."""
        self.folder = folder
        self._room = room
        self._wall = wall
        self._lock = threading.Lock()
        self._papers: dict[str, Paper] = {}
        self._sent: dict[str, Paper] = {}
        self._last = 0
        self._promised = 0

    @property
    def papers(self) -> Sequence[Paper]:
        """What waits, in the order of sending."""
        with self._lock:
            return [self._papers[name] for name in sorted(self._papers)]

    @property
    def sent(self) -> Sequence[Paper]:
        """What the hub has and is kept for a while, oldest first."""
        with self._lock:
            return [self._sent[name] for name in sorted(self._sent)]

    def taken(self) -> int:
        """Bytes of disk. Never raises."""
        return taken(self.folder)

    def content(self, name: str) -> Path:
        """Folder of an item's content."""
        return self._place(name) / CONTENT

    def manifest_bytes(self, paper: Paper) -> bytes:
        """An item's manifest. Raises DamageError, DiskError."""
        path = self._place(paper.id) / MANIFEST
        if not path.is_file():
            raise DamageError(f"outbox item {paper.id} has lost its manifest")
        data = read_paper(path)
        if digest_of(data) != paper.manifest:
            raise DamageError(f"the manifest of outbox item {paper.id} was changed on this disk")
        return data

    def load(self) -> None:
        """Finds what is there, removes what a killed process left half-made, and names what is broken.

        Raises DiskError.
        """
        durable.make_folder(self.folder, 0o700)
        durable.clear_leftovers(self.folder)
        durable.sync_folder(self.folder)  # names that a killed process gave, and did not live to sync
        with durable.disk_errors(self.folder):
            names = sorted(path.name for path in self.folder.iterdir() if path.is_dir())
        for name in names:
            known, _, ending = name.partition(".")
            if ending == BROKEN[1:]:
                Log().error("outbox.broken", path=self.folder / name)
            elif ending in ("", SENT[1:]):
                self._find(known, ending)

    def _find(self, name: str, ending: str) -> None:
        path = self.folder / (f"{name}.{ending}" if ending else name)
        try:
            paper = decode(read_paper(path / PAPER))
            if paper.id != name:
                raise DamageError(f"the paper of outbox item {name} speaks of {paper.id}")
        except ModelsyncError as error:
            if isinstance(error, DiskError) and (path / PAPER).exists():
                raise  # too many open files, or no right to read: says nothing about the item
            self._set_aside(path, error)
            return
        with suppress(ValueError):
            self._last = max(self._last, int(name, 16))
        if ending and not (path / CONTENT).is_dir():
            durable.remove_tree(path)  # it was handed over
        else:
            (self._sent if ending else self._papers)[name] = paper

    def _set_aside(self, path: Path, error: ModelsyncError) -> None:
        if path.name.endswith(SENT):
            durable.remove_tree(path)  # the hub has it
            return
        aside = path.with_name(path.name + BROKEN)
        Log().failure("outbox.broken", error, path=aside)
        durable.rename(path, aside)

    def keep(
        self,
        wanted: Publication,
        resolve: Callable[[], tuple[Parent, ...]],
        reading: Reading,
        check: Callable[[], None],
    ) -> tuple[Paper, bool]:
        """Copies what is wanted; durable when it returns. Whether the same waited already, whose paper this is then.

        Raises as `words.Outbox.store`.
        """
        parents = resolve()
        found = listed(wanted.path)
        content = sum(entry.stamp.size for entry in found)
        size = needed(content, len(found), MANIFEST_BYTES * len(found) + content // MANIFEST_SHARE)
        with self._reserved(size):
            name = self._next()
            making = self.folder / f".{name}.new"
            try:
                durable.make_folder(making, 0o700)
                paper = self._make(making, name, wanted, parents, lambda to: copy(wanted.path, found, to, reading))
                check()
                known = self._name(paper, making)
            finally:
                durable.erase(making)
        return (paper, False) if known is None else (known, True)

    def _make(
        self,
        making: Path,
        name: str,
        wanted: Publication,
        parents: tuple[Parent, ...],
        fill: Callable[[Path], Manifest],
    ) -> Paper:
        manifest = fill(making / CONTENT)
        data = encode_manifest(manifest)
        now = self._wall()
        paper = Paper(name, wanted, digest_of(data), manifest.content_size, len(manifest.files), parents, now, int(now))
        encode_release(paper.release(data, 1, "node/somebody"))  # what no release can hold is refused now
        durable.write_file(making / MANIFEST, data)
        durable.write_file(making / PAPER, encode(paper))
        passing(Point.OUTBOX_COPIED)
        return paper

    def _name(self, paper: Paper, making: Path) -> Paper | None:
        """Lets it count, unless the same waits already: then that."""
        with self._lock:
            for known in self._papers.values():
                if _same(known, paper):
                    return known
            durable.rename(making, self.folder / paper.id)
            passing(Point.OUTBOX_STORED)
            self._papers[paper.id] = paper
        return None

    def confirm(self, name: str) -> None:
        """The hub has it: it is sent no more. Nothing for one that is not there. Raises DiskError."""
        with self._lock:
            if name not in self._papers:
                return
            passing(Point.OUTBOX_CONFIRMED)
            durable.rename(self.folder / name, self.folder / (name + SENT))
            passing(Point.OUTBOX_SENT)
            self._sent[name] = self._papers.pop(name)

    def withdraw(self, name: str) -> Path | None:
        """Takes an item's name, durably; what is to be erased is returned, None for nothing. Raises DiskError."""
        with self._lock:
            if name not in self._papers:
                return None
            doomed = self.folder / f".{name}.gone"
            durable.erase(doomed)
            durable.rename(self.folder / name, doomed)
            del self._papers[name]
        return doomed

    def set_aside(self, name: str) -> None:
        """It is broken: a person may look at it. Raises DiskError."""
        with self._lock:
            if self._papers.pop(name, None) is not None:
                durable.rename(self.folder / name, self.folder / (name + BROKEN))

    def drop(self, name: str) -> None:
        """Removes what was sent. Raises DiskError."""
        with self._lock:
            self._sent.pop(name, None)
        durable.remove_tree(self.folder / (name + SENT))

    def hand_over(self, manifest: Digest, tree: EdgeTree) -> bool:
        """Lets what was sent become what is staged of the same manifest, if neither is there. Whether it did.

        Whoever takes it in reads all of it back. Raises DamageError, DiskError.
        """
        paper = next((one for one in self.sent if one.manifest == manifest), None)
        staged = tree.layout.staged(manifest)
        if paper is None or tree.folders(manifest) or os.path.lexists(staged):
            return False
        data = self.manifest_bytes(paper)
        durable.rename(self.content(paper.id), staged)
        tree.put_manifest(manifest, data)
        self.drop(paper.id)
        return True

    def _place(self, name: str) -> Path:
        with self._lock:
            return self.folder / (name + SENT if name in self._sent else name)

    def _next(self) -> str:
        with self._lock:
            self._last = max(self._last + 1, int(self._wall() * 1_000))
            return f"{self._last:012x}"

    @contextmanager
    def _reserved(self, size: int) -> Iterator[None]:
        """Raises DiskFullError when there is no room for so many bytes beside what else is being stored."""
        for paper in self.sent if size > self._room() - self._promised else ():
            self.drop(paper.id)
        with self._lock:
            left = self._room() - self._promised
            if size > left:
                raise DiskFullError(
                    f"it takes up to {size:,} bytes here, and {max(0, left):,} are free for models",
                    safe="nothing was stored; what waits in the outbox stays",
                    hint="raise the quota or free some space: modelsyncctl outbox shows what waits",
                )
            self._promised += size
        try:
            yield
        finally:
            with self._lock:
                self._promised -= size


def _same(known: Paper, paper: Paper) -> bool:
    """Whether nothing new would be published: the same content for the same model, and for no other channel."""
    ours, other = known.publication, paper.publication
    alike = (known.manifest, ours.model) == (paper.manifest, other.model)
    return alike and other.channel in ("", ours.channel)
