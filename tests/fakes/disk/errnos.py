"""The only place that makes a watched disk fail: with one errno, at the n-th call that can, once or from then on."""

from __future__ import annotations

import errno
import os

from tests.fakes.disk.calls import Call

_NAMES = {"mkdir", "symlink", "rename"}
_CHANGES = {*_NAMES, "rmdir", "unlink", "chmod", "fchmod", "utime", "ftruncate", "pwrite", "posix_fallocate"}
_ROOM = {*_NAMES, "ftruncate", "pwrite", "posix_fallocate", "fsync", "fdatasync"}
_OPENS = {"open", "io.open", "listdir", "scandir"}

ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE)


class Failing:
    """A watcher (`calls.Watcher`) that lets the `nth` call fail, and with `lasting` all that follow, until `heal`."""

    def __init__(self, number: int, nth: int, *, lasting: bool) -> None:
        self.failed = ""
        """The first call that failed."""
        self._number = number
        self._nth = nth
        self._lasting = lasting
        self._count = 0
        self._healed = False

    def heal(self) -> None:
        """From now on nothing fails."""
        self._healed = True

    def before(self, call: Call) -> None:
        """Counts the calls that can end so."""
        if self._healed or not can_fail(self._number, call):
            return
        self._count += 1
        if self._count == self._nth or (self._lasting and self._count > self._nth):
            self.failed = self.failed or f"{call.name} {call.path}"
            raise OSError(self._number, os.strerror(self._number), call.path)

    def after(self, call: Call) -> None:
        """Nothing to note."""


def can_fail(number: int, call: Call) -> bool:
    """Whether the operating system may answer this call with this errno (the manual pages of section 2)."""
    match number:
        case errno.ENOSPC | errno.EDQUOT:
            return call.name in _ROOM or call.creates
        case errno.EROFS:
            return call.name in _CHANGES or (call.name == "open" and (call.writes or call.creates))
        case errno.EMFILE:
            return call.name in _OPENS
        case _:
            return call.name not in ("close", "statvfs", "lseek")
