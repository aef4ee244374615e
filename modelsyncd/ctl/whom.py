"""The only place that reads and names whom a limit or a pin is for: --node, --selector or --all."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import click

from modelsyncd.ctl import pairs
from modelsyncd.errors import BadInputError
from modelsyncd.names import parse_node
from modelsyncd.wire.v1 import limits_pb2 as pb


@dataclass(frozen=True, slots=True)
class Named:
    """Whom a person named with --node, --selector and --all."""

    node: str | None = None
    selector: tuple[str, ...] = ()
    everyone: bool = False

    @property
    def whom(self) -> pb.Whom:
        """Whom that is. Raises BadInputError unless exactly one of them was used, InvalidNameError, LimitError."""
        if bool(self.node) + bool(self.selector) + self.everyone != 1:
            raise BadInputError("say whom it is for: one of --node NAME, --selector K=V (repeatable) and --all")
        return pb.Whom(node=parse_node(self.node) if self.node else "", selector=pairs.labels(self.selector))

    def only_node(self, why: str) -> str:
        """The node, empty for none. Raises BadInputError with `why` when others were named."""
        if self.selector or self.everyone:
            raise BadInputError(why)
        return parse_node(self.node) if self.node else ""


def whom_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds --node, --selector and --all to a verb, which gets them as `named`."""

    @functools.wraps(command)
    def inner(**kwargs: object) -> None:
        given = {name: kwargs.pop(name) for name in ("node", "selector", "everyone")}
        command(named=Named(**given), **kwargs)  # type: ignore[arg-type]

    for option in (
        click.option("--all", "everyone", is_flag=True, help="Every node."),
        click.option("--selector", "-l", multiple=True, metavar="K=V", help="Every node with this label; repeatable."),
        click.option("--node", "-n", metavar="NAME", help="One node."),
    ):
        inner = option(inner)
    return inner


def words(view: pb.Whom) -> str:
    """For people: "node edge-1", "every node with site=oslo", "every node"."""
    if view.node:
        return f"node {view.node}"
    shown = " ".join(f"{key}={value}" for key, value in sorted(view.selector.items()))
    return f"every node with {shown}" if shown else "every node"


def typed(view: pb.Whom) -> str:
    """As it is typed: "--node edge-1"."""
    if view.node:
        return f"--node {view.node}"
    if not view.selector:
        return "--all"
    return " ".join(f"--selector {key}={value}" for key, value in sorted(view.selector.items()))
