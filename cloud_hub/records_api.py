"""The only place where nodes and people hand over numbers about releases: the servicer of RecordService.

A node may speak of the models that it follows, and of those that it may publish. What can't be kept is said beside what
was: a node that sends a hundred numbers does not send them again because of one.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Callable, Collection
from urllib.parse import quote, unquote

from cloud_hub import gate
from cloud_hub.catalog import Catalog, NumberRow
from cloud_hub.patterns import covers
from modelsyncd.errors import BadInputError, LimitError, ModelsyncError
from modelsyncd.limits import LIMITS
from modelsyncd.names import ModelName, ModelRef, parse_model, parse_ref
from modelsyncd.trust.identity import Kind, Peer
from modelsyncd.wire.status import Context, answering
from modelsyncd.wire.v1 import records_pb2 as pb
from modelsyncd.wire.v1.records_pb2_grpc import RecordServiceServicer

MOST = 1_000  # numbers of one request or answer
KEY_BYTES = 64
LATEST = 1 << 40  # seconds since 1970: no clock is so wrong

May = Callable[[ModelName], bool]


class RecordsApi(RecordServiceServicer):
    """For nodes and admins; only admins may list."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        measured: Callable[[ModelName], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`measured` is told of each model about which new numbers are kept, in the event loop."""
        self._catalog = catalog
        self._measured = measured
        self._clock = clock

    @answering
    async def RecordNumbers(  # noqa: N802
        self, request: pb.RecordNumbersRequest, context: Context
    ) -> pb.RecordNumbersResponse:
        """Keeps numbers, each once. Raises RefusedError, LimitError."""
        caller = await gate.talker(context, self._catalog)
        if len(request.numbers) > MOST:
            raise LimitError(f"{MOST} numbers may come at once, not {len(request.numbers)}")
        answer, models = await asyncio.to_thread(self._record, caller, request)
        for model in models:
            self._measured(model)
        return answer

    def _record(
        self, caller: Peer, request: pb.RecordNumbersRequest
    ) -> tuple[pb.RecordNumbersResponse, Collection[ModelName]]:
        may, now = self._may(caller), self._clock()
        answer = pb.RecordNumbersResponse()
        sound: list[NumberRow] = []
        for number in request.numbers:
            try:
                row = number_of(number, str(caller), now)
            except ModelsyncError as error:
                answer.refused.add(key=number.key[:KEY_BYTES], why=error.message)
                continue
            if may(row.model):
                sound.append(row)
            else:
                why = f"{caller} neither follows {row.model} nor may publish it"
                answer.refused.add(key=row.key, why=why)
        answer.added, lost = self._catalog.numbers.add(sound)
        for row in lost:
            answer.refused.add(key=row.key, why=f"there is no release {row.model}:{row.number}")
        return answer, {row.model for row in sound} if answer.added else ()

    def _may(self, caller: Peer) -> May:
        """Of which models it may speak. Raises NotFoundError for a node that is gone."""
        if caller.kind is Kind.ADMIN:
            return lambda _: True
        followed = {each.model for each in self._catalog.assignments.list(caller.name)}
        rights = [right.models for right in self._catalog.rights.list(caller.name)]
        return lambda model: model in followed or any(covers(pattern, str(model)) for pattern in rights)

    @answering
    async def ListNumbers(  # noqa: N802
        self, request: pb.ListNumbersRequest, context: Context
    ) -> pb.ListNumbersResponse:
        """Numbers about releases. Raises NotFoundError, BadInputError and its kind."""
        gate.admin(context)
        ref = parse_ref(request.ref)
        return await asyncio.to_thread(self._list, ref, request)

    def _list(self, ref: ModelRef, request: pb.ListNumbersRequest) -> pb.ListNumbersResponse:
        release = self._catalog.models.release(ref)  # raises when it is not there
        about = ModelRef(ref.model, number=None if ref == ModelRef(ref.model) else release.number)
        if request.newest:
            return self._newest(about, request)
        limit = min(request.limit or MOST, MOST)
        page = self._catalog.numbers.list(about, request.name, limit=limit, after=_place(request.after))
        after = "" if page.next is None else f"{page.next[0].hex()}/{page.next[1]}"
        return pb.ListNumbersResponse(numbers=map(number_view, page.rows), next=after)

    def _newest(self, about: ModelRef, request: pb.ListNumbersRequest) -> pb.ListNumbersResponse:
        first = _name_place(request.after)
        found = self._catalog.numbers.newest(about, request.name)
        rows = [row for row in found if (row.number, row.name, row.variant) > first]
        shown = rows[: min(request.limit or MOST, MOST)]
        after = _name_place_of(shown[-1]) if len(rows) > len(shown) else ""
        return pb.ListNumbersResponse(numbers=map(number_view, shown), next=after)


def number_of(view: pb.Number, who: str, now: float) -> NumberRow:
    """A number that somebody says. Raises BadInputError, InvalidNameError, LimitError."""
    if not 0 < len(view.key) <= KEY_BYTES:
        raise LimitError(f"a number's key has 1 to {KEY_BYTES} bytes, not {len(view.key)}")
    if not view.name:
        raise BadInputError("a number needs a name")
    words = (view.name, view.dataset, view.stage, view.variant)
    if max(map(len, words)) > LIMITS.label_chars:
        raise LimitError(f"name, dataset, stage and variant of a number have at most {LIMITS.label_chars} characters")
    if not all(map(str.isprintable, words)):
        raise BadInputError("name, dataset, stage and variant of a number have no control characters")
    if not math.isfinite(view.value):
        raise BadInputError(f"{view.name[:40]} is {view.value}, and only finite numbers can be kept")
    if not 0 <= view.at < LATEST:
        raise BadInputError(f"{view.name[:40]} was measured at {view.at}, which is no time")
    at = view.at or now
    model = parse_model(view.model)
    number, name, variant = view.number, view.name, view.variant
    return NumberRow(model, number, name, view.value, view.dataset, view.stage, at, who, view.key, variant)


def _place(text: str) -> tuple[float, int] | None:
    """Where a page begins. Raises BadInputError."""
    if not text:
        return None
    found = re.fullmatch(r"(0x[01]\.[0-9a-f]{1,13}p[+-][0-9]{1,4})/([0-9]{1,18})", text)
    if found is None:
        raise BadInputError(f"{text[:80]!r} is nothing that this hub said", hint="begin again without it")
    try:
        return float.fromhex(found[1]), int(found[2])
    except OverflowError as error:
        raise BadInputError(f"{text[:80]!r} is nothing that this hub said", hint="begin again without it") from error


def _name_place(text: str) -> tuple[int, str, str]:
    """After which release, name and variant a page of the newest numbers begins. Raises BadInputError."""
    if not text:
        return 0, "", ""
    found = re.fullmatch(r"([1-9][0-9]{0,17})/([^/]+)(?:/([^/]*))?", text)
    if found is None:
        raise BadInputError(f"{text[:80]!r} is nothing that this hub said", hint="begin again without it")
    return int(found[1]), unquote(found[2]), unquote(found[3] or "")


def _name_place_of(row: NumberRow) -> str:
    return f"{row.number}/{quote(row.name, safe='')}/{quote(row.variant, safe='')}"


def number_view(row: NumberRow) -> pb.Number:
    """A number."""
    return pb.Number(
        model=str(row.model),
        number=row.number,
        name=row.name,
        value=row.value,
        dataset=row.dataset,
        stage=row.stage,
        at=row.at,
        who=row.who,
        key=row.key,
        variant=row.variant,
    )
