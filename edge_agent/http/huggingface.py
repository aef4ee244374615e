"""The only place that answers what clients of Hugging Face ask: HF_ENDPOINT=http://127.0.0.1:PORT reads from this node.

A repository is a model, a revision is a channel, a release's number, or the first 40 hex digits of a manifest's digest,
which stands where they expect a commit; "main" is the channel "stable". The routes, headers and error words are those
that huggingface_hub 0.36 to 2.4 was seen to use. What is missing here (uploads, discussions, Xet) answers 404.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from edge_agent.http.content import file_answer
from edge_agent.http.faults import AnsweredError, answering
from edge_agent.http.readers import Readers
from edge_agent.http.versions import MAIN, Entry, Shown, Versions
from modelsyncd.errors import InvalidNameError, LimitError, ModelsyncError, NotFoundError, RefusedError
from modelsyncd.names import DEFAULT_CHANNEL, ModelName, ModelRef, parse_channel, parse_model

_API = "/api/models/{namespace}/{name}"
_POINTER = 134  # bytes of a git-lfs pointer with a size of nine digits; clients read it and use it for nothing
_QUESTION = 1 << 20  # bytes of a question about paths
_HEX_OID = 40


class HubFace:
    """Its handlers."""

    def __init__(self, versions: Versions, readers: Readers) -> None:
        self._versions = versions
        self._readers = readers

    @property
    def routes(self) -> list[BaseRoute]:
        """For the server; a namespace "models" is hidden by the read-only face, and by nothing else."""
        wrap = answering(_headers)
        return [
            Route(_API, wrap(self.info)),
            Route(_API + "/revision/{revision}", wrap(self.info)),
            Route(_API + "/tree/{revision}", wrap(self.tree)),
            Route(_API + "/tree/{revision}/{path:path}", wrap(self.tree)),
            Route(_API + "/paths-info/{revision}", wrap(self.paths), methods=["POST"]),
            Route("/{namespace}/{name}/resolve/{revision}/{path:path}", wrap(self.file)),
        ]

    async def info(self, request: Request) -> Response:
        """What a version is, and its files."""
        shown = await self._shown(request)
        blobs = request.query_params.get("blobs", "").lower() in ("1", "true")
        model = str(shown.version.model)
        told = {
            "_id": shown.commit[:24],
            "id": model,
            "modelId": model,
            "author": model.partition("/")[0],
            "sha": shown.commit,
            "lastModified": _time(shown.since),
            "createdAt": _time(shown.since),
            "private": False,
            "gated": False,
            "disabled": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "siblings": [_sibling(one, blobs=blobs) for one in shown.files.values()],
        }
        return JSONResponse(told, headers={"x-repo-commit": shown.commit})

    async def tree(self, request: Request) -> Response:
        """The files of a version, or of a folder in it."""
        shown = await self._shown(request)
        folder = request.path_params.get("path", "").strip("/")
        deep = request.query_params.get("recursive", "").lower() in ("1", "true")
        found = list(_listed(shown, folder, deep=deep))
        if folder and not found:
            raise _no_entry(shown, NotFoundError(f"{folder[:200]!r} is no folder of this version"))
        return JSONResponse(found, headers={"x-repo-commit": shown.commit})

    async def paths(self, request: Request) -> Response:
        """What is known of some paths; of those that are not there, nothing is said."""
        shown = await self._shown(request)
        wanted = _paths(await _body(request), request.headers.get("content-type", ""))
        folders = _folders(shown)
        files = [_file(shown.files[path]) for path in wanted if path in shown.files]
        return JSONResponse([*files, *(_folder(path) for path in wanted if path in folders)])

    async def file(self, request: Request) -> Response:
        """A file's bytes."""
        shown = await self._shown(request)
        try:
            entry = shown.file(request.path_params["path"])
        except NotFoundError as error:
            raise _no_entry(shown, error) from error
        return await file_answer(request, self._versions, shown, entry, {"x-repo-commit": shown.commit})

    async def _shown(self, request: Request) -> Shown:
        """Raises NotFoundError, RefusedError, DiskError, DamageError."""
        found = request.path_params
        try:
            model = parse_model(f"{found['namespace']}/{found['name']}")
        except InvalidNameError as error:
            raise _no_model(error.message) from error
        revision = found.get("revision", MAIN)
        self._demand(request, model, revision)
        if all(ref.model != model for ref in self._versions.refs):
            raise _no_model(f"this node does not follow {model}")
        return await self._versions.of_revision(model, revision)

    def _demand(self, request: Request, model: ModelName, revision: str) -> None:
        """A right to one channel is a right to what it is asked for by name only, and not to older versions."""
        try:
            channel = parse_channel(DEFAULT_CHANNEL if revision == MAIN else revision)
        except InvalidNameError:
            channel = None
        commits = [ref for ref in self._versions.refs if ref.model == model and self._versions.leads_to(ref, revision)]
        allowed = [*commits, ModelRef(model, channel=channel) if channel else ModelRef(model)]
        if not any(self._readers.may(request, ref) for ref in allowed):
            self._readers.demand(request, allowed[-1])


def _headers(error: ModelsyncError) -> Mapping[str, str]:
    """The words by which these clients tell errors apart."""
    told = {"x-error-message": error.message.encode("ascii", "replace").decode()}
    match error:
        case NotFoundError():
            return told | {"x-error-code": "RevisionNotFound"}
        case RefusedError():
            return told | {"x-error-code": "GatedRepo"}
        case _:
            return told


def _no_model(why: str) -> AnsweredError:
    return AnsweredError(NotFoundError(why), {"x-error-code": "RepoNotFound"})


def _no_entry(shown: Shown, error: NotFoundError) -> AnsweredError:
    """With the commit, so that clients remember that the file is not in it."""
    return AnsweredError(error, {"x-error-code": "EntryNotFound", "x-repo-commit": shown.commit})


def _listed(shown: Shown, folder: str, *, deep: bool) -> Iterable[dict[str, object]]:
    before = f"{folder}/" if folder else ""
    inside = [one for one in shown.files.values() if one.path.startswith(before)]
    folders = {f"{before}{path}" for one in inside for path in _parents(one.path.removeprefix(before))}
    for path in sorted(folders):
        if deep or "/" not in path.removeprefix(before):
            yield _folder(path)
    for one in inside:
        if deep or "/" not in one.path.removeprefix(before):
            yield _file(one)


def _folders(shown: Shown) -> set[str]:
    return {path for one in shown.files for path in _parents(one)}


def _parents(path: str) -> Iterable[str]:
    parts = path.split("/")[:-1]
    return ("/".join(parts[: count + 1]) for count in range(len(parts)))


def _folder(path: str) -> dict[str, object]:
    return {"type": "directory", "path": path, "size": 0, "oid": "0" * _HEX_OID}


def _file(entry: Entry) -> dict[str, object]:
    lfs = {"oid": entry.sha256, "size": entry.size, "pointerSize": _POINTER}
    return {"type": "file", "path": entry.path, "size": entry.size, "oid": entry.sha256[:_HEX_OID], "lfs": lfs}


def _sibling(entry: Entry, *, blobs: bool) -> dict[str, object]:
    if not blobs:
        return {"rfilename": entry.path}
    lfs = {"sha256": entry.sha256, "size": entry.size, "pointerSize": _POINTER}
    return {"rfilename": entry.path, "size": entry.size, "blobId": entry.sha256[:_HEX_OID], "lfs": lfs}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def _body(request: Request) -> bytes:
    """Raises LimitError for a longer one than a question needs."""
    found = bytearray()
    async for piece in request.stream():
        found += piece
        if len(found) > _QUESTION:
            raise LimitError(f"a question about paths may have {_QUESTION} bytes")
    return bytes(found)


def _paths(body: bytes, kind: str) -> list[str]:
    """The paths of a question, as a form or as JSON; none for what is neither."""
    try:
        if kind.startswith("application/json"):
            asked = json.loads(body)
            wanted = asked.get("paths", []) if isinstance(asked, dict) else []
            return [path for path in wanted if isinstance(path, str)] if isinstance(wanted, list) else []
        return parse_qs(body.decode()).get("paths", [])
    except ValueError:
        return []
