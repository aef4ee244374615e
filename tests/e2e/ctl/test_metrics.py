"""`modelsyncctl metrics`, and what `show` says of numbers, against a real hub."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

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
