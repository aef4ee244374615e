"""`modelsyncctl resume`: takes a pause back that was given for the same."""

from __future__ import annotations

import click

from modelsyncd.ctl import limits
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.verbs.limit import Wanted, limit_view, set_limit
from modelsyncd.ctl.whom import Named, whom_options
from modelsyncd.wire.v1 import limits_pb2 as pb


@click.command("resume")
@click.argument("channel", metavar="[MODEL@CHANNEL]", required=False)
@whom_options
@limits.note_option
@asked
def command(asked: Asked, channel: str | None, named: Named, note: str) -> None:
    """Let nodes fetch again that were paused.

    Name them as they were paused; pauses of others that still hold there are told. The same as limit --resume.
    """
    view = limit_view(channel, named.whom, Wanted(paused=False), note)
    asked.run(set_limit(asked, pb.SetLimitRequest(limit=view)))
