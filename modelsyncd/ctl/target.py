"""The only place that reads whom an assignment is for: MODEL@CHANNEL, and --node or --selector."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click

from modelsyncd.ctl import pairs
from modelsyncd.ctl.figures import pairs as shown
from modelsyncd.errors import BadInputError
from modelsyncd.names import DEFAULT_CHANNEL, parse_node, parse_ref
from modelsyncd.wire.v1 import catalog_pb2 as pb


def target_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds --node and --selector to a verb."""
    for option in (
        click.option("--selector", "-l", multiple=True, metavar="K=V", help="Every node with this label; repeatable."),
        click.option("--node", "-n", metavar="NAME", help="One node."),
    ):
        command = option(command)
    return command


def assignment(ref: str, node: str | None, selector: Sequence[str], priority: int = 0) -> pb.AssignmentView:
    """What was named on the command line. Raises BadInputError, InvalidNameError."""
    parsed = parse_ref(ref)
    if parsed.number is not None:
        raise BadInputError(
            f"nodes follow channels, not numbers like {parsed.number}",
            hint=f"modelsyncctl promote {parsed} {DEFAULT_CHANNEL}, and assign {parsed.model}@{DEFAULT_CHANNEL}",
        )
    if bool(node) == bool(selector):
        raise BadInputError("say whom it is for: either --node NAME, or --selector k=v (repeatable)")
    return pb.AssignmentView(
        model=str(parsed.model),
        channel=parsed.channel or DEFAULT_CHANNEL,
        node=parse_node(node) if node else "",
        selector=pairs.labels(selector),
        priority=priority,
    )


def whom(view: pb.AssignmentView) -> str:
    """Whom an assignment is for, in words."""
    return f"node {view.node}" if view.node else f"every node with {shown(dict(view.selector))}"
