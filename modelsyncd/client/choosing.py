"""The only place that chooses between the agent of this machine and a hub, so that one program runs at both ends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from modelsyncd.client.target import VARIABLE
from modelsyncd.exchange.places import CONTEXT

if TYPE_CHECKING:
    from modelsyncd.client.blocking import Client
    from modelsyncd.client.hub import HubClient


def is_hub(target: str | Path | None) -> bool:
    """Whether a target means a hub: "hub", "hub:PATH", or a context file, which ends in .toml.

    Without a target it is the agent, unless only $MODELSYNCD_CONTEXT is set.
    """
    if target is None or target == "":
        return not os.environ.get(VARIABLE) and bool(os.environ.get(CONTEXT))
    text = str(target)
    return text == "hub" or text.startswith("hub:") or (text.endswith(".toml") and not text.startswith("unix:"))


def connect(
    target: str | Path | None = None, *, token: str = "", cache: str | os.PathLike[str] | None = None
) -> Client | HubClient:
    """A client of the agent of this machine, or of a hub: the same program runs beside either.

    `token` is for an agent over TCP, `cache` for a hub; see `Client` and `HubClient`.

    >>> with client.connect() as here:
    ...     print(here.get("acme/helmet@stable").number)
    7
    """
    if is_hub(target):
        from modelsyncd.client.hub import HubClient  # noqa: PLC0415 -- loads much that a job on a node does not need

        return HubClient(target, cache=cache)
    from modelsyncd.client.blocking import Client  # noqa: PLC0415

    return Client(target, token=token)
