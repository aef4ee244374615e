"""The only place where a node asks to be let in: makes its key, shows its invite, keeps the certificate.

    python -m edge_agent.enrol    with {"data": "FOLDER", "hub": "HOST:PORT", "invite": "msi1_…"} as standard input

Law: the key rests on the disk before anybody is asked, and is never replaced; so a crash at any point, at either end,
is healed by asking again with the same key. A certificate that holds is never given up for one that we do not have.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from edge_agent.enrolment import FACTS_FILE, Enrolment, enrolment_to, folder_of, known
from modelsyncd.errors import BadInputError, DamageError, InviteError, ModelsyncError, NotFoundError, RoadError
from modelsyncd.link.channel import open_channel
from modelsyncd.session.faults import fault_of
from modelsyncd.store import failpoints
from modelsyncd.store.durable import write_file
from modelsyncd.store.failpoints import Point, passing
from modelsyncd.trust import invite as invites
from modelsyncd.trust import keys
from modelsyncd.trust.identity import (
    KEY_FILE,
    SECRET_MODE,
    Identity,
    Kind,
    Peer,
    make_private_folder,
    read_file,
)
from modelsyncd.trust.invite import Invite
from modelsyncd.wire.status import translated
from modelsyncd.wire.v1 import sync_pb2, sync_pb2_grpc

INVITE_FILE = "invite"
_TIMEOUT = 30.0  # seconds for one small question and its answer on a slow link


async def enrol(data: Path, hub: str, invite: str, now: float) -> Enrolment:
    """Enrols or renews as far as there is need; safe to repeat after a crash at any point.

    An invite that was not used yet is used even while the certificate holds: that is how a node that was removed comes
    back. The last one is kept, because it lets the same key in again when the certificate ended while the hub was out
    of reach. Raises InviteError, RefusedError, RoadError, BadInputError, DiskError, DamageError when no certificate
    holds; while one does, the error is the `problem` of what is returned.
    """
    folder = folder_of(data)
    make_private_folder(folder)
    held = _held(folder, now)
    redeemed = _redeemed(data)
    try:
        for_use = [token for token in _tokens(folder, invite) if held is None or token.id != redeemed]
        if for_use:
            return await _enrol(folder, hub, for_use, now)
        if held is None:
            raise _not_let_in(folder)
        if now < keys.validity_of(held.certificate).due():
            return _keep(folder, _facts(held, redeemed))
        return await _renew(folder, hub, held, redeemed)
    except ModelsyncError as error:
        if held is None:
            raise
        return replace(_keep(folder, _facts(held, redeemed)), problem=fault_of(error))


async def _enrol(folder: Path, hub: str, tokens: Sequence[Invite], now: float) -> Enrolment:
    refusals: list[InviteError] = []
    for token in tokens:
        _check_clock(token.identity.certificate, now)
        try:
            identity = await _redeem(folder, hub, token)
        except InviteError as error:
            refusals.append(error)
            continue
        identity.save(folder, write_file)
        write_file(folder / INVITE_FILE, invites.encode(token).encode(), SECRET_MODE)
        return _keep(folder, _facts(identity, token.id))
    raise refusals[0]


async def _redeem(folder: Path, hub: str, token: Invite) -> Identity:
    key = _key(folder)
    if not (folder / INVITE_FILE).exists():  # so that a node that crashes now comes in without being told again
        write_file(folder / INVITE_FILE, invites.encode(token).encode(), SECRET_MODE)
    node = Peer(Kind.NODE, token.name)
    passing(Point.INVITE_KEPT)
    request = sync_pb2.EnrolRequest(name=token.name, csr=keys.new_request(key, node))
    async with open_channel(hub, token.identity) as channel:
        with translated(hub):
            answer = await sync_pb2_grpc.EnrolServiceStub(channel).Enrol(request, timeout=_TIMEOUT)
    passing(Point.ENROLMENT_ANSWERED)
    return _accept(Identity(key, answer.certificate.encode(), answer.authority.encode()), node)


async def _renew(folder: Path, hub: str, held: Identity, redeemed: str) -> Enrolment:
    node = keys.holder_of(held.certificate)
    request = sync_pb2.RenewRequest(csr=keys.new_request(held.key, node))
    async with open_channel(hub, held) as channel:
        with translated(hub):
            answer = await sync_pb2_grpc.EnrolServiceStub(channel).Renew(request, timeout=_TIMEOUT)
    fresh = _accept(Identity(held.key, answer.certificate.encode(), answer.authority.encode()), node)
    fresh.save(folder, write_file)
    return _keep(folder, _facts(fresh, redeemed))


def _accept(identity: Identity, node: Peer) -> Identity:
    """The identity, if the hub gave what was asked for: nothing else goes to the disk. Raises DamageError."""
    fits = (
        keys.belong(identity.key, identity.certificate)
        and keys.holder_of(identity.certificate) == node
        and keys.issued_by(identity.certificate, identity.authority)
    )
    if not fits:
        raise DamageError(f"the hub gave a certificate that is not for {node}", safe="it was not kept")
    return identity


def _held(folder: Path, now: float) -> Identity | None:
    try:
        identity = Identity.load(folder)
        if not keys.belong(identity.key, identity.certificate):
            return None
        _check_clock(identity.certificate, now)
        return identity if now < keys.validity_of(identity.certificate).ends else None
    except (NotFoundError, DamageError):
        return None


def _check_clock(certificate: bytes, now: float) -> None:
    if now >= keys.validity_of(certificate).begins:
        return
    raise RoadError(
        f"this machine's clock says {_day(now)}, which is before its certificate was made",
        safe="the certificate is kept",
        hint="set the clock (timedatectl, or a time server); it is tried again by itself",
    )


def _tokens(folder: Path, given: str) -> list[Invite]:
    texts = [given, _stored_invite(folder)]
    tokens = [invites.decode(text) for text in texts if text.strip()]
    return list({token.id: token for token in tokens}.values())


def _stored_invite(folder: Path) -> str:
    try:
        return read_file(folder / INVITE_FILE).decode(errors="replace")
    except NotFoundError:
        return ""


def _redeemed(data: Path) -> str:
    before = known(data)
    return before.invite if before is not None else ""


def _key(folder: Path) -> bytes:
    try:
        return read_file(folder / KEY_FILE)
    except NotFoundError:
        key = keys.new_key()
        write_file(folder / KEY_FILE, key, SECRET_MODE)
        passing(Point.NODE_KEY_KEPT)
        return key


def _facts(identity: Identity, invite: str) -> Enrolment:
    validity = keys.validity_of(identity.certificate)
    name = keys.holder_of(identity.certificate).name
    return Enrolment(name, validity.begins, validity.due(), validity.ends, invite)


def _keep(folder: Path, facts: Enrolment) -> Enrolment:
    passing(Point.IDENTITY_KEPT)
    write_file(folder / FACTS_FILE, enrolment_to(facts), SECRET_MODE)
    return facts


def _not_let_in(folder: Path) -> InviteError:
    hint = "at the hub: modelsyncctl node invite NAME; here: give the agent what it prints, with --invite-file"
    try:
        validity = keys.validity_of(Identity.load(folder).certificate)
    except (NotFoundError, DamageError):
        return InviteError("this node is not let in by a hub yet", hint=hint)
    return InviteError(
        f"this node's certificate ended on {_day(validity.ends)}",
        safe="the models on this node stay and keep working",
        hint=hint,
    )


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def main() -> int:
    """Reads an order from standard input, writes an Enrolment or a Fault in JSON; the exit code is the error's."""
    try:
        failpoints.arm_from(os.environ)
        order = json.loads(sys.stdin.buffer.read())
        work = enrol(Path(order["data"]), order["hub"], order["invite"], time.time())
        sys.stdout.write(enrolment_to(asyncio.run(work)).decode())
    except (ValueError, KeyError, TypeError) as error:
        return _say(BadInputError(f"not an order to enrol: {error!r}"))
    except ModelsyncError as error:
        return _say(error)
    return 0


def _say(error: ModelsyncError) -> int:
    sys.stdout.write(json.dumps(asdict(fault_of(error))))
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
