"""What only one kind of blob store does: a folder's renames and errors, an object store's waiting and its refusals."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from modelsyncd.errors import BadInputError, DiskError, RoadError
from modelsyncd.store.blobs import FolderBlobs, ObjectBlobs, open_blobs

SHM = Path("/dev/shm")


@pytest.mark.parametrize("url", ["", "packs", "/packs", "file://host/packs", "ftp://host/packs", "s3:///", "az://x/y"])
def test_a_url_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(BadInputError):
        open_blobs(url)


def test_a_folder_may_have_any_character_in_its_name(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    open_blobs(f"file://{tmp_path}/a%20b").adopt("ab/one", path)
    assert (tmp_path / "a b" / "ab" / "one").read_bytes() == b"x"


@pytest.mark.skipif(
    not SHM.is_dir() or SHM.stat().st_dev == Path(tempfile.gettempdir()).stat().st_dev,
    reason="needs a second file system",
)
def test_a_file_of_another_file_system_is_copied_in_whole(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path / "blobs")
    data = os.urandom(3 << 20)
    with tempfile.TemporaryDirectory(dir=SHM) as elsewhere:
        path = Path(elsewhere, "file")
        path.write_bytes(data)
        blobs.adopt("ab/one", path)
        assert not path.exists()
    assert blobs.read("ab/one", 0, len(data)) == data
    assert [blob.key for blob in blobs.list()] == ["ab/one"]


def test_a_folder_that_is_a_file_is_a_disk_error(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_bytes(b"")
    with pytest.raises(DiskError):
        FolderBlobs(tmp_path / "blobs" / "below")


def test_a_folder_does_not_list_what_a_killed_copy_left(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / ".one.pack.new").write_bytes(b"half")
    assert list(blobs.list()) == []


def test_a_folder_needs_no_object_store_library() -> None:
    program = "import sys, modelsyncd.store.blobs as b; b.open_blobs('file:///tmp'); sys.exit('obstore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_closing_an_object_store_waits_for_calls_in_flight(tmp_path: Path) -> None:
    blobs = ObjectBlobs("memory:///")
    inside, leave = threading.Event(), threading.Event()

    def call() -> None:
        with blobs._flights.one():
            inside.set()
            leave.wait(10)

    calling, closing = threading.Thread(target=call), threading.Thread(target=blobs.close)
    calling.start()
    assert inside.wait(10)
    closing.start()
    with pytest.raises(RoadError, match="closed"):
        _until_refused(blobs)
    assert closing.is_alive()
    leave.set()
    closing.join(10)
    calling.join(10)
    assert not closing.is_alive()


def _until_refused(blobs: ObjectBlobs) -> None:
    while True:
        list(blobs.list())


def test_a_store_that_can_not_be_reached_is_the_roads_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from obstore.store import S3Store  # noqa: PLC0415

    blobs = ObjectBlobs("s3://bucket/prefix")
    blobs._store = S3Store(
        "bucket",
        endpoint="http://127.0.0.1:1",
        access_key_id="nobody",
        secret_access_key="nothing",  # noqa: S106 - nobody listens there
        region="none",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
    path = tmp_path / "file"
    path.write_bytes(b"kept")
    for call in (lambda: blobs.adopt("ab/one", path), lambda: blobs.size("ab/one"), lambda: blobs.read("ab/one", 0, 1)):
        with pytest.raises(RoadError) as caught:
            call()
        assert caught.value.retryable
    assert path.read_bytes() == b"kept"
