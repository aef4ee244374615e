"""The only place that keeps what workers reported until it is done: one that was answered does not say it again."""

from __future__ import annotations

from pathlib import Path

from modelsyncd.errors import ConflictError
from modelsyncd.store.durable import clear_leftovers, disk_errors, make_folder, remove_file, write_file

FOLDER = "sedna/.reports"  # no namespace begins with a dot
MOST = 1_000


class Spool:
    """A folder with one file for each report, in order. Not for two threads at a time."""

    def __init__(self, data: Path) -> None:
        self._folder = data / FOLDER
        self._next = 1
        self._kept: set[int] = set()

    def load(self) -> list[tuple[int, bytes]]:
        """What is not done, oldest first. Raises DiskError."""
        make_folder(self._folder)
        clear_leftovers(self._folder)
        with disk_errors(self._folder):
            self._kept = {int(path.name) for path in self._folder.iterdir() if path.name.isdigit()}
            self._next = max(self._kept, default=0) + 1
            return [(number, self._path(number).read_bytes()) for number in sorted(self._kept)]

    def put(self, entry: bytes) -> int:
        """Durable when it returns. Raises DiskError, ConflictError when too many wait."""
        if len(self._kept) >= MOST:
            raise ConflictError(f"{MOST} reports of Sedna's workers wait to be carried out", hint="look at the log")
        number = self._next
        write_file(self._path(number), entry)
        self._next += 1
        self._kept.add(number)
        return number

    def done(self, number: int) -> None:
        """It need not be done again. Raises DiskError."""
        remove_file(self._path(number))
        self._kept.discard(number)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:09d}"
