"""An S3 store on loopback, as far as obstore asks for one. It does nothing for a request that is not rightly signed.

What it does is said in AWS's API reference of S3: "GetObject", "ListObjectsV2", "CreateMultipartUpload" and others.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest.mock import patch
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.fakes.s3_signing import KEY_ID, REGION, SECRET, S3Error, check_signed

BUCKET = "models"
SMALLEST_PART = 5 << 20  # bytes that each part but the last must have


@dataclass(frozen=True)
class Stored:
    content: bytes
    tag: str
    changed: int


@dataclass(frozen=True)
class Asked:
    """A request, and how it was answered."""

    method: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    status: int


@dataclass
class S3Server:
    """`asked` is what was asked for, in the order of the answers."""

    address: str = ""
    objects: dict[str, Stored] = field(default_factory=dict)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    page: int = 2
    """Keys in one answer to a question for a list."""
    denied: str = "secret/"
    """Keys that begin so are not for these credentials."""
    cut_after: int = 1 << 60
    """Bytes of ranges that it sends before it hangs up in the middle, once."""
    meanwhile: Callable[[str, str], None] = lambda _method, _key: None
    """Is called with method and key before each answer; may raise S3Error."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    now: int = 1_780_000_000

    def put(self, key: str, content: bytes, tag: str = "") -> str:
        """Makes it an object that changed a second after the last one; its tag."""
        tag = tag or f'"{_md5(content).hex()}"'
        with self.lock:
            self.now += 1
            self.objects[key] = Stored(content, tag, self.now)
        return tag

    def delete(self, key: str) -> bool:
        """Whether these credentials may."""
        if key.startswith(self.denied):
            return False
        self.objects.pop(key, None)
        return True

    def cut(self, answer: bytes) -> bytes:
        """What is sent of it."""
        sent = answer[: self.cut_after]
        self.cut_after = 1 << 60 if len(sent) < len(answer) else self.cut_after - len(sent)
        return sent

    def ranges(self, key: str) -> list[str]:
        """Which parts of an object were asked for."""
        return [one.headers.get("range", "") for one in self.asked if (one.method, one.key) == ("GET", key)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    store: S3Server

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        bucket, _, key = unquote(parts.path).removeprefix("/").partition("/")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            self.store.meanwhile(self.command, key)
            check_signed(self.command, self.path, headers, body)
            if bucket != BUCKET:
                raise S3Error(404, "NoSuchBucket", BucketName=bucket)
            if key.startswith(self.store.denied):
                raise S3Error(403, "AccessDenied")
            with self.store.lock:
                status, told, answer = self._answer(key, query, headers, body)
        except S3Error as error:
            more = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in error.more.items())
            status, told, answer = error.status, {}, _xml("Error", f"<Code>{error.code}</Code>{more}")
        with self.store.lock:
            self.store.asked.append(Asked(self.command, key, query, headers, status))
            sent = self.store.cut(answer) if status == 206 else answer
        with suppress(ConnectionError):  # obstore leaves when another part of its upload has failed
            self.send_response(status)
            for name, value in {"Content-Length": str(len(answer)), **told}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(sent)
                self.close_connection |= len(sent) < len(answer)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - http.server's names

    def _answer(
        self, key: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        match self.command, bool(key), set(query):
            case "GET" | "HEAD", True, asked if not asked:
                return self._read(key, headers)
            case "GET", False, asked if "list-type" in asked:
                return 200, {}, self._list(query)
            case "PUT", True, asked if not asked:
                self._check_kept(key, headers)
                return 200, {"ETag": self.store.put(key, body)}, b""
            case "DELETE", True, asked if not asked:
                self.store.delete(key)
                return 204, {}, b""
            case "POST", False, asked if asked == {"delete"}:
                names = [one.text or "" for one in _parsed(body).iterfind("{*}Object/{*}Key")]
                done = [
                    f"<Deleted><Key>{escape(name)}</Key></Deleted>"
                    if self.store.delete(name)
                    else f"<Error><Key>{escape(name)}</Key><Code>AccessDenied</Code><Message>No.</Message></Error>"
                    for name in names
                ]
                return 200, {}, _xml("DeleteResult", "".join(done))
            case _, True, asked if asked & {"uploads", "uploadId"}:
                return self._upload(key, query, headers, body)
        raise S3Error(501, "NotImplemented", Query=str(query))

    def _read(self, key: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
        stored = self.store.objects.get(key)
        if stored is None:
            raise S3Error(404, "NoSuchKey", Key=key)
        if headers.get("if-match", stored.tag) not in (stored.tag, "*"):
            raise S3Error(412, "PreconditionFailed", Condition="If-Match")
        told = {"ETag": stored.tag, "Last-Modified": formatdate(stored.changed, usegmt=True), "Accept-Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", ""))
        if asked is None:
            return 200, {**told, "Content-Length": str(len(stored.content))}, stored.content
        first, end = int(asked[1]), min(int(asked[2] or 1 << 60) + 1, len(stored.content))
        if first >= len(stored.content):
            raise S3Error(416, "InvalidRange", ActualObjectSize=str(len(stored.content)))
        told["Content-Range"] = f"bytes {first}-{end - 1}/{len(stored.content)}"
        return 206, told, stored.content[first:end]

    def _list(self, query: Mapping[str, str]) -> bytes:
        if not set(query) <= {"list-type", "prefix", "continuation-token"}:
            raise S3Error(501, "NotImplemented", Query=str(query))
        after = base64.b64decode(query.get("continuation-token", "")).decode()
        keys = sorted(key for key in self.store.objects if key > after and key.startswith(query.get("prefix", "")))
        told = keys[: self.store.page]
        some = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>{_iso(one.changed)}</LastModified>"
            f"<ETag>{escape(one.tag)}</ETag><Size>{len(one.content)}</Size></Contents>"
            for key, one in ((key, self.store.objects[key]) for key in told)
        )
        more = "<IsTruncated>false</IsTruncated>"
        if len(told) < len(keys):
            token = base64.b64encode(told[-1].encode()).decode()
            more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"
        return _xml("ListBucketResult", f"<Name>{BUCKET}</Name><KeyCount>{len(told)}</KeyCount>{more}{some}")

    def _upload(
        self, key: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        if self.command == "POST" and "uploads" in query:
            name = uuid.uuid4().hex
            self.store.uploads[name] = {}
            bucket = f"<Bucket>{BUCKET}</Bucket><Key>{escape(key)}</Key>"
            return 200, {}, _xml("InitiateMultipartUploadResult", f"{bucket}<UploadId>{name}</UploadId>")
        parts = self.store.uploads.get(query.get("uploadId", ""))
        if parts is None:
            raise S3Error(404, "NoSuchUpload")
        match self.command:
            case "PUT":
                parts[int(query["partNumber"])] = body
                return 200, {"ETag": f'"{_md5(body).hex()}"'}, b""
            case "DELETE":
                del self.store.uploads[query["uploadId"]]
                return 204, {}, b""
            case "POST":
                self._check_kept(key, headers)
                content, tag = _joined(parts, _parsed(body))
                del self.store.uploads[query["uploadId"]]
                self.store.put(key, content, tag)
                return 200, {}, _xml("CompleteMultipartUploadResult", f"<ETag>{escape(tag)}</ETag>")
        raise S3Error(405, "MethodNotAllowed")

    def _check_kept(self, key: str, headers: Mapping[str, str]) -> None:
        if key in self.store.objects and headers.get("if-none-match") == "*":
            raise S3Error(412, "PreconditionFailed", Condition="If-None-Match")

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


def _joined(parts: Mapping[int, bytes], wanted: ElementTree.Element) -> tuple[bytes, str]:
    named = [
        (int(one.findtext("{*}PartNumber", "")), one.findtext("{*}ETag", "").strip('"'))
        for one in wanted.iterfind("{*}Part")
    ]
    if not named or any(number not in parts or _md5(parts[number]).hex() != tag for number, tag in named):
        raise S3Error(400, "InvalidPart")
    if named != sorted(named):
        raise S3Error(400, "InvalidPartOrder")
    bodies = [parts[number] for number, _ in named]
    if any(len(body) < SMALLEST_PART for body in bodies[:-1]):
        raise S3Error(400, "EntityTooSmall")
    return b"".join(bodies), f'"{_md5(b"".join(_md5(body) for body in bodies)).hex()}-{len(bodies)}"'


def _xml(name: str, inside: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{name}>{inside}</{name}>'.encode()


def _parsed(body: bytes) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(body)  # noqa: S314 - whoever wrote it has the key
    except ElementTree.ParseError as error:
        raise S3Error(400, "MalformedXML") from error


def _md5(content: bytes) -> bytes:
    return hashlib.md5(content, usedforsecurity=False).digest()


def _iso(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Serves until the block ends; meanwhile this process's environment has what lets it in, and no more of AWS's."""
    store = S3Server()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"store": store}))
    store.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    others = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    let_in = {
        "AWS_ENDPOINT_URL": store.address,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "NO_PROXY": "127.0.0.1",
    }
    try:
        with patch.dict(os.environ, others | let_in, clear=True):
            yield store
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
