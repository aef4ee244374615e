"""The road between two namespaces is what it was asked to be: measured, and lossy in the same places again."""

from __future__ import annotations

import sys

import pytest

from tests.fakes.namespaces import Host, Shape, two_hosts, why_not

pytestmark = pytest.mark.skipif(bool(reason := why_not()), reason=reason or "-")

ECHO = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
    here.bind((sys.argv[1], 7000))
    print("ready", flush=True)
    while True:
        data, whence = here.recvfrom(2000)
        here.sendto(data, whence)
"""
ROUND_TRIPS = """
import socket, sys, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
    here.settimeout(5)
    for _ in range(5):
        began = time.monotonic()
        here.sendto(b"x", (sys.argv[1], 7000))
        here.recv(10)
        print(time.monotonic() - began)
"""
SINK = """
import socket, sys, time
with socket.socket() as listener:
    listener.bind((sys.argv[1], 7000))
    listener.listen()
    print("ready", flush=True)
    peer, _ = listener.accept()
    first = len(peer.recv(1 << 16))
    began, count = time.monotonic(), 0
    while data := peer.recv(1 << 16):
        count += len(data)
    print(count / (time.monotonic() - began))
"""
BULK = """
import socket, sys
with socket.create_connection((sys.argv[1], 7000)) as road:
    road.sendall(bytes(int(sys.argv[2])))
"""
COUNTING = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
    here.bind((sys.argv[1], 7000))
    print("ready", flush=True)
    got = []
    while (data := here.recv(100)) != b"end":
        got.append(int(data))
    print(*got)
"""
NUMBERED = """
import socket, sys, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
    for number in range(int(sys.argv[2])):
        here.sendto(b"%d" % number, (sys.argv[1], 7000))
        if number % 20 == 19:
            time.sleep(0.001)
    for _ in range(200):
        here.sendto(b"end", (sys.argv[1], 7000))
"""


def said_by(host: Host, code: str, peer: Host, far_code: str, *arguments: str) -> str:
    """What the program on `host` says after a program on the peer talked to it."""
    server = host.start(sys.executable, "-c", code, host.address, stdout=-1)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        peer.python(far_code, host.address, *arguments)
        return server.communicate(timeout=60)[0]
    finally:
        server.kill()
        server.communicate()


def test_a_packet_takes_the_time_that_was_asked_for() -> None:
    with two_hosts(Shape(delay=0.06), Shape(delay=0.02)) as (here, there):
        echo = there.start(sys.executable, "-c", ECHO, there.address, stdout=-1)
        try:
            assert echo.stdout is not None
            echo.stdout.readline()
            trips = sorted(map(float, here.python(ROUND_TRIPS, there.address).split()))
        finally:
            echo.kill()
            echo.communicate()
    assert trips[0] >= 0.08
    assert trips[2] <= 0.09


@pytest.mark.slow
def test_a_transfer_gets_the_rate_that_was_asked_for() -> None:
    rate = 1e6
    with two_hosts(Shape(rate=rate)) as (here, there):
        measured = float(said_by(there, SINK, here, BULK, str(int(2 * rate))))
    payload = 1448 / 1500  # of each packet, the rest are headers
    assert 0.95 <= measured / (rate * payload) <= 1.05


def test_as_many_packets_are_lost_as_was_asked_for_and_the_same_ones_again() -> None:
    outcomes = []
    for _ in range(2):
        with two_hosts(Shape(loss=0.1), Shape(), seed=11) as (here, there):
            outcomes.append(said_by(there, COUNTING, here, NUMBERED, "2000").split())
            counted = here.wire.counted()
        assert counted.lost[0] == pytest.approx(220, abs=60)
        assert counted.overflowed == (0, 0)
    assert outcomes[0] == outcomes[1]
    assert len(outcomes[0]) == pytest.approx(1800, abs=50)


def test_a_host_whose_cable_is_out_reaches_nobody_until_it_is_in_again() -> None:
    dial = "import socket, sys; print(socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect_ex((sys.argv[1], 7)))"
    with two_hosts() as (here, there):
        assert here.python(dial, there.address) == "0\n"
        here.down()
        assert here.python(dial, there.address) != "0\n"
        here.up()
        assert here.python(dial, there.address) == "0\n"
