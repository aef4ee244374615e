"""A bundle's tree, from the trees of its members."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelsyncd.bundles import compose
from modelsyncd.digest import digest_of
from modelsyncd.errors import HostilePathError, InvalidNameError, LimitError
from modelsyncd.limits import Limits
from modelsyncd.manifest import Chunking, File, Manifest, Tensor

TENSORS = (Tensor("w", "f32", (2, 2), 0, 16),)


def file(path: str, content: bytes = b"0123456789abcdef") -> File:
    return File(path, len(content), bytes(32), False, (len(content),), digest_of(content), TENSORS, "safetensors")


LITTLE = Manifest((file("config.json"), file("model.bin", b"little weights, 24 bytes")))
BIG = Manifest((file("deep/model.bin"), replace(file("run.sh"), executable=True)))


def test_members_files_lie_below_their_places_with_all_that_was_known_of_them() -> None:
    bundle = compose({"little": LITTLE, "big": BIG})
    assert [one.path for one in bundle.files] == [
        "big/deep/model.bin",
        "big/run.sh",
        "little/config.json",
        "little/model.bin",
    ]
    (_, part) = LITTLE.files
    assert bundle.files[3] == replace(part, path="little/model.bin")
    assert bundle.files[1].executable
    assert bundle.content_size == LITTLE.content_size + BIG.content_size


def test_places_whose_names_begin_alike_are_in_order_of_the_whole_path() -> None:
    bundle = compose({"a": LITTLE, "a-b": BIG, "a.b": LITTLE})
    paths = [one.path for one in bundle.files]
    assert paths == sorted(paths)


def test_the_law_of_cutting_is_the_members_where_they_agree_and_the_usual_one_otherwise() -> None:
    odd = replace(LITTLE, chunking=Chunking(step=64 << 10))
    assert compose({"a": odd, "b": odd}).chunking == odd.chunking
    assert compose({"a": odd, "b": BIG}).chunking == Chunking()


@pytest.mark.parametrize("place", ["", "..", "a/b", "Big", "con", "a" * 65])
def test_what_is_no_folder_on_every_system_is_no_place(place: str) -> None:
    with pytest.raises(InvalidNameError):
        compose({place: LITTLE})


def test_a_tree_that_becomes_too_deep_or_too_large_is_no_bundle() -> None:
    deep = Manifest((file("/".join("d" * 32)),))
    with pytest.raises(HostilePathError, match="deeper"):
        compose({"a": deep})
    with pytest.raises(LimitError):
        compose({"a": LITTLE, "b": BIG}, Limits(files=3))
