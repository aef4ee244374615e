"""The only place that answers with a file's bytes: whole or in ranges, and of one version from first to last."""

from __future__ import annotations

import asyncio
import mimetypes
import os
from collections.abc import Mapping
from email.utils import formatdate
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from edge_agent.http.versions import Entry, Shown, Versions
from edge_agent.leases import Lease
from modelsyncd.errors import DamageError

HOLDER = "http"
PIECE = 1 << 20  # bytes read at once: each costs a hop to a thread


class _HeldFile(FileResponse):
    """A file of a version that stays until the last byte is sent."""

    chunk_size = PIECE

    def __init__(self, path: Path, lease: Lease, headers: Mapping[str, str], seen: os.stat_result) -> None:
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        super().__init__(path, headers=headers, media_type=kind, stat_result=seen)
        self._lease = lease

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._lease:
            await super().__call__(scope, receive, send)


async def file_answer(
    request: Request, versions: Versions, shown: Shown, entry: Entry, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer to GET or HEAD of one file. Its ETag is the file's SHA-256. Raises DamageError."""
    told = {"etag": f'"{entry.sha256}"', "cache-control": "no-cache", **(headers or {})}
    if shown.since:
        told["last-modified"] = formatdate(shown.since, usegmt=True)
    if _has_it(request.headers.get("if-none-match", ""), entry.sha256):
        return Response(status_code=304, headers=told)
    lease = versions.hold(shown, HOLDER)
    try:
        path = shown.folder / entry.path
        seen = await asyncio.to_thread(_look, path, entry)
        return _HeldFile(path, lease, told, seen)
    except BaseException:
        lease.release()
        raise


def _look(path: Path, entry: Entry) -> os.stat_result:
    try:
        seen = path.stat()
    except OSError as error:
        raise DamageError(f"{entry.path} can't be read on this node: {error.strerror}") from error
    if seen.st_size != entry.size:
        raise DamageError(f"{entry.path} is damaged on this node", hint="it is mended by itself; ask again later")
    return seen


def _has_it(if_none_match: str, sha256: str) -> bool:
    """RFC 9110, 13.1.2: a list of tags, weak ones too, or "*"."""
    tags = {tag.strip().removeprefix("W/").strip('"') for tag in if_none_match.split(",")}
    return sha256 in tags or "*" in tags
