"""The only place that decides what a caller on this machine may do: pure, from the node's own settings.

Each right is a list of patterns, `namespace/name` or `namespace/name@channel` with `*` in them; one without a channel
covers all channels. What the settings do not say has a default: everybody who reaches the agent may read; whoever is
known and may read a model may say whether it works (`confirm`), because it is the one who loads it; who may publish a
model may record numbers about it; nobody may publish. Root and the agent's own user may do everything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path

from edge_agent.callers import Caller
from modelsyncd.errors import BadInputError, RefusedError
from modelsyncd.names import ModelRef

EVERYBODY = "*"  # the section that counts where a caller's own ones say nothing
_PATTERN = re.compile(r"\*|[a-z0-9._*?-]+/[a-z0-9._*?-]+(@[a-z0-9._*?-]+)?")


class Right(StrEnum):
    """What may be done to a model, by the name of its setting."""

    READ = "read"
    PUBLISH = "publish"
    RECORD = "record"
    CONFIRM = "confirm"


@dataclass(frozen=True, slots=True)
class Grant:
    """What one section gives, [rights.NAME]: NAME is a user, its number, "group:NAME", or "*" for everybody.

    What is None is not said. Whoever shows the token in `token_file` counts as NAME, too. Raises BadInputError.
    """

    read: tuple[str, ...] | None = None
    publish: tuple[str, ...] | None = None
    record: tuple[str, ...] | None = None
    confirm: tuple[str, ...] | None = None
    token_file: Path | None = None

    def __post_init__(self) -> None:
        for right in Right:
            for pattern in self.patterns(right) or ():
                if not _PATTERN.fullmatch(pattern):
                    raise BadInputError(
                        f"{pattern[:80]!r} is no pattern for models",
                        hint='as in "acme/helmet", "acme/*", "acme/helmet-*@canary", or "*" for all',
                    )

    def patterns(self, right: Right) -> tuple[str, ...] | None:
        """What it says of this right."""
        match right:
            case Right.READ:
                return self.read
            case Right.PUBLISH:
                return self.publish
            case Right.RECORD:
                return self.record
            case Right.CONFIRM:
                return self.confirm


class Rights:
    """What the settings give to whom."""

    def __init__(self, grants: Mapping[str, Grant] | None = None) -> None:
        self._grants = dict(grants or {})

    @property
    def token_files(self) -> dict[str, Path]:
        """Where the tokens lie, by the name that they stand for."""
        return {name: grant.token_file for name, grant in self._grants.items() if grant.token_file is not None}

    def may(self, caller: Caller, right: Right, ref: ModelRef) -> bool:
        """Whether the caller has this right to a model, or to a channel of it."""
        if caller.owner:
            return True
        return any(_covers(pattern, ref) for pattern in self._patterns(caller, right))

    def demand(self, caller: Caller, right: Right, ref: ModelRef) -> None:
        """Raises RefusedError, naming caller and right, when it does not have it."""
        if self.may(caller, right, ref):
            return
        name = caller.name if caller.known else EVERYBODY
        raise RefusedError(
            f"{caller.name if not caller.known else f'user {caller.name}'} may not {right} {ref} on this node",
            safe="nothing was changed",
            hint=f'in the settings of the agent: [rights."{name}"] {right} = ["{ref.model}"]',
        )

    def _patterns(self, caller: Caller, right: Right) -> tuple[str, ...]:
        own = [grant.patterns(right) for name, grant in self._grants.items() if name in caller.names]
        said = [patterns for patterns in own if patterns is not None]
        if said:
            return tuple(pattern for patterns in said for pattern in patterns)
        everybody = self._grants.get(EVERYBODY)
        patterns = everybody.patterns(right) if everybody is not None else None
        return self._default(caller, right) if patterns is None else patterns

    def _default(self, caller: Caller, right: Right) -> tuple[str, ...]:
        match right:
            case Right.READ:
                return ("*",)
            case Right.CONFIRM:
                return self._patterns(caller, Right.READ) if caller.known else ()
            case Right.RECORD:
                return self._patterns(caller, Right.PUBLISH)
            case Right.PUBLISH:
                return ()


def _covers(pattern: str, ref: ModelRef) -> bool:
    model, at, channel = pattern.partition("@")
    if not fnmatchcase(str(ref.model), model):
        return False
    return not at or fnmatchcase(ref.channel or "", channel)
