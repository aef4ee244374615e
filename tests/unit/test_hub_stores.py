"""Where codings lie beside packs, and that they are never taken for packs."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloud_hub.stores import open_stores
from modelsyncd.codec.registry import Codec
from modelsyncd.digest import digest_of
from modelsyncd.errors import DiskError
from modelsyncd.store.marked import MARK
from modelsyncd.store.packs import Record

CODING = Record(digest_of(b"key"), Codec.DELTA, b"coded" * 100, 9_000)


def _keep_one(folder: Path, blobs: str = "") -> None:
    stores = open_stores(folder, "", blobs, 1.0)
    stores.codings.keep([CODING])
    stores.stock.keep([Record(digest_of(b"plain"), Codec.STORED, b"plain", 5)])
    stores.close()


def _packs(folder: Path) -> int:
    return len(list(folder.rglob("*.pack")))


def test_codings_have_a_folder_of_their_own(tmp_path: Path) -> None:
    _keep_one(tmp_path)
    assert (_packs(tmp_path / "packs"), _packs(tmp_path / "codings")) == (1, 1)
    assert list((tmp_path / "codings-spool").iterdir()) == []


def test_with_a_place_for_packs_codings_lie_below_it_and_are_not_counted_as_packs(tmp_path: Path) -> None:
    place, data = tmp_path / "srv", tmp_path / "hub"
    _keep_one(data, place.as_uri())
    assert _packs(place / "codings") == 1
    assert not (data / "codings").exists()
    stores = open_stores(data, "", place.as_uri(), 2.0)
    assert len(list(stores.packs.list())) == 1
    assert set(stores.codings.find([CODING.digest])) == {CODING.digest}
    stores.close()


def test_codings_that_are_left_are_no_sign_that_the_packs_are_there(tmp_path: Path) -> None:
    place, data = tmp_path / "srv", tmp_path / "hub"
    _keep_one(data, place.as_uri())
    (place / MARK).unlink()
    for pack in place.glob("??/*.pack"):
        pack.unlink()
    assert _packs(place) == 1
    with pytest.raises(DiskError, match="there is nothing"):
        open_stores(data, "", place.as_uri(), 2.0)


def test_codings_that_are_lost_with_their_folder_do_not_keep_a_hub_from_starting(tmp_path: Path) -> None:
    _keep_one(tmp_path)
    for pack in (tmp_path / "codings").rglob("*.pack"):
        pack.unlink()
    for folder in sorted((tmp_path / "codings").rglob("*"), reverse=True):
        folder.rmdir()
    (tmp_path / "codings").rmdir()
    (tmp_path / "codings-spool").rmdir()
    stores = open_stores(tmp_path, "", "", 2.0)
    assert stores.codings.find([CODING.digest]) == {}
    stores.codings.keep([CODING])
    stores.close()
    assert _packs(tmp_path / "codings") == 1
