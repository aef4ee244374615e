"""The only place that counts at the socket: a TCP relay between two ends that knows nothing of what it passes on."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

BLOCK = 1 << 16
QUIET = 0.5  # seconds without a byte: what was going on is over
HELD = 1 << 18  # bytes that a slow link's sockets hold back at most


class Relay:
    """Bytes in both directions, TLS and HTTP/2 included; TCP's own headers are not.

    `rate` in bytes a second each way makes it a slow link; 0 is as fast as the machine.
    """

    def __init__(self, target: str, rate: float = 0.0) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._rate = rate
        self._listener = socket.create_server(("127.0.0.1", 0))
        if rate:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, HELD)  # what is accepted inherits it
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._up = 0
        self._down = 0

    @property
    def address(self) -> str:
        """HOST:PORT to connect to."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def counted(self) -> tuple[int, int]:
        """Bytes (from those who connected, to them) since the relay began."""
        with self._lock:
            return self._up, self._down

    def settled(self) -> tuple[int, int]:
        """The same, once nothing has moved for a moment."""
        last = self.counted()
        while True:
            time.sleep(QUIET)
            now = self.counted()
            if now == last:
                return now
            last = now

    def serve(self) -> None:
        """Accepts until it is closed."""
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = self._connected()
                for end in (near, far):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets += [near, far]
                for source, sink, upwards in ((near, far, True), (far, near, False)):
                    threading.Thread(target=self._copy, args=(source, sink, upwards), daemon=True).start()

    def close(self) -> None:
        """Cuts everything."""
        for end in (self._listener, *self._sockets):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _connected(self) -> socket.socket:
        far = socket.socket()
        if self._rate:
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, HELD)
        far.connect(self._target)
        return far

    def _copy(self, source: socket.socket, sink: socket.socket, upwards: bool) -> None:
        buffer, free = bytearray(BLOCK), 0.0
        with suppress(OSError):
            while count := source.recv_into(buffer):
                if self._rate:
                    now = time.monotonic()
                    free = max(free, now) + count / self._rate  # when the link has carried this
                    time.sleep(free - now)
                with self._lock:
                    if upwards:
                        self._up += count
                    else:
                        self._down += count
                sink.sendall(memoryview(buffer)[:count])
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@contextmanager
def relay(target: str, rate: float = 0.0) -> Iterator[Relay]:
    """A relay before this address, for as long as the block lasts."""
    made = Relay(target, rate)
    thread = threading.Thread(target=made.serve, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.close()
        thread.join(5)
