"""The only place that looks for a low rank in the change of a matrix: how high, which two factors, and how exactly.

What factors leave has to be coded anyway, so they are worth their bytes only as far as what is left gets smaller. Its
size in a place is the square of what no factor foretells, and of the rounding to the dtype there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]
    Numbers = NDArray[np.floating]
    Singles = NDArray[np.float32]

RANK_MAX = 16  # adapters are trained with 4 to 16 as a rule
INTEGER = 1 << 30  # above any part of a factor
EXPONENTS = range(-300, 300)  # of steps: any product is a double, and no denormal one
_LEAST_ROWS = 32
_PROBE_COLUMNS = 64  # columns that are looked at first
_FEW_ROWS = RANK_MAX + 2  # of which they are; then all columns of twice as many rows as the highest rank
_SKETCH = 24  # rows that span about what the strongest directions span
_ROUNDING = 3.0  # what an adapter's factors leave is rounding, when its square is at most so much of one rounding's
_WORTH = 5.0  # the change's square, in squares of one rounding: below it, factors save less than they take
_LOWEST = 1e-30  # in place of a change that the factors foretell wholly
_FITS = 4  # rounds of fitting one factor to the other; each finds smaller errors, the last hardly any
_PULLS = 8  # rounds in which only the elements that rounding does not explain pull at the factors
_NEARER = 0.8
_MARGIN = 0.85
_INERTIA = 0.1  # of the others
_FINER = 0.25
_SAVED = 0.75  # of what normally distributed numbers would save; changes are not quite that
_TAKEN = 1.15  # of the bytes that factors would take, and of what names them
_WORDS = 1_000.0  # bits
_COARSE = 0.5  # of the change's square: where rounding is coarser, what is foretold is mostly rounded away
_NORMAL = 17.08  # 2 π e: log2 of its root is the entropy of a normal distribution, in bits


@dataclass(frozen=True, slots=True)
class Factors:
    """`left` has a row for each of the chunk's, `right` a row for each of the rank; integers, to be scaled by steps."""

    left: NDArray[np.int32]
    right: NDArray[np.int32]
    left_step: int
    right_steps: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """How a chunk's elements lie in a matrix. `skip`: columns of the first row that lie before the chunk."""

    size: int
    columns: int
    skip: int

    @property
    def rows(self) -> int:
        """Rows that the chunk has a part of."""
        return -(-(self.skip + self.size) // self.columns)

    def grid(self, numbers: Matrix, outside: float) -> Matrix:
        """Numbers of the elements, in rows and columns."""
        import numpy as np  # noqa: PLC0415 - an idle agent never loads it

        padded = np.full(self.rows * self.columns, outside, dtype=numbers.dtype)
        padded[self.skip : self.skip + len(numbers)] = numbers
        return padded.reshape(self.rows, self.columns)

    def whole(self) -> slice:
        """The rows that lie in the chunk from end to end."""
        last = self.rows - ((self.skip + self.size) % self.columns != 0)
        return slice(int(self.skip != 0), last)

    def inside(self, numbers: Numbers) -> Numbers:
        """The numbers of those rows, without a copy."""
        whole = self.whole()
        start = whole.start * self.columns - self.skip
        return numbers[start : whole.stop * self.columns - self.skip].reshape(-1, self.columns)


@dataclass(frozen=True, slots=True)
class Change(Shape):
    """What a chunk's elements change by, and the square of the error that rounding makes in each place."""

    values: Matrix
    rounding: Matrix


@dataclass(frozen=True, slots=True)
class _Found:
    """Factors before rounding; `noise` is the square of what they leave, where a little more of it would cost most."""

    left: Matrix
    right: Matrix
    noise: float


def of_an_adapter(change: Change, rank: int) -> Factors | None:
    """Factors of this rank that leave nothing but rounding."""
    import numpy as np  # noqa: PLC0415

    grid = change.inside(change.values)
    found = _first(change, change.values, _directions(grid), rank)
    rest = grid - found.left[change.whole()] @ found.right
    noise = max(_LOWEST**2, float(np.mean(rest * rest)))
    return _rounded(_fitted(change, replace(found, noise=noise)))


def of_a_training(shape: Shape, values: Numbers, rounding: Matrix) -> Factors | None:
    """Factors that foretell a part of the change; None when they take more than they save.

    `rounding`: the square of its error in some places, all alike.
    """
    import numpy as np  # noqa: PLC0415

    grid = shape.inside(values)
    if len(grid) < _LEAST_ROWS:
        return None
    moved = np.einsum("ij,ij->i", grid, grid)
    if 4 * np.count_nonzero(16 * moved > moved.mean()) < 3 * len(moved):
        return None  # a training moves all rows of a matrix; in a table of words, few of them
    total = float(moved.sum(dtype=np.float64)) / grid.size
    if not np.isfinite(total):
        return None
    directions = _directions(grid)
    kinds, count = np.unique(rounding, return_counts=True)
    rank, noise = _worthwhile(directions.energy, total, shape, (kinds, count / count.sum()))
    return _rounded(replace(_first(shape, values, directions, rank), noise=noise)) if rank else None


def rank_of(shape: Shape, old: Singles, new: Singles, rounding: Callable[[Numbers], Matrix]) -> int:
    """The rank of the rows' change, judged by some of them; 0 when they are not of a low rank but for rounding.

    `rounding` says what rounding errs by in numbers like `new`.
    """
    before, after = shape.inside(old), shape.inside(new)
    if len(after) < 2 * RANK_MAX:
        return 0
    for probes, few in ((_FEW_ROWS, max(1, shape.columns // _PROBE_COLUMNS)), (2 * RANK_MAX, 1)):
        some = (slice(None, None, len(after) // probes), slice(None, None, few))
        rank = _fitting(after[some].astype("f8") - before[some], rounding(after[some]))
        if not rank:
            return 0
    return rank


def _fitting(change: Matrix, rounding: Matrix) -> int:
    """The lowest rank that leaves nothing but rounding errors; 0 when there is none, or nothing else in the change."""
    import numpy as np  # noqa: PLC0415

    noise = float(rounding.mean())
    energy = np.linalg.eigvalsh(change @ change.T)[::-1] / change.size
    if energy.sum() < _WORTH * noise:
        return 0
    left = np.append(np.cumsum(energy[::-1])[::-1], 0.0)
    enough = np.flatnonzero(left[1 : RANK_MAX + 1] <= _ROUNDING * noise)
    if not len(enough):
        return 0
    rank = int(enough[0]) + 1
    moved = np.count_nonzero(np.mean(change * change, axis=1) > noise)
    return rank if 4 * moved >= 3 * len(change) else 0  # an adapter moves all rows; a table of words, few of them


@dataclass(frozen=True, slots=True)
class _Directions:
    """Where the whole rows mostly lie: `left` times `right`, the strongest first, each with its `energy`."""

    left: Matrix
    right: Matrix
    energy: Matrix


def _directions(whole: Numbers) -> _Directions:
    """Few directions, by way of a small matrix: a hundredth of a full decomposition's time."""
    import numpy as np  # noqa: PLC0415

    sketch = whole @ whole[:: max(1, len(whole) // _SKETCH)].T  # spans what the strongest directions span
    span, _ = np.linalg.qr(sketch)
    span, _ = np.linalg.qr(whole @ (whole.T @ span))
    small = (span.T @ whole).astype(np.float64)
    energy, turns = np.linalg.eigh(small @ small.T)
    energy, turns = np.maximum(energy[::-1], _LOWEST), turns[:, ::-1]
    sizes = np.sqrt(energy)
    return _Directions(span @ (turns * sizes), (turns / sizes).T @ small, energy / whole.size)


def _first(shape: Shape, values: Numbers, directions: _Directions, rank: int) -> _Found:
    """The strongest directions; a row that the chunk has a part of is fitted to what is there."""
    import numpy as np  # noqa: PLC0415

    whole = shape.whole()
    right = directions.right[:rank].astype(np.float64)
    left = np.zeros((shape.rows, rank))
    left[whole] = directions.left[:, :rank]
    for row in {0, shape.rows - 1} - set(range(whole.start, whole.stop)):
        start = shape.skip if row == 0 else 0
        end = min(shape.columns, shape.skip + shape.size - row * shape.columns)
        if end - start >= 2 * rank:
            first = row * shape.columns - shape.skip
            part = values[first + start : first + end].astype(np.float64)
            left[row] = np.linalg.lstsq(right[:, start:end].T, part, rcond=None)[0]
    return _Found(left, right, 0.0)


def _fitted(change: Change, found: _Found) -> _Found:
    """Factors that weigh each element by how exactly it is known: the smallest weights are rounded least.

    A fit of whole rows alone is as exact as the coarsest rounding allows, and leaves errors in all elements that are
    rounded more finely.
    """
    import numpy as np  # noqa: PLC0415

    grid = change.grid(change.values, 0.0)
    rounding = change.grid(change.rounding, np.inf)
    left, right = found.left, found.right
    rank = len(right)
    error = found.noise / 10
    exact = 0.0
    for _ in range(_FITS):
        exact_in = 1 / (rounding + error)
        left = _solved(grid, exact_in, right)
        right = _solved(grid.T, exact_in.T, left.T).T
        exact = float(exact_in.sum())
        error = max(_LOWEST**2, rank * sum(grid.shape) / exact)  # unknowns, over how exactly all elements are known
    reach = np.sqrt(3 * rounding)  # rounding errs by no more
    for _ in range(_PULLS):
        error *= _NEARER
        left += _pulled(grid - left @ right, reach, error, right)
        right += _pulled((grid - left @ right).T, reach.T, error, left.T).T
    span, turned = np.linalg.qr(left)
    other, tilted = np.linalg.qr(right.T)
    one, sizes, two = np.linalg.svd(turned @ tilted.T)
    return _Found(span @ (one * sizes), two @ other.T, _FINER * change.size / exact)


def _pulled(rest: Matrix, reach: Matrix, error: float, right: Matrix) -> Matrix:
    """What to add to the left factor, so that fewer elements are left with more than rounding could have made."""
    import numpy as np  # noqa: PLC0415

    inside = _MARGIN * reach
    beyond = np.where(abs(rest) > inside, rest - np.copysign(inside, rest), 0.0)
    beyond[~np.isfinite(reach)] = 0
    exact = 1 / (reach * reach / 3 + error)
    return _least_squares(exact * ((beyond != 0) + _INERTIA), exact * beyond, right)


def _solved(grid: Matrix, weights: Matrix, right: Matrix) -> Matrix:
    """For each row the parts of `right` that come nearest to it; none for a row with too few elements."""
    import numpy as np  # noqa: PLC0415

    found = _least_squares(weights, weights * grid, right)
    found[np.count_nonzero(weights, axis=1) < 2 * len(right)] = 0
    return found


def _least_squares(weights: Matrix, weighed: Matrix, right: Matrix) -> Matrix:
    """Rows times `right` that come nearest to the numbers that were weighed."""
    import numpy as np  # noqa: PLC0415

    rank = len(right)
    squares = (right[:, None, :] * right[None, :, :]).reshape(rank * rank, -1)
    normal = (weights @ squares.T).reshape(-1, rank, rank)
    size = np.trace(normal, axis1=1, axis2=2)
    normal += np.eye(rank) * (1e-12 * size + _LOWEST)[:, None, None]
    return np.asarray(np.linalg.solve(normal, (weighed @ right.T)[:, :, None])[:, :, 0], dtype=np.float64)


def _worthwhile(energy: Matrix, total: float, shape: Shape, rounding: tuple[Matrix, Matrix]) -> tuple[int, float]:
    """The rank that saves most, after what it takes, and the noise then; 0 when none saves any.

    A change of variance v among numbers of noise n takes log2(1 + v / n) / 2 bits more.
    """
    import numpy as np  # noqa: PLC0415

    square, share = rounding
    tells = np.where(square < _COARSE * total, share, 0.0)
    energy = energy[:RANK_MAX]
    rest = np.maximum(total - np.cumsum(energy), _LOWEST**2)[:, None] + square  # a row for each rank
    saved = shape.size / 2 * (np.log2((total + square) / rest) @ tells)
    noise = 1 / ((1 / rest) @ share)
    sizes = _NORMAL / 12 * energy / noise[:, None]
    taken = shape.rows * np.log2(1 + sizes * shape.columns) + shape.columns * np.log2(1 + sizes * shape.rows)
    gain = _SAVED * saved - _TAKEN * (np.tril(taken).sum(axis=1) / 2 + _WORDS)
    best = int(np.argmax(gain))
    return (best + 1, float(noise[best])) if gain[best] > 0 else (0, 0.0)


def _rounded(found: _Found) -> Factors | None:
    """Integers and steps (powers of two), as coarse as pays; None beyond reason.

    A step s rounds with an error of s² / 12, which the other factor's entries carry into the product. The best share
    of an entry's error is that of the noise: one bit less of `rows` entries makes each of `columns` elements worse.
    """
    import numpy as np  # noqa: PLC0415

    rows = len(found.left)
    sizes = np.maximum(np.sqrt(np.mean(found.left**2, axis=0)), _LOWEST)
    step = np.sqrt(12 * found.noise)
    left_step = int(np.rint(np.log2(step)))
    right_steps = np.rint(np.log2(step / np.sqrt(rows) / sizes)).astype(int)
    left = np.rint(np.ldexp(found.left, -left_step))
    right = np.rint(np.ldexp(found.right, -right_steps[:, None]))
    if not max(abs(left).max(), abs(right).max()) < INTEGER:
        return None
    if left_step not in EXPONENTS or not all(step in EXPONENTS for step in right_steps):
        return None
    return Factors(left.astype(np.int32), right.astype(np.int32), left_step, tuple(map(int, right_steps)))
