"""The only place that finds the process which holds a folder's lock, and tells it to look at its disk.

Law: a number in a file proves nothing, because its process may be gone and the number another's by now. A process is
signalled only if the kernel says that it has this very file open and locked, and through a descriptor of the process
itself, so that no other one can take its number in between.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from modelsyncd.errors import RefusedError


def hasten(lock: Path) -> int | None:
    """Sends SIGHUP to the process that holds this lock (`durable.lock_folder`); its pid, None when nobody holds it.

    Raises RefusedError when it belongs to another user.
    """
    pid = _pid_in(lock)
    if pid is None:
        return None
    try:
        process = os.pidfd_open(pid)
        try:
            if not _holds(pid, lock):
                return None
            signal.pidfd_send_signal(process, signal.SIGHUP)
        finally:
            os.close(process)
    except (ProcessLookupError, FileNotFoundError):
        return None
    except OSError as error:
        if not _may_hold(pid, lock):
            return None
        raise RefusedError(f"process {pid} can't be told: {error.strerror}", hint="run this as its user") from error
    return pid


def _pid_in(lock: Path) -> int | None:
    try:
        word = lock.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None
    return int(word) if word.isdecimal() and 0 < int(word) < 1 << 31 else None


def _may_hold(pid: int, lock: Path) -> bool:
    """Whether the process, into which we may not look, runs as the owner of the file."""
    try:
        return Path(f"/proc/{pid}").stat().st_uid == lock.stat().st_uid
    except OSError:
        return False


def _holds(pid: int, lock: Path) -> bool:
    """Whether one of the process's open files is this one, with a lock on it. Raises OSError."""
    wanted = lock.stat()
    for opened in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            if os.path.samestat(opened.stat(), wanted):
                notes = Path(f"/proc/{pid}/fdinfo/{opened.name}").read_text(encoding="ascii", errors="replace")
                if any(line.startswith("lock:") and " FLOCK " in line for line in notes.splitlines()):
                    return True
    return False
