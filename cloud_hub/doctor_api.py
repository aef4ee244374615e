"""The only place that tells admins how the hub's own machine is: the servicer of DoctorService."""

from __future__ import annotations

import asyncio
import platform
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from cloud_hub import gate
from cloud_hub.presence import Presence
from modelsyncd.link.congestion import Congestion, advice, system
from modelsyncd.store.durable import disk_errors
from modelsyncd.wire.status import Context, answering
from modelsyncd.wire.v1 import doctor_pb2 as pb
from modelsyncd.wire.v1.doctor_pb2_grpc import DoctorServiceServicer


class DoctorApi(DoctorServiceServicer):
    """For admins only."""

    def __init__(
        self,
        data: Path,
        presence: Presence,
        congestion: Congestion,
        *,
        software: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._data = data
        self._presence = presence
        self._congestion = congestion
        self._software = software
        self._clock = clock

    @answering
    async def Examine(self, request: pb.ExamineRequest, context: Context) -> pb.ExamineResponse:  # noqa: N802
        """How this machine is now. Raises RefusedError, DiskError."""
        gate.admin(context)
        answer = await asyncio.to_thread(self._look)
        answer.nodes_online = len(self._presence.online())
        answer.at = self._clock()  # last, so that looking is not taken for a clock that is behind
        return answer

    def _look(self) -> pb.ExamineResponse:
        with disk_errors(self._data):
            disk = shutil.disk_usage(self._data)
        return pb.ExamineResponse(
            software=self._software,
            system=f"{platform.system()} {platform.release()}",
            congestion=self._congestion.name,
            congestion_problem=self._congestion.problem,
            congestion_advice=advice(system()) if self._congestion.loss_based else (),
            disk_free=disk.free,
            disk_size=disk.total,
        )
