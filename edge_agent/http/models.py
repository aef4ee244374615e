"""The only place of the read-only face: models by channel, for whatever speaks HTTP.

GET /models                                        what this node follows
GET /models/<namespace>/<name>/<channel>           the version that the channel leads to, and its files
GET /models/<namespace>/<name>/<channel>/<file>    a file of it: ranges, and its SHA-256 as ETag
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from edge_agent.http.content import file_answer
from edge_agent.http.faults import answering
from edge_agent.http.readers import Readers
from edge_agent.http.versions import Shown, Versions
from modelsyncd.digest import to_text
from modelsyncd.errors import ModelsyncError
from modelsyncd.names import ModelRef, parse_channel, parse_model

_CHANNEL = "/models/{namespace}/{name}/{channel}"


class ModelFace:
    """Its handlers."""

    def __init__(self, versions: Versions, readers: Readers) -> None:
        self._versions = versions
        self._readers = readers

    @property
    def routes(self) -> list[BaseRoute]:
        """For the server."""
        return [
            Route("/models", answering()(self.all)),
            Route(_CHANNEL, answering()(self.channel)),
            Route(_CHANNEL + "/{path:path}", answering()(self.file)),
        ]

    async def all(self, request: Request) -> Response:
        """Each channel that the caller may read, with its version where there is one."""
        readable = [ref for ref in self._versions.refs if self._readers.may(request, ref)]
        return JSONResponse({"models": [await self._brief(ref) for ref in readable]})

    async def channel(self, request: Request) -> Response:
        """One version and its files."""
        ref = self._ref(request)
        shown = await self._versions.of_channel(ref)
        files = [{"path": one.path, "size": one.size, "sha256": one.sha256} for one in shown.files.values()]
        told = {"model": str(ref.model), "channel": ref.channel, **_facts(shown), "files": files}
        return JSONResponse(told, headers={"etag": f'"{shown.version.manifest.hex()}"', "cache-control": "no-cache"})

    async def file(self, request: Request) -> Response:
        """A file's bytes."""
        shown = await self._versions.of_channel(self._ref(request))
        told = {
            "x-modelsync-number": str(shown.version.number),
            "x-modelsync-manifest": to_text(shown.version.manifest),
        }
        return await file_answer(request, self._versions, shown, shown.file(request.path_params["path"]), told)

    async def _brief(self, ref: ModelRef) -> dict[str, object]:
        try:
            version: dict[str, object] | None = _facts(await self._versions.of_channel(ref))
        except ModelsyncError:
            version = None
        return {"model": str(ref.model), "channel": ref.channel, "version": version}

    def _ref(self, request: Request) -> ModelRef:
        """Raises InvalidNameError, RefusedError."""
        found = request.path_params
        ref = ModelRef(parse_model(f"{found['namespace']}/{found['name']}"), channel=parse_channel(found["channel"]))
        self._readers.demand(request, ref)
        return ref


def _facts(shown: Shown) -> dict[str, object]:
    return {
        "number": shown.version.number,
        "variant": shown.variant,
        "manifest": to_text(shown.version.manifest),
        "size": sum(one.size for one in shown.files.values()),
        "active_since": shown.since,
    }
