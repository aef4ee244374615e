"""The only place that writes down what happened to a disk: steps that are lost or kept alone, barriers, and marks.

The recorder keeps a file system of its own in memory and makes each call in it too. It never asks the real disk, so
`Image.check` can prove that nothing was missed: with every step kept, it must look exactly like the real folder.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes.disk.calls import Call

SECTOR = 512  # bytes that a disk writes whole or not at all
ROOT = 0
UNSEEN = ("-shm",)  # SQLite's shared memory: no call shows it, and none need, for nobody reads it after a restart


@dataclass(frozen=True, slots=True)
class NameStep:
    """Names in folders: each (folder, name) leads to a node now, or to none. All of it happens at once."""

    at: int
    changes: tuple[tuple[int, str, int | None], ...]


@dataclass(frozen=True, slots=True)
class SizeStep:
    """A file has so many bytes."""

    at: int
    node: int
    size: int


@dataclass(frozen=True, slots=True)
class ModeStep:
    """A file or folder has these permissions."""

    at: int
    node: int
    mode: int


@dataclass(frozen=True, slots=True)
class SectorStep:
    """A sector of a file holds these SECTOR bytes."""

    at: int
    node: int
    sector: int
    data: bytes


Step = NameStep | SizeStep | ModeStep | SectorStep


@dataclass(frozen=True, slots=True)
class Barrier:
    """A sync of one node has returned: of a file's bytes and size (all of it with `whole`), or of a folder's names."""

    at: int
    node: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Mark:
    """Somebody was told something here, and may count on it from now on."""

    at: int
    what: object


Event = Step | Barrier | Mark


@dataclass
class Node:
    """A file, a folder or a link, as programs see it."""

    kind: str  # "file", "folder" or "link"
    target: str = ""
    mode: int = 0
    data: bytearray = field(default_factory=bytearray)
    names: dict[str, int] = field(default_factory=dict)


class Recorder:
    """A watcher (`calls.Watcher`) that writes everything down. `nodes` is how the disk looks to programs now."""

    def __init__(self, root: Path) -> None:
        """What lies below `root` already counts as durable."""
        self.root = root
        self.nodes: dict[int, Node] = {ROOT: Node("folder")}
        self.events: list[Event] = []
        self.base = 0
        """Events before this one speak of what was there before, all of it durable."""
        self.sqlite: set[int] = set()
        """Nodes that SQLite writes."""
        self.calls_left: int | None = None
        """Calls until the process that is watched is dead; None for a long life."""
        self._open: dict[int, int] = {}
        self._at = 0
        self._import(root, ROOT)
        self.base = len(self.events)

    def mark(self, what: object) -> None:
        """Notes what somebody was told just now."""
        self.events.append(Mark(self._next(), what))

    # --- calls.Watcher ---

    def before(self, call: Call) -> None:
        """A dead process does nothing to the disk any more; that its code gets errors shows on nobody's disk."""
        if self.calls_left is not None and call.name != "close":
            self.calls_left -= 1
            if self.calls_left < 0:
                raise OSError(errno.EIO, "this process is dead")

    def now(self) -> int:
        """The number of the last step."""
        return self._at

    def after(self, call: Call) -> None:
        """Writes it down."""
        match call.name:
            case "open":
                self._opened(call)
            case "close":
                self._open.pop(call.file, None)
            case "pwrite":
                self._written(self._open[call.file], call.data, call.offset)
            case "ftruncate":
                self._sized(self._open[call.file], call.offset)
            case "posix_fallocate":
                node = self._open[call.file]
                self._sized(node, max(call.offset, len(self.nodes[node].data)))
            case "mkdir" | "symlink":
                kind = "folder" if call.name == "mkdir" else "link"
                self._named(call.path, self._node(Node(kind, call.to)))
            case "unlink" | "rmdir":
                self._named(call.path, None)
            case "rename":
                self._renamed(call.path, call.to)
            case "chmod" | "fchmod":
                self._moded(call)
            case "fsync" | "fdatasync":
                node = self._open[call.file] if call.file in self._open else self._find(call.path)
                self.events.append(Barrier(self._next(), node, call.name == "fsync"))
            case "link" | "truncate":
                raise AssertionError(f"nobody wrote down how {call.name} is replayed")

    # --- inside ---

    def _next(self) -> int:
        self._at += 1
        return self._at

    def _node(self, node: Node) -> int:
        number = len(self.nodes)
        self.nodes[number] = node
        return number

    def _where(self, path: str) -> tuple[int, str]:
        """The node of the folder, and the name in it."""
        parts = Path(path).relative_to(self.root).parts
        folder = ROOT
        for part in parts[:-1]:
            folder = self.nodes[folder].names[part]
        return folder, parts[-1]

    def _find(self, path: str) -> int:
        if path == os.fspath(self.root):
            return ROOT
        folder, name = self._where(path)
        return self.nodes[folder].names[name]

    def _opened(self, call: Call) -> None:
        if call.creates:
            node = self._node(Node("file"))
            if call.sqlite:
                self.sqlite.add(node)
            self._named(call.path, node)
        self._open[call.file] = self._find(call.path)

    def _named(self, path: str, node: int | None) -> None:
        folder, name = self._where(path)
        self._change((folder, name, node))

    def _renamed(self, source: str, target: str) -> None:
        before, old = self._where(source)
        after, new = self._where(target)
        node = self.nodes[before].names[old]
        self._change((before, old, None), (after, new, node))

    def _change(self, *changes: tuple[int, str, int | None]) -> None:
        for folder, name, node in changes:
            if node is None:
                self.nodes[folder].names.pop(name)
            else:
                self.nodes[folder].names[name] = node
        self.events.append(NameStep(self._next(), changes))

    def _moded(self, call: Call) -> None:
        node = self._open[call.file] if call.file in self._open else self._find(call.path)
        self.nodes[node].mode = call.offset
        self.events.append(ModeStep(self._next(), node, call.offset))

    def _sized(self, node: int, size: int) -> None:
        data = self.nodes[node].data
        if size == len(data):
            return
        at = self._next()
        self.events.append(SizeStep(at, node, size))
        if size > len(data):
            data.extend(bytes(size - len(data)))
            return
        del data[size:]
        if size % SECTOR:  # what was cut off must read as zeros if the file grows again
            self._sectors(at, node, size - 1, size)

    def _written(self, node: int, new: bytes, offset: int) -> None:
        data = self.nodes[node].data
        at = self._next()
        end = offset + len(new)
        if end > len(data):
            data.extend(bytes(end - len(data)))
            self.events.append(SizeStep(at, node, end))
        data[offset:end] = new
        self._sectors(at, node, offset, end)

    def _sectors(self, at: int, node: int, start: int, end: int) -> None:
        data = self.nodes[node].data
        for sector in range(start // SECTOR, -(-end // SECTOR)):
            held = bytes(data[sector * SECTOR : (sector + 1) * SECTOR])
            self.events.append(SectorStep(at, node, sector, held.ljust(SECTOR, b"\0")))

    def _import(self, path: Path, folder: int) -> None:
        for entry in sorted(path.iterdir()):
            if entry.name.endswith(UNSEEN):
                continue
            if entry.is_symlink():
                self._change((folder, entry.name, self._node(Node("link", os.fspath(entry.readlink())))))
            elif entry.is_dir():
                node = self._node(Node("folder"))
                self._change((folder, entry.name, node))
                self._import(entry, node)
            else:
                node = self._node(Node("file"))
                if ".db" in entry.name:
                    self.sqlite.add(node)
                self._change((folder, entry.name, node))
                self._written(node, entry.read_bytes(), 0)
                self.events.append(ModeStep(self._next(), node, entry.stat().st_mode & 0o777))
