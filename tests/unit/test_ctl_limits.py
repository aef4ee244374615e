"""How limits are typed and read, and how transfers read, without a hub."""

from __future__ import annotations

from typing import Any

import pytest

from modelsyncd.ctl import limits
from modelsyncd.ctl.bounds import held_rows, shape_of
from modelsyncd.ctl.fleet import Place
from modelsyncd.ctl.looking import Fleet
from modelsyncd.ctl.nodeclock import NodeClock
from modelsyncd.ctl.transfers import Transfer, document
from modelsyncd.ctl.verbs import limit, pin, transfers
from modelsyncd.ctl.verbs.limit import Wanted
from modelsyncd.ctl.whom import Named, typed, words
from modelsyncd.errors import BadInputError, InvalidNameError
from modelsyncd.manners import manners
from modelsyncd.wire.v1 import catalog_pb2, nouns_pb2, sync_pb2
from modelsyncd.wire.v1 import limits_pb2 as pb

NOW = 1_795_400_000.0  # Mon 2026-11-23 02:13:20 UTC
MIB = 1 << 20
N1 = pb.Whom(node="edge-1")


# --- what is typed ---


@pytest.mark.parametrize("named", [Named(), Named("n1", everyone=True), Named("n1", ("a=b",)), Named("", ())])
def test_whom_it_is_for_must_be_said_in_one_way(named: Named) -> None:
    with pytest.raises(BadInputError, match="say whom"):
        _ = named.whom


def test_whom_it_is_for_is_shown_as_words_and_as_it_is_typed() -> None:
    for named, shown, again in (
        (Named("n1"), "node n1", "--node n1"),
        (Named(selector=("b=2", "a=1")), "every node with a=1 b=2", "--selector a=1 --selector b=2"),
        (Named(everyone=True), "every node", "--all"),
    ):
        assert (words(named.whom), typed(named.whom)) == (shown, again)


def test_rates_and_sizes_are_read_as_elsewhere_and_none_is_a_value() -> None:
    wanted = Wanted("2Mbit", ("22:00-06:00", "SAT"), "5GB", "20 GiB", background=True)
    view = limit.limit_view("acme/helmet", N1, wanted, "slow")
    assert (view.rate, view.month_bytes, view.quota_bytes) == (250_000, 5 * 10**9, 20 << 30)
    assert (view.model, view.channel, view.note) == ("acme/helmet", "stable", "slow")
    assert list(view.windows.windows) == ["22:00-06:00", "sat"]
    assert not view.HasField("paused")
    free = limit.limit_view(None, N1, Wanted("none", ("always",), "none", "none", background=False), "")
    assert [free.HasField(name) for name in ("rate", "windows", "month_bytes", "quota_bytes", "background")] == [
        True
    ] * 5
    assert (free.rate, list(free.windows.windows), free.month_bytes, free.model) == (0, [], 0, "")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted(rate="fast"), "'fast' is no rate"),
        (Wanted(rate="0Mbit"), "is no rate"),
        (Wanted(budget="much"), "'much' is no size"),
        (Wanted(quota="0"), "let nothing through"),
        (Wanted(windows=("noon",)), "'noon' names a day"),
        (Wanted(windows=("always", "sat")), "no room for other windows"),
    ],
)
def test_what_can_not_be_read_is_told_with_how_to_write_it(wanted: Wanted, message: str) -> None:
    with pytest.raises(BadInputError, match=message) as refused:
        limit.limit_view(None, N1, wanted, "")
    assert refused.value.hint


def test_limits_and_pins_are_for_what_they_can_be_for() -> None:
    with pytest.raises(BadInputError, match="channels, not for numbers"):
        limits.lane_of("acme/helmet:3")
    with pytest.raises(InvalidNameError):
        limits.lane_of("helmet")
    with pytest.raises(BadInputError, match="one release on one node"):
        limit.consent_request("acme/helmet@stable", Named(everyone=True), "", withdraw=False)
    with pytest.raises(BadInputError, match="which release") as refused:
        pin.pin_view("acme/helmet@stable", N1, "", verb="pin")
    assert refused.value.hint == "modelsyncctl pin acme/helmet:NUMBER --node edge-1"


# --- what is shown ---


def test_what_was_set_is_shown_with_its_nones_and_what_holds_without() -> None:
    view = pb.LimitView(rate=0, windows=pb.Windows(), month_bytes=0, background=False, quota_bytes=0)
    assert limits.limit_words(view) == ("any rate; at any time; no budget; not in the background; no quota")
    assert limits.limit_words(pb.LimitView()) == "nothing"
    held = sync_pb2.Manners(rate=250_000, windows=["sat"], month_bytes=MIB, background=True, paused=True)
    assert limits.manners_words(held) == "2 Mbit/s; sat; 1.0 MiB a month; in the background; paused"
    assert limits.manners_words(sync_pb2.Manners()) == "no limit"


def _node(**said: Any) -> catalog_pb2.NodeView:
    usual: dict[str, Any] = {"month": "2026-11", "month_wire": 30 * MIB, "utc_offset": "+01:00", "disk_used": 7 * MIB}
    return catalog_pb2.NodeView(name="edge-1", report=sync_pb2.Report(**(usual | said)))


def test_what_is_left_of_a_month_counts_only_what_came_in_it() -> None:
    view = pb.NodeLimits(node="edge-1", manners=sync_pb2.Manners(month_bytes=50 * MIB), quota_bytes=9 * MIB)
    (held,) = held_rows(view, _node(), NOW)
    assert (held.spent, held.left) == (30 * MIB, 20 * MIB)
    assert held.row[3:7] == ["30.0 MiB", "20.0 MiB", "9.0 MiB", "7.0 MiB"]
    assert held_rows(view, _node(month="2026-10"), NOW)[0].left == 50 * MIB
    assert held_rows(view, _node(month_wire=60 * MIB), NOW)[0].left == 0
    (unheard,) = held_rows(view, catalog_pb2.NodeView(name="edge-1"), NOW)
    assert (unheard.spent, unheard.left, unheard.used) == (None, None, None)
    assert shape_of(held)["month_left"] == 20 * MIB


def test_a_node_whose_agent_is_too_old_for_limits_is_told_so() -> None:
    view = pb.NodeLimits(node="edge-1", manners=sync_pb2.Manners(rate=9))
    (held,) = held_rows(view, _node(utc_offset=""), NOW)
    assert held.row[2] == "72 bit/s; its agent knows no limits yet: upgrade it"
    assert shape_of(held)["heeded"] is False
    assert "upgrade" not in held_rows(view, _node(), NOW)[0].row[2]
    assert "upgrade" not in held_rows(view, catalog_pb2.NodeView(name="edge-1"), NOW)[0].row[2]
    assert "upgrade" not in held_rows(pb.NodeLimits(node="edge-1"), _node(utc_offset=""), NOW)[0].row[2]


def test_a_window_is_shown_with_when_it_opens_and_a_consent_with_who_gave_it() -> None:
    lane = pb.ChannelLimits(model="acme/helmet", channel="stable", manners=sync_pb2.Manners(windows=["22:00-02:00"]))
    lane.consent.model, lane.consent.number, lane.consent.who = "acme/helmet", 5, "admin/ann"
    view = pb.NodeLimits(node="edge-1", channels=[lane])
    overall, held = held_rows(view, _node(), NOW)
    assert (overall.is_limited, held.is_limited) == (False, True)
    assert "closed until" in held.row[2]
    assert "acme/helmet:5 anyway, by admin/ann" in held.row[2]
    assert shape_of(held)["open"] is False


def test_a_nodes_clock_is_its_own() -> None:
    clock = NodeClock("-03:30", NOW)
    assert (clock.known, clock.shown, clock.month) == (True, "Sun 22:43 (-03:30)", "2026-11")
    assert clock.opens([manners(openings=["sun 22:00-23:00"])]) == 0.0
    assert clock.opens([manners(openings=["23:00-24:00"])]) == NOW + 16 * 60 + 40
    assert NodeClock("+01:00", NOW).next_month == 1_796_079_600.0  # 2026-12-01 00:00 +01:00
    assert not NodeClock("", NOW).known
    assert NodeClock("nonsense", NOW).spent("2026-11", 5) in (0, 5)


def test_the_answer_to_resume_names_the_pauses_that_still_hold() -> None:
    other = pb.LimitView(whom=pb.Whom(selector={"site": "oslo"}), paused=True, who="admin/ann", at=NOW)
    answer = pb.SetLimitResponse(limit=pb.LimitView(whom=N1, nodes=["edge-1"]), changed=True)
    text = limit.set_text(answer, [other])
    assert "modelsyncctl resume --selector site=oslo" in text
    assert "admin/ann" in text


# --- transfers ---


def _transfer(online: bool = True, **said: Any) -> Transfer:
    usual: dict[str, Any] = {"phase": sync_pb2.PHASE_FETCHING, "desired": 5, "bytes_total": 100 * MIB}
    one = sync_pb2.Standing(model="acme/helmet", channel="stable", **(usual | said))
    node = catalog_pb2.NodeView(name="edge-1", online=online, last_seen=NOW - 60)
    return Transfer(Place(node, "acme/helmet", "stable", 5, one), NOW)


_FORECAST = sync_pb2.Forecast(bytes_had=60 * MIB, coded_bytes=40 * MIB, coded_wire=10 * MIB, spent_wire=2 * MIB)


def test_how_long_it_takes_follows_from_what_is_expected_and_what_comes_now() -> None:
    one = _transfer(bytes_wire=7 * MIB, rate=float(MIB), forecast=_FORECAST, bytes_coded=20 * MIB, bytes_had=60 * MIB)
    assert (one.expected, one.left, one.seconds) == (12 * MIB, 5 * MIB, 5.0)
    row = [cell if isinstance(cell, str) else cell.text for cell in one.row]
    assert row[3:] == [
        "fetching", "0.0 % of 100.0 MiB", "8.39 Mbit/s", "5.0 s", "7.0 MiB of 12.0 MiB", "-",
        "had 60.0 %, coded 20.0 %", "-", "-",
    ]  # fmt: skip
    assert document(one)["eta_seconds"] == 5.0


def test_nothing_is_promised_for_what_is_held_up_or_away_or_not_known() -> None:
    held = _transfer(rate=9.0, forecast=_FORECAST, hold=sync_pb2.HOLD_WINDOW, hold_until=NOW + 7_200)
    away = _transfer(online=False, rate=9.0, forecast=_FORECAST)
    assert [one.seconds for one in (held, away, _transfer(rate=9.0))] == [None, None, None]
    assert held.held_up.startswith("window until ")
    assert held.held_up.endswith("(in 2 h)")
    assert away.held_up == "offline, seen 1 min ago"
    back = _transfer(hold=sync_pb2.HOLD_OFFLINE)
    assert (back.hold, back.held_up) == (None, "-")


def test_the_last_error_says_how_often_and_when_again() -> None:
    fault = nouns_pb2.Fault(code="road", message="no answer")
    one = _transfer(phase=sync_pb2.PHASE_FAILED, fault=fault, tries=4, next_try=NOW + 12)
    assert one.row[-1] == "4 tries: no answer; next try in 12 s"


def test_what_is_over_is_shown_only_when_it_is_asked_for() -> None:
    over = _transfer(phase=sync_pb2.PHASE_ACTIVE, active=5).place
    fleet = Fleet(NOW, [over, _transfer().place], [])
    assert len(transfers.chosen(fleet, everything=False)) == 1
    assert len(transfers.chosen(fleet, everything=True)) == 2
    assert "Nothing travels" in transfers.text(Fleet(NOW, [over], []), everything=False)
    described: dict[str, Any] = transfers.describe(transfers.chosen(fleet, everything=True), fleet)
    assert [one["over"] for one in described["transfers"]] == [True, False]
