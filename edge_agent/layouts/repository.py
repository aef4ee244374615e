"""The only place that asks a model server to load: one POST to its V2 repository on this machine."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlsplit

from modelsyncd.errors import RoadError
from modelsyncd.link.address import join

PATIENCE = 600.0  # seconds for one answer: a server answers once the model is loaded
ANSWER = 1 << 16  # bytes of an answer that are read
WHY = 300  # characters of a server's reason


async def load(url: str) -> None:
    """Returns once the server has loaded the model. Raises RoadError with its reason when it has not."""
    try:
        async with asyncio.timeout(PATIENCE):
            status, body = await _post(url)
    except TimeoutError as error:
        raise _not_loaded(url, f"gave no answer in {PATIENCE:g} s") from error
    except OSError as error:
        raise _not_loaded(url, f"can't be reached: {error.strerror or error}") from error
    except ValueError as error:
        raise _not_loaded(url, "does not speak HTTP") from error
    if not 200 <= status < 300:
        raise _not_loaded(url, f"answered {status}{_reason(body)}")


def _not_loaded(url: str, what: str) -> RoadError:
    return RoadError(f"{url} {what}", safe="the server has what it had", hint="it is asked again by itself")


async def _post(url: str) -> tuple[int, bytes]:
    """Status, and the body of an answer that is no success. Raises OSError, ValueError for what is not HTTP."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    reader, writer = await asyncio.open_connection(host, port, limit=ANSWER)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = [f"POST {target} HTTP/1.1", f"Host: {join(host, port)}", "Content-Type: application/json"]
        writer.write("\r\n".join([*headers, "Content-Length: 2", "Connection: close", "", "{}"]).encode())
        version, status = (await reader.readline()).split(b" ", 2)[:2]
        if not version.startswith(b"HTTP/"):
            raise ValueError("not HTTP")
        found = b"" if status.startswith(b"2") else await _rest(reader)
        return int(status), found.partition(b"\r\n\r\n")[2]
    finally:
        writer.transport.abort()


async def _rest(reader: asyncio.StreamReader) -> bytes:
    found = b""
    while len(found) < ANSWER and (some := await reader.read(ANSWER)):
        found += some
    return found


def _reason(body: bytes) -> str:
    """What the server says of it, in one line; of the body only the JSON object is read, whether chunked or not."""
    text = body.decode(errors="replace")
    try:
        told = json.loads(text[text.find("{") : text.rfind("}") + 1])
        said = str(told["error"])
    except (ValueError, KeyError, TypeError):
        return ""
    line = " ".join("".join(c if c.isprintable() else " " for c in said).split())
    return f": {line[:WHY]}" if line else ""
