"""A web server on loopback that answers ranges, as model stores do; and is slow or cut when a test wants it."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class RangedServer:
    """`asked` is what was asked for, in order: path, and first and last byte."""

    files: Mapping[str, bytes]
    address: str = ""
    asked: list[tuple[str, int, int]] = field(default_factory=list)
    leads: dict[str, str] = field(default_factory=dict)
    """Where it leads to instead of answering, by path."""
    expires_after: int = 1 << 60
    """Answers the path of which a query is part so often, and then refuses it."""
    cut_after: int = 1 << 60
    """Bytes of content that it sends before it hangs up in the middle."""
    ranges: bool = True


@contextmanager
def ranged_server(files: Mapping[str, bytes]) -> Iterator[RangedServer]:
    """Serves these until the block ends."""
    served = RangedServer(files)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            if self.path in served.leads:
                self.send_response(302)
                self.send_header("Location", served.leads[self.path])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content = served.files.get(self.path)
            old = "?" in self.path and sum(path == self.path for path, _, _ in served.asked) >= served.expires_after
            if content is None or old:
                self.send_error(404 if content is None else 403)
                return
            first, last = 0, len(content) - 1
            asked = self.headers.get("Range", "") if served.ranges else ""
            if asked and not content:
                self.send_response(416)
                self.send_header("Content-Range", "bytes */0")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if asked:
                low, _, high = asked.removeprefix("bytes=").partition("-")
                first, last = int(low), min(int(high or last), last)
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(last - first + 1))
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Last-Modified", "Mon, 23 Nov 2026 10:00:00 GMT")
            self.send_header("ETag", f'"{zlib.crc32(content)}"')
            self.end_headers()
            if body:
                served.asked.append((self.path, first, last))
                sent = content[first : last + 1][: served.cut_after]
                self.wfile.write(sent)
                served.cut_after -= len(sent) if last > first else 0
                self.close_connection = len(sent) <= last - first

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
