"""What only a store that speaks S3 does: it asks for signatures, refuses by codes, and takes what is big in parts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.fakes.s3_server import BUCKET, S3Server, s3_server
from tests.fakes.s3_signing import signature


@pytest.fixture
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


def test_a_request_is_signed_as_in_the_example_of_amazons_documentation() -> None:
    nothing, when = hashlib.sha256().hexdigest(), "20130524T000000Z"
    headers = {
        "host": "examplebucket.s3.amazonaws.com",
        "range": "bytes=0-9",
        "x-amz-content-sha256": nothing,
        "x-amz-date": when,
    }
    secret, scope = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "20130524/us-east-1/s3/aws4_request"
    found, _ = signature(secret, "GET", "/test.txt", headers, scope=scope, when=when, payload=nothing)
    assert found == "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic eDp5"}])
def test_a_store_does_nothing_for_whoever_signs_nothing(s3: S3Server, headers: dict[str, str]) -> None:
    s3.put("m.bin", b"kept")
    for method in ("GET", "PUT", "DELETE"):
        asked = Request(f"{s3.address}/{BUCKET}/m.bin", method=method, headers=headers)  # noqa: S310 - loopback
        with pytest.raises(HTTPError) as refused:
            urlopen(asked)  # noqa: S310 - the same
        with refused.value as answer:
            assert (answer.code, b"<Code>AccessDenied</Code>" in answer.read()) == (403, True)
    assert s3.objects["m.bin"].content == b"kept"
