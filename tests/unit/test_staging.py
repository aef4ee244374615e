"""A version is assembled in place: whatever was written right counts, whatever is wrong is missing."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from modelsyncd.digest import digest_of
from modelsyncd.errors import DamageError, DiskError, DiskFullError
from modelsyncd.manifest import File, Manifest
from modelsyncd.store.staging import Staging, twins_of
from tests.fakes.versions import STEP, Published, content_of, published, some_files

CHUNKS = 12


@pytest.fixture
def version() -> Published:
    return published(some_files(random.Random(1), CHUNKS), executable=["labels/en.txt"])


@pytest.fixture
def staging(version: Published, tmp_path: Path) -> Staging:
    return opened(version, tmp_path)


def opened(version: Published, tmp_path: Path) -> Staging:
    staging = Staging(tmp_path / "staging" / "it", version.manifest)
    staging.prepare()
    return staging


def write(staging: Staging, version: Published, ordinals: Sequence[int]) -> None:
    staging.write([(ordinal, version.chunks[ordinal]) for ordinal in ordinals])


def test_everything_is_missing_at_first_and_files_have_their_final_size(staging: Staging, version: Published) -> None:
    assert staging.missing() == list(range(len(version.chunks)))
    sizes = {path: len(plain) for path, plain in content_of(staging.path).items()}
    assert sizes == {path: len(plain) for path, plain in version.files.items()}
    assert staging.bytes_present() == 0


def test_an_empty_staging_takes_next_to_no_room(staging: Staging) -> None:
    assert sum(path.lstat().st_blocks for path in staging.path.rglob("*") if path.is_file()) == 0


def test_a_chunk_is_written_before_the_next_one_is_made(staging: Staging, version: Published) -> None:
    def one_at_a_time() -> Iterator[tuple[int, bytearray]]:
        for ordinal in (0, 1, 2):
            plain = bytearray(version.chunks[ordinal])
            yield ordinal, plain
            plain[:] = bytes(len(plain))  # nobody holds on to it

    staging.write(one_at_a_time())
    assert [staging.read(ordinal) for ordinal in (0, 1, 2)] == version.chunks[:3]


def test_nothing_counts_before_every_file_of_the_batch_is_synced(
    staging: Staging, version: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []

    def sync(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        synced.append(name)
        if name == "model.bin":
            raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(os, "fdatasync", sync)
    staging.missing()
    with pytest.raises(DiskFullError):
        write(staging, version, [0, len(version.chunks) - 1])
    assert set(synced) == {"en.txt", "model.bin"}
    assert staging.bytes_present() == 0


def test_what_makes_the_chunks_may_fail_and_then_none_counts(staging: Staging, version: Published) -> None:
    def failing() -> Iterator[tuple[int, bytes]]:
        yield 0, version.chunks[0]
        raise DiskError("a base can't be read")

    staging.missing()
    with pytest.raises(DiskError, match="a base"):
        staging.write(failing())
    assert staging.bytes_present() == 0


def test_what_is_written_is_not_missing_and_can_be_read(staging: Staging, version: Published) -> None:
    staging.missing()
    write(staging, version, [3, 0, 5])
    assert staging.missing() == [one for one in range(len(version.chunks)) if one not in (0, 3, 5)]
    assert staging.read(3) == version.chunks[3]
    assert list(staging.present()) == [0, 3, 5]


def test_a_whole_version_is_moved_to_its_place_read_only(staging: Staging, version: Published, tmp_path: Path) -> None:
    write(staging, version, staging.missing())
    staging.finish(tmp_path / "version")
    assert content_of(tmp_path / "version") == version.files
    assert not staging.path.exists()
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "version").rglob("*") if path.is_file()}
    assert modes == {"model.bin": 0o444, "empty": 0o444, "en.txt": 0o555}


def test_a_version_that_lacks_a_chunk_is_not_finished(staging: Staging, version: Published, tmp_path: Path) -> None:
    write(staging, version, staging.missing()[1:])
    with pytest.raises(DamageError, match="1 of"):
        staging.finish(tmp_path / "version")
    assert not (tmp_path / "version").exists()
    assert staging.missing() == [0]


def test_written_but_not_recorded_chunks_are_found_by_another_object(
    staging: Staging, version: Published, tmp_path: Path
) -> None:
    write(staging, version, [1, 2])
    assert opened(version, tmp_path).missing() == [one for one in range(len(version.chunks)) if one not in (1, 2)]


def test_wrong_bytes_are_simply_missing_and_heal(staging: Staging, version: Published, tmp_path: Path) -> None:
    write(staging, version, staging.missing())
    with (staging.path / "model.bin").open("r+b") as file:
        file.seek(2 * STEP + 7)
        file.write(b"\x00poison")
    again = opened(version, tmp_path)
    wrong = again.missing()
    assert wrong == [ordinal for ordinal, plain in enumerate(version.chunks) if plain == again_plain(version, 2)]
    write(again, version, wrong)
    again.finish(tmp_path / "version")
    assert content_of(tmp_path / "version") == version.files


def again_plain(version: Published, place: int) -> bytes:
    """The chunk at a place of model.bin, counted in steps."""
    return version.files["model.bin"][place * STEP : (place + 1) * STEP]


def test_recorded_chunks_are_believed_where_there_is_data(
    staging: Staging, version: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(staging, version, staging.missing())
    again = opened(version, tmp_path)
    monkeypatch.setattr(Staging, "fits", lambda *_: pytest.fail("hashed"))
    assert again.missing(frozenset(range(len(version.chunks)))) == []


def test_a_record_of_bytes_that_are_not_there_is_not_believed(staging: Staging, version: Published) -> None:
    everything = frozenset(range(len(version.chunks)))
    assert staging.missing(everything) == sorted(everything)


def test_a_record_of_a_chunk_that_is_half_there_is_not_believed(tmp_path: Path) -> None:
    plain = random.Random(2).randbytes(4 * STEP)
    manifest = Manifest((File("f", len(plain), bytes(32), False, (len(plain),), digest_of(plain)),))
    staging = Staging(tmp_path / "it", manifest)
    staging.prepare()
    with (staging.path / "f").open("r+b") as file:
        file.write(plain[: 2 * STEP])
    assert staging.missing({0}) == [0]


def test_recorded_chunks_that_rotted_are_found_before_the_version_is_shown(
    staging: Staging, version: Published, tmp_path: Path
) -> None:
    write(staging, version, staging.missing())
    with (staging.path / "model.bin").open("r+b") as file:
        file.write(b"rot")
    again = opened(version, tmp_path)
    assert again.missing(frozenset(range(len(version.chunks)))) == []
    with pytest.raises(DamageError):
        again.finish(tmp_path / "version")
    (wrong,) = again.missing()
    write(again, version, [wrong])
    again.finish(tmp_path / "version")
    assert content_of(tmp_path / "version") == version.files


def test_a_file_that_vanished_or_was_cut_is_missing_again(staging: Staging, version: Published) -> None:
    write(staging, version, staging.missing())
    (staging.path / "labels/en.txt").unlink()
    os.truncate(staging.path / "model.bin", 3 * STEP)
    staging.prepare()
    lost = {0} | {ordinal for ordinal, plain in enumerate(version.chunks) if plain in _after(version, 3)}
    assert set(staging.missing()) == lost


def _after(version: Published, place: int) -> list[bytes]:
    plain = version.files["model.bin"]
    return [plain[start : start + STEP] for start in range(place * STEP, len(plain), STEP)]


def test_chunks_of_zeros_are_there_before_anybody_wrote_them(tmp_path: Path) -> None:
    version = published({"zeros": bytes(4 * STEP), "more": b"x" * STEP + bytes(STEP)})
    staging = opened(version, tmp_path)
    assert [version.chunks[ordinal] for ordinal in staging.missing()] == [b"x" * STEP]


def test_a_digest_that_occurs_several_times_is_asked_for_once_and_written_everywhere(tmp_path: Path) -> None:
    same, other = b"s" * STEP, b"o" * STEP
    version = published({"a": same + other + same, "b": same})
    staging = opened(version, tmp_path)
    assert staging.missing() == [0, 1]
    write(staging, version, [0])
    assert staging.missing() == [1]
    assert list(staging.places(0)) == list(staging.places(3)) == [0, 2, 3]
    write(staging, version, [1])
    staging.finish(tmp_path / "version")
    assert content_of(tmp_path / "version") == version.files


def test_a_twin_that_was_lost_is_copied_from_the_others(tmp_path: Path) -> None:
    same = b"s" * STEP
    version = published({"a": same, "b": same, "c": same})
    staging = opened(version, tmp_path)
    write(staging, version, [0])
    (staging.path / "a").write_bytes(b"q" * STEP)
    again = opened(version, tmp_path)
    assert again.missing() == []
    again.finish(tmp_path / "version")
    assert content_of(tmp_path / "version") == version.files


def test_twins_are_told_by_the_whole_digest() -> None:
    head = b"h" * 8
    digests = b"".join(head + bytes([number]) * 24 for number in (1, 2, 1, 3))
    manifest = Manifest((File("f", 4, bytes(32), False, (1, 1, 1, 1), digests),))
    assert {first: list(group) for first, group in twins_of(manifest).items()} == {0: [0, 2]}


def test_too_little_room_is_said_before_anything_is_made(
    version: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs(tmp_path)
    blocks = -(-CHUNKS * STEP // real.f_frsize) + 1
    _room(monkeypatch, real, blocks - 1)
    staging = Staging(tmp_path / "it", version.manifest)
    with pytest.raises(DiskFullError) as caught:
        staging.prepare()
    assert f"{blocks * real.f_frsize} bytes are needed" in caught.value.message
    assert f"free {real.f_frsize} bytes" in caught.value.hint
    assert content_of(staging.path) == {}
    _room(monkeypatch, real, blocks)
    staging.prepare()
    assert len(content_of(staging.path)) == 3


def test_what_is_written_already_needs_no_more_room(
    version: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging = opened(version, tmp_path)
    write(staging, version, staging.missing())
    os.sync()
    _room(monkeypatch, os.statvfs(tmp_path), 0)
    opened(version, tmp_path)
    assert staging.missing() == []


def _room(monkeypatch: pytest.MonkeyPatch, real: os.statvfs_result, blocks: int) -> None:
    """Makes the file system say that it has this many blocks left."""
    fields = list(real)
    fields[4] = blocks
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(fields))


def test_a_disk_that_fills_up_costs_nothing_but_the_wait(
    staging: Staging, version: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(staging, version, [0, 1])
    left = [2, 3, 4, 5]
    real = os.pwrite

    def fills_up(descriptor: int, data: bytes, offset: int) -> int:
        if offset > 2 * STEP:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", fills_up)
    with pytest.raises(DiskFullError) as caught:
        write(staging, version, left)
    assert "next try continues" in caught.value.hint
    monkeypatch.undo()
    missing = opened(version, tmp_path).missing()
    assert not {0, 1} & set(missing)
    write(staging, version, staging.missing())
    staging.finish(tmp_path / "version")
    assert content_of(tmp_path / "version") == version.files


def test_a_sector_that_can_not_be_read_is_missing_not_the_end(
    staging: Staging, version: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(staging, version, staging.missing())
    real = os.pread

    def bad_sector(descriptor: int, size: int, offset: int) -> bytes:
        if offset == 2 * STEP:
            raise OSError(errno.EIO, "Input/output error")
        return real(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", bad_sector)
    assert [version.chunks[one] for one in opened(version, tmp_path).missing()] == [again_plain(version, 2)]


def test_links_and_strangers_in_staging_lead_nowhere(version: Published, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "model.bin").write_bytes(b"precious")
    folder = tmp_path / "staging" / "it"
    folder.mkdir(parents=True)
    (folder / "model.bin").symlink_to(outside / "model.bin")
    (folder / "labels").symlink_to(outside)
    os.link(outside / "model.bin", folder / "empty")
    (folder / "stranger").write_bytes(b"x")
    staging = opened(version, tmp_path)
    write(staging, version, staging.missing())
    (staging.path / "late stranger").write_bytes(b"x")
    staging.finish(tmp_path / "version")
    assert content_of(tmp_path / "version") == version.files
    assert content_of(outside) == {"model.bin": b"precious"}


def test_a_link_planted_after_the_look_is_not_followed(staging: Staging, version: Published, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"precious")
    (staging.path / "labels/en.txt").unlink()
    (staging.path / "labels/en.txt").symlink_to(tmp_path / "outside")
    staging.close()
    with pytest.raises(DiskError):
        write(staging, version, [version.chunks.index(version.files["labels/en.txt"])])
    assert (tmp_path / "outside").read_bytes() == b"precious"


def test_a_staging_folder_that_is_a_link_is_replaced(version: Published, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "staging").mkdir()
    (tmp_path / "staging" / "it").symlink_to(tmp_path / "outside")
    staging = opened(version, tmp_path)
    assert not staging.path.is_symlink()
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_sealed_staging_whose_rename_never_came_goes_on(staging: Staging, version: Published, tmp_path: Path) -> None:
    write(staging, version, staging.missing())
    staging.seal()
    again = opened(version, tmp_path)
    assert again.missing() == []
    again.write([(0, version.chunks[0])])
    again.finish(tmp_path / "version")
    assert content_of(tmp_path / "version") == version.files


def test_only_the_bytes_of_the_chunk_fit(staging: Staging, version: Published) -> None:
    assert staging.fits(1, version.chunks[1])
    assert not staging.fits(1, version.chunks[2])
    assert not staging.fits(1, version.chunks[1] + b"x")
    assert not staging.fits(len(version.chunks), b"")
    assert not staging.fits(-1, version.chunks[-1])


def test_a_chunk_that_is_not_there_can_not_be_read(staging: Staging) -> None:
    with pytest.raises(DamageError):
        staging.read(3)


def test_a_version_without_files_is_a_version(tmp_path: Path) -> None:
    staging = Staging(tmp_path / "it", Manifest(()))
    staging.prepare()
    assert staging.missing() == []
    staging.finish(tmp_path / "version")
    assert list((tmp_path / "version").iterdir()) == []


def test_a_chunk_that_rots_between_two_surveys_is_found_before_the_version_is_sealed(
    staging: Staging, version: Published
) -> None:
    staging.missing()
    write(staging, version, [0])
    with (staging.path / "model.bin").open("r+b") as file:
        at = version.manifest.files.index(next(f for f in version.manifest.files if f.path == "model.bin"))
        first = sum(len(f.chunk_sizes) for f in version.manifest.files[:at])
        staging.write([(first, version.chunks[first])])
        file.seek(10)
        file.write(b"rot")
    left = staging.missing()
    write(staging, version, left)
    assert staging.recheck() == [first]
