"""What only a store that speaks S3 does: it asks for signatures, refuses by codes, and takes what is big in parts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import from_url

from cloud_hub.stores import open_stores
from modelsyncd.codec.registry import Codec
from modelsyncd.digest import digest_of
from modelsyncd.errors import NotFoundError, RefusedError
from modelsyncd.store.blobs import open_blobs
from modelsyncd.store.packs import Record
from tests.fakes.s3_server import BUCKET, S3Server, s3_server
from tests.fakes.s3_signing import S3Error, signature


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


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(RefusedError) as caught:
        call()
    assert not caught.value.retryable
    assert "check the hub's credentials" in caught.value.hint
    assert "<" not in caught.value.message, "an answer's body says what was signed"
    return caught.value.message


@pytest.mark.parametrize(
    ("name", "code"), [("AWS_ACCESS_KEY_ID", "InvalidAccessKeyId"), ("AWS_SECRET_ACCESS_KEY", "SignatureDoesNotMatch")]
)
def test_wrong_credentials_are_refused_whatever_is_asked_for(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: str
) -> None:
    monkeypatch.setenv(name, "of-somebody-else")
    blobs, path = open_blobs("s3://models/packs"), tmp_path / "file"
    path.write_bytes(b"kept")
    calls: tuple[Callable[[], object], ...] = (
        lambda: list(blobs.list()),
        lambda: blobs.read("ab/one", 0, 1),
        lambda: blobs.adopt("ab/one", path),
        lambda: blobs.delete("ab/one"),
    )
    for call in calls:
        assert refused(call).endswith(f"403 Forbidden: {code}")
    refused(lambda: blobs.size("ab/one"))
    assert path.read_bytes() == b"kept"
    assert s3.objects == {}
    blobs.close()


@pytest.mark.parametrize("bulk", [True, False])
def test_what_these_credentials_may_not_delete_stays_and_is_said_to(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, *, bulk: bool
) -> None:
    monkeypatch.setenv("AWS_DISABLE_BULK_DELETE", str(not bulk).lower())
    s3.put("packs/ab/one", b"1")
    blobs = open_blobs("s3://models/packs")
    s3.denied = "packs/"
    assert "AccessDenied" in refused(lambda: blobs.delete("ab/one"))
    assert "packs/ab/one" in s3.objects
    s3.denied = "secret/"
    blobs.delete("ab/one")
    assert s3.objects == {}
    assert {one.method for one in s3.asked} == {"POST" if bulk else "DELETE"}
    blobs.close()


def test_a_bucket_that_is_not_there_is_no_empty_one_and_no_missing_blob(s3: S3Server, tmp_path: Path) -> None:
    blobs, path = open_blobs("s3://others/packs"), tmp_path / "file"
    path.write_bytes(b"kept")
    for call in (lambda: list(blobs.list()), lambda: blobs.read("ab/one", 0, 1), lambda: blobs.adopt("ab/one", path)):
        assert "NoSuchBucket" in refused(call)
    with pytest.raises(NotFoundError):  # a question for the size is answered without a word
        blobs.size("ab/one")
    assert path.read_bytes() == b"kept"
    blobs.close()


def test_an_upload_that_fails_in_the_middle_leaves_the_file_here_and_no_parts_there(
    s3: S3Server, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(12 << 20))

    def shut(method: str, key: str) -> None:
        if method == "PUT":
            raise S3Error(403, "AccessDenied")

    s3.meanwhile = shut
    blobs = open_blobs("s3://models/packs")
    assert "AccessDenied" in refused(lambda: blobs.adopt("ab/one", path))
    assert path.stat().st_size == 12 << 20
    assert (s3.objects, s3.uploads) == ({}, {})
    assert [one.status for one in s3.asked if "uploads" in one.query] == [200], "it was an upload in parts"
    blobs.close()


def test_a_store_keeps_to_conditions_as_amazons_does(s3: S3Server) -> None:
    store = from_url("s3://models/packs")
    obstore.put(store, "one", b"first", mode="create")
    with pytest.raises(AlreadyExistsError):
        obstore.put(store, "one", b"second", mode="create")
    for tag in ("*", s3.objects["packs/one"].tag):
        assert obstore.get(store, "one", options={"if_match": tag}).bytes() == b"first"
    with pytest.raises(PreconditionError):
        obstore.get(store, "one", options={"if_match": '"another"'})


def test_a_hub_that_keeps_its_packs_there_has_them_when_it_comes_back(s3: S3Server, tmp_path: Path) -> None:
    chunks = [bytes([number]) * 5_000 for number in range(6)]
    names = [digest_of(plain) for plain in chunks]
    for kept in ([], names):
        stores = open_stores(tmp_path, "", "s3://models/hub", 1_000.0)
        try:
            assert stores.stock.verify(kept) == (5_000 * len(kept), [])
            stores.stock.keep([Record(digest_of(plain), Codec.STORED, plain, len(plain)) for plain in chunks])
        finally:
            stores.close()
    assert not list(tmp_path.rglob("*.pack"))
    (pack,) = (key for key in s3.objects if key.endswith(".pack"))
    del s3.objects[pack]
    stores = open_stores(tmp_path, "", "s3://models/hub", 1_000.0)
    try:
        assert stores.stock.verify(names) == (0, names)
    finally:
        stores.close()
