"""Hearing that there is a network again: the kernel's own messages, and how often they are passed on."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from modelsyncd.link.network import open_news, pause, tells_of_a_network, watch
from tests.fakes.namespaces import two_hosts, why_not

LOOPBACK, UP, RUNNING = 0x8, 0x1, 0x40


def message(kind: int, body: bytes = b"") -> bytes:
    length = 16 + len(body)
    return struct.pack("=IHHII", length, kind, 0, 0, 0) + body + bytes(-length % 4)


def link(flags: int, kind: int = 16) -> bytes:
    return message(kind, struct.pack("=BBHiII", 0, 0, 1, 2, flags, 0))


@pytest.mark.parametrize(
    ("data", "good"),
    [
        (message(20, bytes(8)), True),
        (message(24, bytes(12)), True),
        (link(UP | RUNNING), True),
        (link(UP), False),
        (link(UP | RUNNING | LOOPBACK), False),
        (link(UP | RUNNING, kind=17), False),
        (message(21, bytes(8)), False),
        (message(25, bytes(12)), False),
        (link(UP) + message(21, b"odd") + message(20, bytes(8)), True),
        (b"", False),
        (b"short", False),
        (message(16, b"short"), False),
        (struct.pack("=IHHII", 0, 20, 0, 0, 0), False),
    ],
)
def test_only_what_came_up_is_good_news(data: bytes, good: bool) -> None:
    assert tells_of_a_network(data) is good


@dataclass
class Kernel:
    """A socket that says what the test says."""

    far: socket.socket
    near: socket.socket
    told: list[float] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def say(self, data: bytes) -> None:
        self.far.send(data)

    def tell(self) -> None:
        self.told.append(asyncio.get_running_loop().time())
        self._news.set()

    async def until_told(self, times: int) -> None:
        async with asyncio.timeout(10):
            while len(self.told) < times:
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def watched(settle: float = 0.01, burst: int = 2, pause: float = 0.2) -> AsyncIterator[Kernel]:
    far, near = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.setblocking(False)
    kernel = Kernel(far, near)
    with far, near:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(
                watch(kernel.tell, open_source=lambda: near, settle=settle, burst=burst, pause=pause)
            )
            yield kernel
            task.cancel()


async def test_good_news_is_passed_on_at_once_and_bad_news_is_not() -> None:
    async with watched() as kernel:
        began = asyncio.get_running_loop().time()
        kernel.say(message(21, bytes(8)))
        kernel.say(message(20, bytes(8)))
        await kernel.until_told(1)
    assert kernel.told[0] - began < 0.15
    assert len(kernel.told) == 1


async def test_what_comes_together_is_told_of_once() -> None:
    async with watched(settle=0.1) as kernel:
        for _ in range(20):
            kernel.say(message(24, bytes(12)))
        await kernel.until_told(1)
        assert len(kernel.told) == 1


async def test_news_without_end_is_passed_on_ever_so_often_and_the_last_is_not_lost() -> None:
    async with watched(settle=0.0, burst=2, pause=0.2) as kernel:
        for times in (1, 2, 3):
            kernel.say(message(20, bytes(8)))
            await kernel.until_told(times)
    assert kernel.told[1] - kernel.told[0] < 0.15
    assert kernel.told[2] - kernel.told[0] >= 0.4


async def test_where_the_kernel_says_nothing_the_watching_just_ends() -> None:
    told: list[int] = []
    await watch(lambda: told.append(1), open_source=lambda: None)
    assert told == []


class Broken(socket.socket):
    """Says one thing, and then fails with the same error for ever."""

    failure = errno.EIO
    tries = 0

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        if not self.tries:
            self.tries += 1
            return message(20, bytes(8))
        self.tries += 1
        if self.tries > 100:
            raise BlockingIOError  # so that who spins on it is found out, and does not hang
        raise OSError(self.failure, "broken")


async def test_a_source_that_fails_ends_the_watching_and_nothing_else() -> None:
    told: list[int] = []
    broken = Broken(socket.AF_UNIX, socket.SOCK_DGRAM)
    broken.setblocking(False)
    async with asyncio.timeout(10):
        await watch(lambda: told.append(1), open_source=lambda: broken, settle=0.0)
    assert told == [1]
    assert broken.tries == 3, "once heard, once drained, once heard again"


@pytest.mark.skipif(sys.platform != "linux", reason="rtnetlink is Linux's")
async def test_anyone_may_listen_to_the_kernel() -> None:
    news = open_news()
    assert news is not None
    with news, pytest.raises(BlockingIOError):
        news.recv(100)


async def test_a_pause_without_news_lasts_as_long_as_it_was_told() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await pause(0.05)
    assert 0.05 <= loop.time() - began < 1.0


PAUSE = """
import asyncio, time
from modelsyncd.link import network
began = time.monotonic()
async def main():
    news = network.open_news  # says that it listens before the cable is plugged in
    def opened():
        source = news()
        print("ready", flush=True)
        return source
    heard = asyncio.Event()
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        task = group.create_task(network.watch(heard.set, open_source=opened))
        await heard.wait()
        task.cancel()
    print("told", flush=True)
asyncio.run(main())
"""


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
def test_a_cable_that_is_plugged_in_again_is_heard_of() -> None:
    with two_hosts() as (here, _):
        here.down()
        waiting = here.start(sys.executable, "-c", PAUSE, stdout=-1)
        try:
            assert waiting.stdout is not None
            assert waiting.stdout.readline() == "ready\n"
            here.up()
            assert waiting.communicate(timeout=20)[0] == "told\n"
        finally:
            waiting.kill()
            waiting.communicate()
