"""The only place where it is told what steps have made already: the servicer of DerivationService."""

from __future__ import annotations

import asyncio

from cloud_hub import gate
from cloud_hub.catalog import Catalog
from modelsyncd.digest import digest_from
from modelsyncd.wire.status import Context, answering
from modelsyncd.wire.v1 import derivations_pb2 as pb
from modelsyncd.wire.v1.derivations_pb2_grpc import DerivationServiceServicer


class DerivationsApi(DerivationServiceServicer):
    """For admins only."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    @answering
    async def FindDerived(  # noqa: N802
        self, request: pb.FindDerivedRequest, context: Context
    ) -> pb.FindDerivedResponse:
        """Variants that a step has made of a version. Raises BadInputError for what is no digest."""
        gate.admin(context)
        source, step = digest_from(request.source), digest_from(request.step)
        rows = await asyncio.to_thread(self._catalog.derivations.find, source, step)
        return pb.FindDerivedResponse(
            derived=[
                pb.DerivedView(model=str(row.model), number=row.number, variant=row.variant, channels=row.channels)
                for row in rows
            ]
        )
