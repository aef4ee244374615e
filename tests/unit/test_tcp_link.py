"""The link of the fault tests: what it is asked to do to bytes is what it does to them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.fakes.link.relay import PORTAL, TcpLink, tcp_link
from tests.fakes.link.shape import Cut, Shape, Way, random_cuts

MEGABYTE = 1_000_000


class Sink:
    """A server that keeps what it is sent, and says how each connection ended."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.received: list[bytes] = []
        self.endings: list[str] = []
        self.echo = False
        self._news = threading.Condition()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self._take(connection)

    def _take(self, connection: socket.socket) -> None:
        got = bytearray()
        ending = "end"
        try:
            while data := connection.recv(1 << 16):
                got += data
                if self.echo:
                    connection.sendall(data)
        except ConnectionResetError:
            ending = "reset"
        connection.close()
        with self._news:
            self.received.append(bytes(got))
            self.endings.append(ending)
            self._news.notify_all()

    def wait(self, connections: int = 1) -> None:
        with self._news:
            assert self._news.wait_for(lambda: len(self.endings) >= connections, 20)


@contextmanager
def sink() -> Iterator[Sink]:
    found = Sink()
    thread = threading.Thread(target=found.serve)
    thread.start()
    try:
        yield found
    finally:
        found.listener.shutdown(socket.SHUT_RDWR)
        found.listener.close()
        thread.join(10)


def dial(link: TcpLink) -> socket.socket:
    host, port = link.address.split(":")
    connection = socket.create_connection((host, int(port)))
    connection.settimeout(20)
    return connection


def test_it_carries_every_byte_in_order_and_counts_them() -> None:
    data = bytes(range(256)) * 8_000
    with sink() as end, tcp_link(end.address) as link:
        with dial(link) as connection:
            connection.sendall(data)
        end.wait()
        assert end.received == [data]
        assert (link.carried(Way.UP), link.carried(Way.DOWN), link.connections) == (len(data), 0, 1)
        assert link.taken(Way.UP) == len(data)
        assert end.endings == ["end"]


def test_the_rate_is_kept_each_way() -> None:
    with sink() as end, tcp_link(end.address, rate=4 * MEGABYTE) as link:
        end.echo = True
        began = time.monotonic()
        with dial(link) as connection:
            threading.Thread(target=lambda: connection.sendall(bytes(2 * MEGABYTE))).start()
            came = 0
            while came < 2 * MEGABYTE:
                came += len(connection.recv(1 << 16))
        seconds = time.monotonic() - began
    assert 0.5 <= seconds < 3, "2 MB at 4 MB/s, both ways at once"


@pytest.mark.parametrize(("how", "seen"), [(Cut.RESET, "reset"), (Cut.END, "end")])
def test_it_cuts_at_exactly_the_byte_that_it_was_told(how: Cut, seen: str) -> None:
    with sink() as end, tcp_link(end.address) as link:
        link.cut_at(Way.UP, 123_457, how)
        with dial(link) as connection, suppress(ConnectionError):
            connection.sendall(bytes(MEGABYTE))
            while connection.recv(100):
                pass
        end.wait()
        assert link.carried(Way.UP) == 123_457
        assert end.endings == [seen]
        if how is Cut.END:  # a reset may overtake bytes that were carried
            assert len(end.received[0]) == 123_457


def test_after_a_cut_another_connection_can_be_made_and_cut() -> None:
    with sink() as end, tcp_link(end.address) as link:
        link.cut_at(Way.UP, 1_000, Cut.END)
        link.cut_at(Way.UP, 3_000, Cut.END)
        for _ in range(3):
            with dial(link) as connection, suppress(ConnectionError):
                connection.sendall(bytes(2_500))
                connection.shutdown(socket.SHUT_WR)
                connection.recv(100)
        end.wait(3)
        assert [len(got) for got in end.received] == [1_000, 2_000, 2_500]
        assert (link.connections, link.cuts) == (3, 2)


def test_silence_ends_nothing_and_carries_nothing() -> None:
    with sink() as end, tcp_link(end.address) as link:
        link.cut_at(Way.UP, 5_000, Cut.SILENCE)
        with dial(link) as connection:
            connection.sendall(bytes(20_000))
            link.reach(Way.UP, 5_000)
            assert link.taken(Way.UP) > 5_000
            connection.settimeout(0.3)
            with pytest.raises(TimeoutError):
                connection.recv(100)
            assert end.endings == []
            assert link.carried(Way.UP) == 5_000


def test_a_cut_for_all_connections_comes_at_once() -> None:
    with sink() as end, tcp_link(end.address) as link, dial(link) as connection:
        connection.sendall(b"abc")
        link.reach(Way.UP, 3)
        link.cut()
        with pytest.raises(ConnectionResetError):
            connection.recv(100)
        end.wait()
        assert end.endings == ["reset"]


def test_a_paused_link_carries_nothing_until_it_goes_on() -> None:
    with sink() as end, tcp_link(end.address) as link, dial(link) as connection:
        connection.sendall(b"abc")
        link.reach(Way.UP, 3)
        link.pause()
        connection.sendall(b"def")
        with pytest.raises(AssertionError, match="3 of 6 bytes"):
            link.reach(Way.UP, 6, seconds=0.3)
        link.resume()
        link.reach(Way.UP, 6)


def test_a_target_that_is_not_there_resets_the_caller() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    with tcp_link(address) as link, dial(link) as connection, pytest.raises(ConnectionResetError):
        connection.recv(100)


def trips(link: TcpLink, count: int) -> list[float]:
    """Seconds for a byte to an echo and back, so many times."""
    found = []
    with dial(link) as connection:
        for _ in range(count):
            began = time.monotonic()
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"
            found.append(time.monotonic() - began)
    return sorted(found)


def test_each_way_has_a_delay_of_its_own() -> None:
    with sink() as end, tcp_link(end.address) as link:
        end.echo = True
        link.shape(Way.UP, Shape(delay=0.08))
        link.shape(Way.DOWN, Shape(delay=0.02))
        seen = trips(link, 5)
    assert seen[0] >= 0.1
    assert seen[2] <= 0.12


def test_jitter_is_spread_over_what_was_asked_for_and_overtakes_nothing() -> None:
    data = bytes(range(256)) * 400
    with sink() as end, tcp_link(end.address, seed=3) as link:
        end.echo = True
        link.shape(Way.UP, Shape(delay=0.005, jitter=0.05))
        seen = trips(link, 20)
        with dial(link) as connection:
            for start in range(0, len(data), 1_000):
                connection.sendall(data[start : start + 1_000])
            came = b""
            while len(came) < len(data):
                came += connection.recv(1 << 16)
        assert came == data
    assert 0.005 <= seen[0] < 0.03
    assert 0.04 < seen[-1] <= 0.08


@pytest.mark.parametrize(("way", "rate"), [(Way.UP, 0.5 * MEGABYTE), (Way.DOWN, 0.25 * MEGABYTE)])
def test_each_way_has_a_rate_of_its_own_within_a_twentieth(way: Way, rate: float) -> None:
    with sink() as end, tcp_link(end.address) as link:
        end.echo = True
        link.shape(Way.UP, Shape(rate=0.5 * MEGABYTE))
        link.shape(Way.DOWN, Shape(rate=0.25 * MEGABYTE))
        with dial(link) as connection:
            reading = threading.Thread(target=lambda: read_until_it_ends(connection))
            reading.start()
            sending = threading.Thread(target=lambda: send_until_it_ends(connection))
            sending.start()
            link.reach(way, 50_000)
            began, before = time.monotonic(), link.carried(way)
            link.reach(way, before + int(0.4 * rate))
            measured = (link.carried(way) - before) / (time.monotonic() - began)
            link.cut()
            reading.join(10)
            sending.join(10)
    assert measured == pytest.approx(rate, rel=0.05)


def read_until_it_ends(connection: socket.socket) -> None:
    with suppress(OSError):
        while connection.recv(1 << 16):
            pass


def send_until_it_ends(connection: socket.socket) -> None:
    with suppress(OSError):
        while True:
            connection.sendall(bytes(10_000))


def test_exactly_the_bit_that_was_named_is_another() -> None:
    data = bytes(50_000)
    with sink() as end, tcp_link(end.address) as link:
        link.corrupt_at(Way.UP, 33_333)
        with dial(link) as connection:
            connection.sendall(data)
        end.wait()
        (got,) = end.received
    assert [at for at, byte in enumerate(got) if byte] == [33_333]
    assert got[33_333].bit_count() == 1


def test_a_stall_lasts_as_long_as_it_was_told_and_no_byte_is_lost() -> None:
    with sink() as end, tcp_link(end.address) as link:
        link.stall_at(Way.UP, 5_000, 0.3)
        with dial(link) as connection:
            connection.sendall(bytes(10_000))
            link.reach(Way.UP, 5_000)
            began = time.monotonic()
            link.reach(Way.UP, 10_000)
            assert 0.25 <= time.monotonic() - began < 1.0


def test_of_a_half_open_connection_one_way_goes_on() -> None:
    with sink() as end, tcp_link(end.address) as link:
        end.echo = True
        link.cut_at(Way.DOWN, 100, Cut.HALF)
        with dial(link) as connection:
            connection.sendall(bytes(1_000))
            link.reach(Way.UP, 1_000)
            connection.settimeout(0.3)
            came = len(connection.recv(1_000))
            while came < 100:
                came += len(connection.recv(1_000))
            with pytest.raises(TimeoutError):
                connection.recv(1_000)
            connection.sendall(bytes(500))
            link.reach(Way.UP, 1_500)
    assert came == 100


def test_a_proxy_that_kills_connections_kills_each_after_its_time() -> None:
    with sink() as end, tcp_link(end.address) as link:
        link.lifetime = 0.2
        for _ in range(2):
            began = time.monotonic()
            with dial(link) as connection, pytest.raises(ConnectionResetError):
                connection.recv(1)
            assert 0.15 <= time.monotonic() - began < 1.0


def test_a_captive_portal_answers_whatever_it_is_asked_and_the_target_hears_nothing() -> None:
    with sink() as end, tcp_link(end.address) as link:
        link.html = PORTAL
        with dial(link) as connection:
            connection.sendall(b"\x16\x03\x01")
            answer = b""
            while data := connection.recv(1_000):
                answer += data
        assert answer == PORTAL
        link.html = b""
        with dial(link) as connection:
            connection.sendall(b"hello")
        end.wait()
        assert end.received == [b"hello"]


def test_a_proxy_that_buffers_takes_in_far_more_than_it_hands_on() -> None:
    with sink() as end, tcp_link(end.address) as link:
        link.shape(Way.UP, Shape(rate=MEGABYTE / 4, buffer=8 * MEGABYTE))
        with dial(link) as connection:
            began = time.monotonic()
            connection.sendall(bytes(4 * MEGABYTE))
            assert time.monotonic() - began < 2
            assert link.carried(Way.UP) < MEGABYTE


def test_the_same_seed_cuts_at_the_same_bytes() -> None:
    assert random_cuts(7, 1_000_000, 20) == random_cuts(7, 1_000_000, 20)
    assert random_cuts(7, 1_000_000, 20) != random_cuts(8, 1_000_000, 20)
    assert len({at for at, _ in random_cuts(7, 1_000_000, 20)}) == 20
