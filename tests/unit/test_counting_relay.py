"""The relay of benchmarks/bytes: what it says travelled is what travelled."""

from __future__ import annotations

import socket
import threading

from benchmarks.bytes.relay import relay

SAID = bytes(range(256)) * 4_000


def answer(listener: socket.socket) -> None:
    """Reads all of a question, then says half of it back."""
    with listener, listener.accept()[0] as end:
        heard = bytearray()
        while block := end.recv(1 << 16):
            heard += block
        end.sendall(heard[: len(heard) // 2])


def test_a_relay_passes_every_byte_on_and_counts_both_directions() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=answer, args=(listener,))
    thread.start()
    with relay(f"127.0.0.1:{listener.getsockname()[1]}") as counting:
        host, _, port = counting.address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=30) as end:
            end.sendall(SAID)
            end.shutdown(socket.SHUT_WR)
            heard = b"".join(iter(lambda: end.recv(1 << 16), b""))
        assert heard == SAID[: len(SAID) // 2]
        assert counting.counted() == (len(SAID), len(SAID) // 2)
    thread.join(30)
    assert not thread.is_alive()
