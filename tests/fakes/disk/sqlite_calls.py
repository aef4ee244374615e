"""The only place that stands between SQLite and its file layer: its writes and syncs are shown to a watcher, in order.

SQLite asks a table of functions (`sqlite3_vfs`) for each file, and a file's own table (`sqlite3_io_methods`) for each
read, write and sync. Both are replaced here, through ctypes and in the very library that Python's `sqlite3` runs on,
so nothing about SQLite is guessed. Left out is the `-shm` file: it is shared memory that SQLite throws away when the
first connection comes, and says nothing after a power cut. https://sqlite.org/c3ref/vfs.html
"""

from __future__ import annotations

import _sqlite3
import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from typing import Any

from tests.fakes.disk.calls import Call, Gate

_CREATE = 0x4
_JOURNALS = 0x800 | 0x4000 | 0x80000  # main journal, super-journal, write-ahead log
_WRITABLE = 0x2
_FULL, _CANTOPEN = 13, 14
_IOERR = {"pread": 266, "pwrite": 778, "fsync": 1034, "ftruncate": 1546, "unlink": 2570}
"""SQLITE_IOERR_READ, _WRITE, _FSYNC, _TRUNCATE and _DELETE."""

_Open = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, POINTER(c_int))  # the name's address: SQLite keeps it
_Delete = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)
_Close = CFUNCTYPE(c_int, c_void_p)
_Transfer = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_Truncate = CFUNCTYPE(c_int, c_void_p, c_int64)
_Sync = CFUNCTYPE(c_int, c_void_p, c_int)


class _Vfs(Structure):
    _fields_ = (
        ("version", c_int),
        ("file_size", c_int),
        ("longest_path", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        ("open", c_void_p),
        ("delete", c_void_p),
    )


class _Methods(Structure):
    _fields_ = (
        ("version", c_int),
        ("close", c_void_p),
        ("read", c_void_p),
        ("write", c_void_p),
        ("truncate", c_void_p),
        ("sync", c_void_p),
        ("rest", c_void_p * 13),
    )


_kept: list[object] = []
"""Tables and functions that C code may still point to: a connection may outlive the block that watched it."""


@contextmanager
def sqlite_watched(gate: Gate) -> Iterator[None]:
    """Shows the gate's watcher what SQLite does below its folder, for databases opened until the block ends.

    Raises AttributeError where Python's `sqlite3` hides the library that it runs on.
    """
    find = ctypes.CDLL(_sqlite3.__file__).sqlite3_vfs_find
    find.restype, find.argtypes = POINTER(_Vfs), (c_char_p,)
    vfs = find(None).contents
    saved = vfs.open, vfs.delete
    layer = _Layer(gate, _Open(vfs.open), _Delete(vfs.delete))
    _kept.append(layer)
    vfs.open, vfs.delete = _address(layer.open), _address(layer.delete)
    try:
        yield
    finally:
        layer.on = False
        vfs.open, vfs.delete = saved


class _Layer:
    """SQLite's file layer with a watcher in front of it."""

    def __init__(self, gate: Gate, open_: Any, delete: Any) -> None:
        self.on = True
        self._gate = gate
        self._real_open, self._real_delete = open_, delete
        self._files: dict[int, str] = {}
        self._unnamed: set[int] = set()  # journals made by this process: the first sync takes their name along
        self._tables: dict[int, _Methods] = {}
        self.open, self.delete = _Open(self._open), _Delete(self._delete)

    def _pass(self, call: Call, real: Callable[[], int], then: Callable[[], None] = lambda: None) -> int:
        """SQLite's answer. An OSError of the watcher becomes what SQLite's own layer would make of it."""
        with self._gate.lock:
            if self.on:
                try:
                    self._gate.watcher.before(call)
                except OSError as error:
                    return _code(call.name, error)
            result = real()
            if result == 0:
                then()
                if self.on:
                    self._gate.watcher.after(call)
            return result

    def _open(self, vfs: int, name: int | None, file: int, flags: int, out: Any) -> int:
        path = self._gate.covers(os.fsdecode(ctypes.string_at(name))) if name else ""
        if not path:
            return int(self._real_open(vfs, name, file, flags, out))
        creates = bool(flags & _CREATE) and not os.path.lexists(path)

        def opened() -> None:
            self._files[file] = path
            if creates and flags & _JOURNALS:
                self._unnamed.add(file)
            self._take(file)

        call = Call("open", path, file, creates=creates, writes=bool(flags & _WRITABLE), sqlite=True)
        return self._pass(call, lambda: int(self._real_open(vfs, name, file, flags, out)), opened)

    def _delete(self, vfs: int, name: bytes, sync: int) -> int:
        path = self._gate.covers(os.fsdecode(name))
        if not path or not os.path.lexists(path):
            return int(self._real_delete(vfs, name, sync))
        result = self._pass(Call("unlink", path, sqlite=True), lambda: int(self._real_delete(vfs, name, sync)))
        if result == 0 and sync and self.on:
            self._gate.watcher.after(Call("fsync", os.path.dirname(path), sqlite=True))  # noqa: PTH120
        return result

    def _take(self, file: int) -> None:
        """Gives an open file a table of methods that pass here first."""
        first = c_void_p.from_address(file)
        if not first.value:
            return
        theirs = _Methods.from_address(first.value)
        ours = self._tables.get(first.value)
        if ours is None:
            ours = self._tables[first.value] = self._table(theirs)
        first.value = ctypes.addressof(ours)

    def _table(self, theirs: _Methods) -> _Methods:
        ours = _Methods.from_buffer_copy(theirs)
        close, read, write = _Close(theirs.close), _Transfer(theirs.read), _Transfer(theirs.write)
        truncate, sync = _Truncate(theirs.truncate), _Sync(theirs.sync)

        def on_close(file: int) -> int:
            path = self._files.pop(file, "")
            self._unnamed.discard(file)
            with self._gate.lock:
                result = int(close(file))
                if self.on:
                    self._gate.watcher.after(Call("close", path, file, sqlite=True))
                return result

        def on_read(file: int, buffer: int, size: int, offset: int) -> int:
            call = Call("pread", self._files[file], file, offset=offset, sqlite=True)
            return self._pass(call, lambda: int(read(file, buffer, size, offset)), lambda: None)

        def on_write(file: int, buffer: int, size: int, offset: int) -> int:
            data = ctypes.string_at(buffer, size)
            call = Call("pwrite", self._files[file], file, "", data, offset, sqlite=True)
            return self._pass(call, lambda: int(write(file, buffer, size, offset)))

        def on_truncate(file: int, size: int) -> int:
            call = Call("ftruncate", self._files[file], file, offset=size, sqlite=True)
            return self._pass(call, lambda: int(truncate(file, size)))

        def on_sync(file: int, flags: int) -> int:
            path = self._files[file]
            result = self._pass(Call("fsync", path, file, sqlite=True), lambda: int(sync(file, flags)))
            if result == 0 and file in self._unnamed and self.on:
                self._unnamed.discard(file)
                self._gate.watcher.after(Call("fsync", os.path.dirname(path), sqlite=True))  # noqa: PTH120
            return result

        functions = _Close(on_close), _Transfer(on_read), _Transfer(on_write), _Truncate(on_truncate), _Sync(on_sync)
        _kept.append((close, read, write, truncate, sync, functions, ours))
        ours.close, ours.read, ours.write, ours.truncate, ours.sync = map(_address, functions)
        return ours


def _code(name: str, error: OSError) -> int:
    """What os_unix.c answers when the system call behind it fails so."""
    if name == "open":
        return _CANTOPEN
    if name == "pwrite" and error.errno == errno.ENOSPC:
        return _FULL
    return _IOERR[name]


def _address(function: Any) -> int:
    found = ctypes.cast(function, c_void_p).value
    assert found
    return found
