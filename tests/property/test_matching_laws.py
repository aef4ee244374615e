"""Laws of matching: whatever the layouts say, the runs are as long as the chunk and lie in the base."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from modelsyncd import bases
from modelsyncd.bases import HOLE
from modelsyncd.manifest import Tensor
from modelsyncd.matching import Bases, Hints, match
from modelsyncd.matching.match import SMALLEST
from tests.fakes.weights import Holding, Trainable, Weights, holding, laid_out, turned

_DTYPES = st.sampled_from(["f32", "f16", "bf16", "i8"])
_ODD_DTYPES = st.sampled_from(["f32", "f64", "f16", "i8", "i4", "c64", "c128", "q4_0", "f8_e4m3", "bool", "", "F32"])
_NAMES = st.sampled_from(["a", "b", "m.a", "x.m.a", "0.auto_model.b", ".", "..", "", "onnx::1"])
_PATHS = st.sampled_from(["a.bin", "b.bin", "c/d.safetensors"])


@st.composite
def _tensors(draw: st.DrawFn) -> list[Trainable]:
    """A model of few tensors, some of one size."""
    shapes = st.sampled_from([(20, 20), (8, 50), (50, 8), (400,), (3, 5), (), (1,), (0,), (100,), (25, 16)])
    count = draw(st.integers(1, 7))
    return [Trainable(f"t.{number}", draw(_DTYPES), draw(shapes), 1_000 * number) for number in range(count)]


@st.composite
def _later(draw: st.DrawFn, old: list[Trainable]) -> list[Weights | bytes]:
    """What may become of a model between two versions."""
    later: list[Weights | bytes] = []
    for tensor in draw(st.permutations(old)):
        change = draw(st.sampled_from(["trained", "turned", "renamed", "longer", "gone", "gap", "same"]))
        weights = tensor.trained.weights
        if change == "turned" and len(tensor.shape) == 2:
            weights = turned(weights)
        if change == "renamed":
            weights = tensor.trained.named(f"n.{len(later)}").weights
        if change == "longer" and tensor.shape:
            row = weights.data[: len(weights.data) // max(tensor.shape[0], 1)]
            weights = Weights(weights.name, weights.dtype, (tensor.shape[0] + 1, *tensor.shape[1:]), weights.data + row)
        if change == "gap":
            later.append(draw(st.binary(max_size=300)))
        if change != "gone":
            later.append(tensor.weights if change == "same" else weights)
    return later


@st.composite
def _versions(draw: st.DrawFn) -> tuple[Holding, Holding]:
    """A model and one made of it."""
    old = draw(_tensors())
    header = draw(st.binary(max_size=400))
    base = holding({draw(_PATHS): [header, *old]}, draw(st.integers(100, 3_000)))
    return holding({draw(_PATHS): [header[:50], *draw(_later(old))]}, draw(st.integers(100, 3_000))), base


@st.composite
def _hostile(draw: st.DrawFn) -> Holding:
    """Files whose layouts say anything that a manifest may say."""
    contents: dict[str, bytes] = {}
    layouts: dict[str, Sequence[Tensor]] = {}
    for path in draw(st.sets(_PATHS, max_size=3)):
        size = draw(st.integers(0, 3_000))
        contents[path] = bytes(number * number % 251 for number in range(size))
        layouts[path] = draw(st.lists(_placed(size), max_size=8))
    return laid_out(contents, layouts, draw(st.integers(50, 1_000)))


@st.composite
def _placed(draw: st.DrawFn, size: int) -> Tensor:
    """A tensor anywhere in a file; its shape may lie, and it may lie over others."""
    offset = draw(st.integers(0, size))
    shape = draw(st.sampled_from([(), (0,), (8, 8), (16, 16), (1 << 40, 3), (10, 30), (30, 10), (2, 3, 4)]))
    length = draw(st.sampled_from([0, 1, 64, 256, 600, 1_024]) | st.integers(0, size))
    return Tensor(draw(_NAMES), draw(_ODD_DTYPES), shape, offset, min(length, size - offset))


def _sound(new: Holding, base: Holding) -> None:
    found = match(new.manifest, base.manifest, new.read, base.read)
    both = Bases(new.manifest, new.read, [(base.manifest, base.read), (new.manifest, new.read)])
    hints = Hints(new.manifest)
    for ordinal in range(new.manifest.chunk_count):
        size = len(new.plain(ordinal))
        runs = found.runs(ordinal)
        if runs is not None:
            bases.check(runs, base.sizes, size)
            assert len(bases.gather(runs, base.read)) == size
            assert any(run.file != HOLE for run in runs)
        chosen = both.of(ordinal)
        if chosen is not None:
            bases.check(chosen.runs, (base, new)[chosen.base].sizes, size)
        hint = hints.of(ordinal)
        assert 0 <= hint.phase < hint.width
        assert hint.columns >= 0


@settings(max_examples=60)
@given(_versions())
def test_runs_are_as_long_as_the_chunk_and_lie_in_the_base(versions: tuple[Holding, Holding]) -> None:
    _sound(*versions)


@settings(max_examples=200)
@given(_hostile(), _hostile())
def test_layouts_that_lie_lead_nobody_outside(new: Holding, base: Holding) -> None:
    _sound(new, base)


@settings(max_examples=60)
@given(_versions())
def test_a_version_is_coded_against_itself_byte_for_byte(versions: tuple[Holding, Holding]) -> None:
    held, _ = versions
    found = match(held.manifest, held.manifest, held.read, held.read)
    for ordinal in range(held.manifest.chunk_count):
        plain = held.plain(ordinal)
        runs = found.runs(ordinal)
        assert (runs is None) == (len(plain) < SMALLEST)
        assert runs is None or bases.gather(runs, held.read) == plain


@settings(max_examples=60)
@given(_versions())
def test_the_answer_does_not_depend_on_what_was_asked_before(versions: tuple[Holding, Holding]) -> None:
    new, base = versions
    forwards = match(new.manifest, base.manifest, new.read, base.read)
    backwards = match(new.manifest, base.manifest, new.read, base.read)
    ordinals = range(new.manifest.chunk_count)
    answers = {ordinal: backwards.runs(ordinal) for ordinal in reversed(ordinals)}
    assert answers == {ordinal: forwards.runs(ordinal) for ordinal in ordinals}
