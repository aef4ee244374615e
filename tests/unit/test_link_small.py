"""Waiting, memory and addresses: the small things of the link."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelsyncd.errors import BadInputError
from modelsyncd.link import malloc, sockets
from modelsyncd.link.address import join, split, unix_target
from modelsyncd.link.backoff import SOON, Backoff

JITTER = st.floats(0, 1, exclude_max=True)


@given(st.floats(0.01, 10), st.floats(10, 600), st.lists(JITTER, min_size=1, max_size=50))
def test_no_wait_is_shorter_than_the_floor_or_longer_than_the_cap(floor: float, cap: float, draws: list[float]) -> None:
    backoff = Backoff(floor, cap)
    assert all(floor <= backoff.next(jitter) <= cap for jitter in draws)


@given(JITTER, st.integers(1, 30))
def test_with_the_same_luck_no_wait_is_shorter_than_the_one_before(jitter: float, tries: int) -> None:
    backoff = Backoff()
    waits = [backoff.next(jitter) for _ in range(tries)]
    assert waits == sorted(waits)


@given(st.lists(JITTER, max_size=20), JITTER)
def test_after_something_went_well_it_begins_anew(before: list[float], jitter: float) -> None:
    used, fresh = Backoff(), Backoff()
    for draw in before:
        used.next(draw)
    used.reset()
    assert used.next(jitter) == fresh.next(jitter)


def test_the_longest_waits_double_up_to_the_cap() -> None:
    backoff = Backoff(floor=0.5, cap=60)
    assert [round(backoff.next(0.9999999)) for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize(("spread", "longest"), [(0.0, 1.0), (0.4, 1.0), (8.0, 8.0), (1_000.0, 60.0)])
def test_after_something_went_well_the_next_wait_may_be_spread_and_no_further_than_the_cap(
    spread: float, longest: float
) -> None:
    waits = Backoff(floor=0.5, cap=60.0)
    for _ in range(10):
        waits.next(0.5)
    waits.reset(spread)
    assert waits.next(1.0) == pytest.approx(longest)
    assert waits.next(1.0) == pytest.approx(min(60.0, 2 * longest))


@given(JITTER, st.floats(0, 100))
def test_after_a_cut_that_cost_little_only_the_first_try_comes_at_once(jitter: float, spread: float) -> None:
    waits, usual = Backoff(floor=0.5, cap=60.0), Backoff(floor=0.5, cap=60.0)
    waits.hasten(spread)
    usual.reset(spread)
    assert waits.next(jitter) == jitter * max(SOON, min(spread, 60.0))
    assert [waits.next(jitter) for _ in range(5)] == [usual.next(jitter) for _ in range(5)]


def test_machines_that_fail_together_do_not_all_come_back_together() -> None:
    backoffs = [Backoff() for _ in range(100)]
    for _ in range(8):
        waits = [backoff.next(number / 100) for number, backoff in enumerate(backoffs)]
    assert max(waits) - min(waits) > 50


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is Linux's")
def test_large_buffers_come_from_the_heap_once_the_thresholds_are_raised() -> None:
    program = """
import ctypes, resource, sys
from modelsyncd.link import malloc, sockets
if len(sys.argv) > 1 and not malloc.raise_thresholds():
    sys.exit("no glibc")
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(200):
    held = [bytes(1_000_000) for _ in range(4)]
    del held
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    faults = []
    for arguments in ([], ["raise"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        if "no glibc" in done.stderr:
            pytest.skip("no glibc here")
        faults.append(int(done.stdout))
    assert faults[1] * 5 < faults[0]


def test_where_there_is_no_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: ("", ""))
    assert malloc.raise_thresholds() is False


@pytest.mark.parametrize(
    ("text", "host", "port"), [("hub:7443", "hub", 7443), ("[::1]:0", "::1", 0), ("10.0.0.1:65535", "10.0.0.1", 65535)]
)
def test_an_address_is_split_and_joined_again(text: str, host: str, port: int) -> None:
    assert split(text) == (host, port)
    assert join(host, port) == text


def test_a_socket_path_of_107_bytes_is_the_longest() -> None:
    assert unix_target(Path("/" + "x" * 106)) == "unix:/" + "x" * 106
    with pytest.raises(BadInputError):
        unix_target(Path("/" + "x" * 107))
    with pytest.raises(BadInputError):
        unix_target(Path("/" + "ä" * 54))


def test_only_the_connection_with_the_peer_that_was_named_is_hung_up_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ends = []
        for _ in range(2):
            caller = socket.create_connection(listener.getsockname())
            ends.append((caller, listener.accept()[0]))
        (one, _), (two, at_two) = ends
        port = one.getsockname()[1]
        assert not sockets.hang_up("unix:/run/agent.sock")
        assert not sockets.hang_up(f"ipv4:127.0.0.2:{port}")
        assert sockets.hang_up(f"ipv4:127.0.0.1:{port}")
        assert one.recv(1) == b""
        two.sendall(b"x")
        assert at_two.recv(1) == b"x"
        for end in ends:
            for each in end:
                each.close()


def test_a_peer_over_ipv6_is_hung_up_on_by_the_name_that_grpc_gives_it() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        caller = socket.create_connection(listener.getsockname()[:2])
        accepted = listener.accept()[0]
        with caller, accepted:
            assert sockets.hang_up(f"ipv6:%5B::1%5D:{caller.getsockname()[1]}")
            assert caller.recv(1) == b""
