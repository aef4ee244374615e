"""What a look finds wrong, and what only could be better."""

from __future__ import annotations

import pytest

from modelsyncd import __version__
from modelsyncd.ctl.checks import Check, State, worst, wrong
from modelsyncd.ctl.checks_there import at_the_hub, clock, reach
from modelsyncd.ctl.verbs.doctor import text
from modelsyncd.errors import DiskFullError, RoadError
from modelsyncd.wire.v1 import doctor_pb2 as pb


def examined(**changes: object) -> pb.ExamineResponse:
    well = pb.ExamineResponse(
        at=1_000.0, software=f"modelsync-hub {__version__}", congestion="bbr", disk_free=1 << 40, disk_size=1 << 41
    )
    for name, value in changes.items():
        setattr(well, name, value)
    return well


@pytest.mark.parametrize(
    ("ahead", "state"),
    [
        (0.5, State.WELL),
        (-1.9, State.WELL),
        (30.0, State.COULD_BE_BETTER),
        (-30.0, State.COULD_BE_BETTER),
        (3_600.0, State.WRONG),
    ],
)
def test_a_clock_counts_as_off_by_more_than_the_way_explains(ahead: float, state: State) -> None:
    assert clock(ahead, 0.1).state is state
    assert clock(2.4, 1.0).state is State.WELL
    assert clock(2.6, 1.0).state is State.COULD_BE_BETTER


def test_a_well_hub_has_nothing_to_say() -> None:
    assert {one.state for one in at_the_hub(examined(), 1_000.0, 0.1)} == {State.WELL}


def test_each_thing_at_the_hub_is_told_apart() -> None:
    ill = examined(software="modelsync-hub 0.0.1", congestion="cubic", disk_free=1 << 20)
    ill.congestion_advice.append("modprobe tcp_bbr")
    found = {one.name: one for one in at_the_hub(ill, 1_000.0, 0.1)}
    assert {name: one.state for name, one in found.items()} == {
        "clock": State.WELL,
        "hub": State.COULD_BE_BETTER,
        "hub-congestion": State.COULD_BE_BETTER,
        "hub-disk": State.WRONG,
    }
    assert found["hub-congestion"].advice == ("on the hub: modprobe tcp_bbr",)
    assert isinstance(worst([*found.values()]), DiskFullError)


def test_the_first_thing_that_is_wrong_decides_how_it_ends() -> None:
    assert worst([Check("a", State.COULD_BE_BETTER, "so-so")]) is None
    first, second = RoadError("away"), DiskFullError("full")
    assert worst([Check("a", State.WELL, "fine"), wrong("b", first), wrong("c", second)]) is first


async def test_a_name_that_does_not_exist_and_a_port_where_nothing_listens_are_told_apart() -> None:
    unknown, closed = await reach("no-such-host.invalid:7443"), await reach("127.0.0.1:9")
    assert "can't be found" in unknown.says
    assert "can't connect" in closed.says
    assert unknown.state is closed.state is State.WRONG


def test_what_to_type_stands_below_what_is_wrong() -> None:
    lines = text([wrong("reach", RoadError("away", hint="start it")), Check("disk", State.WELL, "much")]).splitlines()
    assert lines[-1] == "  start it"
