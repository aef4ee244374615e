"""The only place that loads the coder's compiled loops, and has them compiled: once for each machine, beside the work.

Where numba is installed, a child process compiles them into a folder of the user's own while the program goes on with
numpy. What lies in that folder is run, so it is loaded only if nobody else can write there and every file is as the
child left it.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from modelsyncd.codec import native
from modelsyncd.digest import digest_of

CHOICE = "MODELSYNCD_LOOPS"
"""`numpy` keeps compiled loops away, `compiled` has them in an agent too; else they come where `offer` was called."""
_SOURCES = Path(native.__file__).parent / "compiled"
_MADE = "made"
_LOCK = "lock"
_ALL = "modelsyncd.codec.compiled.every"
_SECONDS = 900
"""After so long, whoever compiles is ended: it hangs, or waits for one that does."""

_log = logging.getLogger(__name__)


def offer() -> None:
    """Lets the coder have compiled loops once it has enough to do, where they can be had."""
    if os.environ.get(CHOICE) != "numpy" and find_spec("numba") is not None:
        native.offer(Workshop(kept_folder()).load)


def offer_if_asked() -> None:
    """As `offer`, for a program whose memory counts more than its speed: only if somebody asked for compiled loops."""
    if os.environ.get(CHOICE) == "compiled":
        offer()


def kept_folder() -> Path:
    """Where compiled loops are kept: $CACHE_DIRECTORY, as systemd says, or XDG_CACHE_HOME/modelsyncd, ~/.cache."""
    for variable in ("CACHE_DIRECTORY", "XDG_CACHE_HOME"):
        named = Path(os.environ.get(variable, "").partition(":")[0])
        if named.is_absolute():
            return named / "modelsyncd" / "loops"
    return Path(os.path.expanduser("~")) / ".cache" / "modelsyncd" / "loops"  # noqa: PTH111 - no error without a home


class Workshop:
    """Loads loops from a folder, and has them made there first."""

    def __init__(self, folder: Path) -> None:
        """`folder` need not be there."""
        self._place = folder
        self._folder = folder
        self._child: subprocess.Popen[bytes] | None = None
        self._busy = threading.Lock()

    def load(self) -> bool | None:
        """As native.Load. Never raises."""
        if not self._busy.acquire(blocking=False):
            return None
        try:
            return self._load()
        finally:
            self._busy.release()

    def wait(self) -> bool:
        """As `load`, but for the end of what is being made."""
        found = self.load()
        while found is None:
            if self._child is not None:
                self._child.wait()
            found = self.load()
        return found

    def _load(self) -> bool | None:
        if sys.byteorder != "little" or not may_run_what_was_written():
            _log.info("compiled loops can't run here; numpy codes all chunks")
            return False
        if self._folder == self._place:
            self._folder = self._place / _key()
        try:
            if self._child is None and not whole(self._folder):
                self._child = self._begin()
                return None
            if self._child is not None and self._child.poll() is None:
                return None
            if not whole(self._folder):
                _log.warning("the coder's loops could not be compiled; numpy codes all chunks")
                return False
            with _numba_keeps(self._folder):
                import_module(_ALL)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in there, numpy does the same work
            _log.warning("the coder's loops can't be loaded, so numpy codes all chunks: %s", error)
            return False
        return True

    def _begin(self) -> subprocess.Popen[bytes]:
        own_folder(self._folder)
        return subprocess.Popen(
            [sys.executable, "-m", "modelsyncd.daemon.loops", str(self._folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def may_run_what_was_written() -> bool:
    """Whether this process may turn memory that it wrote into code; systemd's MemoryDenyWriteExecute= forbids it."""
    try:
        mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()
    except OSError:
        return False
    return True


def own_folder(folder: Path) -> None:
    """Makes a folder that only its owner may enter. Raises OSError."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def whole(folder: Path) -> bool:
    """Whether a folder holds what `make` left there, and belongs to us alone."""
    try:
        about = folder.stat()
        if about.st_uid != os.geteuid() or about.st_mode & 0o077:
            return False
        return (folder / _MADE).read_text(encoding="utf-8") == _listed(folder) != ""
    except OSError:
        return False


def make(folder: Path, loops: str = _ALL) -> None:
    """Compiles loops into a folder, one process at a time, and lists what it left. Raises OSError, ImportError."""
    own_folder(folder)
    with (folder / _LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if whole(folder):
            return
        with _numba_keeps(folder):
            import_module(loops)
        (folder / _MADE).write_text(_listed(folder), encoding="utf-8")  # half a list fits nothing


@contextmanager
def _numba_keeps(folder: Path) -> Iterator[None]:
    """While this lasts, numba takes compiled functions from a folder, or puts them there."""
    import numba  # noqa: PLC0415 - only where loops are loaded

    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(folder)
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


def _listed(folder: Path) -> str:
    """The compiled files with their digests."""
    files = sorted(path for path in folder.rglob("*.nb[ci]") if path.is_file())
    return "".join(f"{digest_of(path.read_bytes()).hex()} {path.relative_to(folder)}\n" for path in files)


def _key() -> str:
    """Names everything that compiled loops depend on: a change of it compiles them anew, in another folder."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - a megabyte that idle agents do without

    parts = [sys.version, platform.machine(), _processor()]
    for library in ("numba", "llvmlite", "numpy"):
        try:
            parts.append(version(library))
        except PackageNotFoundError:
            parts.append("")
    for path in sorted(_SOURCES.glob("*.py")):
        about = path.stat()  # numba goes by the same
        parts.append(f"{path} {about.st_mtime_ns} {about.st_size}")
    return digest_of("\n".join(parts).encode()).hex()[:16]


def _processor() -> str:
    """What the processor can do, as Linux says; elsewhere nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")[0].splitlines()
    except OSError:
        return ""
    return "\n".join(line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part")))


if __name__ == "__main__":
    signal.alarm(_SECONDS)
    if sys.argv[1:]:
        os.nice(10)
        make(Path(sys.argv[1]))
    else:
        make(kept_folder() / _key())
