"""Compiled loops: when they come, who may have made them, and that nobody has to have them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelsyncd.codec import native
from modelsyncd.codec.registry import READABLE, decode, encode
from modelsyncd.daemon import loops
from tests.fakes.chunk_samples import samples
from tests.fakes.coding_loops import COMPILED, WITHOUT, using

SAMPLES = samples()
CHUNK = SAMPLES["f32"]


@pytest.fixture(autouse=True)
def undecided(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody has decided about loops before the test."""
    monkeypatch.setattr(native, "_state", native._State())
    yield
    native.use(compiled=False)


def test_nothing_is_loaded_before_enough_was_coded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native._state, "left", 10 * len(CHUNK.plain))
    asked: list[int] = []

    def load() -> bool:
        asked.append(1)
        return False

    native.offer(load)
    for _ in range(9):
        encode(CHUNK.plain, READABLE, CHUNK.hint, CHUNK.base)
    assert not asked
    codec, payload = encode(CHUNK.plain, READABLE, CHUNK.hint, CHUNK.base)
    assert asked
    assert decode(codec, payload, len(CHUNK.plain), CHUNK.base) == CHUNK.plain
    assert len(asked) == 1, "a no is a no"


def test_what_is_not_ready_yet_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native._state, "left", 1)
    monkeypatch.setattr(native, "_AGAIN", 1)
    answers = iter([None, None, False])
    asked: list[int] = []

    def load() -> bool | None:
        asked.append(1)
        return next(answers)

    native.offer(load)
    for _ in range(6):
        encode(CHUNK.plain, READABLE, CHUNK.hint, CHUNK.base)
    assert len(asked) == 3


def test_only_the_first_offer_counts() -> None:
    native.offer(lambda: False)
    native.offer(lambda: pytest.fail("the second was asked"))
    native.worked(native.AFTER + 1)


@pytest.mark.parametrize("program", ["cloud_hub.app", "edge_agent.app", "modelsyncd.exchange.conversation"])
def test_a_program_that_only_starts_does_not_load_numba(program: str) -> None:
    code = (
        f"import sys, {program}; from modelsyncd.daemon import loops; loops.offer(); assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env={**os.environ, loops.CHOICE: ""})


def test_who_says_numpy_gets_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(loops.CHOICE, "numpy")
    loops.offer()
    assert native._state.load is None


@pytest.mark.parametrize(("said", "comes"), [("", False), ("numpy", False), ("compiled", True)])
def test_an_agent_has_loops_compiled_only_if_it_was_asked_to(
    said: str, comes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(loops.CHOICE, said)
    loops.offer_if_asked()
    assert (native._state.load is not None) is (comes and COMPILED)


@pytest.mark.parametrize(
    ("named", "folder"),
    [
        ({"CACHE_DIRECTORY": "/var/cache/x:/var/cache/y", "XDG_CACHE_HOME": "/c"}, "/var/cache/x/modelsyncd/loops"),
        ({"CACHE_DIRECTORY": "", "XDG_CACHE_HOME": "/c"}, "/c/modelsyncd/loops"),
        ({"CACHE_DIRECTORY": "x", "XDG_CACHE_HOME": "y", "HOME": "/h"}, "/h/.cache/modelsyncd/loops"),
    ],
)
def test_loops_are_kept_where_the_system_keeps_what_can_be_made_again(
    named: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in named.items():
        monkeypatch.setenv(variable, value)
    assert loops.kept_folder() == Path(folder)


def _filled(folder: Path) -> Path:
    """A folder as `make` leaves it, with nothing in it that runs."""
    loops.own_folder(folder)
    (folder / "sub").mkdir()
    (folder / "sub" / "loop.nbi").write_bytes(b"index")
    (folder / "sub" / "loop.1.nbc").write_bytes(b"code")
    (folder / "made").write_text(loops._listed(folder), encoding="utf-8")
    return folder


def test_a_folder_is_whole_as_it_was_left(tmp_path: Path) -> None:
    folder = _filled(tmp_path / "loops")
    assert loops.whole(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_in_which_nothing_was_compiled_is_not_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "loops"
    loops.own_folder(folder)
    (folder / "made").write_text(loops._listed(folder), encoding="utf-8")
    assert not loops.whole(folder)


@pytest.mark.parametrize("harm", ["changed", "torn", "gone", "more", "unlisted", "open", "absent"])
def test_a_folder_that_somebody_could_have_changed_is_not_loaded(harm: str, tmp_path: Path) -> None:
    folder = _filled(tmp_path / "loops")
    code = folder / "sub" / "loop.1.nbc"
    match harm:
        case "changed":
            code.write_bytes(b"evil")
        case "torn":
            code.write_bytes(b"")
        case "gone":
            code.unlink()
        case "more":
            (folder / "sub" / "loop.2.nbc").write_bytes(b"code")
        case "unlisted":
            (folder / "made").unlink()
        case "open":
            folder.chmod(0o770)
        case "absent":
            folder.rename(tmp_path / "elsewhere")
    assert not loops.whole(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_not_loaded(tmp_path: Path) -> None:
    folder = _filled(tmp_path / "loops")
    os.chown(folder, 1, 1)
    assert not loops.whole(folder)


@WITHOUT
def test_a_process_that_may_not_run_what_it_wrote_stays_with_numpy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops, "may_run_what_was_written", lambda: False)
    assert loops.Workshop(tmp_path).load() is False
    assert list(tmp_path.iterdir()) == []


@WITHOUT
def test_a_cache_that_can_not_be_written_leaves_numpy(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert loops.Workshop(tmp_path / "file" / "loops").load() is False


@WITHOUT
def test_a_compiler_that_fails_leaves_numpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert loops.Workshop(tmp_path).wait() is False


@WITHOUT
def test_numba_that_was_told_not_to_compile_leaves_numpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert loops.Workshop(tmp_path / "loops").wait() is False


def test_numba_that_breaks_when_it_is_imported_leaves_numpy_and_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "first"
    broken.mkdir()
    (broken / "numba.py").write_text("raise ImportError('numba needs another numpy')\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(broken))
    assert loops.Workshop(tmp_path / "loops").wait() is False
    assert [record.getMessage() for record in caplog.records] == [
        "the coder's loops could not be compiled; numpy codes all chunks"
    ]


@WITHOUT
def test_one_thread_loads_while_the_others_go_on() -> None:
    shop = loops.Workshop(loops.kept_folder())
    assert shop.wait()
    met = threading.Barrier(4)

    def load(_: int) -> bool | None:
        met.wait(timeout=60)
        return shop.load()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(load, range(4))) <= {True, None}


@WITHOUT
@pytest.mark.slow
def test_processes_that_compile_at_once_leave_one_whole_folder(tmp_path: Path) -> None:
    folder = tmp_path / "loops"
    few = "from pathlib import Path; from modelsyncd.daemon import loops; loops.make(Path({!r}), {!r})"
    command = [sys.executable, "-c", few.format(str(folder), "modelsyncd.codec.compiled.rows")]
    running = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(timeout=110) for process in running] == [0, 0]
    assert loops.whole(folder)
    code = (
        "import sys; from pathlib import Path; from modelsyncd.daemon import loops\n"
        "with loops._numba_keeps(Path(sys.argv[1])):\n"
        "    import modelsyncd.codec.compiled.rows\n"
        "assert loops.whole(Path(sys.argv[1])), 'something was compiled again'\n"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, timeout=110)


@WITHOUT
def test_many_threads_at_once_read_back_what_they_wrote_by_compiled_loops() -> None:
    def wrong(round_: int) -> int:
        count = 0
        for name in sorted(SAMPLES)[round_ % 3 :]:
            sample = SAMPLES[name]
            codec, payload = encode(sample.plain, READABLE, sample.hint, sample.base)
            count += decode(codec, payload, len(sample.plain), sample.base) != sample.plain
        return count

    with using(compiled=True), ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(wrong, range(12))) == 0
