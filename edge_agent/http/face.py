"""The only place that puts the read-only face together: our own routes, and those of Hugging Face's clients."""

from __future__ import annotations

from starlette.routing import BaseRoute

from edge_agent.callers import Tokens
from edge_agent.http.huggingface import HubFace
from edge_agent.http.models import ModelFace
from edge_agent.http.readers import Readers
from edge_agent.http.versions import Channels, Versions
from edge_agent.job_rights import Rights
from edge_agent.leases import Leases
from modelsyncd.store.tree import EdgeTree


def read_only(channels: Channels, tree: EdgeTree, leases: Leases, rights: Rights, tokens: Tokens) -> list[BaseRoute]:
    """The routes for `serving_http`."""
    versions, readers = Versions(channels, tree, leases), Readers(rights, tokens)
    return [*ModelFace(versions, readers).routes, *HubFace(versions, readers).routes]
