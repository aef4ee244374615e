"""Sources: what can't be kept whole on every node is refused by name, before anything is read."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from modelsyncd.errors import (
    BadInputError,
    HostilePathError,
    LimitError,
    ModelsyncError,
    NotFoundError,
)
from modelsyncd.limits import Limits
from modelsyncd.manifest import Chunking
from modelsyncd.store import source as source_module
from modelsyncd.store.source import scan
from tests.fakes.folders import contents, put


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test when a file of the source is opened."""

    def refuse(place: str) -> int:
        raise AssertionError(place)

    monkeypatch.setattr(source_module, "_open", refuse)


def _link(root: Path, target: str) -> None:
    (root / "zz").symlink_to(target)


def _socket(root: Path) -> None:
    here = Path.cwd()
    os.chdir(root)  # the path of a socket has 108 bytes at most
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("zz")
    finally:
        os.chdir(here)


def _outside(root: Path) -> None:
    (root.parent / "secret").write_bytes(b"secret")
    _link(root, "../secret")


def _outside_with_our_prefix(root: Path) -> None:
    put(root.parent / (root.name + "-not"), secret=b"secret")
    _link(root, f"../{root.name}-not/secret")


def _outside_and_back(root: Path) -> None:
    (root.parent / "out").symlink_to("/")
    _link(root, "../out/etc/passwd")


def _folder_link(root: Path) -> None:
    put(root, deep__x=b"x")
    _link(root, "deep")


def _touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()


ODD: list[tuple[Callable[[Path], object], type[ModelsyncError], str]] = [
    (_outside, HostilePathError, "'zz' is a link that leads out"),
    (_outside_with_our_prefix, HostilePathError, "'zz' is a link that leads out"),
    (_outside_and_back, HostilePathError, "'zz' is a link that leads out"),
    (lambda root: _link(root, "/etc/passwd"), HostilePathError, "'zz' is a link that leads out"),
    (lambda root: _link(root, "/"), HostilePathError, "'zz' is a link that leads out"),
    (lambda root: _link(root, ".."), HostilePathError, "'zz' is a link that leads out"),
    (lambda root: _link(root, "/dev/zero"), HostilePathError, "'zz' is a link that leads out"),
    (lambda root: _link(root, "."), HostilePathError, "'zz' is a link that leads out"),
    (_folder_link, BadInputError, "'zz' is a folder"),
    (lambda root: _link(root, "nowhere"), BadInputError, "'zz' is a link that leads to nothing"),
    (lambda root: _link(root, "zz"), BadInputError, "'zz' is a link that leads to nothing"),
    (lambda root: os.mkfifo(root / "zz"), BadInputError, "'zz' is a pipe"),
    (_socket, BadInputError, "'zz' is a socket"),
    (lambda root: _touch(root, "A"), HostilePathError, "'A' and 'a'"),
    (lambda root: _touch(root, "Sub/x", "sub/y"), HostilePathError, "'Sub' and 'sub'|'sub' and 'Sub'"),
    (lambda root: _touch(root, "con.txt"), HostilePathError, "con.txt"),
    (lambda root: _touch(root, "e\u0301"), HostilePathError, "NFC"),
    (lambda root: _touch(root, "new\nline"), HostilePathError, "control character"),
    (lambda root: _touch(root, "back\\slash"), HostilePathError, "slash"),
    (lambda root: _touch(root, "end."), HostilePathError, "end"),
    (lambda root: _touch(root, os.fsdecode(b"\xff\xfe")), HostilePathError, "not UTF-8"),
]


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize(("make_odd", "error", "words"), ODD)
def test_what_is_odd_is_refused_by_name_before_anything_is_read(
    tmp_path: Path, make_odd: Callable[[Path], object], error: type[ModelsyncError], words: str
) -> None:
    root = put(tmp_path / "model", a=b"weights")
    make_odd(root)
    with pytest.raises(error, match=words):
        scan(root)


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero"])
def test_a_device_is_no_version(path: str) -> None:
    with pytest.raises(BadInputError, match="is a device"):
        scan(Path(path))


@pytest.mark.usefixtures("unread")
def test_a_folder_without_files_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "empty" / "deep").mkdir(parents=True)
    with pytest.raises(BadInputError, match="has no files"):
        scan(tmp_path / "empty")


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize("limits", [Limits(files=1), Limits(content_bytes=11)])
def test_a_folder_beyond_a_limit_is_refused_before_it_is_read(tmp_path: Path, limits: Limits) -> None:
    put(tmp_path, a=b"weight", b__c=b"weight")
    with pytest.raises(LimitError):
        scan(tmp_path, limits=limits)


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    put(tmp_path, file=b"x")
    for missing in ("nothing", "nothing/below", "file/below"):
        with pytest.raises(NotFoundError, match="there is no file or folder"):
            scan(tmp_path / missing)


def test_a_named_link_to_itself_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(BadInputError, match="leads to itself"):
        scan(tmp_path / "loop")


def test_a_link_to_a_file_inside_is_that_file(tmp_path: Path) -> None:
    root = put(tmp_path / "model", blobs__1=b"weights")
    (root / "model.bin").symlink_to("blobs/1")
    (root / "absolute").symlink_to(root / "blobs" / "1")
    (root / "twice").symlink_to("model.bin")
    source = scan(root)
    assert contents(source) == dict.fromkeys(("absolute", "blobs/1", "model.bin", "twice"), b"weights")


def test_parameters_that_cannot_be_are_refused_before_the_folder_is_looked_at(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="rabin"):
        scan(tmp_path / "nothing", Chunking(algorithm="rabin"))


def test_a_file_that_may_not_be_read_is_our_users_to_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: object) -> int:  # a file of mode 0 would do, but root reads it all the same
        raise PermissionError(13, "Permission denied")

    put(tmp_path, a=b"x")
    monkeypatch.setattr(os, "preadv", deny)
    with pytest.raises(BadInputError, match="permission denied"):
        scan(tmp_path)
