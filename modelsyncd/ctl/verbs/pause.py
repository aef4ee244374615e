"""`modelsyncctl pause`: nodes fetch nothing until somebody takes that back."""

from __future__ import annotations

import click

from modelsyncd.ctl import limits
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.verbs.limit import Wanted, limit_view, set_limit
from modelsyncd.ctl.whom import Named, whom_options
from modelsyncd.wire.v1 import limits_pb2 as pb


@click.command("pause")
@click.argument("channel", metavar="[MODEL@CHANNEL]", required=False)
@whom_options
@limits.note_option
@asked
def command(asked: Asked, channel: str | None, named: Named, note: str) -> None:
    """Stop nodes from fetching until they are resumed.

    What is durable on them stays, what is active keeps serving, and nothing travels twice. The same as limit --pause.
    """
    view = limit_view(channel, named.whom, Wanted(paused=True), note)
    asked.run(set_limit(asked, pb.SetLimitRequest(limit=view)))
