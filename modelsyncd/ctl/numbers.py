"""The only place that shows numbers about releases: what nodes and people measured."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from modelsyncd.ctl import shape
from modelsyncd.ctl.figures import moment, utc
from modelsyncd.ctl.hub import Hub
from modelsyncd.ctl.table import Column, table
from modelsyncd.errors import WrongProtocolError
from modelsyncd.wire.v1 import records_pb2 as pb

COLUMNS = (
    Column("RELEASE", right=True),
    Column("NUMBER"),
    Column("VALUE", right=True),
    Column("ON"),
    Column("STAGE"),
    Column("BY"),
    Column("WHEN"),
)


async def pages(hub: Hub, ref: str, name: str, *, newest: bool = False) -> AsyncIterator[Sequence[pb.Number]]:
    """All numbers about a model or release, oldest first, a page at a time; or of each release and name the newest."""
    request = pb.ListNumbersRequest(ref=ref, name=name, newest=newest)
    while True:
        answer = await hub.ask(hub.records.ListNumbers, request)
        yield answer.numbers
        if not answer.next:
            return
        request.after = answer.next


async def newest(hub: Hub, ref: str, name: str = "") -> Sequence[pb.Number]:
    """Of each release and name the newest number; none at a hub that does not know of numbers."""
    try:
        return [one async for page in pages(hub, ref, name, newest=True) for one in page]
    except WrongProtocolError:
        return ()  # a hub of before keeps none


def describe(one: pb.Number) -> shape.Shape:
    """For programs."""
    return {
        "model": one.model,
        "number": one.number,
        "name": one.name,
        "variant": one.variant or None,
        "value": one.value,
        "dataset": one.dataset or None,
        "stage": one.stage or None,
        "at": utc(one.at),
        "who": one.who,
    }


def text(numbers: Sequence[pb.Number], now: float) -> str:
    """For people; what form of a release it is about is shown where there is any."""
    formed = any(one.variant for one in numbers)
    columns = [*COLUMNS[:1], Column("VARIANT"), *COLUMNS[1:]] if formed else COLUMNS
    rows = [
        [
            f":{one.number}",
            *([one.variant or "-"] if formed else []),
            one.name,
            value(one.value),
            one.dataset or "-",
            one.stage or "-",
            one.who,
            moment(one.at, now),
        ]
        for one in numbers
    ]
    return table(columns, rows)


def value(number: float) -> str:
    """As in "0.9312", "12000"."""
    return f"{number:.6g}"
