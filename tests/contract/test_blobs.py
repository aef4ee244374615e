"""Every blob store keeps the same promises.

MODELSYNCD_TEST_BLOBS may name more of them, as URLs with spaces between ("s3://bucket/prefix"); each must be empty.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from random import Random

import pytest

from modelsyncd.errors import DamageError, NotFoundError
from modelsyncd.store.blobs import Blob, Blobs, open_blobs
from modelsyncd.store.marked import MarkedBlobs
from tests.fakes.s3_server import BUCKET, s3_server

FOLDER, MEMORY, S3 = "file://{folder}/blobs", "memory:///", "s3://{bucket}/packs"
URLS = [FOLDER, MEMORY, S3, *os.environ.get("MODELSYNCD_TEST_BLOBS", "").split()]


@pytest.fixture(params=[*URLS, *(f"marked {url}" for url in (FOLDER, MEMORY, S3))])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Blobs]:
    wrap, _, url = str(request.param).rpartition(" ")
    with s3_server() if url == S3 else nullcontext():
        store: Blobs = open_blobs(url.format(folder=tmp_path, bucket=BUCKET))
        if wrap:
            store = marked = MarkedBlobs(store, "the test's place")
            marked.claim(tmp_path / "spool", expected=False)
        yield store
        for blob in list(store.list()):
            store.delete(blob.key)
        store.close()


@pytest.fixture
def make(tmp_path: Path) -> _Files:
    return _Files(tmp_path)


class _Files:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, data: bytes) -> Path:
        path = self._folder / uuid.uuid4().hex
        path.write_bytes(data)
        return path


def test_what_was_adopted_is_read_back_whole_and_in_part(blobs: Blobs, make: _Files) -> None:
    data = bytes(range(256)) * 300
    path = make(data)
    blobs.adopt("ab/one.pack", path)
    assert blobs.read("ab/one.pack", 0, len(data)) == data
    assert blobs.read("ab/one.pack", 1_000, 17) == data[1_000:1_017]
    assert blobs.read("ab/one.pack", len(data) - 1, 1) == data[-1:]
    assert blobs.size("ab/one.pack") == len(data)
    assert not path.exists()


def test_a_blob_that_a_store_takes_in_parts_is_one_blob(blobs: Blobs, make: _Files) -> None:
    data = Random(7).randbytes(12 << 20)
    path = make(data)
    blobs.adopt("ab/one.pack", path)
    assert list(blobs.list()) == [Blob("ab/one.pack", len(data))]
    assert blobs.read("ab/one.pack", 0, len(data)) == data
    assert blobs.read("ab/one.pack", (5 << 20) - 3, 6) == data[(5 << 20) - 3 : (5 << 20) + 3]
    assert not path.exists()


def test_adopting_again_after_a_crash_before_the_file_was_gone_is_safe(blobs: Blobs, make: _Files) -> None:
    blobs.adopt("ab/one.pack", make(b"the same"))
    again = make(b"the same")
    blobs.adopt("ab/one.pack", again)
    assert blobs.read("ab/one.pack", 0, 8) == b"the same"
    assert not again.exists()


def test_adopting_again_after_the_file_is_gone_is_safe(blobs: Blobs, make: _Files) -> None:
    path = make(b"once")
    blobs.adopt("ab/one.pack", path)
    blobs.adopt("ab/one.pack", path)
    assert blobs.read("ab/one.pack", 0, 4) == b"once"


def test_adopting_what_is_nowhere_says_so(blobs: Blobs, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        blobs.adopt("ab/one.pack", tmp_path / "never")
    assert list(blobs.list()) == []


@pytest.mark.parametrize(("offset", "length"), [(0, 6), (4, 2), (5, 1), (900, 1)])
def test_bytes_past_the_end_are_damage_and_never_fewer_bytes(
    blobs: Blobs, make: _Files, offset: int, length: int
) -> None:
    blobs.adopt("ab/one.pack", make(b"short"))
    with pytest.raises(DamageError):
        blobs.read("ab/one.pack", offset, length)


def test_a_blob_that_is_not_there_is_not_found(blobs: Blobs) -> None:
    with pytest.raises(NotFoundError):
        blobs.read("ab/none.pack", 0, 1)
    with pytest.raises(NotFoundError):
        blobs.size("ab/none.pack")


def test_a_deleted_blob_is_gone_and_deleting_it_again_is_no_error(blobs: Blobs, make: _Files) -> None:
    blobs.adopt("ab/one.pack", make(b"one"))
    blobs.adopt("ab/two.pack", make(b"two"))
    blobs.delete("ab/one.pack")
    blobs.delete("ab/one.pack")
    assert list(blobs.list()) == [Blob("ab/two.pack", 3)]


def test_blobs_are_listed_with_their_sizes_all_or_by_the_first_part_of_the_key(blobs: Blobs, make: _Files) -> None:
    for key, data in [("ab/one.pack", b"1"), ("ab/two.pack", b"22"), ("cd/three.pack", b"333")]:
        blobs.adopt(key, make(data))
    everything = {Blob("ab/one.pack", 1), Blob("ab/two.pack", 2), Blob("cd/three.pack", 3)}
    assert set(blobs.list()) == everything
    assert set(blobs.list("ab")) == {Blob("ab/one.pack", 1), Blob("ab/two.pack", 2)}
    assert list(blobs.list("ef")) == []


def test_more_blobs_than_a_store_tells_at_once_are_all_listed(blobs: Blobs, make: _Files) -> None:
    keys = {f"{number % 7:02x}/{number}.pack" for number in range(120)}
    for key in keys:
        blobs.adopt(key, make(b"x"))
    listed = [blob.key for blob in blobs.list()]
    assert len(listed) == len(keys)
    assert set(listed) == keys


def test_many_threads_may_adopt_and_read_at_once(blobs: Blobs, make: _Files) -> None:
    def adopt_and_read(number: int) -> bool:
        key, data = f"{number:02x}/x.pack", bytes([number]) * 50_000
        blobs.adopt(key, make(data))
        return all(blobs.read(key, at, 5_000) == data[at : at + 5_000] for at in range(0, 50_000, 5_000))

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(adopt_and_read, range(32)))
