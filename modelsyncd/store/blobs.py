"""The only door to where whole files rest under a key: a folder, or through obstore memory, S3, GCS and Azure.

A folder is read with pread and not through obstore: measured with 256 KiB from the page cache, 23 µs against 120 µs,
and the operating system's own errors tell a full disk from a broken one. obstore is imported for the other kinds only.

Law: a blob is whole under its key or not there; it never changes. Trap: leaving the interpreter while obstore has
requests in flight aborts the process, so `close` waits for them, and only calls that block are used here.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from modelsyncd.digest import Buffer
from modelsyncd.errors import (
    BadInputError,
    DamageError,
    DiskError,
    ModelsyncError,
    NotFoundError,
    RefusedError,
    RoadError,
)
from modelsyncd.store import durable

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

_CODE = re.compile(r"<Code>(\w+)</Code>")
_BODY = re.compile(r":? *<(\?xml|Error>).*")  # may say what was signed
_REFUSED = re.compile(r"status code: 40[134]\b|\(code: AccessDenied\)")
_NO_PLACE = ("NoSuchBucket", "ContainerNotFound")


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob's key, and its size in bytes; `tag` is another when the content is, "" where the store tells none."""

    key: str
    size: int
    tag: str = field(default="", compare=False)


class Blobs(Protocol):
    """Files by key ("ab/name.pack"). Safe to use from any thread; every method blocks.

    Every method raises DiskError for a folder; RoadError or RefusedError for a store behind a network.
    """

    def adopt(self, key: str, path: Path) -> None:
        """Makes a durable file the blob of this key; then the file is gone.

        Doing it again after a failure or a crash is safe. Raises NotFoundError when neither file nor blob is there.
        """

    def read(self, key: str, offset: int, length: int) -> Buffer:
        """Exactly `length` bytes (1 or more) at `offset`. Raises NotFoundError, DamageError when it is shorter."""

    def size(self, key: str) -> int:
        """Bytes. Raises NotFoundError."""

    def delete(self, key: str) -> None:
        """Removes the blob if it is there."""

    def list(self, prefix: str = "") -> Iterator[Blob]:
        """Blobs whose key begins with `prefix` (a whole part of the key, as in "ab"), in no order."""

    def close(self) -> None:
        """Waits for calls in flight; later calls raise."""


def open_blobs(url: str) -> Blobs:
    """The store behind `file:///folder` (made if need be), `memory:///`, `s3://bucket/prefix`, `gs://…` or `az://…`.

    Credentials for the last three come from the environment, as their vendors' own tools read them. Raises
    BadInputError for any other URL, DiskError.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        return FolderBlobs(Path(unquote(parts.path)))
    if parts.scheme in ("memory", "s3", "gs", "az"):
        return ObjectBlobs(url)
    raise BadInputError(
        f"{url[:80]!r} is no place for packs", hint="write file:///absolute/folder or s3://bucket/prefix"
    )


def open_origin(url: str) -> ObjectBlobs:
    """What lies at `s3://bucket/prefix`, `gs://…` or `az://…`, to be read. Raises BadInputError for any other URL."""
    if urlsplit(url).scheme not in ("s3", "gs", "az"):
        raise BadInputError(f"nothing is fetched from {url[:80]!r}", hint="write s3://, gs://, az:// or https://")
    return ObjectBlobs(url)


class FolderBlobs:
    """Blobs as files below a folder."""

    def __init__(self, root: Path) -> None:
        durable.make_folder(root)
        durable.sync_folder(root)  # folders that a killed process made, and did not live to sync
        self._root = root

    def adopt(self, key: str, path: Path) -> None:
        """See `Blobs`: a rename, or a copy when the file is on another file system."""
        target = self._root / key
        durable.make_folder(target.parent)
        if not path.exists():
            self.size(key)
            durable.sync_folder(target.parent)
            return
        try:
            durable.rename(path, target)
        except DiskError as error:
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno != errno.EXDEV:
                raise
            with (
                durable.disk_errors(path),
                path.open("rb") as file,
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
                memoryview(mapped) as view,
            ):
                durable.write_file(target, view)
            durable.remove_file(path)

    def read(self, key: str, offset: int, length: int) -> Buffer:
        """See `Blobs`."""
        with _in_folder(self._root, key):
            data = read_range(self._root / key, offset, length)
        if len(data) != length:
            raise _too_short(key, offset + length)
        return data

    def size(self, key: str) -> int:
        """See `Blobs`."""
        with _in_folder(self._root, key):
            return (self._root / key).stat().st_size

    def delete(self, key: str) -> None:
        """See `Blobs`."""
        durable.remove_file(self._root / key)

    def list(self, prefix: str = "") -> Iterator[Blob]:
        """See `Blobs`."""
        for folder, _, names in os.walk(self._root / prefix):
            for name in names:
                path = Path(folder, name)
                with suppress(NotFoundError):
                    if not durable.is_leftover(name):
                        key = path.relative_to(self._root).as_posix()
                        yield Blob(key, self.size(key))

    def close(self) -> None:
        """See `Blobs`: nothing is ever in flight here."""


def read_range(path: Path, offset: int, length: int) -> bytes:
    """At most `length` bytes of a file at `offset`: fewer at its end. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, length, offset)
    finally:
        os.close(descriptor)


class ObjectBlobs:
    """Blobs in an object store."""

    def __init__(self, url: str) -> None:
        from obstore.store import from_url  # noqa: PLC0415 - 40 MB of library that a folder does not need

        try:
            self._store: ObjectStore = from_url(url)
        except Exception as error:  # of its own, ValueError and others, as the setting may be
            raise BadInputError(f"{url[:80]!r} can't be opened: {_first_line(error)}") from error
        self._flights = _Flights()

    def adopt(self, key: str, path: Path) -> None:
        """See `Blobs`: an upload."""
        import obstore  # noqa: PLC0415

        if not path.exists():
            self.size(key)
            return
        with durable.disk_errors(path), path.open("rb") as file, self._calling(key):
            obstore.put(self._store, key, file)
        durable.remove_file(path)

    def read(self, key: str, offset: int, length: int) -> Buffer:
        """See `Blobs`."""
        import obstore  # noqa: PLC0415

        try:
            with self._calling(key):
                data = memoryview(obstore.get_range(self._store, key, start=offset, length=length))
        except RoadError:
            # A range that begins past the end has no error class of its own.
            if self.size(key) < offset + length:
                raise _too_short(key, offset + length) from None
            raise
        if len(data) != length:
            raise _too_short(key, offset + length)
        return data

    def size(self, key: str) -> int:
        """See `Blobs`."""
        import obstore  # noqa: PLC0415

        with self._calling(key):
            return obstore.head(self._store, key)["size"]

    def about(self, key: str) -> Blob:
        """With its tag. Raises as `size`."""
        import obstore  # noqa: PLC0415

        with self._calling(key):
            return _blob(obstore.head(self._store, key))

    def delete(self, key: str) -> None:
        """See `Blobs`."""
        import obstore  # noqa: PLC0415

        with suppress(NotFoundError), self._calling(key):
            obstore.delete(self._store, key)

    def list(self, prefix: str = "") -> Iterator[Blob]:
        """See `Blobs`."""
        import obstore  # noqa: PLC0415

        with self._calling(prefix):
            pages = iter(obstore.list(self._store, prefix or None))
        while True:
            with self._calling(prefix):
                page = next(pages, None)
            if page is None:
                return
            for found in page:
                yield _blob(found)

    def close(self) -> None:
        """See `Blobs`."""
        self._flights.close()

    @contextmanager
    def _calling(self, key: str) -> Iterator[None]:
        from obstore.exceptions import BaseError  # noqa: PLC0415

        with self._flights.one():
            try:
                yield
            except (BaseError, FileNotFoundError) as error:
                raise _gone_wrong(key, error) from error


def _gone_wrong(key: str, error: Exception) -> ModelsyncError:
    """What an object store's error means; for a list, or for what is deleted in bulk, only its text tells that."""
    from obstore.exceptions import PermissionDeniedError, UnauthenticatedError  # noqa: PLC0415

    line, code = _first_line(error), _CODE.search(str(error))
    said = f"{_BODY.sub('', line)}: {code[1]}" if code else line
    if isinstance(error, FileNotFoundError) and (code is None or code[1] not in _NO_PLACE):
        return _not_there(key)
    known = isinstance(error, (PermissionDeniedError, UnauthenticatedError, FileNotFoundError))
    if known or _REFUSED.search(line):
        return RefusedError(
            f"the blob store refuses {key or 'a list'}: {said}",
            hint="check the hub's credentials for it, and the bucket's name",
        )
    return RoadError(
        f"the blob store does not do its work: {said}",
        safe="what was stored before is untouched",
        hint="it is tried again; check the store and the way to it",
    )


def _blob(found: ObjectMeta) -> Blob:
    changed = found["last_modified"].timestamp()  # 1970 where a store does not say
    words = (found["e_tag"], str(changed) if changed > 0 else "")  # what was put back has its old ETag, at a new time
    return Blob(found["path"], found["size"], " ".join(word for word in words if word))


class _Flights:
    """Counts calls in flight."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0
        self._closed = False

    @contextmanager
    def one(self) -> Iterator[None]:
        with self._changed:
            if self._closed:
                raise RoadError("the blob store is closed", hint="the hub is stopping: try again when it is back")
            self._count += 1
        try:
            yield
        finally:
            with self._changed:
                self._count -= 1
                self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: self._count == 0)


@contextmanager
def _in_folder(root: Path, key: str) -> Iterator[None]:
    with durable.disk_errors(root / key):
        try:
            yield
        except FileNotFoundError as error:
            raise _not_there(key) from error


def _not_there(key: str) -> NotFoundError:
    return NotFoundError(f"there is no blob {key}")


def _too_short(key: str, wanted: int) -> DamageError:
    return DamageError(f"blob {key} ends before byte {wanted}", safe="other blobs are not touched")


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
