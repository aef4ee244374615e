"""Which codings are kept, on every database."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_hub.catalog import Catalog
from cloud_hub.catalog.codings import Kept
from modelsyncd.codec.registry import Codec
from modelsyncd.digest import Digest, digest_of
from modelsyncd.store.packs import Place
from tests.contract.databases import URLS, opened


@pytest.fixture(params=URLS)
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    with opened(request.param, tmp_path) as found:
        yield found


def key(number: int) -> Digest:
    return digest_of(number.to_bytes(8, "big"))


def place(number: int, pack: str = "aa") -> Place:
    return Place(key(number), Codec.ZSTD, 1_000, number, pack, 1_000 * number, 900)


@pytest.mark.parametrize("checksum", [0, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_a_place_comes_back_as_it_was_whatever_its_checksum(catalog: Catalog, checksum: int) -> None:
    noted = dataclasses.replace(place(1), checksum=checksum, offset=1 << 40)
    catalog.codings.add([noted], 1.0)
    assert catalog.codings.places([noted.digest, key(2)]) == {noted.digest: noted}


def test_codings_and_chunks_do_not_meet(catalog: Catalog) -> None:
    catalog.codings.add([place(1)], 1.0)
    assert catalog.chunks.missing([key(1)]) == [key(1)]
    catalog.chunks.add([place(2)])
    assert catalog.codings.places([key(2)]) == {}


def test_a_coding_that_is_kept_already_keeps_the_place_it_has(catalog: Catalog) -> None:
    catalog.codings.add([place(1, "first")], 1.0)
    catalog.codings.add([place(1, "second"), place(2, "second")], 2.0)
    found = catalog.codings.places([key(1), key(2)])
    assert [found[key(number)].pack for number in (1, 2)] == ["first", "second"]


def test_what_is_kept_adds_up(catalog: Catalog) -> None:
    assert catalog.codings.kept() == Kept(0, 0, 0)
    catalog.codings.add([place(number, f"pack {number % 3}") for number in range(1_500)], 1.0)
    ends = [1_000 * number + 900 for number in (1_497, 1_498, 1_499)]
    assert catalog.codings.kept() == Kept(3, 1_500, sum(ends))


def test_packs_come_in_the_order_of_their_last_use(catalog: Catalog) -> None:
    for at, pack in enumerate(("a", "b", "c", "d")):
        catalog.codings.add([place(at, pack)], float(at))
    catalog.codings.used({"a", "c", "not there"}, 9.0)
    assert list(catalog.codings.packs()) == ["b", "d", "a", "c"]


def test_a_pack_that_is_dropped_takes_its_codings_along_and_no_others(catalog: Catalog) -> None:
    catalog.codings.add([place(1, "a"), place(2, "a"), place(3, "b")], 1.0)
    catalog.codings.drop(["a", "not there"])
    assert set(catalog.codings.places([key(1), key(2), key(3)])) == {key(3)}
    assert list(catalog.codings.packs()) == ["b"]
    catalog.codings.drop([])


def test_only_the_coding_that_rests_there_is_forgotten(catalog: Catalog) -> None:
    catalog.codings.add([place(1, "a"), place(2, "a")], 1.0)
    catalog.codings.forget([place(1, "a"), dataclasses.replace(place(2, "a"), offset=5), place(2, "not there")])
    assert set(catalog.codings.places([key(1), key(2)])) == {key(2)}
