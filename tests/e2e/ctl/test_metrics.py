"""`modelsyncctl metrics`, and what `show` says of numbers, against a real hub."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from modelsyncd.exchange.hub import open_hub
from modelsyncd.trust import context
from modelsyncd.wire.v1 import records_pb2 as pb
from tests.e2e.content import folder
from tests.e2e.processes import HubProgram

MODEL = "metrics/helmet"


def _number(key: str, number: int, name: str, value: float, at: float) -> pb.Number:
    return pb.Number(
        model=MODEL, number=number, name=name, value=value, at=at, key=key.encode(), dataset="night", stage="eval"
    )


async def _record(hub: HubProgram, numbers: Sequence[pb.Number]) -> None:
    async with open_hub(context.read(hub.context), "test") as opened:
        answer = await opened.ask(opened.records.RecordNumbers, pb.RecordNumbersRequest(numbers=numbers))
        assert answer.added == len(numbers)


def test_numbers_are_listed_and_shown_with_their_release(hub: HubProgram, tmp_path: Path) -> None:
    assert "metrics/none" in hub.ctl.error(3, "metrics", "metrics/none")["message"]
    for number in (1, 2):
        hub.ctl.json("push", str(folder(tmp_path / f"origin{number}", seed=number, size=1_000)), MODEL)
    assert "Nothing was recorded about metrics/helmet yet" in hub.ctl.text("metrics", MODEL)
    several = [
        _number("a", 1, "precision", 0.5, 10.0),
        _number("b", 2, "precision", 0.25, 20.0),
        _number("c", 2, "precision", 0.75, 30.0),
        _number("d", 2, "recall", 0.125, 5.0),
    ]
    asyncio.run(_record(hub, several))
    listed = hub.ctl.json("metrics", MODEL)["numbers"]
    assert [(one["number"], one["name"], one["value"]) for one in listed] == [
        (2, "recall", 0.125),
        (1, "precision", 0.5),
        (2, "precision", 0.25),
        (2, "precision", 0.75),
    ]
    assert (listed[0]["who"], listed[0]["dataset"], listed[0]["stage"]) == ("admin/admin", "night", "eval")
    assert [one["value"] for one in hub.ctl.json("metrics", f"{MODEL}:1")["numbers"]] == [0.5]
    assert [one["value"] for one in hub.ctl.json("metrics", MODEL, "--name", "recall")["numbers"]] == [0.125]
    newest = hub.ctl.json("metrics", f"{MODEL}:2", "--newest")["numbers"]
    assert [(one["name"], one["value"]) for one in newest] == [("precision", 0.75), ("recall", 0.125)]
    assert hub.ctl.json("show", f"{MODEL}:2")["recorded"] == newest
    assert "Recorded since" in hub.ctl.text("show", f"{MODEL}:2")
    assert "0.75" in hub.ctl.text("metrics", MODEL)


def test_numbers_are_drawn_in_the_terminal_and_into_a_file_each_variant_for_itself(
    hub: HubProgram, tmp_path: Path
) -> None:
    model = "metrics/drawn"
    for number in (1, 2):
        path = folder(tmp_path / f"origin{number}", seed=10 + number, size=1_000)
        hub.ctl.json("push", str(path), model, "--metric", f"precision=0.{number}")
    several = [_number("e", 1, "precision", 0.5, 10.0), _number("f", 2, "precision", 0.75, 20.0)]
    for one in several:
        one.model, one.variant = model, "int8"
    asyncio.run(_record(hub, several))
    assert [line.split()[1] for line in hub.ctl.text("metrics", model).splitlines()] == [
        "VARIANT",
        "int8",
        "int8",
        "-",
        "-",
    ]
    plot = hub.ctl.text("metrics", model, "--plot").splitlines()
    assert plot[0] == "precision"
    assert plot[-2].split() == [":1", ":2"]
    assert plot[-1] == "● the release  ▲ int8, on night, eval"
    target = tmp_path / "precision.svg"
    assert hub.ctl.text("metrics", model, "--variant", "int8", "--svg", str(target)) == f"Drew 1 chart into {target}.\n"
    picture = ElementTree.fromstring(target.read_text())  # noqa: S314  # our own
    told = [one.text for one in picture.iter("{http://www.w3.org/2000/svg}title")]
    assert told == ["int8, on night, eval :1: 0.5", "int8, on night, eval :2: 0.75"]
    assert (
        hub.ctl.json("metrics", model, "--stage", "eval", "--plot")["numbers"]
        == hub.ctl.json("metrics", model, "--variant", "int8")["numbers"]
    )
    nothing = hub.ctl.error(3, "metrics", model, "--name", "none", "--svg", str(tmp_path / "none.svg"))
    assert "that could be drawn" in nothing["message"]
