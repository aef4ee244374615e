"""The only place that reads files from a web server; each address that it is led to is judged before it is opened.

A server may lead elsewhere (RFC 9110, 15.4): to a network that the hub can reach and the asker can't, or by a signed
address that soon expires. So each answer is asked for by the first address again, and nothing of the way is kept.
Proxies are taken from the environment, credentials from nowhere.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import IO
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from modelsyncd.errors import BadInputError, DamageError, NotFoundError, RefusedError, RoadError
from modelsyncd.store.blobs import Blob

HOPS = 5  # times that one question is led on
PATIENCE = 60.0  # seconds for a server to say anything
Judge = Callable[[str], object]
"""Raises RefusedError for an address that must not be opened."""

_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+)")


class WebOrigin:
    """What lies below one URL, by name. Safe to use from any thread; every method blocks, one at a time."""

    def __init__(self, url: str, judge: Judge) -> None:
        """`judge` is asked about each address that the server leads to, not about `url`."""
        self._url = url
        self._opener = OpenerDirector()
        for handler in (
            ProxyHandler(),
            HTTPHandler(),
            HTTPSHandler(),
            UnknownHandler(),
            _Judged(judge),
            HTTPErrorProcessor(),
            HTTPDefaultErrorHandler(),
        ):
            self._opener.add_handler(handler)
        self._lock = threading.Lock()
        self._answer: HTTPResponse | None = None
        self._next = ("", 0)

    def about(self, key: str) -> Blob:
        """Its size, and its tag. Raises NotFoundError, RefusedError, RoadError, BadInputError."""
        with self._lock, self._asking(key, "bytes=0-0") as answer:
            found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            if found is None:
                raise BadInputError(
                    f"the server of {key} answers no ranges",
                    safe="nothing was fetched",
                    hint="put the model where ranges are answered, as most web servers and all object stores do",
                )
            return Blob(key, int(found[2]), _tag(answer))

    def list(self) -> Iterator[Blob]:
        """Raises BadInputError."""
        raise BadInputError("a folder can't be listed over HTTP", hint="name a file, or use s3://, gs:// or az://")

    def read(self, key: str, offset: int, length: int) -> bytes:
        """Exactly `length` bytes at `offset`; those that follow the last ones come in the same answer.

        Raises as `about`, DamageError when the file is shorter.
        """
        with self._lock:
            if self._next != (key, offset):
                self._leave()
            with self._reading(key):
                answer = self._answer = self._answer or self._ask(key, f"bytes={offset}-")
                found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
                data = b"" if found is None or found[1] is None else answer.read(length)
            self._next = (key, offset + len(data))
            if len(data) != length:
                self._leave()
                if found is not None and int(found[2]) < offset + length:
                    raise DamageError(f"{key} ends before byte {offset + length}", safe="nothing was published")
                raise _gone_wrong(f"the answer ended {length - len(data)} bytes too early")
            return data

    def close(self) -> None:
        """Waits for what is being read."""
        with self._lock:
            self._leave()

    def _leave(self) -> None:
        if self._answer is not None:
            self._answer.close()
        self._answer, self._next = None, ("", 0)

    @contextmanager
    def _asking(self, key: str, what: str) -> Iterator[HTTPResponse]:
        with self._reading(key), self._ask(key, what) as answer:
            yield answer

    def _ask(self, key: str, what: str) -> HTTPResponse:
        asked = Request(  # noqa: S310 - there is no handler for other schemes
            f"{self._url}/{quote(key)}", headers={"Range": what, "Accept-Encoding": "identity"}
        )
        try:
            answer = self._opener.open(asked, timeout=PATIENCE)
        except HTTPError as error:
            if error.code == 416:  # an empty file has no first byte; its Content-Range says so
                return error  # type: ignore[return-value]
            raise
        assert isinstance(answer, HTTPResponse)  # noqa: S101 - nothing else is opened
        return answer

    @contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        try:
            yield
        except HTTPError as error:
            error.close()
            self._leave()
            if error.code in (404, 410):
                raise NotFoundError(f"there is no {key} at {self._url}") from error
            if error.code in (401, 403):
                raise RefusedError(
                    f"the server refuses {key}: {error.code} {error.reason}",
                    safe="what was fetched is kept",
                    hint="a hub has no credentials for web servers: use s3://, gs:// or az://, or push the model",
                ) from error
            raise _gone_wrong(f"{error.code} {error.reason}") from error
        except (OSError, HTTPException) as error:
            self._leave()
            raise _gone_wrong(str(error) or type(error).__name__) from error


class _Judged(HTTPRedirectHandler):
    max_redirections = HOPS

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def redirect_request(  # noqa: PLR0917 - its own parameters
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        try:
            self._judge(newurl)
        except BaseException:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _tag(answer: HTTPResponse) -> str:
    return answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""


def _gone_wrong(why: str) -> RoadError:
    return RoadError(
        f"the web server does not do its work: {why}",
        safe="what was fetched is kept",
        hint="import it again; check the server and the way to it",
    )
