"""Why a channel stands on a node where it does, over many cases that a fleet meets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from modelsyncd.ctl.fleet import Place
from modelsyncd.ctl.reasons import Block, Case, blocks, outlook
from modelsyncd.ctl.transfers import Transfer
from modelsyncd.ctl.verbs import why
from modelsyncd.names import parse_model
from modelsyncd.release import ManifestRef, Release, Variant
from modelsyncd.wire.nouns import encode_release
from modelsyncd.wire.v1 import catalog_pb2, nouns_pb2, sync_pb2
from modelsyncd.wire.v1 import limits_pb2 as pb
from tests.fakes.releases import manifest_of

NOW = 1_795_400_000.0  # Mon 2026-11-23 02:13:20 UTC
HOUR = 3_600.0
MIB = 1 << 20


def release(selector: Mapping[str, str] = {}) -> catalog_pb2.ReleaseView:
    ref = ManifestRef(manifest_of("a"), 100, 1_000, 1, bytes(32))
    inner = Release(parse_model("acme/helmet"), 5, (Variant("default", ref, dict(selector)),))
    return catalog_pb2.ReleaseView(
        model="acme/helmet", number=5, signed=nouns_pb2.SignedRelease(release=encode_release(inner))
    )


def standing(**said: Any) -> sync_pb2.Standing:
    values: dict[str, Any] = {
        "phase": sync_pb2.PHASE_WANTED,
        "desired": 5,
        "active": 4,
        "bytes_total": 100 * MIB,
    } | said
    return sync_pb2.Standing(model="acme/helmet", channel="stable", **values)


def node(
    *standings: sync_pb2.Standing, online: bool = True, enrolled: bool = True, **said: Any
) -> catalog_pb2.NodeView:
    values: dict[str, Any] = {"utc_offset": "+01:00", "month": "2026-11"} | said
    return catalog_pb2.NodeView(
        name="edge-1",
        labels={"site": "oslo"},
        online=online,
        last_seen=NOW - 3 * HOUR,
        enrolled_at=NOW - 900 * HOUR if enrolled else 0,
        report=sync_pb2.Report(standings=standings, **values),
    )


def case(said: sync_pb2.Standing | None = None, desired: int = 5, **more: object) -> Case:
    view = more.pop("node", None) or node(*([said] if said is not None else []))
    assert isinstance(view, catalog_pb2.NodeView)
    place = Place(view, "acme/helmet", "stable", desired, said)
    return replace(Case(Transfer(place, NOW), release=release()), **more)  # type: ignore[arg-type]


def limits(lane: sync_pb2.Manners | None = None, **overall: Any) -> pb.NodeLimits:
    channels = [pb.ChannelLimits(model="acme/helmet", channel="stable", manners=lane)] if lane is not None else []
    return pb.NodeLimits(node="edge-1", manners=sync_pb2.Manners(**overall), channels=channels)


def kinds(found: list[Block]) -> list[str]:
    return [block.kind for block in found]


def only(one: Case) -> Block:
    (block,) = blocks(one)
    return block


FORECAST = sync_pb2.Forecast(bytes_had=60 * MIB, coded_bytes=30 * MIB, coded_wire=8 * MIB, plain_bytes=10 * MIB)
FORECAST.plain_wire = 10 * MIB
FETCHING = standing(
    phase=sync_pb2.PHASE_FETCHING, bytes_done=70 * MIB, bytes_wire=6 * MIB, rate=float(MIB), forecast=FORECAST
)


# --- what must be there ---


def test_what_is_active_has_nothing_in_its_way() -> None:
    done = case(standing(phase=sync_pb2.PHASE_ACTIVE, active=5))
    assert blocks(done) == []
    assert "Nothing" in outlook(done, [])


def test_what_is_active_is_not_held_up_by_a_pause_or_by_being_away() -> None:
    said = standing(phase=sync_pb2.PHASE_ACTIVE, active=5)
    paused = pb.LimitView(whom=pb.Whom(node="edge-1"), paused=True)
    assert blocks(case(said, node=node(said, online=False), set_for=[paused])) == []


@pytest.mark.parametrize(
    ("one", "kind", "do"),
    [
        (case(assigned=False), "unassigned", "modelsyncctl assign acme/helmet@stable --node edge-1"),
        (case(node=node(enrolled=False)), "not-enrolled", "modelsyncctl node invite edge-1"),
        (case(desired=0, release=None), "no-release", "modelsyncctl promote acme/helmet:NUMBER stable"),
        (
            case(release=release({"gpu": "orin"})),
            "no-variant",
            "modelsyncctl push PATH acme/helmet@stable --variant NAME --add-to acme/helmet:5",
        ),
    ],
)
def test_what_is_missing_is_told_alone_with_what_to_type(one: Case, kind: str, do: str) -> None:
    block = only(one)
    assert (block.kind, block.do) == (kind, do)
    assert outlook(one, [block]) == "It waits until that is changed."


def test_a_node_that_is_away_says_since_when_and_goes_on_by_itself() -> None:
    said = standing(hold=sync_pb2.HOLD_OFFLINE)
    away = case(said, node=node(said, online=False))
    block = only(away)
    assert (block.kind, block.since) == ("offline", NOW - 3 * HOUR)
    assert "when the node is back" in outlook(away, [block])


def test_a_node_that_has_not_heard_of_the_release_is_told_apart_from_one_that_does_nothing() -> None:
    assert kinds(blocks(case(standing(desired=4)))) == ["unheard"]
    assert kinds(blocks(case(None))) == ["unheard"]
    idle = case(standing())
    assert blocks(idle) == []
    assert "Nothing is known" in outlook(idle, [])


# --- what people have said ---


def test_each_pause_is_told_with_who_said_it_and_what_takes_back_that_one() -> None:
    said = standing(hold=sync_pb2.HOLD_PAUSED)
    rows = [
        pb.LimitView(whom=pb.Whom(node="edge-1"), rate=5, who="admin/ann", at=NOW - HOUR),
        pb.LimitView(
            whom=pb.Whom(selector={"site": "oslo"}), paused=True, who="admin/ann", at=NOW - HOUR, note="storm"
        ),
        pb.LimitView(whom=pb.Whom(), model="acme/helmet", channel="stable", paused=True, who="admin/ben", at=NOW),
        pb.LimitView(whom=pb.Whom(), model="acme/helmet", channel="canary", paused=True, who="admin/ben", at=NOW),
    ]
    found = blocks(case(said, set_for=rows))
    assert kinds(found) == ["paused", "paused"]
    assert "admin/ann paused everything for every node with site=oslo: storm" in found[0].text
    assert (found[0].do, found[0].since) == ("modelsyncctl resume --selector site=oslo", NOW - HOUR)
    assert found[1].do == "modelsyncctl resume acme/helmet@stable --all"


@pytest.mark.parametrize(
    ("bounds", "do"),
    [
        (limits(windows=["22:00-02:00"]), "modelsyncctl limit --node edge-1 --window always"),
        (
            limits(sync_pb2.Manners(windows=["22:00-02:00"])),
            "modelsyncctl limit acme/helmet@stable --node edge-1 --window always",
        ),
    ],
)
def test_a_closed_window_says_when_it_opens_by_the_nodes_own_clock(bounds: pb.NodeLimits, do: str) -> None:
    shut = case(standing(hold=sync_pb2.HOLD_WINDOW, since=NOW - 60), bounds=bounds)
    block = only(shut)
    assert (block.kind, block.do, block.since) == ("window", do, NOW - 60)
    assert "22:00-02:00 only, and it is Mon 03:13 (+01:00)" in block.text
    assert block.until == NOW + 18 * HOUR + 46 * 60 + 40
    assert "It goes on by itself in 18 h" in outlook(shut, [block])


def test_a_window_that_is_open_is_not_in_the_way_and_two_that_never_meet_are_for_ever() -> None:
    assert blocks(case(standing(), bounds=limits(windows=["02:00-04:00"]))) == []
    never = case(standing(), bounds=limits(sync_pb2.Manners(windows=["mon 10:00-11:00"]), windows=["tue"]))
    block = only(never)
    assert (block.kind, block.until) == ("window", 0.0)
    assert "none of them opens" in outlook(never, [block])


def test_a_budget_says_what_is_left_what_it_takes_and_the_exact_words_to_override_it() -> None:
    said = standing(hold=sync_pb2.HOLD_BUDGET, hold_until=NOW + 24 * HOUR, since=NOW - HOUR, forecast=FORECAST)
    view = node(said, month_wire=95 * MIB)
    block = only(case(said, node=view, bounds=limits(month_bytes=100 * MIB)))
    assert block.text == "it takes 18.0 MiB more, and 5.0 MiB of 100.0 MiB are left of 2026-11"
    assert block.do == "modelsyncctl limit acme/helmet@stable --node edge-1 --anyway"
    assert (block.since, block.until) == (NOW - HOUR, NOW + 24 * HOUR)


def test_a_budget_of_another_month_is_whole_again_and_consent_takes_it_out_of_the_way() -> None:
    said = standing(forecast=FORECAST)
    old = node(said, month="2026-10", month_wire=95 * MIB)
    assert blocks(case(said, node=old, bounds=limits(month_bytes=100 * MIB))) == []
    spent = node(said, month_wire=95 * MIB)
    bounds = limits(sync_pb2.Manners(), month_bytes=100 * MIB)
    assert kinds(blocks(case(said, node=spent, bounds=bounds))) == ["budget"]
    bounds.channels[0].consent.number = 5
    assert blocks(case(said, node=spent, bounds=bounds)) == []


def test_what_does_not_fit_into_a_whole_month_has_no_end() -> None:
    said = standing(forecast=FORECAST)
    block = only(case(said, bounds=limits(month_bytes=MIB)))
    assert (block.kind, block.until) == ("budget", 0.0)


# --- what happens by itself ---


def test_the_model_that_goes_first_is_named() -> None:
    said = standing(hold=sync_pb2.HOLD_PRIORITY)
    other = sync_pb2.Standing(model="acme/urgent", channel="stable", phase=sync_pb2.PHASE_FETCHING)
    waits = case(said, node=node(said, other))
    block = only(waits)
    assert "acme/urgent@stable goes first" in block.text
    assert block.do == "modelsyncctl assign acme/helmet@stable --node edge-1 --priority N"
    assert "when that is done" in outlook(waits, [block])


def test_a_hub_that_works_out_what_it_takes_is_waited_for() -> None:
    waits = case(standing(hold=sync_pb2.HOLD_QUOTE))
    assert kinds(blocks(waits)) == ["quote"]
    assert "worked it out" in outlook(waits, blocks(waits))


def test_a_setback_says_what_happened_what_is_safe_what_to_do_and_when_it_is_tried_again() -> None:
    fault = nouns_pb2.Fault(code="disk-full", message="the disk is full", safe="4 stays active", hint="make room")
    said = standing(phase=sync_pb2.PHASE_FAILED, fault=fault, tries=3, next_try=NOW + 40, since=NOW - HOUR)
    failed = case(said)
    block = only(failed)
    assert block.text == "the disk is full (3 times in a row). Safe: 4 stays active"
    assert (block.do, block.until, block.since) == ("make room", NOW + 40, NOW - HOUR)
    assert "in 40 s" in outlook(failed, [block])


def test_what_was_refused_is_not_tried_again_by_itself() -> None:
    fault = nouns_pb2.Fault(code="bad-input", message="the hub offers acme/other for acme/helmet@stable")
    said = standing(phase=sync_pb2.PHASE_REFUSED, desired=0, fault=fault)
    refused = case(said)
    assert kinds(blocks(refused)) == ["error"]
    assert "somebody has put right" in outlook(refused, blocks(refused))


def test_a_disk_that_is_too_small_is_told_before_it_is_full_and_so_is_a_quota() -> None:
    forecast = sync_pb2.Forecast(disk_bytes=50 * MIB)
    said = standing(forecast=forecast)
    small = node(said, disk_free=40 * MIB)
    assert kinds(blocks(case(said, node=small))) == ["disk"]
    narrow = node(said, disk_free=400 * MIB, disk_used=60 * MIB, quota_bytes=100 * MIB)
    assert kinds(blocks(case(said, node=narrow))) == ["quota"]


def test_everything_that_is_in_the_way_is_told_in_the_order_to_take_it_away() -> None:
    fault = nouns_pb2.Fault(code="road", message="no answer")
    said = standing(phase=sync_pb2.PHASE_FAILED, fault=fault, forecast=FORECAST, next_try=NOW + 5)
    view = node(said, online=False, month_wire=95 * MIB)
    paused = pb.LimitView(whom=pb.Whom(node="edge-1"), paused=True, who="admin/ann", at=NOW)
    found = blocks(
        case(said, node=view, set_for=[paused], bounds=limits(windows=["tue"], month_bytes=100 * MIB, paused=True))
    )
    assert kinds(found) == ["offline", "paused", "window", "budget", "error"]


# --- the page ---


def test_a_page_says_what_is_wanted_what_stands_what_is_expected_and_what_is_next() -> None:
    move = catalog_pb2.Move(channel="stable", to_number=5, who="admin/ann", at=NOW - HOUR, why="promote: tried")
    page = why.Page(case(FETCHING, bounds=limits(rate=250_000)), move)
    text = why.text(page)
    assert text.startswith("acme/helmet@stable on edge-1\n")
    assert "5 (promote: tried by admin/ann" in text
    assert "fetching, 70.0 % of 100.0 MiB here, 8.39 Mbit/s" in text
    assert "18.0 MiB on the wire: 60.0 MiB were there, 30.0 MiB coded as 8.0 MiB" in text
    assert "limits    2 Mbit/s" in text
    assert text.rstrip().endswith("It is here in about 12 s, and is activated then.")
    document = why.describe(page)
    assert (document["blocked"], document["eta_seconds"], document["hold"]) == ([], 12.0, None)


def test_a_page_of_what_is_blocked_has_each_block_with_what_to_type() -> None:
    said = standing(hold=sync_pb2.HOLD_PAUSED, since=NOW - 60)
    paused = pb.LimitView(whom=pb.Whom(node="edge-1"), paused=True, who="admin/ann", at=NOW - 60, note="\x1b[31mred")
    page = why.Page(case(said, set_for=[paused]), None)
    text = why.text(page)
    assert r"in the way  admin/ann paused everything for node edge-1: \x1b[31mred" in text
    assert "to type     modelsyncctl resume --node edge-1" in text
    document: dict[str, Any] = why.describe(page)
    assert [block["do"] for block in document["blocked"]] == ["modelsyncctl resume --node edge-1"]
