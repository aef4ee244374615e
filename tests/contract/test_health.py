"""The standard health service, over a real server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from modelsyncd.daemon.health import Health

SERVING, NOT_SERVING, UNKNOWN = 1, 2, 3
SYNC = "modelsyncd.wire.v1.SyncService"


@pytest.fixture
async def health() -> Health:
    return Health([SYNC])


@pytest.fixture
async def stub(health: Health) -> AsyncIterator[health_pb2_grpc.HealthStub]:
    server = grpc.aio.server()
    health.attach(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield health_pb2_grpc.HealthStub(channel)
    await server.stop(None)


def ask(service: str = "") -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=service)


async def state(stub: health_pb2_grpc.HealthStub, service: str = "") -> int:
    answer: health_pb2.HealthCheckResponse = await stub.Check(ask(service), timeout=20)  # type: ignore[attr-defined]
    return answer.status


async def test_nothing_serves_until_it_is_said_to(health: Health, stub: health_pb2_grpc.HealthStub) -> None:
    assert (await state(stub), await state(stub, SYNC)) == (NOT_SERVING, NOT_SERVING)
    health.serving()
    assert (await state(stub), await state(stub, SYNC)) == (SERVING, SERVING)
    health.failing(SYNC)
    assert (await state(stub), await state(stub, SYNC)) == (SERVING, NOT_SERVING)


async def test_a_service_that_is_not_here_is_not_found(stub: health_pb2_grpc.HealthStub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await state(stub, "x.Y")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_watcher_hears_changes_only_even_after_another_watcher_has_left(
    health: Health, stub: health_pb2_grpc.HealthStub
) -> None:
    async with asyncio.timeout(20):
        leaving, staying = stub.Watch(ask()), stub.Watch(ask())  # type: ignore[attr-defined]
        assert ((await leaving.read()).status, (await staying.read()).status) == (NOT_SERVING, NOT_SERVING)
        leaving.cancel()
        health.failing()
        health.serving()
        assert (await staying.read()).status == SERVING


async def test_watching_what_is_not_here_says_so_and_stays_open(stub: health_pb2_grpc.HealthStub) -> None:
    async with asyncio.timeout(20):
        watch = stub.Watch(ask("x.Y"))  # type: ignore[attr-defined]
        assert (await watch.read()).status == UNKNOWN
        assert not watch.done()
