"""The only place that cuts a long answer of the catalogue into pages: what fits, and where the next one begins."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeVar

from cloud_hub import views
from cloud_hub.catalog import HistoryPlace, HistoryRows
from modelsyncd.errors import BadInputError
from modelsyncd.limits import LIMITS
from modelsyncd.wire.v1 import catalog_pb2 as pb

ANSWER_BYTES = LIMITS.message_bytes // 2  # of one answer's list; a release's bytes may be large
_END = 1  # below which there is no number and no id

View = TypeVar("View", pb.ModelView, pb.ReleaseView)


def fitting(views: Iterable[View]) -> list[View]:
    """As many as go into one answer; one at least, if there is one."""
    shown: list[View] = []
    size = 0
    for view in views:
        size += view.ByteSize()
        if shown and size > ANSWER_BYTES:
            break
        shown.append(view)
    return shown


def whole_history(rows: HistoryRows) -> pb.GetHistoryResponse:
    """All of it, for programs that do not ask for pages."""
    return pb.GetHistoryResponse(
        releases=map(views.release_view, rows.releases), moves=map(views.move_view, rows.moves)
    )


def history(rows: HistoryRows, size: int) -> pb.GetHistoryResponse:
    """The first `size` releases and moves of these; both fewer when so many releases do not fit."""
    shown = fitting(map(views.release_view, rows.releases[:size]))
    size = len(shown) if len(shown) < len(rows.releases[:size]) else size
    number = shown[-1].number if len(rows.releases) > len(shown) else _END
    move = rows.move_ids[size - 1] if len(rows.moves) > size else _END
    token = "" if number == move == _END else f"{number}/{move}"
    return pb.GetHistoryResponse(releases=shown, moves=map(views.move_view, rows.moves[:size]), next_page_token=token)


def place_of(token: str) -> HistoryPlace | None:
    """Where a page of a model's past begins; None for the first. Raises BadInputError."""
    if not token:
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,17})/([1-9][0-9]{0,17})", token)
    if found is None:
        raise BadInputError(f"{token[:80]!r} is nothing that this hub said", hint="begin again without it")
    return HistoryPlace(int(found[1]), int(found[2]))
