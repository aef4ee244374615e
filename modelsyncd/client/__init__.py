"""What a job uses to find its models, to say whether they work, and to publish what it trained.

    from modelsyncd import client

    with client.acquire("acme/helmet@stable", wait=30) as model:
        net = load(model.path)

    for model in client.follow("acme/helmet@stable"):
        net = load(model.path)
        client.confirm(model, works=try_out(net))

    client.publish("trained/", "acme/helmet", parents=[model], metrics={"map": 0.71})

It asks the agent of this machine over a unix socket and never the hub, so it answers with the hub away. These functions
share one client for the usual agent; `Client(target)` and, for asyncio, `AsyncClient(target)` have the same ones as
methods. Importing this is cheap: gRPC is loaded with the first call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelsyncd.client.choosing import connect
from modelsyncd.client.finding import Findings, Found
from modelsyncd.client.knowledge import Knowledge, Task
from modelsyncd.client.model import Failure, LocalModel, LocalVersion, Model, Shown
from modelsyncd.client.outgoing import Outbox, Published, Step, Waiting
from modelsyncd.client.released import Ancestor, Node, Release
from modelsyncd.client.target import DEFAULT_SOCKET, VARIABLE

if TYPE_CHECKING:
    from modelsyncd.client.aio import AsyncClient
    from modelsyncd.client.blocking import Client
    from modelsyncd.client.default import (
        acquire,
        confirm,
        find,
        follow,
        get,
        hasten,
        list,  # noqa: A004 - by the same name as the method
        outbox,
        publish,
        record,
        retry,
        show,
        watch,
        withdraw,
    )
    from modelsyncd.client.hub import HubClient
    from modelsyncd.client.hub_aio import AsyncHubClient

__all__ = [
    "DEFAULT_SOCKET",
    "VARIABLE",
    "Ancestor",
    "AsyncClient",
    "AsyncHubClient",
    "Client",
    "Failure",
    "Findings",
    "Found",
    "HubClient",
    "Knowledge",
    "LocalModel",
    "LocalVersion",
    "Model",
    "Node",
    "Outbox",
    "Published",
    "Release",
    "Shown",
    "Step",
    "Task",
    "Waiting",
    "acquire",
    "confirm",
    "connect",
    "find",
    "follow",
    "get",
    "hasten",
    "list",
    "outbox",
    "publish",
    "record",
    "retry",
    "show",
    "watch",
    "withdraw",
]

if not TYPE_CHECKING:  # a type checker sees the imports above, and finds a misspelt name

    def __getattr__(name: str) -> object:
        if name == "Client":
            from modelsyncd.client.blocking import Client  # noqa: PLC0415 gRPC is loaded only where it is used

            return Client
        if name == "AsyncClient":
            from modelsyncd.client.aio import AsyncClient  # noqa: PLC0415

            return AsyncClient
        if name == "HubClient":
            from modelsyncd.client.hub import HubClient  # noqa: PLC0415

            return HubClient
        if name == "AsyncHubClient":
            from modelsyncd.client.hub_aio import AsyncHubClient  # noqa: PLC0415

            return AsyncHubClient
        if name in __all__:
            from modelsyncd.client import default  # noqa: PLC0415

            return getattr(default, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
