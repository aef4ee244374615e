"""`modelsyncctl run`: a command with a model of this machine, which it holds, and gets anew at each switch."""

from __future__ import annotations

from functools import partial

import click

from modelsyncd.ctl.agent import agent_option, reach
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.supervision import Policy, Supervised, signal_of
from modelsyncd.errors import NotFoundError, RoadError


@click.command("run")
@click.option("--signal", "number", metavar="NAME", help="Send this at a switch, as in HUP, instead of starting anew.")
@click.option("--grace", type=click.FloatRange(min=0), default=10.0, show_default=True, help="Seconds to end in.")
@click.option(
    "--confirm-after",
    type=click.FloatRange(min=0),
    metavar="S",
    help="Tell the agent that a version works after S seconds or a good end, and that it does not if it fails before.",
)
@click.option("--wait", type=click.FloatRange(min=0), metavar="S", help="End when there is no version after S seconds.")
@click.argument("model")
@click.argument("command", nargs=-1, required=True)
@agent_option
@asked
def command(
    asked: Asked,
    *,
    model: str,
    command: tuple[str, ...],
    number: str | None,
    grace: float,
    confirm_after: float | None,
    wait: float | None,
    socket: str | None,
) -> None:
    """Run a command with a model of this machine, again at each switch.

    In COMMAND, {path} becomes the version's folder or file, {number} its number, {variant} which form of the release it
    is, and {channel_path} the path that follows the channel. The version is held while the command uses it. Ends with
    the command, and with its exit code.
    """
    policy = Policy(command, signal_of(number) if number else None, grace, confirm_after)
    codes: list[int] = []
    asked.run(_run(asked, model, policy, wait, socket=socket, codes=codes), interrupted="The command was ended.")
    click.get_current_context().exit(codes[0] if codes else 0)


async def _run(
    asked: Asked, model: str, policy: Policy, wait: float | None, *, socket: str | None, codes: list[int]
) -> None:
    async with reach(socket) as agent:
        try:
            await agent.get(model, wait)
        except (NotFoundError, RoadError) as error:
            if wait is not None:
                raise
            asked.note(f"{error.message}; waiting for it")
        follow = partial(agent.follow, model, holder=f"modelsyncctl run {policy.command[0]}"[:100])
        codes.append(await Supervised(policy, follow, agent.confirm, asked.note).run())
