"""Jobs that read a channel's path over and over, in the ways that jobs do, and remember every version they saw."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

Read = Callable[[Path], str]


def digest_of_folder(folder: Path) -> str:
    """One digest for all files of a folder; what a reader must have seen if it saw one version whole."""
    return _digest([(folder / name).read_bytes() for name in sorted(path.name for path in folder.iterdir())])


def through_a_descriptor(path: Path) -> str:
    """Opens the channel's path once and reads all files below it."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return _digest([_read_at(folder, name) for name in sorted(os.listdir(folder))])  # noqa: PTH208 - a descriptor
    finally:
        os.close(folder)


def through_the_resolved_path(path: Path) -> str:
    """Asks once where the channel leads, and reads there."""
    return digest_of_folder(path.resolve(strict=True))


def _read_at(folder: int, name: str) -> bytes:
    descriptor = os.open(name, os.O_RDONLY, dir_fd=folder)
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def _digest(files: Sequence[bytes]) -> str:
    whole = hashlib.sha256()
    for plain in files:
        whole.update(hashlib.sha256(plain).digest())
    return whole.hexdigest()


@dataclass
class Reader:
    """One job. `seen` are the digests in the order in which they changed."""

    path: Path
    read: Read
    reads: int = 0
    seen: list[str] = field(default_factory=list)
    failure: Exception | None = None

    def run(self, over: threading.Event) -> None:
        try:
            while not over.is_set():
                found = self.read(self.path)
                self.reads += 1
                if self.seen[-1:] != [found]:
                    self.seen.append(found)
        except Exception as error:  # noqa: BLE001 - told by `reading`, in the test's own thread
            self.failure = error


@contextmanager
def reading(path: Path) -> Iterator[list[Reader]]:
    """Readers of either kind, each in a thread, while the block runs. Raises what one of them met."""
    readers = [Reader(path, through_a_descriptor), Reader(path, through_the_resolved_path)]
    over = threading.Event()
    threads = [threading.Thread(target=reader.run, args=(over,)) for reader in readers]
    for thread in threads:
        thread.start()
    try:
        yield readers
    finally:
        over.set()
        for thread in threads:
            thread.join(30)
    for reader in readers:
        if reader.failure is not None:
            raise reader.failure
