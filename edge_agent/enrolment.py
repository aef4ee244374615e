"""The only place where the agent learns whether it is let in, and sees to it in a child process when it is not.

The cryptography library takes 15 MB that are needed for a second in sixty days; so the agent itself reads a small file
of facts, and `edge_agent.enrol` runs as a child when there is something to do.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from modelsyncd.daemon.log import Log
from modelsyncd.errors import DamageError, InviteError, ModelsyncError, NoProgressError, NotFoundError
from modelsyncd.session.faults import error_of
from modelsyncd.session.frames import Fault
from modelsyncd.trust import invite as invites
from modelsyncd.trust.identity import Identity, read_file

FOLDER = "identity"
FACTS_FILE = "enrolment.json"
_TIMEOUT = 120.0  # seconds for a child to start, ask the hub twice and write five small files
_STDERR_CHARS = 2_000  # of a child that died


@dataclass(frozen=True, slots=True)
class Enrolment:
    """That this node is let in: its name, when its certificate begins and ends and is due for renewal, which invite.

    Times are seconds since 1970-01-01 UTC. `problem` says why a certificate that still holds could not be renewed.
    """

    name: str
    begins: float
    due: float
    ends: float
    invite: str = ""
    problem: Fault | None = None


def folder_of(data: Path) -> Path:
    """Where an agent with this data folder keeps its identity."""
    return data / FOLDER


def known(data: Path) -> Enrolment | None:
    """What the last enrolment left here, without asking anybody; None when there was none. Raises DiskError.

    Once the node was let in it is there, so an agent whose hub is away knows its own name. A damaged one counts as
    none, because `ensure` makes it again from the certificate.
    """
    try:
        return enrolment_from(read_file(folder_of(data) / FACTS_FILE))
    except (NotFoundError, DamageError):
        return None


def identity(data: Path) -> Identity:
    """What to speak to the hub with; read it again for each connection, as it may have been renewed.

    Raises NotFoundError, DiskError.
    """
    return Identity.load(folder_of(data))


async def ensure(data: Path, hub: str, invite: str, now: float) -> Enrolment:
    """Sees to it that this node is let in, and stays so: enrols, or renews, or finds nothing to do and is quick.

    `invite` is the token's text or empty; one that was used already does no harm, so it may stay in a unit file. Call
    it at the start and again when `due` has come. While the certificate holds, a hub that is away or refuses is no
    error but a `problem`. Raises InviteError, RefusedError, RoadError, DiskError, DamageError.
    """
    before = known(data)
    if before is not None and _nothing_to_do(before, invite, now):
        return before
    after = await _in_child(data, hub, invite)
    if after.problem is not None:
        Log().failure("enrolment.stale", error_of(after.problem), node=after.name, ends_in_s=round(after.ends - now))
    elif before != after:
        Log().info("enrolment.fresh", node=after.name, days=round((after.ends - now) / 86_400))
    return after


def _nothing_to_do(before: Enrolment, invite: str, now: float) -> bool:
    return before.begins <= now < before.due and _was_used(invite, before)


def _was_used(invite: str, before: Enrolment) -> bool:
    try:
        return not invite.strip() or invites.decode(invite).id == before.invite
    except InviteError:
        return False  # the child says what is wrong with it


async def _in_child(data: Path, hub: str, invite: str) -> Enrolment:
    order = json.dumps({"data": str(data), "hub": hub, "invite": invite}).encode()
    try:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "edge_agent.enrol"),
            stdin=asyncio.subprocess.PIPE,  # the invite is a secret: arguments can be read by every user of the machine
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:  # too many open files or processes, or no memory left for one
        raise NoProgressError(
            f"the process that enrols can't be started: {error.strerror or error}", safe="it is tried again by itself"
        ) from error
    try:
        async with asyncio.timeout(_TIMEOUT):
            out, err = await child.communicate(order)
    except TimeoutError:
        raise NoProgressError(f"enrolment took longer than {_TIMEOUT:.0f} s", safe="it can be tried again") from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode == 0:
        return enrolment_from(out)
    if child.returncode is not None and child.returncode < 0:  # by whoever is short of memory, say
        raise NoProgressError(
            f"the process that enrols was ended by signal {-child.returncode}",
            safe="what it had done is kept",
            hint="it is tried again by itself; if it happens again, look at the kernel's log for what ends it",
        )
    raise _error_of(out, err)


def _error_of(out: bytes, err: bytes) -> ModelsyncError:
    try:
        return error_of(Fault(**json.loads(out)))
    except (ValueError, TypeError):
        words = err.decode(errors="replace").strip()[-_STDERR_CHARS:]
        return ModelsyncError(f"the process that enrols died: {words or 'without a word'}")


def enrolment_from(text: bytes) -> Enrolment:
    """The enrolment that `enrolment_to` wrote. Raises DamageError."""
    try:
        fields = json.loads(text)
        problem = fields.pop("problem")
        return Enrolment(**fields, problem=Fault(**problem) if problem else None)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamageError("what the last enrolment left can't be read") from error


def enrolment_to(enrolment: Enrolment) -> bytes:
    """JSON on one line."""
    return json.dumps(asdict(enrolment)).encode()
