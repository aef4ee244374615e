"""How much of a model's past `modelsyncctl history` shows, and whether it says that there is more."""

from __future__ import annotations

import pytest

from modelsyncd.ctl.verbs import history
from modelsyncd.exchange import past
from modelsyncd.names import ModelName
from modelsyncd.wire.v1 import catalog_pb2 as pb

MODEL = ModelName("acme", "helmet")


def hub_with(releases: int, moves: int, *, paged: bool = True) -> past.Ask:
    """A hub that has so many, and answers in pages or, as one of before, all at once."""
    both = range(releases, 0, -1), range(moves, 0, -1)

    async def ask(request: pb.GetHistoryRequest) -> pb.GetHistoryResponse:
        begin = int(request.page_token or 0)
        end = begin + request.page_size if paged else max(releases, moves)
        return pb.GetHistoryResponse(
            releases=[pb.ReleaseView(number=number) for number in both[0][begin:end]],
            moves=[pb.Move(to_number=number) for number in both[1][begin:end]],
            next_page_token=str(end) if end < max(releases, moves) else "",
        )

    return ask


@pytest.mark.parametrize("paged", [True, False])
@pytest.mark.parametrize(
    ("there", "limit", "shown", "more"),
    [
        ((3, 2), 100, (3, 2), False),
        ((3, 2), 3, (3, 2), False),
        ((3, 2), 2, (2, 2), True),
        ((3, 700), 600, (3, 600), True),
        ((1_200, 0), 1_100, (1_100, 0), True),
        ((1_200, 40), None, (1_200, 40), False),
    ],
)
async def test_the_newest_are_shown_up_to_the_limit_and_it_is_said_when_there_are_more(
    there: tuple[int, int], limit: int | None, shown: tuple[int, int], more: bool, paged: bool
) -> None:
    found, has_more = await history._found(hub_with(*there, paged=paged), MODEL, limit)
    assert [one.number for one in found.releases] == list(range(there[0], there[0] - shown[0], -1))
    assert [one.to_number for one in found.moves] == list(range(there[1], there[1] - shown[1], -1))
    assert has_more is more
