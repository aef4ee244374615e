"""What a node's limits mean for a plan: time, month, window, quota."""

from __future__ import annotations

from typing import Any

import pytest

from modelsyncd.ctl.allowance import Allowance, document, lines, notes, time_words
from modelsyncd.ctl.verbs import plan as verb
from modelsyncd.wire.v1 import catalog_pb2 as pb
from modelsyncd.wire.v1 import sync_pb2

NOW = 1_795_400_000.0  # Mon 2026-11-23 02:13:20 UTC
MIB = 1 << 20


def allowance(overall: dict[str, Any] | None = None, own: dict[str, Any] | None = None, **more: Any) -> Allowance:
    usual: dict[str, Any] = {
        "bytes_wire": 10 * MIB,
        "disk_bytes": 20 * MIB,
        "effort": "smallest",
        "month": "2026-11",
        "month_wire": 35 * MIB,
        "utc_offset": "+00:00",
        "manners": [sync_pb2.Manners(**(overall or {})), sync_pb2.Manners(**(own or {}))],
    }
    return Allowance(pb.TransferPlan(**(usual | more)), NOW)


def shown(one: Allowance) -> dict[str, str]:
    return dict(lines(one))


def test_a_node_without_limits_has_no_lines_about_them() -> None:
    assert lines(allowance()) == []
    assert lines(Allowance(pb.TransferPlan(bytes_wire=5), NOW)) == []


@pytest.mark.parametrize(
    ("overall", "own", "more", "words"),
    [
        ({}, {}, {}, "unknown: say what the link carries with --rate"),
        ({}, {}, {"rate": 1e6, "seconds": 20.0}, "20 s at 8 Mbit/s, coded smallest"),
        ({"rate": MIB}, {}, {"rate": 1e9, "seconds": 0.1}, "10 s at 8.39 Mbit/s, its limit, coded smallest"),
        ({"rate": MIB}, {"rate": MIB // 2}, {}, "at least 20 s at 4.19 Mbit/s, its limit, coded smallest"),
        ({"rate": 100 * MIB}, {}, {"rate": 1e6, "seconds": 20.0}, "20 s at 8 Mbit/s, coded smallest"),
    ],
)
def test_time_is_that_of_the_link_or_of_the_lowest_rate_whichever_is_longer(
    overall: dict[str, Any], own: dict[str, Any], more: dict[str, Any], words: str
) -> None:
    assert time_words(allowance(overall, own, **more)) == words


def test_a_budget_says_whether_it_fits_and_what_to_type_if_not() -> None:
    fits = allowance({"month_bytes": 50 * MIB})
    assert (fits.left, fits.fits_month) == (15 * MIB, True)
    assert shown(fits)["month"] == "15.0 MiB of 50.0 MiB left of 2026-11: it fits"
    assert notes(fits, "acme/helmet@stable", "n1") == []
    tight = allowance({"month_bytes": 40 * MIB})
    assert shown(tight)["month"].endswith("it does not fit; the next begins in 7 days")
    (note,) = notes(tight, "acme/helmet@stable", "n1")
    assert "takes 5.0 MiB more" in note
    assert note.endswith("modelsyncctl limit acme/helmet@stable --node n1 --anyway")
    may = allowance({"month_bytes": 40 * MIB}, consented=True)
    assert (may.fits_month, notes(may, "", "")) == (True, [])
    assert allowance({"month_bytes": 40 * MIB}, month="2026-10").fits_month
    assert allowance({}, {"month_bytes": 5 * MIB}).fits_month is False


def test_a_closed_window_says_when_it_opens() -> None:
    shut = allowance({"windows": ["03:13-05:00"]})
    assert shut.opens_at == NOW + 59 * 60 + 40
    assert "(in 59 min)" in shown(shut)["window"]
    assert "window" not in shown(allowance({"windows": ["02:00-05:00"]}))
    assert "none opens" in shown(allowance({"windows": ["mon"]}, {"windows": ["tue"]}))["window"]
    assert "like this machine's" in shown(allowance({"windows": ["wed"]}, utc_offset=""))["window"]


def test_a_quota_says_whether_something_must_go() -> None:
    assert allowance().fits_quota is None
    assert shown(allowance(quota_bytes=30 * MIB, disk_used=10 * MIB))["quota"].endswith("taken: fits")
    assert shown(allowance(quota_bytes=29 * MIB, disk_used=10 * MIB))["quota"].endswith("older versions must go first")


def test_a_plan_for_a_node_shows_its_limits_and_one_for_nobody_does_not() -> None:
    tight = allowance({"month_bytes": 40 * MIB, "rate": 250_000}, model="acme/helmet", number=2).plan
    text = verb.text(pb.PlanRequest(ref="acme/helmet@stable", node="n1"), tight, NOW)
    assert "2 Mbit/s; 40.0 MiB a month" in text
    assert "modelsyncctl limit acme/helmet@stable --node n1 --anyway" in text
    described: dict[str, Any] = verb.describe(pb.PlanRequest(ref="acme/helmet@stable", node="n1"), tight, NOW)
    assert described["limits"]["month_left"] == 5 * MIB
    assert verb.describe(pb.PlanRequest(ref="acme/helmet"), tight, NOW)["limits"] is None
    assert document(allowance())["fits_month"] is None
