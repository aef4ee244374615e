"""The only place that decides what a program may read over HTTP: it shows a token, or counts as nobody."""

from __future__ import annotations

from starlette.requests import Request

from edge_agent.callers import Caller, Tokens
from edge_agent.job_rights import Right, Rights
from modelsyncd.names import ModelRef


class Readers:
    """The node's rights, for requests. TCP does not say whose process calls, so without a token it is nobody's."""

    def __init__(self, rights: Rights, tokens: Tokens) -> None:
        self._rights = rights
        self._tokens = tokens

    def may(self, request: Request, ref: ModelRef) -> bool:
        """Whether the caller may read a channel, or all of a model where `ref` names none."""
        return self._rights.may(self._caller(request), Right.READ, ref)

    def demand(self, request: Request, ref: ModelRef) -> None:
        """Raises RefusedError when it may not."""
        self._rights.demand(self._caller(request), Right.READ, ref)

    def _caller(self, request: Request) -> Caller:
        return self._tokens.caller(request.headers.get("authorization", ""))
