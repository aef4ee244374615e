"""Web servers lead elsewhere: the hub goes where its settings allow, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from cloud_hub import imports
from cloud_hub.imports import check_led
from modelsyncd.errors import BadInputError, DamageError, RefusedError, RoadError
from modelsyncd.store.web import HOPS, WebOrigin
from tests.contract.test_hub_imports import bring, contents_asked, hub_with
from tests.fakes.ranged_server import ranged_server

CONTENT = Random(4).randbytes(500_000)
SIGNED = "/store/7f?signature=a%2Fb&expires=60"


async def test_a_server_may_lead_to_another_that_is_allowed_with_a_signed_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "PIECE", 100_000)
    with ranged_server({SIGNED: CONTENT}) as store, ranged_server({}) as front:
        front.leads["/models/m.bin"] = f"{store.address}{SIGNED}"
        async with hub_with(tmp_path, f"{front.address}/models/", f"{store.address}/store") as hub:
            *_, last = await bring(hub, f"{front.address}/models/m.bin")
        assert (last.done.files, last.done.bytes) == (1, len(CONTENT))


async def test_where_it_leads_to_is_asked_for_anew_when_an_address_has_expired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "PIECE", 100_000)
    with ranged_server({SIGNED: CONTENT, f"{SIGNED}2": CONTENT}) as store, ranged_server({}) as front:
        store.expires_after, store.cut_after = 2, 250_000
        front.leads["/m.bin"] = f"{store.address}{SIGNED}"
        async with hub_with(tmp_path, front.address, store.address) as hub:
            with pytest.raises(RoadError):
                await bring(hub, f"{front.address}/m.bin")
            store.cut_after = 1 << 60
            with pytest.raises(RefusedError, match=r"the server refuses m\.bin: 403"):
                await bring(hub, f"{front.address}/m.bin")
            front.leads["/m.bin"] += "2"
            store.expires_after = 1_000
            await bring(hub, f"{front.address}/m.bin")
        assert contents_asked(store) == [0, 200_000]


async def test_what_is_not_allowed_is_not_opened_though_a_server_leads_there(tmp_path: Path) -> None:
    with ranged_server({"/latest/secret": b"credentials"}) as inside, ranged_server({}) as front:
        front.leads["/m.bin"] = f"{inside.address}/latest/secret?token=1"
        async with hub_with(tmp_path, f"{front.address}/") as hub:
            with pytest.raises(RefusedError, match=f"leads to {inside.address}/latest/secret, and this hub") as refused:
                await bring(hub, f"{front.address}/m.bin")
            assert refused.value.hint.endswith(f'Its setting is imports = ["{inside.address}/"]')
            assert hub.stores.catalog.models.list() == []
        assert inside.asked == []


def test_a_way_without_end_is_left_and_every_step_of_it_is_judged() -> None:
    with ranged_server({}) as server:
        server.leads.update({f"/{number}": f"/{number + 1}" for number in range(20)})
        seen: list[str] = []
        origin = WebOrigin(server.address, seen.append)
        with pytest.raises(RoadError, match="302"):
            origin.about("0")
        origin.close()
        assert seen == [f"{server.address}/{number}" for number in range(1, HOPS + 2)], "the last one is not opened"


@pytest.mark.parametrize(
    ("url", "allowed", "fits"),
    [
        ("https://cdn/a?signature=../x", ["https://cdn/"], True),
        ("https://cdn/a", ["https://host/"], False),
        ("http://cdn/a", ["https://cdn/"], False),
        ("https://host@evil/a", ["https://host@evil"], False),
        ("https://cdn/a/%2e%2e/b", ["https://cdn/a"], False),
        ("file:///etc/passwd", ["https://cdn/"], False),
    ],
)
def test_an_address_that_is_led_to_is_judged_by_its_beginning(url: str, allowed: list[str], fits: bool) -> None:
    if fits:
        check_led(url, allowed)
        return
    with pytest.raises(RefusedError):
        check_led(url, allowed)


def test_no_other_scheme_is_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    with ranged_server({}) as server:
        server.leads["/m"] = f"file://{tmp_path}/secret"
        origin = WebOrigin(server.address, lambda _: None)
        with pytest.raises(RoadError, match="not allowed"):
            origin.about("m")
        origin.close()


def test_an_empty_file_and_a_name_with_a_space_are_files_as_others_are() -> None:
    with ranged_server({"/a%20b": b"x" * 10, "/none": b""}) as server:
        origin = WebOrigin(server.address, lambda _: None)
        assert [origin.about(name).size for name in ("a b", "none")] == [10, 0]
        assert origin.read("a b", 4, 3) + origin.read("a b", 7, 3) + origin.read("a b", 0, 1) == b"x" * 7
        with pytest.raises(DamageError, match="ends before byte 11"):
            origin.read("a b", 8, 3)
        server.ranges = False
        with pytest.raises(BadInputError, match="answers no ranges"):
            origin.about("a b")
        origin.close()
