"""The only place that stands between our code and the `os` module: calls below one folder are shown to a watcher.

`os` is patched and not our code, so pathlib and shutil, which call it too, are seen as well. What is not seen is what
C code opens by itself: `io.open` (patched too: it may only read here) and SQLite (`sqlite_calls.py`).
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from modelsyncd.digest import Buffer

READS = frozenset({"pread", "read", "listdir", "scandir", "statvfs", "io.open"})
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_BY_PATH = ("mkdir", "rmdir", "unlink", "remove", "chmod", "utime", "listdir", "scandir", "statvfs", "truncate")
_BY_DESCRIPTOR = ("pread", "ftruncate", "posix_fallocate", "fchmod", "fsync", "fdatasync", "close", "lseek")


@dataclass(frozen=True, slots=True)
class Call:
    """One call. `path` is absolute; `file` names what is open (a descriptor, or SQLite's handle); sizes in bytes."""

    name: str
    path: str
    file: int = -1
    to: str = ""
    """The new name of a rename or link, or what a new symlink leads to."""
    data: bytes = b""
    offset: int = 0
    """Of a write; the new size of a truncate, the end of what is reserved, the new mode of a chmod."""
    creates: bool = False
    """Whether an open may make the file, and it was not there."""
    writes: bool = False
    """Whether an open is for writing."""
    sqlite: bool = False


class Watcher(Protocol):
    """Sees each call before and after it is made. Called by one thread at a time."""

    def before(self, call: Call) -> None:
        """May raise OSError: then the call is not made, and whoever called gets that error."""

    def after(self, call: Call) -> None:
        """The call was made, and did not fail. For an open, `file` is what it gave."""


class Gate:
    """Where all calls of one watched folder pass, one at a time."""

    def __init__(self, root: Path, watcher: Watcher) -> None:
        self.root = os.fspath(root)
        self.watcher = watcher
        self.lock = threading.RLock()
        self._open: dict[int, str] = {}

    def covers(self, path: object, dir_fd: int | None = None) -> str:
        """The absolute path, "" for one that is not below the folder."""
        if isinstance(path, int):
            return self._open.get(path, "")
        if not isinstance(path, str | os.PathLike):
            return ""
        name = os.fspath(path)
        if dir_fd is not None and not name.startswith(os.sep):
            folder = self._open.get(dir_fd, "")
            return f"{folder}/{name}" if folder else ""
        inside = name == self.root or name.startswith(self.root + os.sep)
        return name.rstrip(os.sep) if inside else ""

    def passing(self, call: Call, real: Callable[[], object]) -> object:
        """Makes the call, if the watcher lets it."""
        with self.lock:
            self.watcher.before(call)
            result = real()
            self.watcher.after(call)
            return result

    def opening(self, call: Call, real: Callable[[], int]) -> int:
        """As `passing`, for what gives a descriptor."""
        with self.lock:
            self.watcher.before(call)
            descriptor = real()
            self._open[descriptor] = call.path
            self.watcher.after(Call("open", call.path, descriptor, creates=call.creates, writes=call.writes))
            return descriptor

    def closed(self, descriptor: int) -> None:
        """The number may mean another file from now on."""
        self._open.pop(descriptor, None)


@contextmanager
def watched(root: Path, watcher: Watcher) -> Iterator[Gate]:
    """Shows the watcher every call below `root` until the block ends. Not for two at once."""
    gate = Gate(root, watcher)
    patches = {(os, name): patch for name, patch in _patches(gate).items()}
    saved = {(module, name): getattr(module, name) for module, name in patches}
    saved[io, "open"] = io.open
    patches[io, "open"] = _io_open(gate, io.open)
    for (module, name), patch in patches.items():
        setattr(module, name, patch)
    try:
        yield gate
    finally:
        for (module, name), real in saved.items():
            setattr(module, name, real)


Patch = Callable[..., object]


def _patches(gate: Gate) -> dict[str, Patch]:
    found: dict[str, Patch] = {name: _by_path(gate, name, getattr(os, name)) for name in _BY_PATH}
    found |= {name: _by_descriptor(gate, name, getattr(os, name)) for name in _BY_DESCRIPTOR}
    found |= {name: _writing(gate, name, getattr(os, name)) for name in ("pwrite", "pwritev")}
    found |= {name: _naming(gate, name, getattr(os, name)) for name in ("rename", "replace", "link")}
    found["symlink"] = _symlink(gate, os.symlink)
    found["open"] = _open(gate, os.open)
    return found


def _open(gate: Gate, real: Callable[..., int]) -> Patch:
    def step(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        where = gate.covers(path, dir_fd)
        if not where:
            return real(path, flags, mode, dir_fd=dir_fd)
        creates = bool(flags & os.O_CREAT) and not os.path.lexists(where)
        assert not flags & os.O_TRUNC or creates, "an open that empties a file is not recorded"
        call = Call("open", where, creates=creates, writes=bool(flags & _WRITING))
        return gate.opening(call, lambda: real(path, flags, mode, dir_fd=dir_fd))

    return step


def _by_path(gate: Gate, name: str, real: Patch) -> Patch:
    def step(path: object = ".", *rest: object, **named: object) -> object:
        dir_fd = named.get("dir_fd")
        where = gate.covers(path, dir_fd if isinstance(dir_fd, int) else None)
        if not where:
            return real(path, *rest, **named)
        size = rest[0] if rest and isinstance(rest[0], int) else 0
        told = "unlink" if name == "remove" else name
        return gate.passing(Call(told, where, offset=size), lambda: real(path, *rest, **named))

    return step


def _by_descriptor(gate: Gate, name: str, real: Patch) -> Patch:
    def step(descriptor: int, *rest: int) -> object:
        where = gate.covers(descriptor)
        if not where:
            return real(descriptor, *rest)
        if name == "close":
            gate.closed(descriptor)
        size = sum(rest) if name == "posix_fallocate" else rest[0] if rest else 0
        return gate.passing(Call(name, where, descriptor, offset=size), lambda: real(descriptor, *rest))

    return step


def _writing(gate: Gate, name: str, real: Patch) -> Patch:
    def step(descriptor: int, data: Buffer | list[Buffer], offset: int) -> object:
        where = gate.covers(descriptor)
        if not where:
            return real(descriptor, data, offset)
        parts = data if isinstance(data, list) else [data]
        whole = b"".join(bytes(part) for part in parts)
        return gate.passing(
            Call("pwrite", where, descriptor, "", whole, offset), lambda: real(descriptor, data, offset)
        )

    return step


def _naming(gate: Gate, name: str, real: Patch) -> Patch:
    def step(source: str, target: str, **named: int | None) -> object:
        here, there = gate.covers(source, named.get("src_dir_fd")), gate.covers(target, named.get("dst_dir_fd"))
        if not here or not there:
            assert not here, "something leaves the watched folder"
            assert not there, "something comes into the watched folder"
            return real(source, target, **named)
        told = "rename" if name == "replace" else name
        return gate.passing(Call(told, here, to=there), lambda: real(source, target, **named))

    return step


def _symlink(gate: Gate, real: Patch) -> Patch:
    def step(target: str, path: str, *rest: object, **named: object) -> object:
        where = gate.covers(path)
        if not where:
            return real(target, path, *rest, **named)
        return gate.passing(Call("symlink", where, to=os.fspath(target)), lambda: real(target, path, *rest, **named))

    return step


def _io_open(gate: Gate, real: Patch) -> Patch:
    def step(path: object, mode: str = "r", *rest: object, **named: object) -> object:
        where = gate.covers(path)
        if not where:
            return real(path, mode, *rest, **named)
        assert not set(mode) & set("wax+"), f"{where} is written in a way that is not recorded"
        return gate.passing(Call("io.open", where), lambda: real(path, mode, *rest, **named))

    return step
