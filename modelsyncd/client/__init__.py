"""What a job uses to find its models: a path that is whole and verified now, and word of each switch.

    from modelsyncd.client import Client

    with Client() as agent:
        model = agent.get("acme/helmet@stable", wait=30)
        net = load(model.path)
        for model in agent.watch("acme/helmet@stable"):
            net = load(model.path)

It asks the agent of this machine over a unix socket and never the hub, so it answers with the hub away. Importing it is
cheap: gRPC is loaded when the first client is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelsyncd.client.model import LocalModel, Model
from modelsyncd.client.target import DEFAULT_SOCKET, VARIABLE

if TYPE_CHECKING:
    from modelsyncd.client.aio import AsyncClient
    from modelsyncd.client.blocking import Client

__all__ = ["DEFAULT_SOCKET", "VARIABLE", "AsyncClient", "Client", "LocalModel", "Model"]

if not TYPE_CHECKING:  # a type checker sees the imports above, and finds a misspelt name

    def __getattr__(name: str) -> object:
        if name == "Client":
            from modelsyncd.client.blocking import Client  # noqa: PLC0415 gRPC is loaded only where it is used

            return Client
        if name == "AsyncClient":
            from modelsyncd.client.aio import AsyncClient  # noqa: PLC0415

            return AsyncClient
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
