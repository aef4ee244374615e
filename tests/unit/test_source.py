"""Sources: a folder is read whole, once, in little memory, and reads back from its chunks."""

from __future__ import annotations

import cProfile
import gc
import hashlib
import os
import random
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelsyncd.digest import digest_of
from modelsyncd.manifest import ChunkTable
from modelsyncd.store import source as source_module
from modelsyncd.store.source import scan
from tests.fakes.folders import SMALL, contents, files, noise, put
from tests.fakes.model_files import safetensors_file, safetensors_header


def test_a_folder_is_read_whole_and_reads_back_from_its_chunks(tmp_path: Path) -> None:
    held = {"b": noise(5_000), "a__z": noise(1_000_000, 2), "a.b": b"x", "a__b__empty": b"", "a-b": noise(1_000, 3)}
    put(tmp_path, **held)
    with scan(tmp_path, SMALL) as source:
        assert files(source.manifest) == ["a-b", "a.b", "a/b/empty", "a/z", "b"]
        assert contents(source) == {path.replace("__", "/"): content for path, content in held.items()}
    for file in source.manifest.files:
        assert file.sha256 == hashlib.sha256(held[file.path.replace("/", "__")]).digest()
        assert file.size == len(held[file.path.replace("/", "__")])
    assert source.manifest.chunking == SMALL


def test_each_chunk_bears_the_digest_of_its_bytes(tmp_path: Path) -> None:
    source = scan(put(tmp_path, a=noise(50_000)), SMALL)
    assert source.manifest.chunk_count > 50
    assert all(digest_of(source.read(chunk.ordinal)) == chunk.digest for chunk in ChunkTable(source.manifest))


def test_the_same_files_make_the_same_manifest_anywhere(tmp_path: Path) -> None:
    one = put(tmp_path / "one", a=noise(30_000), b__c=b"c")
    other = put(tmp_path / "other", b__c=b"c", a=noise(30_000))
    os.utime(other / "a", (1, 1))
    assert scan(one).manifest == scan(other).manifest


def test_how_much_is_read_at_once_moves_no_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = safetensors_header({"t": ("F32", [20_000]), "u": ("U8", [77])})
    put(tmp_path, a=noise(300_000), b=noise(900)).joinpath("m.safetensors").write_bytes(
        safetensors_file(header, noise(80_077))
    )
    usual = scan(tmp_path, SMALL).manifest
    for piece, alone in ((1_234, 100), (65_536, 1 << 30), (1 << 20, 0)):
        monkeypatch.setattr(source_module, "PIECE", piece)
        monkeypatch.setattr(source_module, "ALONE", alone)
        assert scan(tmp_path, SMALL).manifest == usual


def test_a_single_file_is_a_version_with_its_name(tmp_path: Path) -> None:
    put(tmp_path, model=b"weights", other=b"not me")
    source = scan(tmp_path / "model")
    assert files(source.manifest) == ["model"]
    assert contents(source) == {"model": b"weights"}


def test_a_link_that_was_named_is_followed_and_gives_the_name(tmp_path: Path) -> None:
    put(tmp_path, v7__a=b"weights")
    (tmp_path / "current").symlink_to("v7")
    (tmp_path / "model").symlink_to("v7/a")
    assert files(scan(tmp_path / "current").manifest) == ["a"]
    assert files(scan(tmp_path / "model").manifest) == ["model"]


def test_a_source_may_be_named_from_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, here__a=b"weights")
    monkeypatch.chdir(tmp_path / "here")
    source = scan(Path())
    single = scan(Path("a"))
    monkeypatch.chdir("/")
    assert contents(source) == contents(single) == {"a": b"weights"}


def test_empty_files_have_no_chunks_and_are_kept(tmp_path: Path) -> None:
    source = scan(put(tmp_path, empty=b"", full=b"x"))
    assert [(file.path, file.chunk_sizes) for file in source.manifest.files] == [("empty", ()), ("full", (1,))]
    assert source.manifest.files[0].sha256 == hashlib.sha256(b"").digest()
    assert contents(scan(tmp_path / "empty")) == {"empty": b""}


def test_only_the_executable_bit_is_kept(tmp_path: Path) -> None:
    put(tmp_path, run=b"#!", read=b"r")
    (tmp_path / "run").chmod(0o500)
    (tmp_path / "read").chmod(0o466)
    assert {file.path: file.executable for file in scan(tmp_path).manifest.files} == {"read": False, "run": True}


def test_a_file_of_one_step_at_most_is_one_chunk(tmp_path: Path) -> None:
    source = scan(put(tmp_path, one=noise(1_000), more=noise(1_001)), SMALL)
    sizes = {file.path: file.chunk_sizes for file in source.manifest.files}
    assert sizes["one"] == (1_000,)
    assert len(sizes["more"]) > 1


def test_a_safetensors_file_is_cut_at_its_tensors(tmp_path: Path) -> None:
    header = safetensors_header({"t": ("U8", [2_500]), "u": ("U8", [10]), "v": ("U8", [20])})
    put(tmp_path).joinpath("m.safetensors").write_bytes(safetensors_file(header, noise(2_530)))
    [file] = scan(tmp_path, SMALL).manifest.files
    assert file.format == "safetensors"
    assert [tensor.name for tensor in file.tensors] == ["t", "u", "v"]
    assert file.chunk_sizes == (8 + len(header), 1_000, 1_000, 500, 30)


def test_an_odd_safetensors_file_is_published_by_its_content(tmp_path: Path) -> None:
    put(tmp_path).joinpath("m.safetensors").write_bytes(noise(5_000))
    source = scan(tmp_path, SMALL)
    assert source.manifest.files[0].format == ""
    assert contents(source) == {"m.safetensors": noise(5_000)}


def test_a_changed_tensor_changes_its_own_chunks_only(tmp_path: Path) -> None:
    header = safetensors_header({"a": ("U8", [3_000]), "b": ("U8", [3_000])}, {"epoch": "1"})
    longer = safetensors_header({"a": ("U8", [3_000]), "b": ("U8", [3_000])}, {"epoch": "10", "note": "more"})
    one, other = put(tmp_path / "1", x=b"x"), put(tmp_path / "2", x=b"x")
    (one / "m.safetensors").write_bytes(safetensors_file(header, noise(6_000)))
    (other / "m.safetensors").write_bytes(safetensors_file(longer, noise(3_000) + noise(3_000, 9)))
    before = {chunk.digest for chunk in ChunkTable(scan(one, SMALL).manifest)}
    after = {chunk.digest for chunk in ChunkTable(scan(other, SMALL).manifest)}
    assert len(after - before) == 1 + 3  # the header, and the three chunks of b


def test_progress_begins_small_ends_full_and_never_goes_back(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    put(tmp_path, a=noise(9_000_000), b=noise(10), c=b"")
    scan(tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert len(seen) > 3
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1] == (9_000_010, 9_000_010)


def test_progress_that_raises_ends_the_scan(tmp_path: Path) -> None:
    def stop(_done: int, _total: int) -> None:
        raise InterruptedByUserError

    put(tmp_path, a=noise(9_000_000))
    threads = threading.active_count()
    with pytest.raises(InterruptedByUserError):
        scan(tmp_path, progress=stop)
    assert threading.active_count() == threads


class InterruptedByUserError(Exception):
    """Somebody has seen enough."""


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def test_a_source_holds_one_file_open_at_most_and_none_when_closed(tmp_path: Path) -> None:
    before = _open_files()
    source = scan(put(tmp_path, **{f"f{number}": noise(10, number) for number in range(50)}))
    assert _open_files() == before
    for ordinal in range(50):
        source.read(ordinal)
    assert _open_files() == before + 1
    source.close()
    source.close()
    assert _open_files() == before
    assert source.read(7) == noise(10, int(source.manifest.files[7].path[1:]))
    source.close()


def test_several_threads_may_read_at_once(tmp_path: Path) -> None:
    source = scan(put(tmp_path, a=noise(40_000), b=noise(40_000, 2)), SMALL)
    ordinals = random.Random(5).choices(range(source.manifest.chunk_count), k=2_000)
    with ThreadPoolExecutor(6) as pool:
        read = list(pool.map(source.read, ordinals))
    table = ChunkTable(source.manifest)
    assert [digest_of(plain) for plain in read] == [table.digest(ordinal) for ordinal in ordinals]
    source.close()


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as file:
        for seed in range(16):
            file.write(noise(4 << 20, seed))
    tracemalloc.start()
    try:
        scan(tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 << 20


@pytest.mark.slow
def test_ten_thousand_small_files_take_ten_times_as_long_as_a_thousand(tmp_path: Path) -> None:
    """The best of three, and without Python's collector: it walks through whatever other tests have left."""

    def cost(count: int) -> tuple[int, float]:
        """Calls of functions, and seconds."""
        root = tmp_path / str(count)
        for number in range(count):
            put(root, **{f"d{number % 100}__f{number}": b"%d" % number})
        profile = cProfile.Profile()
        assert profile.runcall(scan, root).manifest.chunk_count == count
        return sum(entry.callcount for entry in profile.getstats()), min(seconds(root) for _ in range(3))

    def seconds(root: Path) -> float:
        start = time.process_time()
        scan(root)
        return time.process_time() - start

    gc.disable()
    try:
        (few_calls, few_seconds), (calls, taken) = cost(1_000), cost(10_000)
    finally:
        gc.enable()
    assert calls < 10 * few_calls * 1.1
    assert taken < 10 * few_seconds * 3
