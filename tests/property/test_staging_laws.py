"""For any version, any part of it written, any damage done and any death: missing is exactly what is not right."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelsyncd.digest import digest_of
from modelsyncd.store.staging import Staging
from tests.fakes.memory_disk import memory_disk
from tests.fakes.versions import STEP, Published, content_of, published

_STEPS = 600  # bytes more than whole chunks, at most


@st.composite
def versions(draw: st.DrawFn) -> Published:
    """Up to five files, nested, some empty, with chunks that repeat and chunks of zeros."""
    rng = random.Random(draw(st.integers(0, 1 << 32)))
    stock = [rng.randbytes(STEP) for _ in range(3)] + [bytes(STEP)]
    names = draw(st.lists(st.sampled_from(["a", "b/c", "b/d", "e/f/g", "h"]), min_size=1, max_size=5, unique=True))
    files = {}
    for name in names:
        whole = draw(st.lists(st.integers(0, 6), max_size=6))
        body = b"".join(stock[one] if one < len(stock) else rng.randbytes(STEP) for one in whole)
        files[name] = body + rng.randbytes(draw(st.integers(0, _STEPS)))
    return published(files)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(versions(), st.data())
def test_missing_is_what_is_not_right_after_any_death(version: Published, data: st.DataObject) -> None:
    with memory_disk() as place:
        folder = place / "it"
        ordinals = range(len(version.chunks))
        recorded: set[int] = set()
        for _ in range(data.draw(st.integers(1, 3), label="lives")):
            staging = Staging(folder, version.manifest)
            staging.prepare()
            missing = staging.missing(recorded)
            assert missing == _lacking(version, folder)
            chosen = data.draw(st.sets(st.sampled_from(missing)) if missing else st.just(set()), label="written")
            staging.write([(ordinal, version.chunks[ordinal]) for ordinal in chosen])
            assert staging.missing(recorded) == [one for one in missing if one not in chosen]
            known = [one for one in ordinals if version.chunks.index(version.chunks[one]) in set(staging.present())]
            recorded |= data.draw(st.sets(st.sampled_from(known)) if known else st.just(set()), label="recorded")
            recorded = {version.chunks.index(version.chunks[one]) for one in recorded}
            del staging  # died
            for path, offset in data.draw(st.lists(_damage(version), max_size=2), label="damage"):
                recorded -= _hit(version, folder, path, offset)
        staging = Staging(folder, version.manifest)
        staging.prepare()
        staging.write([(ordinal, version.chunks[ordinal]) for ordinal in staging.missing(recorded)])
        staging.finish(place / "version")
        assert content_of(place / "version") == version.files
        shutil.rmtree(place / "version")


def _damage(version: Published) -> st.SearchStrategy[tuple[str, int]]:
    return st.sampled_from(sorted(version.files)).flatmap(
        lambda path: st.tuples(st.just(path), st.integers(0, max(0, len(version.files[path]) - 1)))
    )


def _hit(version: Published, folder: Path, path: str, offset: int) -> set[int]:
    """Overwrites a byte; returns the first ordinals of the chunks that it may have hurt."""
    with (folder / path).open("r+b") as file:
        file.seek(offset)
        before = file.read(1)
        if not before:
            return set()
        file.seek(offset)
        file.write(bytes([before[0] ^ 0xFF]))
    start = offset // STEP * STEP
    return {version.chunks.index(version.files[path][start : start + STEP])}


def _lacking(version: Published, folder: Path) -> list[int]:
    """Computed the slow way: chunks that are right at none of their places, each by its first ordinal."""
    right = set()
    for file in version.manifest.files:
        here = (folder / file.path).read_bytes()
        for start in range(0, file.size, STEP):
            if here[start : start + STEP] == version.files[file.path][start : start + STEP]:
                right.add(digest_of(here[start : start + STEP]))
    return [
        ordinal
        for ordinal, plain in enumerate(version.chunks)
        if digest_of(plain) not in right and version.chunks.index(plain) == ordinal
    ]
