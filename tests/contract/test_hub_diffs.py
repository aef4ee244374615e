"""What a hub says that changed between two releases, tensor by tensor: real gRPC and stores."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from cloud_hub import comparison
from modelsyncd.errors import DamageError, NotFoundError
from modelsyncd.wire.v1 import catalog_pb2 as pb
from tests.fakes.hub import Hub, running_hub
from tests.fakes.hub_store import spoil
from tests.fakes.publisher import Named, Publication, published
from tests.fakes.weights import Trainable, Weights, holding

STEP = 4_096
LARGE = 5 * STEP + 300  # bytes
Part = Weights | Trainable | bytes


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    async with running_hub(tmp_path) as running:
        yield running


def _numbers(name: str, seed: int, count: int = LARGE // 4, move: float = 0.0) -> Weights:
    """float32 as weights are; `move` is how far each went in training."""
    values = np.random.default_rng(seed).standard_normal(count, np.float32)
    moved = values + np.float32(move) * np.random.default_rng(seed + 1).standard_normal(count, np.float32)
    return Weights(name, "f32", (count,), moved.tobytes())


def _release(number: int, parts: Sequence[Part], step: int = STEP) -> Publication:
    held = holding({"model.bin": parts, "notes": [bytes([number]) * 10]}, step)
    chunks = [bytes(held.plain(ordinal)) for ordinal in range(held.manifest.chunk_count)]
    return published(held.manifest, chunks, Named(number=number))


async def _compared(hub: Hub, *, norms: bool = False) -> dict[str, pb.TensorChange]:
    """What became of each tensor from release 1 to release 2, by its name as it is, or as it was."""
    request = pb.DiffRequest(before="acme/helmet:1", after="acme/helmet:2", norms=norms)
    async with hub.catalog() as catalog:
        answers = [answer async for answer in catalog.Diff(request)]
    assert [answer.done for answer in answers] == [False] * (len(answers) - 1) + [True]
    assert [answer.bytes for answer in answers] == sorted(answer.bytes for answer in answers)
    assert answers[-1].bytes == answers[-1].bytes_total
    changes = [change for answer in answers for change in answer.tensors]
    found = {(change.after if change.HasField("after") else change.before).name: change for change in changes}
    assert len(found) == len(changes)
    return found


async def _pair(hub: Hub, before: Sequence[Part], after: Sequence[Part]) -> None:
    await hub.push(_release(1, before))
    await hub.push(_release(2, after))


def _kind(change: pb.TensorChange) -> str:
    return pb.ChangeKind.Name(change.kind).removeprefix("CHANGE_KIND_").lower()


async def test_each_tensor_is_told_once_with_what_became_of_it(hub: Hub) -> None:
    same, small = _numbers("same", 1), Weights("small", "u8", (100,), bytes(100))
    half = np.zeros(LARGE // 4, np.float16)
    await _pair(
        hub,
        [same, small, _numbers("tuned", 2), _numbers("old", 3), _numbers("cut", 4), _numbers("wide", 5)],
        [
            same,
            Weights("small", "u8", (100,), bytes(99) + b"\1"),
            _numbers("tuned", 2, move=1e-3),
            _numbers("renamed", 3),
            _numbers("cut", 4, 100),
            Weights("wide", "f16", half.shape, half.tobytes()),
            _numbers("new", 6),
        ],
    )
    found = await _compared(hub)
    assert {name: _kind(change) for name, change in found.items()} == {
        "same": "unchanged",
        "small": "changed",
        "tuned": "changed",
        "renamed": "renamed",
        "cut": "resized",
        "wide": "retyped",
        "new": "added",
    }
    assert not any(change.HasField("norm") for change in found.values())
    renamed, cut = found["renamed"], found["cut"]
    assert (renamed.before.name, renamed.before.file, renamed.before.bytes) == ("old", "model.bin", LARGE)
    assert (list(cut.before.shape), list(cut.after.shape), cut.after.dtype) == ([LARGE // 4], [100], "f32")


async def test_what_is_gone_is_told_as_it_was(hub: Hub) -> None:
    await _pair(hub, [_numbers("stays", 1), _numbers("gone", 2)], [_numbers("stays", 1)])
    found = await _compared(hub)
    assert (_kind(found["gone"]), found["gone"].before.bytes) == ("removed", LARGE)
    assert not found["gone"].HasField("after")


async def test_norms_are_those_of_the_numbers(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "BLOCK", 1_000)
    monkeypatch.setattr(comparison, "STEP_BYTES", 3_000)
    old, new = _numbers("tuned", 2), _numbers("tuned", 2, move=1e-2)
    wide = _numbers("narrowed", 4)
    narrow = np.frombuffer(wide.data, np.float32).astype(np.float16)
    await _pair(
        hub,
        [old, _numbers("same", 3), wide, _numbers("cut", 5)],
        [new, _numbers("same", 3), Weights("narrowed", "f16", wide.shape, narrow.tobytes()), _numbers("cut", 5, 9)],
    )
    found = await _compared(hub, norms=True)
    before, after = (np.frombuffer(one.data, np.float32).astype(np.float64) for one in (old, new))
    norm = found["tuned"].norm
    assert norm.l2 == pytest.approx(float(np.linalg.norm(after - before)))
    assert norm.l2_before == pytest.approx(float(np.linalg.norm(before)))
    assert norm.largest == float(np.abs(after - before).max())
    assert (norm.elements, norm.elements_left_out) == (len(before), 0)
    assert norm.elements_changed == np.count_nonzero(before != after)
    values = np.frombuffer(wide.data, np.float32).astype(np.float64)
    assert found["narrowed"].norm.l2 == pytest.approx(float(np.linalg.norm(narrow.astype(np.float64) - values)))
    assert not found["same"].HasField("norm")
    assert not found["cut"].HasField("norm")


async def test_odd_shapes_and_blocks_with_a_scale_are_told_without_a_norm(hub: Hub) -> None:
    await _pair(
        hub,
        [Weights("blocks", "q4_0", (36,), bytes(36)), Weights("lies", "f32", (7,), bytes(36))],
        [Weights("blocks", "q4_0", (36,), b"\1" * 36), Weights("lies", "f32", (7,), b"\1" * 36)],
    )
    found = await _compared(hub, norms=True)
    assert {_kind(change) for change in found.values()} == {"changed"}
    assert not any(change.HasField("norm") for change in found.values())


async def test_without_norms_only_what_shares_a_chunk_is_read(hub: Hub, tmp_path: Path) -> None:
    smalls = [Weights(f"s{number}", "u8", (50,), bytes([number]) * 50) for number in range(4)]
    changed = [*smalls[:3], Weights("s3", "u8", (50,), bytes(50))]
    first = _release(1, [_numbers("large", 1), *smalls])
    second = _release(2, [_numbers("large", 1, move=1e-3), *changed])
    await hub.push(first)
    await hub.push(second)
    for chunk in (*first.chunks[:5], *second.chunks[:5]):
        assert len(chunk) == STEP
        await asyncio.to_thread(spoil, hub.stores.catalog, tmp_path, chunk)
    found = await _compared(hub)
    assert [name for name, change in found.items() if _kind(change) == "unchanged"] == ["s0", "s1", "s2"]
    with pytest.raises(DamageError):
        await _compared(hub, norms=True)


async def test_a_release_that_was_cut_otherwise_is_still_the_same(hub: Hub) -> None:
    parts = [_numbers("a", 1), Weights("b", "u8", (77,), bytes(77)), _numbers("c", 3)]
    await hub.push(_release(1, parts, step=STEP))
    await hub.push(_release(2, parts, step=1_536))
    assert {_kind(change) for change in (await _compared(hub)).values()} == {"unchanged"}


async def test_many_tensors_come_in_several_answers(hub: Hub) -> None:
    tensors = [Weights(f"t{number}", "u8", (4,), number.to_bytes(4, "big")) for number in range(600)]
    await _pair(hub, tensors, [*tensors[:599], Weights("t599", "u8", (4,), b"else")])
    found = await _compared(hub)
    assert [_kind(change) for change in found.values()] == ["unchanged"] * 599 + ["changed"]


async def test_releases_without_tensors_differ_in_none(hub: Hub) -> None:
    await _pair(hub, [bytes(100)], [bytes(200)])
    assert await _compared(hub) == {}


async def test_a_release_that_is_not_there_is_not_compared(hub: Hub) -> None:
    await hub.push(_release(1, [bytes(100)]))
    with pytest.raises(NotFoundError, match="2"):
        await _compared(hub)
