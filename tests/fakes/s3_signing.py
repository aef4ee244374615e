"""Tells a rightly signed request to S3 from others.

The rules are those of AWS's "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)".
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, unquote, urlsplit

REGION = "eu-north-1"
KEY_ID = "AKIDLOOPBACK"
SECRET = "loopback/secret+of/nobody"  # noqa: S105 - of nothing but a test's server
SKEW = 900.0  # seconds by which a request's clock may be wrong


class S3Error(Exception):
    def __init__(self, status: int, code: str, **more: str) -> None:
        super().__init__(code)
        self.status, self.code, self.more = status, code, more


def signature(
    secret: str, method: str, target: str, headers: Mapping[str, str], *, scope: str, when: str, payload: str
) -> tuple[str, str]:
    """The right signature of a request with just these signed headers, and the text that it signs."""
    parts = urlsplit(target)
    path = quote(unquote(parts.path), safe="/-_.~")
    pairs = sorted((_quoted(name), _quoted(value)) for name, value in parse_qsl(parts.query, keep_blank_values=True))
    query = "&".join(f"{name}={value}" for name, value in pairs)
    names = sorted(headers)
    lines = [f"{name}:{' '.join(headers[name].split())}" for name in names]
    canonical = "\n".join([method, path, query, *lines, "", ";".join(names), payload])
    text = "\n".join(["AWS4-HMAC-SHA256", when, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for word in [*scope.split("/"), text]:
        key = hmac.digest(key, word.encode(), "sha256")
    return key.hex(), text


def check_signed(method: str, target: str, headers: Mapping[str, str], body: bytes) -> None:
    """`headers` have lower-case names. Raises S3Error for whoever has not the key."""
    found = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=([^/]+)/([^, ]+), ?SignedHeaders=([^, ]+), ?Signature=([0-9a-f]{64})",
        headers.get("authorization", ""),
    )
    when, payload = headers.get("x-amz-date", ""), headers.get("x-amz-content-sha256", "")
    if found is None:
        raise S3Error(403, "AccessDenied")
    who, scope, names = found[1], found[2], found[3].split(";")
    must = {"host", *(name for name in headers if name.startswith("x-amz-"))}
    if not (must <= set(names) <= set(headers)):
        raise S3Error(403, "AccessDenied", HeadersNotSigned=", ".join(must - set(names)))
    if who != KEY_ID:
        raise S3Error(403, "InvalidAccessKeyId", AWSAccessKeyId=who)
    if scope != f"{when[:8]}/{REGION}/s3/aws4_request":
        raise S3Error(400, "AuthorizationHeaderMalformed", Region=REGION)
    signed = {name: headers[name] for name in names}
    right, text = signature(SECRET, method, target, signed, scope=scope, when=when, payload=payload)
    if not hmac.compare_digest(right, found[4]):
        raise S3Error(403, "SignatureDoesNotMatch", AWSAccessKeyId=who, StringToSign=text, SignatureProvided=found[4])
    said = datetime.strptime(when, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if abs(said.timestamp() - time.time()) > SKEW:
        raise S3Error(403, "RequestTimeTooSkewed")
    if payload != "UNSIGNED-PAYLOAD" and payload != hashlib.sha256(body).hexdigest():
        raise S3Error(400, "XAmzContentSHA256Mismatch")


def _quoted(word: str) -> str:
    return quote(word, safe="-_.~")
