"""An HTTP server on loopback: it begins and ends with its context, and answers this machine's own names only."""

from __future__ import annotations

import asyncio
import http.client
import socket
from collections.abc import Mapping

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from edge_agent.http.server import serving_http
from modelsyncd.errors import BadInputError, ConflictError


async def hello(request: Request) -> JSONResponse:
    return JSONResponse({"hello": request.path_params["name"]})


ROUTES = [Route("/hello/{name}", hello)]


def get(address: str, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


async def test_routes_are_served_while_the_context_is_open() -> None:
    async with serving_http(ROUTES, "127.0.0.1:0") as address:
        assert await asyncio.to_thread(get, address, "/hello/you") == (200, b'{"hello":"you"}')
        assert (await asyncio.to_thread(get, address, "/other"))[0] == 404
    with pytest.raises(ConnectionRefusedError):
        await asyncio.to_thread(get, address, "/hello/you")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:9", "localhost:80", "[::1]", "[::1]:80", "LOCALHOST"])
async def test_a_name_of_loopback_is_answered(host: str) -> None:
    async with serving_http(ROUTES, "127.0.0.1:0") as address:
        assert (await asyncio.to_thread(get, address, "/hello/you", {"Host": host}))[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.1", ""])
async def test_a_page_that_calls_us_by_its_own_name_gets_nothing(host: str) -> None:
    async with serving_http(ROUTES, "127.0.0.1:0") as address:
        status, body = await asyncio.to_thread(get, address, "/hello/you", {"Host": host})
        assert status in (400, 421)
        assert b"you" not in body


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.com:0"])
async def test_an_address_that_others_reach_is_refused(listen: str) -> None:
    with pytest.raises(BadInputError, match="reachable"):
        async with serving_http(ROUTES, listen):
            pytest.fail("it was served")


async def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConflictError, match="taken"):
        async with serving_http(ROUTES, f"127.0.0.1:{taken.getsockname()[1]}"):
            pytest.fail("it was served")


async def test_what_goes_wrong_inside_comes_out_and_the_port_is_free() -> None:
    address = ""
    with pytest.raises(ExceptionGroup) as caught:
        async with serving_http(ROUTES, "127.0.0.1:0") as address:
            raise ConflictError("inside")
    assert caught.group_contains(ConflictError)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.to_thread(get, address, "/hello/you")
