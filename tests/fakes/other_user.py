"""A job of another local user: a process that gives up being root before it speaks to the agent."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

UID = 54_321  # nobody has it: so it goes by its number
GROUP = 54_322

_PROGRAM = """
import json, os, sys
import modelsyncd.client.blocking
from modelsyncd.client import Client
from modelsyncd.errors import ModelsyncError
import encodings.idna
socket, uid, gid, groups, code = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4]), sys.argv[5]
os.setgroups(groups)
os.setgid(gid)
os.setuid(uid)
with Client(socket) as agent:
    try:
        found = {"answer": eval(code)}
    except ModelsyncError as error:
        found = {"error": error.code, "message": error.message, "hint": error.hint}
print(json.dumps(found, default=str))
"""


def why_not() -> str:
    """Why no other user can be tried here; empty when one can."""
    return "" if os.geteuid() == 0 else "only root can become another user"


def command(socket: Path, code: str, groups: list[int] | None = None) -> list[str]:
    """What runs an expression about `agent` as that user; 0 is the group that may open the socket of root's agent."""
    return [sys.executable, "-c", _PROGRAM, str(socket), str(UID), str(GROUP), json.dumps(groups or [0]), code]


async def asked(socket: Path, code: str, groups: list[int] | None = None) -> dict[str, Any]:
    """What came of it: `answer`, or `error` with `message` and `hint`."""
    process = await asyncio.create_subprocess_exec(*command(socket, code, groups), stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    return _read(output)


def ask(socket: Path, code: str, groups: list[int] | None = None) -> dict[str, Any]:
    """The same, waiting."""
    return _read(subprocess.run(command(socket, code, groups), stdout=subprocess.PIPE, check=True, timeout=60).stdout)


def _read(output: bytes) -> dict[str, Any]:
    found = json.loads(output)
    assert isinstance(found, dict)
    return found
