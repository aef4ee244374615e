"""`modelsyncctl doctor`: looks for what is wrong, here, on the way to the hub, and there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import click
from grpc import aio
from grpc_health.v1 import health_pb2

from modelsyncd.ctl import context as contexts
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.checks import Check, State, worst
from modelsyncd.ctl.checks_here import here
from modelsyncd.ctl.checks_there import there
from modelsyncd.ctl.hub import Hub, connect
from modelsyncd.ctl.table import Column, table
from modelsyncd.errors import NotFoundError
from modelsyncd.link.channel import open_channel
from modelsyncd.trust.context import Context
from modelsyncd.trust.identity import Identity
from modelsyncd.wire.v1 import doctor_pb2 as pb
from modelsyncd.wire.v1.doctor_pb2_grpc import DoctorServiceStub

IDENTITY = "identity"  # where an agent keeps its own, in its data folder
_COLUMNS = (Column("WHAT"), Column("IS"), Column(""))


@click.command("doctor")
@click.option(
    "--agent",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="On a node: its agent's data folder; with --hub, the way is tried as that node.",
)
@asked
def command(asked: Asked, agent: Path | None) -> None:
    """Look for what is wrong: this machine, the way to the hub, and the hub.

    Changes nothing. Ends with the exit code of the first thing that is wrong; what could only be better is told.
    """
    asked.run(_doctor(asked, agent))


async def _doctor(asked: Asked, agent: Path | None) -> None:
    checks = [*here(agent or Path.cwd())]
    checks += [one async for one in _as_node(asked, agent)] if agent else [one async for one in _as_person(asked)]
    asked.answer({"ok": worst(checks) is None, "checks": [_shape(one) for one in checks]}, text(checks))
    error = worst(checks)
    if error is not None:
        raise error


async def _as_person(asked: Asked) -> AsyncIterator[Check]:
    try:
        contexts.chosen(asked, contexts.config_folder())
    except NotFoundError as error:
        yield Check("hub", State.UNKNOWN, f"the hub was not looked at: {error.message}", (error.hint,))
        return
    async with connect(asked) as hub:
        stub = DoctorServiceStub(hub.channel)

        async def ask() -> pb.ExamineResponse:
            answer: pb.ExamineResponse = await hub.ask(stub.Examine, pb.ExamineRequest())
            return answer

        async for one in there(hub.address, ask):
            yield one


async def _as_node(asked: Asked, agent: Path) -> AsyncIterator[Check]:
    if asked.hub is None:
        yield Check("hub", State.UNKNOWN, "the hub was not looked at: --hub HOST:PORT says where it is")
        return
    identity = Identity.load(agent / IDENTITY)
    async with open_channel(asked.hub, identity) as channel:
        hub = Hub(Context(asked.hub, "", identity), channel, "modelsyncctl")
        check: aio.UnaryUnaryMultiCallable[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",  # what every certificate of ours may ask
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )

        async def ask() -> None:
            await hub.ask(check, health_pb2.HealthCheckRequest())

        async for one in there(asked.hub, ask):
            yield one


def _shape(one: Check) -> dict[str, object]:
    facts = dict(one.facts)
    return {"name": one.name, "state": one.state.value, "says": one.says, "advice": list(one.advice), "facts": facts}


def text(checks: list[Check]) -> str:
    """For people: a line for each thing, and below those that need one what to type."""
    rows = [[one.name, one.state.value.replace("-", " "), one.says] for one in checks]
    advice = [f"  {line}" for one in checks for line in one.advice if line]
    return "\n".join([table(_COLUMNS, rows), *(["", "What would help:", *advice] if advice else [])])
