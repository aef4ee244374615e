"""How servers listen, and what they say when they can't."""

from __future__ import annotations

import asyncio
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest

from modelsyncd.errors import BadInputError, ConflictError, DiskError, NotFoundError, WrongProtocolError
from modelsyncd.link.channel import open_channel, open_local
from modelsyncd.link.reflection import add_reflection
from modelsyncd.link.server import bind_tls, bind_unix, make_server, serving
from modelsyncd.wire.status import Context, answering, error_from, translated
from tests.fakes.authorities import make_authority

BUF = Path(sys.executable).with_name("buf")
METHOD = "/test.Service/Ask"


def add_asking(server: grpc.aio.Server) -> None:
    """A service that finds nothing."""

    @answering
    async def ask(request: bytes, context: Context) -> bytes:
        raise NotFoundError(f"no {request.decode()}", nearest=["helmet"])

    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(ask)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", {"Ask": handler}),))


async def ask_over(channel: grpc.aio.Channel) -> bytes:
    ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
    return await ask(b"model")


async def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    def work() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    return await asyncio.to_thread(work)


async def test_a_taken_port_is_a_conflict_that_says_how_to_find_who_has_it(tmp_path: Path) -> None:
    hub = make_authority(tmp_path).issue_hub(time.time())
    first, second = make_server(), make_server()
    address = bind_tls(first, "127.0.0.1:0", hub)
    async with serving(first):
        with pytest.raises(ConflictError, match="taken") as caught:
            bind_tls(second, address, hub)
    assert f"sport = :{address.rpartition(':')[2]}" in caught.value.hint


async def test_an_address_of_another_machine_is_bad_input(tmp_path: Path) -> None:
    hub = make_authority(tmp_path).issue_hub(time.time())
    with pytest.raises(BadInputError, match=r"can't listen at 192\.0\.2\.1"):
        bind_tls(make_server(), "192.0.2.1:7443", hub)


@pytest.mark.parametrize("listen", ["", "7443", "host", ":7443", "::1:7443", "host:port", "host:70000"])
async def test_a_text_that_is_no_address_is_bad_input(tmp_path: Path, listen: str) -> None:
    hub = make_authority(tmp_path).issue_hub(time.time())
    with pytest.raises(BadInputError, match="no address"):
        bind_tls(make_server(), listen, hub)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
async def test_ipv6_goes_into_brackets_and_comes_back_in_them(tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    server = make_server()
    add_asking(server)
    try:
        address = bind_tls(server, "[::1]:0", authority.issue_hub(time.time()))
    except BadInputError:
        pytest.skip("no IPv6 loopback here")
    assert address.startswith("[::1]:")
    async with serving(server), open_channel(address, authority.issue_admin("anna", time.time())) as channel:
        with pytest.raises(NotFoundError), translated(address):
            await ask_over(channel)


async def test_an_error_reaches_asynchronous_and_plain_callers_alike(tmp_path: Path) -> None:
    server = make_server()
    add_asking(server)
    path = tmp_path / "agent.sock"
    bind_unix(server, path)

    def ask_plainly() -> grpc.RpcError:
        with grpc.insecure_channel(f"unix:{path}") as channel, pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(METHOD)(b"model")  # type: ignore[arg-type]
        return caught.value

    async with serving(server):
        async with open_local(path) as channel:
            with pytest.raises(NotFoundError) as caught, translated():
                await ask_over(channel)
        plainly = error_from(await asyncio.to_thread(ask_plainly))
    assert type(plainly) is NotFoundError
    assert plainly.message == caught.value.message == "no model"
    assert plainly.hint == caught.value.hint == "did you mean helmet?"


async def test_an_error_in_the_middle_of_many_answers_reaches_the_caller(tmp_path: Path) -> None:
    server = make_server()

    @answering
    async def count(request: bytes, context: Context):  # type: ignore[no-untyped-def]
        yield b"1"
        raise NotFoundError("no more")

    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_stream_rpc_method_handler(count)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", {"Ask": handler}),))
    bind_unix(server, tmp_path / "agent.sock")
    async with serving(server), open_local(tmp_path / "agent.sock") as channel:
        many: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(METHOD)
        call = many(b"")
        assert await call.read() == b"1"
        with pytest.raises(NotFoundError, match="no more"), translated():
            await call.read()


async def test_only_the_owner_may_open_a_socket_unless_told_otherwise(tmp_path: Path) -> None:
    bind_unix(make_server(), tmp_path / "mine.sock")
    bind_unix(make_server(), tmp_path / "ours.sock", mode=0o660)
    assert stat.S_IMODE((tmp_path / "mine.sock").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "ours.sock").stat().st_mode) == 0o660


@pytest.mark.parametrize("name", ["with space.sock", "per%20cent.sock", "quest?ion#.sock", "ümläut.sock"])
async def test_a_socket_may_have_any_name_that_a_file_may_have(tmp_path: Path, name: str) -> None:
    server = make_server()
    add_asking(server)
    bind_unix(server, tmp_path / name)
    async with serving(server), open_local(tmp_path / name) as channel:
        with pytest.raises(NotFoundError), translated():
            await ask_over(channel)
    assert (tmp_path / name).parent == tmp_path


async def test_a_path_too_long_for_a_socket_is_bad_input_and_says_how_long(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 108)
    with pytest.raises(BadInputError, match="107 bytes"):
        bind_unix(make_server(), path)
    with pytest.raises(BadInputError, match="107 bytes"):
        open_local(path)


async def test_a_socket_left_by_a_killed_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    server = make_server()
    add_asking(server)
    bind_unix(server, path)
    async with serving(server), open_local(path) as channel:
        with pytest.raises(NotFoundError), translated():
            await ask_over(channel)


async def test_a_file_in_the_way_of_a_socket_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    path.write_text("precious")
    with pytest.raises(ConflictError, match="in the way"):
        bind_unix(make_server(), path)
    assert path.read_text() == "precious"


async def test_a_folder_that_is_not_there_is_a_disk_error(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="No such file"):
        bind_unix(make_server(), tmp_path / "nowhere" / "agent.sock")


async def test_a_call_that_runs_is_given_time_when_the_server_stops(tmp_path: Path) -> None:
    server = make_server()
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: bytes, context: Context) -> bytes:
        begun.set()
        await go_on.wait()
        return b"done"

    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(slow)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", {"Ask": handler}),))
    bind_unix(server, tmp_path / "agent.sock")
    async with asyncio.timeout(10), open_local(tmp_path / "agent.sock") as channel, asyncio.TaskGroup() as group:

        async def ask() -> bytes:
            return await ask_over(channel)

        async with serving(server, grace=10):
            asking = group.create_task(ask())
            await begun.wait()
            asyncio.get_running_loop().call_later(0.05, go_on.set)
    assert asking.result() == b"done"


async def test_a_person_can_ask_a_server_what_it_offers(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    server = make_server()
    add_reflection(server, ["modelsyncd.wire.v1.JobsService"])
    bind_unix(server, path)
    asking = ("--protocol", "grpc", "--http2-prior-knowledge", "--unix-socket", path)
    async with serving(server):
        listed = await run(BUF, "curl", *asking, "--list-services", "http://localhost")
    assert "modelsyncd.wire.v1.JobsService" in listed.stdout.split(), listed.stderr


async def test_reflection_is_loaded_by_the_first_question_and_not_before(tmp_path: Path) -> None:
    program = """
import asyncio, sys
from pathlib import Path
import grpc
from modelsyncd.link.channel import open_local
from modelsyncd.link.reflection import add_reflection
from modelsyncd.link.server import bind_unix, make_server, serving

async def main(path):
    server = make_server()
    add_reflection(server, ["modelsyncd.wire.v1.JobsService"])
    bind_unix(server, path)
    async with serving(server), open_local(path) as channel:
        loaded = lambda: "grpc_reflection.v1alpha.reflection" in sys.modules
        before = loaded()
        call = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")()
        await call.write(b"\\x3a\\x00")  # list_services: ""
        answer = await call.read()
        print(before, loaded(), b"modelsyncd.wire.v1.JobsService" in answer)
        call.cancel()

asyncio.run(main(Path(sys.argv[1])))
"""
    done = await run(sys.executable, "-c", program, tmp_path / "agent.sock")
    assert done.stdout.split() == ["False", "True", "True"], done.stderr


async def test_a_server_without_a_service_says_that_it_does_not_know_the_call(tmp_path: Path) -> None:
    server = make_server()
    add_reflection(server, [])
    bind_unix(server, tmp_path / "agent.sock")
    async with serving(server), open_local(tmp_path / "agent.sock") as channel:
        with pytest.raises(WrongProtocolError), translated():
            await ask_over(channel)
