"""A pull's folder: what is in it is reused and never lost, and files appear only whole."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from modelsyncd.codec.registry import READABLE, Codec
from modelsyncd.errors import ConflictError, DamageError, LockedError
from modelsyncd.exchange.folder_taker import FolderTaker
from modelsyncd.exchange.pieces import Pieces
from modelsyncd.exchange.publishing import Wish, ref_of, release_of
from modelsyncd.exchange.source_giver import SourceGiver
from modelsyncd.exchange.thread import Check, in_thread
from modelsyncd.manifest import ChunkTable
from modelsyncd.names import parse_model
from modelsyncd.release import Release, SignedRelease
from modelsyncd.session.effects import Keep
from modelsyncd.session.frames import Offer, Part
from modelsyncd.store.source import Source, scan
from modelsyncd.wire.nouns import encode_manifest, encode_release

WISH = Wish(parse_model("acme/helmet"), "", {}, {}, "")


@dataclass
class Publisher:
    """A folder that was scanned, and all that a hub would give of it."""

    source: Source
    release: Release
    giver: SourceGiver

    @property
    def offer(self) -> Offer:
        return Offer(SignedRelease(encode_release(self.release)), self.release.variants[0].manifest.digest)


def published(folder: Path) -> Publisher:
    source = scan(folder)
    data = encode_manifest(source.manifest)
    ref = ref_of(source.manifest, data)
    return Publisher(source, release_of(WISH, ref, 1, "admin/tester", 1), SourceGiver(ref.digest, data, source))


def taker_of(publisher: Publisher, dest: Path, *, force: bool = False) -> FolderTaker:
    return FolderTaker(dest, publisher.release.variants[0], 1, force=force)


async def fetch(publisher: Publisher, taker: FolderTaker, part: Part, at_most: int = 1_000_000) -> list[int]:
    """Surveys, and fetches what is missing; returns those ordinals."""
    missing = list((await taker.survey(publisher.offer, part)).ordinals)
    if missing[:at_most]:
        loaded = await publisher.giver.load(publisher.offer.manifest, part, missing[:at_most], READABLE, ())
        keeps = [Keep(publisher.offer, part, one.ordinal, one.codec, one.payload, None) for one in loaded]
        assert (await taker.keep(keeps)).spoiled == ()
    return missing


async def pull(publisher: Publisher, dest: Path, *, force: bool = False) -> tuple[list[int], int]:
    """A whole pull; returns which chunks of the content travelled, and how many files were placed."""
    taker = taker_of(publisher, dest, force=force)
    try:
        await fetch(publisher, taker, Part.MANIFEST)
        travelled = await fetch(publisher, taker, Part.CONTENT)
        await taker.complete(publisher.offer)
    finally:
        taker.close()
    return travelled, taker.placed


def fill(folder: Path, seed: int = 1, sizes: tuple[int, ...] = (3_000_000, 10, 0)) -> Path:
    rng = random.Random(seed)
    (folder / "deep").mkdir(parents=True)
    for index, size in enumerate(sizes):
        (folder / "deep" / f"f{index}.bin").write_bytes(rng.randbytes(size))
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_pull_into_a_new_folder_brings_every_byte_and_leaves_nothing_else(tmp_path: Path) -> None:
    origin = fill(tmp_path / "origin")
    _, placed = await pull(published(origin), tmp_path / "dest")
    assert content(tmp_path / "dest") == content(origin)
    assert placed == 4
    assert names(tmp_path) == ["dest", "origin"]
    assert os.access(tmp_path / "dest" / "run.sh", os.X_OK)
    assert os.access(tmp_path / "dest" / "deep" / "f0.bin", os.W_OK)


async def test_a_pull_of_what_is_there_already_fetches_and_places_nothing(tmp_path: Path) -> None:
    publisher = published(fill(tmp_path / "origin"))
    await pull(publisher, tmp_path / "dest")
    before = {path: path.stat().st_ino for path in (tmp_path / "dest").rglob("*")}
    assert await pull(publisher, tmp_path / "dest") == ([], 0)
    assert {path: path.stat().st_ino for path in (tmp_path / "dest").rglob("*")} == before


async def test_nothing_is_visible_before_all_of_it_is_here(tmp_path: Path) -> None:
    publisher = published(fill(tmp_path / "origin"))
    taker = taker_of(publisher, tmp_path / "dest")
    await fetch(publisher, taker, Part.MANIFEST)
    await fetch(publisher, taker, Part.CONTENT)
    assert not (tmp_path / "dest").exists()
    assembled = (taker.work / "files").stat().st_ino
    await taker.complete(publisher.offer)
    taker.close()
    assert (tmp_path / "dest").stat().st_ino == assembled  # one rename: all files at once


async def test_a_pull_that_was_cut_off_fetches_only_the_rest(tmp_path: Path) -> None:
    publisher = published(fill(tmp_path / "origin", sizes=(5_000_000,)))
    first = taker_of(publisher, tmp_path / "dest")
    await fetch(publisher, first, Part.MANIFEST)
    wanted = await fetch(publisher, first, Part.CONTENT, at_most=5)
    first.close()  # what a killed process leaves is the same: all of it is on the disk
    second = taker_of(publisher, tmp_path / "dest")
    assert await fetch(publisher, second, Part.MANIFEST) == []
    assert await fetch(publisher, second, Part.CONTENT) == wanted[5:]
    await second.complete(publisher.offer)
    second.close()
    assert content(tmp_path / "dest") == content(tmp_path / "origin")


async def cut_off(publisher: Publisher, dest: Path, at_most: int) -> Path:
    """A pull that ends after so many chunks; its hidden folder."""
    taker = taker_of(publisher, dest)
    await fetch(publisher, taker, Part.MANIFEST)
    await fetch(publisher, taker, Part.CONTENT, at_most)
    taker.close()
    return taker.work


async def test_what_was_fetched_of_one_release_is_used_by_a_pull_of_the_next_and_then_goes(tmp_path: Path) -> None:
    first = published(fill(tmp_path / "origin", sizes=(5_000_000,)))
    left = await cut_off(first, tmp_path / "dest", at_most=9)
    with (tmp_path / "origin/deep/f0.bin").open("r+b") as file:
        file.write(b"another beginning")
    second = published(tmp_path / "origin")
    travelled, _ = await pull(second, tmp_path / "dest")
    table = ChunkTable(second.source.manifest)
    fetched = set(map(ChunkTable(first.source.manifest).digest, range(9)))
    assert len(travelled) < len(table) - 5
    assert not {table.digest(ordinal) for ordinal in travelled} & fetched
    assert content(tmp_path / "dest") == content(tmp_path / "origin")
    assert not left.exists()
    assert names(tmp_path) == ["dest", "origin"]


async def test_what_was_fetched_before_the_folder_was_made_is_used_once_it_is_there(tmp_path: Path) -> None:
    publisher = published(fill(tmp_path / "origin", sizes=(5_000_000,)))
    await cut_off(publisher, tmp_path / "dest", at_most=9)
    (tmp_path / "dest").mkdir()
    travelled, _ = await pull(publisher, tmp_path / "dest")
    assert len(travelled) == len(ChunkTable(publisher.source.manifest)) - 9
    assert names(tmp_path) == ["dest", "origin"]
    assert names(tmp_path / "dest") == ["deep", "run.sh"]


async def test_what_another_pull_left_is_not_believed(tmp_path: Path) -> None:
    first = published(fill(tmp_path / "origin", sizes=(5_000_000,)))
    left = await cut_off(first, tmp_path / "dest", at_most=9)
    (staged,) = left.glob("files/deep/f0.bin")
    staged.write_bytes(bytes([byte ^ 1 for byte in staged.read_bytes()]))
    (tmp_path / "origin/run.sh").write_text("#!/bin/sh\nexit 1\n")
    second = published(tmp_path / "origin")
    travelled, _ = await pull(second, tmp_path / "dest")
    assert len(travelled) >= len(ChunkTable(second.source.manifest)) - 1  # run.sh is staged beside, and is another one
    assert content(tmp_path / "dest") == content(tmp_path / "origin")


async def test_what_belongs_to_other_folders_or_to_a_pull_that_runs_is_left_alone(tmp_path: Path) -> None:
    first = published(fill(tmp_path / "origin", sizes=(5_000_000,)))
    other = await cut_off(first, tmp_path / "dest-2", at_most=3)
    running = taker_of(first, tmp_path / "dest")
    await fetch(first, running, Part.MANIFEST)
    (tmp_path / "origin/run.sh").write_text("#!/bin/sh\nexit 1\n")
    await pull(published(tmp_path / "origin"), tmp_path / "dest")
    assert other.exists()
    assert running.work.exists()
    running.close()


async def test_files_that_differ_are_refused_before_any_content_travels(tmp_path: Path) -> None:
    publisher = published(fill(tmp_path / "origin"))
    dest = fill(tmp_path / "dest", seed=2)
    before = content(dest)
    taker = taker_of(publisher, dest)
    await fetch(publisher, taker, Part.MANIFEST)
    with pytest.raises(ConflictError, match=r"deep/f0\.bin, deep/f1\.bin") as caught:
        await taker.survey(publisher.offer, Part.CONTENT)
    taker.close()
    assert "--force" in caught.value.hint
    assert content(dest) == before


async def test_force_replaces_what_differs_and_uses_what_is_in_it(tmp_path: Path) -> None:
    origin = fill(tmp_path / "origin", sizes=(4_000_000, 50))
    dest = fill(tmp_path / "dest", sizes=(4_000_000, 50))
    with (dest / "deep" / "f0.bin").open("r+b") as file:
        file.seek(2_000_000)
        file.write(b"changed by hand")
    (dest / "mine.txt").write_text("stays")
    publisher = published(origin)
    travelled, placed = await pull(publisher, dest, force=True)
    assert 1 <= len(travelled) <= 2
    assert placed == 1
    assert content(dest) == content(origin) | {"mine.txt": b"stays"}


async def test_chunks_of_a_file_that_was_renamed_at_its_publisher_are_taken_from_any_file_that_is_here(
    tmp_path: Path,
) -> None:
    origin = fill(tmp_path / "origin", sizes=(3_000_000, 3_000_000))
    dest = fill(tmp_path / "dest", sizes=(3_000_000, 3_000_000))
    one, other = dest / "deep" / "f0.bin", dest / "deep" / "f1.bin"
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    travelled, placed = await pull(published(origin), dest, force=True)
    assert travelled == []
    assert placed == 2
    assert content(dest) == content(origin)


@pytest.mark.parametrize("kind", ["link to a folder", "link to a file", "folder"])
async def test_nothing_is_written_through_links_or_over_folders_even_with_force(tmp_path: Path, kind: str) -> None:
    publisher = published(fill(tmp_path / "origin"))
    dest, outside = tmp_path / "dest", tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("untouched")
    dest.mkdir()
    if kind == "link to a folder":
        (dest / "deep").symlink_to(outside)
    elif kind == "link to a file":
        (dest / "run.sh").symlink_to(outside / "file")
    else:
        (dest / "run.sh").mkdir()
    taker = taker_of(publisher, dest, force=True)
    await fetch(publisher, taker, Part.MANIFEST)
    with pytest.raises(ConflictError, match="links or folders"):
        await taker.survey(publisher.offer, Part.CONTENT)
    taker.close()
    assert content(outside) == {"file": b"untouched"}


async def test_a_kill_while_files_are_put_in_place_is_healed_by_the_next_pull(tmp_path: Path) -> None:
    origin = fill(tmp_path / "origin", sizes=(2_000_000, 1_000_000))
    publisher = published(origin)
    dest = tmp_path / "dest"
    dest.mkdir()
    taker = taker_of(publisher, dest)
    await fetch(publisher, taker, Part.MANIFEST)
    await fetch(publisher, taker, Part.CONTENT)
    taker.close()
    (dest / "deep").mkdir()
    (taker.work / "files" / "deep" / "f0.bin").rename(dest / "deep" / "f0.bin")  # as far as the killed one came
    travelled, placed = await pull(publisher, dest)
    assert travelled == []
    assert placed == 2
    assert content(dest) == content(origin)


async def test_two_pulls_into_one_folder_do_not_meet(tmp_path: Path) -> None:
    publisher = published(fill(tmp_path / "origin"))
    first, second = taker_of(publisher, tmp_path / "dest"), taker_of(publisher, tmp_path / "dest")
    await first.survey(publisher.offer, Part.MANIFEST)
    with pytest.raises(LockedError):
        await second.survey(publisher.offer, Part.MANIFEST)
    first.close()
    second.close()


async def test_a_chunk_that_is_not_as_its_digest_says_is_spoiled_and_not_kept(tmp_path: Path) -> None:
    publisher = published(fill(tmp_path / "origin"))
    taker = taker_of(publisher, tmp_path / "dest")
    await fetch(publisher, taker, Part.MANIFEST)
    missing = (await taker.survey(publisher.offer, Part.CONTENT)).ordinals
    loaded = await publisher.giver.load(publisher.offer.manifest, Part.CONTENT, missing[:2], READABLE, ())
    good, bad = (Keep(publisher.offer, Part.CONTENT, one.ordinal, one.codec, one.payload, None) for one in loaded)
    bad = replace(bad, payload=bytes(len(bad.payload)))
    keeping = await taker.keep([good, bad])
    assert (keeping.kept, keeping.spoiled) == ((missing[0],), (missing[1],))
    with pytest.raises(DamageError):
        await taker.complete(publisher.offer)
    taker.close()
    assert not (tmp_path / "dest").exists()


async def test_a_piece_of_a_manifest_that_is_wrong_is_spoiled_and_never_read(tmp_path: Path) -> None:
    publisher = published(fill(tmp_path / "origin"))
    ref = publisher.release.variants[0].manifest
    pieces = Pieces(ref)
    wrong = Keep(publisher.offer, Part.MANIFEST, 0, Codec.STORED, bytes(ref.size), None)
    assert pieces.keep([wrong]).spoiled == (0,)
    assert pieces.missing == [0]
    with pytest.raises(DamageError, match="manifest"):
        pieces.manifest()


async def test_work_in_a_thread_ends_when_nobody_waits_for_it_any_more() -> None:
    began, ended = threading.Event(), threading.Event()

    def work(check: Check) -> None:
        began.set()
        try:
            while True:
                check()
        finally:
            ended.set()

    async with asyncio.timeout(10):
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(in_thread(work))
            await asyncio.to_thread(began.wait)
            waiting.cancel()
        await asyncio.to_thread(ended.wait)
    assert waiting.cancelled()
