"""Where chunks rest, on every database."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_hub.catalog import Catalog
from modelsyncd.codec.registry import Codec
from modelsyncd.digest import Digest, digest_of
from modelsyncd.store.packs import Place
from tests.contract.databases import URLS, opened


@pytest.fixture(params=URLS)
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    with opened(request.param, tmp_path) as found:
        yield found


def digest(number: int) -> Digest:
    return digest_of(number.to_bytes(8, "big"))


def place(number: int, pack: str = "aa") -> Place:
    return Place(digest(number), Codec(1 + number % 2), 1_000 + number, number, pack, 80 + number, 900)


@pytest.mark.parametrize("checksum", [0, 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_a_place_comes_back_as_it_was_whatever_its_checksum(catalog: Catalog, checksum: int) -> None:
    noted = dataclasses.replace(place(1), checksum=checksum, offset=1 << 40)
    catalog.chunks.add([noted])
    assert catalog.chunks.places([noted.digest]) == {noted.digest: noted}


def test_what_is_here_and_what_is_missing_add_up(catalog: Catalog) -> None:
    catalog.chunks.add([place(number, f"pack {number % 3}") for number in range(0, 3_000, 2)])
    wanted = [digest(number) for number in range(3_000)]
    assert catalog.chunks.missing(wanted) == wanted[1::2]
    assert set(catalog.chunks.places(wanted)) == set(wanted[::2])
    assert catalog.chunks.count() == 1_500


def test_each_missing_chunk_is_named_once_in_the_order_given(catalog: Catalog) -> None:
    catalog.chunks.add([place(2)])
    assert catalog.chunks.missing([digest(3), digest(1), digest(2), digest(3)]) == [digest(3), digest(1)]
    assert catalog.chunks.missing([]) == []


def test_a_chunk_that_is_here_keeps_the_place_it_has(catalog: Catalog) -> None:
    catalog.chunks.add([place(1, "first")])
    catalog.chunks.add([place(1, "second"), place(2, "second"), place(2, "third")])
    found = catalog.chunks.places([digest(1), digest(2)])
    assert [found[digest(number)].pack for number in (1, 2)] == ["first", "second"]
    catalog.chunks.add([])


def test_a_forgotten_chunk_is_missing_and_may_rest_elsewhere_next(catalog: Catalog) -> None:
    catalog.chunks.add([place(1, "bad"), place(2, "bad")])
    catalog.chunks.forget([place(1, "bad")])
    assert catalog.chunks.missing([digest(1), digest(2)]) == [digest(1)]
    catalog.chunks.add([place(1, "good")])
    assert catalog.chunks.places([digest(1)])[digest(1)].pack == "good"


def test_a_chunk_that_rests_elsewhere_by_now_is_not_forgotten(catalog: Catalog) -> None:
    catalog.chunks.add([place(1, "good")])
    catalog.chunks.forget([place(1, "bad"), dataclasses.replace(place(1, "good"), offset=9)])
    assert catalog.chunks.missing([digest(1)]) == []


def test_all_chunks_are_paged_in_the_order_of_their_digests(catalog: Catalog) -> None:
    catalog.chunks.add([place(number) for number in range(25)])
    seen: list[Place] = []
    while page := catalog.chunks.page(seen[-1].digest if seen else None, 10):
        seen += page
    assert seen == sorted((place(number) for number in range(25)), key=lambda each: each.digest)
