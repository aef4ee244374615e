"""What steps have made, asked of a real hub; and releases put together of variants that it has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from modelsyncd.digest import digest_of
from modelsyncd.errors import BadInputError, DamageError, RefusedError
from modelsyncd.exchange.adding import added_to
from modelsyncd.exchange.arranging import arrange
from modelsyncd.exchange.hub import Hub as There
from modelsyncd.exchange.hub import open_hub
from modelsyncd.exchange.publishing import Push, Wish
from modelsyncd.link.channel import open_channel
from modelsyncd.names import parse_model
from modelsyncd.release import Derivation, Release
from modelsyncd.store.source import scan
from modelsyncd.trust.context import Context
from modelsyncd.wire.nouns import decode_release
from modelsyncd.wire.status import translated
from modelsyncd.wire.v1 import derivations_pb2 as pb
from modelsyncd.wire.v1.derivations_pb2_grpc import DerivationServiceStub
from tests.fakes.hub import Hub, running_hub

if TYPE_CHECKING:
    from modelsyncd.wire.v1.derivations_pb2_grpc import DerivationServiceAsyncStub

HELMET = parse_model("acme/helmet")
STEP = digest_of(b"int8")


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    async with running_hub(tmp_path / "hub") as found:
        yield found


@pytest.fixture
async def there(hub: Hub) -> AsyncIterator[There]:
    async with open_hub(Context(hub.address, "ann", hub.admin("ann")), "tests") as found:
        yield found


async def push(there: There, path: Path, number: int, wish: Wish) -> Release:
    """What a file becomes."""
    with scan(path) as source:
        await Push(there, wish, source).run(number)
    return await release(there, number)


async def release(there: There, number: int) -> Release:
    return decode_release((await there.release(f"{HELMET}:{number}")).signed.release)


def named(name: str, release: Release | None = None, derivation: Derivation | None = None) -> Wish:
    """A variant, beside those of a release."""
    wish = Wish(HELMET, "", {}, {}, "")
    return replace(wish if release is None else added_to(wish, release), variant=name, derivation=derivation)


async def asked(there: There, source: bytes, step: bytes) -> list[tuple[str, int, str, list[str]]]:
    answer = await there.ask(there.derivations.FindDerived, pb.FindDerivedRequest(source=source, step=step))
    return [(one.model, one.number, one.variant, list(one.channels)) for one in answer.derived]


async def test_what_a_step_made_is_found_as_soon_as_it_is_published_and_put_beside_another_without_its_bytes(
    there: There, tmp_path: Path
) -> None:
    for name in ("plain", "made", "beside"):
        (tmp_path / name).write_bytes(name.encode() * 100_000)
    first = await push(there, tmp_path / "plain", 1, named("default"))
    source = first.variants[0].manifest.digest
    how = Derivation(source, STEP, "onnx-int8", "1", {"per_channel": "no"})
    assert await asked(there, source, STEP) == []
    second = await push(there, tmp_path / "made", 2, named("int8", first, how))
    assert await asked(there, source, STEP) == [(str(HELMET), 2, "int8", [])]

    third = await push(there, tmp_path / "beside", 3, named("other", first))
    int8 = second.variants[1]
    settled = await arrange(there, replace(named("int8", third, how), channel="stable"), int8.manifest)
    assert (settled.number, settled.created) == (4, True)
    assert [one.name for one in (await release(there, 4)).variants] == ["default", "other", "int8"]
    assert (await release(there, 4)).variants[2] == int8
    assert await asked(there, source, STEP) == [
        (str(HELMET), 4, "int8", ["stable"]),
        (str(HELMET), 2, "int8", []),
    ]
    again = await arrange(there, named("int8", third, how), int8.manifest)
    assert (again.number, again.created) == (4, False)


async def test_what_the_hub_does_not_have_can_t_be_put_beside_anything(there: There, tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"plain")
    first = await push(there, tmp_path / "plain", 1, named("default"))
    ref = first.variants[0].manifest
    lost = replace(ref, digest=digest_of(b"lost"), chunk_digests=bytes(digest_of(b"its pieces")))
    with pytest.raises(DamageError, match="int8 of acme/helmet is not whole at the hub any more"):
        await arrange(there, named("int8", first), lost)
    with pytest.raises(BadInputError):
        await asked(there, b"too short", bytes(32))


async def test_nodes_may_not_ask_what_was_made(hub: Hub) -> None:
    node = await hub.node("n1")
    async with open_channel(hub.address, node) as channel:
        stub: DerivationServiceAsyncStub = DerivationServiceStub(channel)
        with pytest.raises(RefusedError), translated():
            await stub.FindDerived(pb.FindDerivedRequest(source=bytes(32), step=bytes(32)))
