"""The only place that says who calls on this machine: a local user, whoever shows a token, or nobody known."""

from __future__ import annotations

import grp
import os
import pwd
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from modelsyncd.daemon.log import Log
from modelsyncd.errors import BadInputError, DiskError, ModelsyncError, NotFoundError

TOKEN_CHARS = 16  # a shorter secret could be tried out
_BEARER = "bearer "


@dataclass(frozen=True, slots=True)
class Caller:
    """Who called: `name` for people, and all `names` under which the settings may give it rights.

    `uid`, `groups` and `pid` are the kernel's word, None, empty and 0 for who came over TCP. An `owner` may do
    everything: root, and the agent's own user.
    """

    name: str
    names: frozenset[str] = frozenset()
    uid: int | None = None
    groups: frozenset[int] = frozenset()
    pid: int = 0
    owner: bool = False

    @property
    def known(self) -> bool:
        """Whether it is anybody in particular."""
        return bool(self.names)

    def __str__(self) -> str:
        """As in "vision/4711": the user and its process."""
        return f"{self.name}/{self.pid}" if self.pid else self.name


NOBODY = Caller("a caller without a token")


def local_user(uid: int, groups: Iterable[int], pid: int) -> Caller:
    """Who a process is; a user or group that this machine has no name for goes by its number."""
    every = frozenset(groups)
    name = _user(uid)
    names = {name, str(uid), *(f"group:{_group(one)}" for one in every), *(f"group:{one}" for one in every)}
    return Caller(name, frozenset(names), uid, every, pid, owner=uid in (0, os.geteuid()))


class Tokens:
    """Secrets that stand for names, each in a file of its own."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = dict(files)
        self._secrets: dict[str, bytes] = {}

    def read(self) -> None:
        """Reads the files anew. Raises NotFoundError, DiskError, BadInputError for a token that could be guessed."""
        self._secrets = {name: _secret(path) for name, path in self._files.items()}

    def again(self) -> None:
        """Reads them anew if all can be read, and else keeps what it has and says why."""
        try:
            self.read()
        except ModelsyncError as error:
            Log().failure("tokens.unread", error)

    def caller(self, authorization: str) -> Caller:
        """Whose token is in "Bearer TOKEN"; NOBODY for none that is known. Takes as long whichever it is."""
        if authorization[: len(_BEARER)].lower() != _BEARER:
            return NOBODY
        shown = authorization[len(_BEARER) :].strip().encode()
        found = [name for name, secret in self._secrets.items() if secrets.compare_digest(secret, shown)]
        return Caller(found[0], frozenset(found)) if found else NOBODY


def _secret(path: Path) -> bytes:
    try:
        found = path.read_bytes().strip()
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no token in {path}", hint=f"make one: openssl rand -hex 32 > {path}") from error
    except OSError as error:
        raise DiskError(f"can't read {path}: {error.strerror}") from error
    if len(found) < TOKEN_CHARS:
        raise BadInputError(
            f"the token in {path} is shorter than {TOKEN_CHARS} characters", hint=f"openssl rand -hex 32 > {path}"
        )
    return found


@lru_cache(1_024)
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@lru_cache(1_024)
def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
