"""The only place where admins find releases by what they are: the servicer of SearchService."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import math
import time
from collections.abc import Callable, Sequence

from cloud_hub import gate
from cloud_hub.catalog import Catalog, FoundRow, Place
from cloud_hub.catalog.search import parse_sort
from cloud_hub.indexing import Indexer
from modelsyncd.card import NO_CARD, Card
from modelsyncd.errors import BadInputError, LimitError
from modelsyncd.facts import Facts
from modelsyncd.formats.ports import Port
from modelsyncd.limits import LIMITS
from modelsyncd.names import parse_ref
from modelsyncd.query.fields import full_name
from modelsyncd.query.parser import parse_query
from modelsyncd.query.traits import traits_of
from modelsyncd.wire.nouns import decode_release
from modelsyncd.wire.status import Context, answering
from modelsyncd.wire.traits import trait_to_pb
from modelsyncd.wire.v1 import search_pb2 as pb
from modelsyncd.wire.v1.search_pb2_grpc import SearchServiceServicer

PAGE = 100
MOST = 1_000  # releases of one page
FIELDS = 32  # fields of one answer
ANSWER_BYTES = LIMITS.message_bytes // 2


class SearchApi(SearchServiceServicer):
    """For admins only."""

    def __init__(self, catalog: Catalog, indexer: Indexer, *, clock: Callable[[], float] = time.time) -> None:
        self._catalog = catalog
        self._indexer = indexer
        self._clock = clock

    @answering
    async def Query(self, request: pb.QueryRequest, context: Context) -> pb.QueryResponse:  # noqa: N802
        """Releases for which a query is true. Raises BadInputError, LimitError."""
        gate.admin(context)
        return await asyncio.to_thread(self._query, request)

    def _query(self, request: pb.QueryRequest) -> pb.QueryResponse:
        if len(request.fields) > FIELDS:
            raise LimitError(f"{FIELDS} fields may be asked for, not {len(request.fields)}")
        condition, sort = parse_query(request.query, self._clock()), parse_sort(request.sort)
        after, fields = _place(request.page_token), [full_name(name) for name in request.fields]
        limit = min(request.page_size or PAGE, MOST)
        while True:
            page = self._catalog.search.find(condition, sort, limit=limit, after=after, fields=fields)
            token = "" if page.next is None else _token(page.next)
            answer = pb.QueryResponse(releases=map(_found, page.rows), next_page_token=token)
            if limit == 1 or answer.ByteSize() <= ANSWER_BYTES:
                return answer
            limit = max(1, min(limit, len(page.rows)) // 2)  # values may be long: a shorter page goes through

    @answering
    async def Describe(self, request: pb.DescribeRequest, context: Context) -> pb.DescribeResponse:  # noqa: N802
        """What a release's files say. Raises NotFoundError, BadInputError and its kind, DamageError, DiskError."""
        gate.admin(context)
        return await asyncio.to_thread(self._describe, request.ref)

    def _describe(self, ref: str) -> pb.DescribeResponse:
        row = self._catalog.models.release(parse_ref(ref))
        release = decode_release(row.signed.release)
        facts = {variant.name: self._indexer.facts(variant.manifest) for variant in release.variants}
        card = self._indexer.card(release)
        return pb.DescribeResponse(
            model=str(row.model),
            number=row.number,
            variants=[_facts(name, found) for name, found in facts.items()],
            card=None if card == NO_CARD else _card(card),
            traits=map(trait_to_pb, traits_of(release, facts, card)),
        )


def _token(place: Place) -> str:
    return base64.urlsafe_b64encode(json.dumps([place.value, place.id]).encode()).decode()


def _place(token: str) -> Place | None:
    if not token:
        return None
    try:
        value, last = json.loads(base64.urlsafe_b64decode(token.encode()))
        sound = value is None or isinstance(value, str) or (isinstance(value, int | float) and math.isfinite(value))
    except (ValueError, TypeError, OverflowError, binascii.Error, RecursionError):
        value, last, sound = None, None, False
    if not isinstance(last, int) or isinstance(last, bool) or not 0 <= last < 1 << 63 or not sound:
        raise BadInputError(f"{token[:80]!r} is nothing that this hub said", hint="begin again without it")
    return Place(value, last)


def _found(row: FoundRow) -> pb.FoundRelease:
    return pb.FoundRelease(
        model=str(row.model),
        number=row.number,
        channels=row.channels,
        committed_at=row.committed_at,
        who=row.who,
        traits=map(trait_to_pb, row.traits),
    )


def _facts(variant: str, facts: Facts) -> pb.VariantFacts:
    return pb.VariantFacts(
        variant=variant,
        formats=facts.formats,
        frameworks=facts.frameworks,
        architectures=facts.architectures,
        parameters=facts.parameters,
        tensors=facts.tensors,
        dtypes=[pb.DtypeCount(dtype=name, elements=count) for name, count in facts.dtypes],
        inputs=_ports(facts.inputs),
        outputs=_ports(facts.outputs),
    )


def _ports(ports: Sequence[Port]) -> list[pb.PortView]:
    return [pb.PortView(name=one.name, dtype=one.dtype, shape=map(str, one.shape)) for one in ports]


def _card(card: Card) -> pb.CardView:
    return pb.CardView(
        title=card.title,
        text=card.text[: LIMITS.message_bytes // 8],
        licence=card.licence,
        task=card.task,
        tags=card.tags,
        datasets=card.datasets,
        parents=card.parents,
    )
