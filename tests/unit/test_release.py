"""Releases: bounds on what a publisher may say, and lineage that reads back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelsyncd.digest import DIGEST_SIZE, Digest, digest_of
from modelsyncd.errors import BadInputError, InvalidNameError, LimitError
from modelsyncd.limits import LIMITS, Limits
from modelsyncd.manifest import MANIFEST_PIECE
from modelsyncd.names import ModelName
from modelsyncd.release import ManifestRef, Member, Release, Variant, check, check_labels, check_ref

MODEL = ModelName("acme", "helmet")
REF = ManifestRef(digest_of(b"m"), 100, 1000, 2, bytes(DIGEST_SIZE))
VARIANT = Variant("default", REF)
MEMBER = Member(MODEL, 1, digest_of(b"r"), "big")
SOUND = Release(MODEL, 1, (VARIANT,))
FORMS = tuple(Variant(f"v{number}", replace(REF, digest=digest_of(bytes([number])))) for number in range(64))


@pytest.mark.parametrize(
    "release",
    [
        SOUND,
        replace(SOUND, number=1 << 62),
        replace(SOUND, members=(MEMBER,)),
        replace(SOUND, members=tuple(replace(MEMBER, place=f"p{number}") for number in range(64))),
        replace(SOUND, labels={"k": ""}),
        replace(SOUND, labels={str(number): "v" * 256 for number in range(64)}),
        replace(SOUND, metrics={str(number): 0.5 for number in range(64)}),
        replace(SOUND, note="n" * 4096),
        replace(SOUND, variants=FORMS),
    ],
)
def test_a_sound_release_is_returned_as_it_is(release: Release) -> None:
    assert check(release) is release


@pytest.mark.parametrize(
    ("release", "error"),
    [
        (replace(SOUND, number=0), BadInputError),
        (replace(SOUND, number=-1), BadInputError),
        (replace(SOUND, variants=()), BadInputError),
        (replace(SOUND, variants=(), members=(MEMBER,)), BadInputError),
        (replace(SOUND, members=(MEMBER, MEMBER)), BadInputError),
        (replace(SOUND, members=(replace(MEMBER, number=0),)), BadInputError),
        (replace(SOUND, members=(replace(MEMBER, place="../up"),)), InvalidNameError),
        (replace(SOUND, members=(replace(MEMBER, place="Big"),)), InvalidNameError),
        (replace(SOUND, members=(replace(MEMBER, place=""),)), InvalidNameError),
        (replace(SOUND, members=(MEMBER,) * 65), LimitError),
        (replace(SOUND, variants=(VARIANT,) * 65), LimitError),
        (replace(SOUND, variants=(VARIANT, replace(FORMS[0], name="default"))), BadInputError),
        (replace(SOUND, variants=(VARIANT, replace(VARIANT, name="copy"))), BadInputError),
        (replace(SOUND, variants=(replace(VARIANT, name="v" * 257),)), LimitError),
        (replace(SOUND, variants=(replace(VARIANT, name="a\0b"),)), BadInputError),
        (replace(SOUND, variants=(replace(VARIANT, selector={"k": "v" * 257}),)), LimitError),
        (replace(SOUND, labels={"": "v"}), BadInputError),
        (replace(SOUND, labels={"k" * 257: "v"}), LimitError),
        (replace(SOUND, labels={"k": "v" * 257}), LimitError),
        (replace(SOUND, labels={str(number): "v" for number in range(65)}), LimitError),
        (replace(SOUND, metrics={str(number): 0.5 for number in range(65)}), LimitError),
        (replace(SOUND, metrics={"k" * 257: 0.5}), LimitError),
        (replace(SOUND, note="n" * 4097), LimitError),
        (replace(SOUND, variants=(Variant("default", replace(REF, size=0)),)), LimitError),
    ],
)
def test_a_release_beyond_its_bounds_is_refused(release: Release, error: type[Exception]) -> None:
    with pytest.raises(error):
        check(release)


@pytest.mark.parametrize(
    "ref",
    [
        replace(REF, size=0),
        replace(REF, size=-1),
        replace(REF, size=LIMITS.manifest_bytes + 1),
        replace(REF, content_size=LIMITS.content_bytes + 1),
        replace(REF, chunk_digests=b""),
        replace(REF, chunk_digests=bytes(DIGEST_SIZE - 1)),
        replace(REF, chunk_digests=bytes(2 * DIGEST_SIZE)),
        replace(REF, size=MANIFEST_PIECE + 1),
    ],
)
def test_a_reference_whose_sizes_do_not_agree_is_refused(ref: ManifestRef) -> None:
    check_ref(REF)
    with pytest.raises(BadInputError):
        check_ref(ref)


def test_a_manifest_of_two_pieces_has_two_digests() -> None:
    check_ref(replace(REF, size=MANIFEST_PIECE + 1, chunk_digests=bytes(2 * DIGEST_SIZE)))


def test_labels_are_bounded_wherever_they_come_from() -> None:
    check_labels({"a": "b"}, Limits(labels=1, label_chars=1))
    with pytest.raises(LimitError):
        check_labels({"a": "b", "c": "d"}, Limits(labels=1))


def test_a_variant_is_found_by_its_manifest() -> None:
    assert SOUND.variant(REF.digest) is VARIANT
    with pytest.raises(BadInputError, match="acme/helmet:1"):
        SOUND.variant(Digest(bytes(32)))
