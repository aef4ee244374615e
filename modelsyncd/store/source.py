"""The only place that reads what is about to be published: once to make the manifest, then chunk by chunk to send it.

Law: a source is somebody else's folder and may change at any time. What is read is checked: while scanning against the
file's size, time and inode before and after; when a chunk is read again, against its digest. Nothing is mapped into
memory: a file that is truncated under a mapping kills the process.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType

from modelsyncd import formats, manifest
from modelsyncd.chunker import TENSORS_1, Cutter, cutter
from modelsyncd.chunker import check as check_chunking
from modelsyncd.digest import FileHasher, digest_of
from modelsyncd.formats import Layout
from modelsyncd.limits import LIMITS, Limits
from modelsyncd.manifest import Chunking, ChunkTable, File, Manifest
from modelsyncd.store.listing import Entry, Stamp, changed, entries, reading

PIECE = 4 << 20  # bytes read at once: large enough that handing it to the other thread costs nothing
ALONE = 256 << 10  # bytes: a shorter piece is hashed before the other thread would have woken up
_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

USUAL = Chunking()

Progress = Callable[[int, int], None]
"""(bytes done, bytes in all); what it raises ends the scan."""

Copy = Callable[[Entry], AbstractContextManager[Callable[[memoryview], object]]]
"""Opens what takes the bytes of one file while they are scanned, piece by piece and in order."""


class Source:
    """A scanned folder or file whose chunks can be read again. Safe to use from several threads."""

    def __init__(self, scanned: Manifest, places: Sequence[str]) -> None:
        """`places` are the absolute paths of the manifest's files, in its order."""
        self.manifest = scanned
        self._places = tuple(places)
        self._table = ChunkTable(scanned)
        self._lock = threading.Lock()
        self._opened: tuple[int, int] | None = None  # index of a file and its descriptor: reads come file by file

    def read(self, ordinal: int) -> bytes:
        """The plain bytes of a chunk.

        Raises SourceChangedError when they are no longer what was scanned, BadInputError when they may not be read,
        DiskError, and IndexError for an ordinal that is not in the manifest.
        """
        chunk = self._table.chunk(ordinal)
        place = self._places[chunk.file]
        with self._lock, reading(place):
            plain = os.pread(self._descriptor(chunk.file), chunk.size, chunk.offset)
        if digest_of(plain) != chunk.digest:
            self.close()  # the file may have been put in place anew: look at it afresh the next time
            raise changed(place)
        return plain

    @property
    def sizes(self) -> Sequence[int]:
        """Bytes of each file, as scanned."""
        return [file.size for file in self.manifest.files]

    def range(self, file: int, offset: int, size: int) -> bytes:
        """Bytes of one of the files as they are now: unverified, for whoever verifies what is made of them.

        Raises SourceChangedError when they are not there any more, BadInputError, DiskError.
        """
        place = self._places[file]
        with self._lock, reading(place):
            plain = os.pread(self._descriptor(file), size, offset)
        if len(plain) != size:
            self.close()
            raise changed(place)
        return plain

    def _descriptor(self, file: int) -> int:
        if self._opened is not None and self._opened[0] == file:
            return self._opened[1]
        self._let_go()
        descriptor = _open(self._places[file])
        self._opened = (file, descriptor)
        return descriptor

    def _let_go(self) -> None:
        if self._opened is not None:
            os.close(self._opened[1])
            self._opened = None

    def close(self) -> None:
        """Lets go of the file that was read last. A later `read` opens what it needs."""
        with self._lock:
            self._let_go()

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def scan(path: Path, chunking: Chunking = USUAL, progress: Progress | None = None, limits: Limits = LIMITS) -> Source:
    """Reads a folder, or one file, once, and says what it holds.

    Blocks for as long as the disk needs, in constant memory. Raises NotFoundError, HostilePathError, BadInputError and
    LimitError before anything is read, SourceChangedError when a file changed meanwhile, and DiskError.
    """
    check_chunking(chunking)
    return scan_entries(entries(path, limits), chunking, progress, limits)


def scan_entries(
    found: Sequence[Entry],
    chunking: Chunking,
    progress: Progress | None = None,
    limits: Limits = LIMITS,
    copy: Copy | None = None,
) -> Source:
    """Reads files that `entries` listed, all of them or some, and hands their bytes to `copy` on the way.

    Raises SourceChangedError, BadInputError, DiskError, and what `copy` raises.
    """
    total = sum(entry.stamp.size for entry in found)
    with ThreadPoolExecutor(1, thread_name_prefix="sha256") as beside:
        layouts = _Layouts(found, chunking, limits)
        reader = _Reader(chunking, beside, total, progress or _silent, layouts, copy=copy or _uncopied)
        files = tuple(reader.file(entry) for entry in found)
    return Source(manifest.check(Manifest(files, chunking), limits), [entry.place for entry in found])


def _silent(_done: int, _total: int) -> None:
    """Progress that nobody watches."""


@contextmanager
def _uncopied(_entry: Entry) -> Iterator[Callable[[memoryview], object]]:
    """A copy that nobody wants."""
    yield len


class _Layouts:
    """The layouts of a source's files: what they say themselves, and what others say of them."""

    def __init__(self, found: Sequence[Entry], chunking: Chunking, limits: Limits) -> None:
        """Reads the headers of the files that may speak of others."""
        self._first = chunking.algorithm == TENSORS_1
        self._left = limits.tensors  # of the version: what is beyond is cut by its content, not refused
        self._limits = limits
        self._told: dict[str, Layout] = {}
        pointing = [entry for entry in found if formats.points_elsewhere(entry.path) and not self._first]
        sizes = {entry.path: entry.stamp.size for entry in found} if pointing else {}
        for entry in pointing:
            with _unchanged(entry) as descriptor:
                told = formats.read_elsewhere(entry.path, sizes, partial(_read_at, descriptor), limits)
            self._told = told | self._told  # of two that speak of the same file, the first by name

    def of(self, entry: Entry, descriptor: int) -> Layout | None:
        """The layout of a file that is open."""
        if self._first and not entry.path.casefold().endswith(".safetensors"):
            return None
        size, read_at = entry.stamp.size, partial(_read_at, descriptor)
        layout = formats.read_layout(entry.path, size, read_at, self._limits) or self._told.get(entry.path)
        if layout is None or len(layout.tensors) > self._left:
            return None
        self._left -= len(layout.tensors)
        return layout


class _Reader:
    """Reads files one after the other through one buffer, and counts what it has read."""

    def __init__(
        self, chunking: Chunking, beside: Executor, total: int, progress: Progress, layouts: _Layouts, *, copy: Copy
    ) -> None:
        self._chunking = chunking
        self._copy = copy
        self._layouts = layouts
        self._beside = beside
        self._buffer = memoryview(bytearray(min(PIECE, total)))
        self._total = total
        self._progress = progress
        self._done = 0

    def file(self, entry: Entry) -> File:
        """Cuts and hashes one file."""
        with _unchanged(entry) as descriptor, self._copy(entry) as take:
            layout = self._layouts.of(entry, descriptor)
            tensors = layout.tensors if layout else ()
            cuts = cutter(entry.stamp.size, tensors, self._chunking)
            sizes, digests, sha256 = self._hash(self._pieces(descriptor, entry), cuts, take)
        return File(
            path=entry.path,
            size=entry.stamp.size,
            sha256=sha256,
            executable=entry.executable,
            chunk_sizes=tuple(sizes),
            chunk_digests=b"".join(digests),
            tensors=tensors,
            format=layout.format if layout else "",
        )

    def _hash(
        self, pieces: Iterator[memoryview], cuts: Cutter, take: Callable[[memoryview], object]
    ) -> tuple[list[int], list[bytes], bytes]:
        """Sizes and digests of the chunks, and the SHA-256 of the file."""
        sizes: list[int] = []
        digests: list[bytes] = []
        whole = FileHasher()

        def name(chunks: Sequence[memoryview]) -> None:
            sizes.extend(map(len, chunks))
            digests.extend(map(digest_of, chunks))

        for piece in pieces:
            # SHA-256 takes longer than all else together, so it runs beside the rest; all of it releases the GIL.
            if len(piece) < ALONE:
                whole.update(piece)
                name(cuts.feed(piece))
                take(piece)
                continue
            hashed = self._beside.submit(whole.update, piece)
            try:
                name(cuts.feed(piece))
                take(piece)
            finally:
                hashed.result()  # before the buffer is used again
        name(cuts.finish())
        return sizes, digests, whole.sha256()

    def _pieces(self, descriptor: int, entry: Entry) -> Iterator[memoryview]:
        """The file's bytes in order, in one buffer that is used again and again."""
        offset = 0
        while offset < entry.stamp.size:
            wanted = self._buffer[: min(len(self._buffer), entry.stamp.size - offset)]
            length = os.preadv(descriptor, [wanted], offset)
            if length == 0:
                raise changed(entry.place)
            yield wanted[:length]
            offset += length
            self._done += length
            self._progress(self._done, self._total)


@contextmanager
def _unchanged(entry: Entry) -> Iterator[int]:
    """A descriptor to read the file by. Raises SourceChangedError when it is not as listed, at the start or the end."""
    with reading(entry.place):
        descriptor = _open(entry.place)
        try:
            _check(entry, os.fstat(descriptor))
            yield descriptor
            _check(entry, os.lstat(entry.place))  # the same inode as above, so this is the descriptor's status too
        finally:
            os.close(descriptor)


def _check(entry: Entry, status: os.stat_result) -> None:
    if Stamp.of(status) != entry.stamp:
        raise changed(entry.place)


def _open(place: str) -> int:
    """Opens a regular file and nothing else. Not blocking: a pipe that took its place would wait for a writer."""
    try:
        descriptor = os.open(place, _OPEN_FLAGS)
    except OSError as error:
        if stat.S_ISREG(os.lstat(place).st_mode):
            raise
        raise changed(place) from error  # a link or a socket by now
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise changed(place)
    return descriptor


def _read_at(descriptor: int, offset: int, length: int) -> bytes:
    return os.pread(descriptor, length, offset)
