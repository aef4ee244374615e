"""Stored formats never change by accident, and hostile bytes cost nothing before they are refused."""

from __future__ import annotations

import dataclasses
import tracemalloc

import pytest

from modelsyncd.digest import digest_of
from modelsyncd.errors import BadInputError, HostilePathError, LimitError, NewerFormatError
from modelsyncd.limits import LIMITS, Limits
from modelsyncd.manifest import Chunking, File, Manifest, Tensor
from modelsyncd.names import ModelName
from modelsyncd.release import ManifestRef, Parent, Release, Signature, SignedRelease, Variant
from modelsyncd.session.frames import Assignment, Desired, Fault, Offer, Phase, Report, Standing
from modelsyncd.wire import nouns
from modelsyncd.wire.desired import offer_from_pb, offer_to_pb
from modelsyncd.wire.v1 import nouns_pb2

WEIGHTS = b"the weights of a very small model"
DIGEST = digest_of(WEIGHTS)
TENSOR = Tensor("layer.0", "bf16", (2, 4), 8, 16)
FILE = File("model.safetensors", 33, bytes(range(32)), False, (33,), DIGEST, (TENSOR,), "safetensors")
MANIFEST = Manifest((FILE,), Chunking(algorithm="fastcdc-2020"))
MANIFEST_HEX = (
    "08011282010a116d6f64656c2e7361666574656e736f727310211a20000102030405060708090a0b0c0d0e0f101112131415"
    "161718191a1b1c1d1e1f2a01213220e06a74f38df52b1888882406b3a7241a5b915121848b0867719fe7b50c4266b03a170a"
    "076c617965722e301204626631361a02020420082810420b7361666574656e736f72731a1e08808010120c66617374636463"
    "2d32303230188080042080801028808040"
)
REF = ManifestRef(digest_of(b"a manifest"), 100, 33, 1, bytes(32))
RELEASE = Release(
    model=ModelName("acme", "helmet"),
    number=7,
    variants=(Variant("int8", REF, {"gpu": "no", "arch": "arm64"}),),
    parents=(Parent(ModelName("acme", "base"), 3, digest_of(b"a release"), "fine-tuned-from"),),
    labels={"b": "2", "a": "1"},
    metrics={"mAP": 0.5},
    producer="admin/anna",
    created_at=1_700_000_000,
    note="first",
)
RELEASE_HEX = (
    "0801120b61636d652f68656c6d65741807226c0a04696e7438120d0a0461726368120561726d363412090a0367707512026e"
    "6f1a4a0a20c161acb4065fb456ded857fcc01f61847e2aa4e55872dbe090bc93d1b438bb3d1064182120012a200000000000"
    "00000000000000000000000000000000000000000000000000000032400a0961636d652f6261736510031a205e180271b9db"
    "bf24d0989862efc6901def7f5b3968625ead292f5526acf48515220f66696e652d74756e65642d66726f6d3a060a01611201"
    "313a060a0162120132420e0a036d415011000000000000e03f4a0a61646d696e2f616e6e615080e2cfaa065a056669727374"
)
FAULT = Fault("disk-full", "there is no room left", "the old version stays", "free 3 MB", True)


def test_the_stored_form_of_a_manifest_is_the_one_of_format_1() -> None:
    assert nouns.encode_manifest(MANIFEST).hex() == MANIFEST_HEX
    assert nouns.decode_manifest(bytes.fromhex(MANIFEST_HEX)) == MANIFEST


def test_the_stored_form_of_a_release_is_the_one_of_format_1() -> None:
    assert nouns.encode_release(RELEASE).hex() == RELEASE_HEX
    assert nouns.decode_release(bytes.fromhex(RELEASE_HEX)) == RELEASE


def test_a_manifest_of_a_newer_format_is_refused_by_that_name() -> None:
    with pytest.raises(NewerFormatError, match="format 2"):
        nouns.decode_manifest(nouns_pb2.Manifest(format=2).SerializeToString())


def test_a_release_of_a_newer_format_is_refused_by_that_name() -> None:
    with pytest.raises(NewerFormatError, match="format 2"):
        nouns.decode_release(nouns_pb2.Release(format=2).SerializeToString())


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xff" * 20, b"not a protobuf message", b"\x08\x01", b"\x0b\x0c"])
def test_bytes_that_are_no_manifest_or_release_are_bad_input(data: bytes) -> None:
    with pytest.raises(BadInputError):
        nouns.decode_manifest(data)
    with pytest.raises(BadInputError):
        nouns.decode_release(data)


def test_a_field_of_the_future_does_not_keep_a_manifest_from_being_read() -> None:
    later = nouns.encode_manifest(MANIFEST) + b"\xc2\x3e\x03new"  # field 1000, bytes
    assert nouns.decode_manifest(later) == MANIFEST


def test_a_manifest_with_a_hostile_path_is_refused() -> None:
    hostile = Manifest((dataclasses.replace(FILE, path="../../etc/passwd"),))
    with pytest.raises(HostilePathError):
        nouns.decode_manifest(nouns.encode_manifest(hostile))


def test_a_manifest_whose_chunks_do_not_add_up_is_refused() -> None:
    with pytest.raises(BadInputError, match="chunks"):
        nouns.decode_manifest(nouns.encode_manifest(Manifest((dataclasses.replace(FILE, size=34),))))


def test_a_manifest_larger_than_the_limit_is_refused() -> None:
    with pytest.raises(LimitError, match="10 bytes"):
        nouns.decode_manifest(nouns.encode_manifest(MANIFEST), Limits(manifest_bytes=10))


def test_more_chunks_than_the_limit_are_refused() -> None:
    file = dataclasses.replace(FILE, chunk_sizes=(30, 3), chunk_digests=DIGEST * 2)
    with pytest.raises(LimitError, match="1 chunks"):
        nouns.decode_manifest(nouns.encode_manifest(Manifest((file,))), Limits(chunks=1))


def test_empty_entries_by_the_million_are_refused_before_they_are_built() -> None:
    files = nouns_pb2.Manifest(format=1).SerializeToString() + b"\x12\x00" * 1_100_000
    tensors = b"\x3a\x00" * 1_100_000
    one_file = b"\x12" + b"\xe0\xa2\x86\x01" + tensors
    tracemalloc.start()
    try:
        with pytest.raises(LimitError, match="files"):
            nouns.decode_manifest(files, Limits(files=1000))
        with pytest.raises(LimitError, match="tensors"):
            nouns.decode_manifest(one_file, Limits(tensors=1000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200_000


def test_fields_that_modelsyncd_never_writes_can_not_make_a_manifest_slow_to_read() -> None:
    endless = b"\x12" + b"\x80\x89\x7a" + b"\x10\x01" * 1_000_000
    with pytest.raises(BadInputError):
        nouns.decode_manifest(endless)


def test_a_release_larger_than_the_limit_is_refused() -> None:
    with pytest.raises(LimitError):
        nouns.decode_release(bytes(LIMITS.release_bytes + 1))


def test_a_signed_release_with_too_many_signatures_is_refused() -> None:
    signed = SignedRelease(b"release", (Signature("ed25519", b"", b""),) * (LIMITS.signatures + 1))
    with pytest.raises(LimitError, match="signatures"):
        nouns.decode_signed(nouns.encode_signed(signed))


def test_a_signed_release_keeps_the_release_byte_for_byte() -> None:
    odd = b"\x10\x07\x08\x01"  # fields out of order: no writer of ours makes these bytes
    assert nouns.decode_signed(nouns.encode_signed(SignedRelease(odd))).release == odd


def test_a_value_that_can_not_be_written_is_bad_input() -> None:
    with pytest.raises(BadInputError):
        nouns.encode_release(dataclasses.replace(RELEASE, labels={"folder": "caf\udce9"}))
    with pytest.raises(BadInputError):
        nouns.encode_release(dataclasses.replace(RELEASE, number=-1))


def test_a_desired_state_and_a_report_read_back_from_disk() -> None:
    offer = Offer(SignedRelease(b"release"), DIGEST, "stable")
    desired = Desired(9, (Assignment(ModelName("acme", "helmet"), "stable", offer, -3),), keep=4)
    standing = Standing(ModelName("acme", "helmet"), "stable", Phase.FAILED, desired=7, fault=FAULT, next_try=5.5)
    report = Report(9, (standing,), disk_free=10, disk_used=20)
    assert nouns.decode_desired(nouns.encode_desired(desired)) == desired
    assert nouns.decode_report(nouns.encode_report(report)) == report


def test_the_id_of_an_offer_travels_and_one_of_another_length_is_refused() -> None:
    offer = Offer(SignedRelease(b"release"), DIGEST, "stable", bytes(range(16)))
    assert offer_from_pb(offer_to_pb(offer)) == offer
    with pytest.raises(BadInputError):
        offer_from_pb(offer_to_pb(dataclasses.replace(offer, id=b"short")))


def test_too_many_assignments_are_refused() -> None:
    desired = Desired(1, (Assignment(ModelName("acme", "helmet"), "stable", None),) * 3)
    with pytest.raises(LimitError):
        nouns.decode_desired(nouns.encode_desired(desired), Limits(desired_assignments=2))


def test_a_fault_arrives_with_every_sentence() -> None:
    assert nouns.fault_from_pb(nouns.fault_to_pb(FAULT)) == FAULT


def test_a_fault_can_not_write_on_a_terminal() -> None:
    found = nouns.fault_from_pb(nouns_pb2.Fault(code="x", message="\x1b]0;owned\x07\nsecond line"))
    assert found.message == " ]0;owned  second line"


def test_a_fault_is_cut_to_a_length_and_never_fails_to_be_written() -> None:
    fault = nouns.fault_from_pb(nouns.fault_to_pb(Fault("x", "ä" * 10_000, safe="caf\udce9")))
    assert len(fault.message.encode()) <= 1024
    assert fault.message.endswith("ä…")
    assert fault.safe == "caf?"
