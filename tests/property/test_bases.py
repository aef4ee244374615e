"""Laws of bases: what `check` lets through can be gathered, and has the bytes that it says it has."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from modelsyncd.bases import HOLE, Run, Turned, check, gather
from modelsyncd.errors import DamageError
from modelsyncd.limits import LIMITS

SIZES = (2_000, 0, 90)
FILES = [bytes((number * 7 + 13 * file) % 256 for number in range(size)) for file, size in enumerate(SIZES)]


@dataclass(slots=True)
class _Reader:
    """Refuses what `Read` would never be asked for."""

    reads: int = 0
    longest: int = 0

    def __call__(self, file: int, offset: int, size: int) -> bytes:
        assert 0 <= file < len(FILES)
        assert 0 <= offset <= offset + size <= SIZES[file]
        self.reads += 1
        self.longest = max(self.longest, size)
        return FILES[file][offset : offset + size]


_NUMBER = st.integers(-2, 210)
_TURNED = st.builds(Turned, st.integers(-1, 14), st.integers(-1, 14), st.integers(0, 9), st.integers(-1, 60))
_ANY_RUN = st.builds(Run, st.integers(-2, 3), _NUMBER, _NUMBER, st.none() | _TURNED)


@st.composite
def _turned_runs(draw: st.DrawFn) -> Run:
    """Runs of turned matrices that lie in the first file."""
    rows, columns, width = draw(st.integers(1, 8)), draw(st.integers(1, 40)), draw(st.sampled_from([1, 2, 4, 8]))
    size = rows * columns * width
    assume(size <= SIZES[0])
    first = draw(st.integers(0, rows * columns - 1))
    count = draw(st.integers(1, rows * columns - first))
    return Run(0, draw(st.integers(0, SIZES[0] - size)), count * width, Turned(rows, columns, width, first))


def _naively(run: Run) -> bytes:
    """The bytes of a run, element by element."""
    if run.file == HOLE:
        return bytes(run.size)
    if run.turned is None:
        return FILES[run.file][run.offset : run.offset + run.size]
    turned = run.turned
    elements = []
    for number in range(turned.first, turned.first + run.size // turned.width):
        column, row = divmod(number, turned.rows)
        at = run.offset + (row * turned.columns + column) * turned.width
        elements.append(FILES[run.file][at : at + turned.width])
    return b"".join(elements)


@given(_turned_runs())
def test_a_turned_run_has_the_elements_down_the_columns(run: Run) -> None:
    check([run], SIZES, run.size)
    assert gather([run], _Reader()) == _naively(run)


@given(_turned_runs(), st.integers(1, 500))
def test_rows_are_read_together_as_far_as_it_pays(run: Run, at_once: int) -> None:
    assert run.turned is not None
    reader = _Reader()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("modelsyncd.bases.TURNED_READ", at_once)
        assert gather([run], reader) == _naively(run)
    assert 1 <= reader.reads <= run.turned.rows
    assert reader.longest <= max(at_once, 40 * 8)


def test_a_thin_part_of_long_rows_is_a_read_for_each() -> None:
    reader = _Reader()
    gather([Run(0, 0, 8, Turned(8, 40, 1, 16))], reader)
    assert (reader.reads, reader.longest) == (8, 1)


def test_a_broad_part_of_short_rows_is_one_read() -> None:
    reader = _Reader()
    gather([Run(0, 0, 160, Turned(8, 40, 1, 16))], reader)
    assert reader.reads == 1


@given(st.lists(_ANY_RUN | _turned_runs(), max_size=4), st.none() | _NUMBER)
def test_what_is_let_through_is_gathered_from_inside_the_files(runs: list[Run], size: int | None) -> None:
    size = sum(run.size for run in runs) if size is None else size
    with suppress(DamageError):
        check(runs, SIZES, size)
        gathered = gather(runs, _Reader())
        assert len(gathered) == size
        assert gathered == b"".join(map(_naively, runs))


def _outside(run: Run) -> bool:
    """Whether any byte of a run that isn't turned lies outside its file."""
    return run.file not in range(len(SIZES)) or not 0 <= run.offset <= run.offset + run.size <= SIZES[run.file]


@given(st.integers(-3, 5), _NUMBER, st.integers(1, 210))
def test_a_run_is_refused_exactly_if_it_lies_outside(file: int, offset: int, size: int) -> None:
    run = Run(file, offset, size)
    try:
        check([run], SIZES, size)
    except DamageError:
        assert file != HOLE
        assert _outside(run)
    else:
        assert file == HOLE or not _outside(run)


@given(_turned_runs(), st.sampled_from(["rows", "columns", "width", "first"]), st.integers(-9, 9))
def test_a_turned_run_that_reaches_outside_is_refused(run: Run, field: str, change: int) -> None:
    assert run.turned is not None
    turned = replace(run.turned, **{field: getattr(run.turned, field) + change})
    odd = replace(run, turned=turned)
    matrix = turned.rows * turned.columns * turned.width
    with suppress(DamageError):
        check([odd], SIZES, odd.size)
        assert min(turned.rows, turned.columns, turned.width, turned.first + 1) > 0
        assert turned.first * turned.width + odd.size <= matrix
        assert odd.offset + matrix <= SIZES[0]


@pytest.mark.parametrize("runs", [[], [Run(HOLE, 0, 0)], [Run(0, 0, -1), Run(0, 0, 11)], [Run(1, 0, 0), Run(0, 0, 10)]])
def test_no_runs_and_empty_runs_are_refused(runs: list[Run]) -> None:
    with pytest.raises(DamageError):
        check(runs, SIZES, max(10 * (len(runs) - 1), 0))


@pytest.mark.parametrize("size", [9, 11])
def test_runs_that_are_not_as_long_as_the_chunk_are_refused(size: int) -> None:
    with pytest.raises(DamageError):
        check([Run(0, 5, 4), Run(HOLE, 0, 6)], SIZES, size)


def test_more_runs_than_may_be_said_are_refused() -> None:
    runs = [Run(HOLE, 0, 1)] * LIMITS.base_runs
    check(runs, SIZES, len(runs))
    with pytest.raises(DamageError):
        check([*runs, Run(HOLE, 0, 1)], SIZES, len(runs) + 1)


def test_a_matrix_with_more_rows_than_may_be_read_is_refused() -> None:
    turned = Turned(LIMITS.turned_rows, 1, 1, 0)
    check([Run(0, 0, 1, turned)], [LIMITS.turned_rows + 1], 1)
    with pytest.raises(DamageError):
        check([Run(0, 0, 1, replace(turned, rows=turned.rows + 1))], [LIMITS.turned_rows + 1], 1)


@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_a_part_of_an_element_of_a_turned_matrix_is_refused(size: int) -> None:
    with pytest.raises(DamageError):
        check([Run(0, 0, size, Turned(4, 4, 4, 0))], SIZES, size)
