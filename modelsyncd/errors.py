"""The only place where errors get their names: sorted by what the caller should do, not by where they were raised.

Each error carries up to three sentences: what happened (the message), what is safe in spite of it, and what to do next.
`code` is the stable word that travels on the wire and stands in `--json` output; `exit_code` is what `modelsyncctl`
ends with (docs/exit-codes.md); `retryable` says whether the same try may succeed later without anyone doing anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class ModelsyncError(Exception):
    """Something went wrong that modelsyncd has no better name for."""

    code: ClassVar[str] = "internal"
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, message: str = "", *, safe: str = "", hint: str = "") -> None:
        super().__init__(message or type(self).__doc__ or "")
        self.message = message or (type(self).__doc__ or "")
        self.safe = safe
        self.hint = hint


# --- Our user's fault: the same call will fail again until its input changes ---


class BadInputError(ModelsyncError):
    """What was asked for can't be done as it was asked."""

    code = "bad-input"
    exit_code = 2


class InvalidNameError(BadInputError):
    """A name breaks the rules for names."""

    code = "invalid-name"


class HostilePathError(BadInputError):
    """A path inside a model would lead outside it, or can't exist on every node."""

    code = "hostile-path"


class SourceChangedError(BadInputError):
    """The source changed while it was read."""

    code = "source-changed"
    retryable = True


class LimitError(BadInputError):
    """Something from outside is larger than we accept."""

    code = "limit"


class NotFoundError(ModelsyncError):
    """There is no such thing."""

    code = "not-found"
    exit_code = 3

    def __init__(self, message: str = "", *, safe: str = "", hint: str = "", nearest: Sequence[str] = ()) -> None:
        if nearest and not hint:
            hint = f"did you mean {' or '.join(nearest)}?"
        super().__init__(message, safe=safe, hint=hint)


# --- Their fault: the peer refuses, or speaks wrongly ---


class RefusedError(ModelsyncError):
    """The other side will not do this for us."""

    code = "refused"
    exit_code = 4


class InviteError(RefusedError):
    """The invite does not let this node in."""

    code = "invite-refused"


class ConflictError(ModelsyncError):
    """Somebody else got there first."""

    code = "conflict"
    exit_code = 5


class NumberTakenError(ConflictError):
    """The release number is not the next one; `next_number` is, or 0 where it is not known."""

    code = "number-taken"
    retryable = True

    def __init__(self, message: str = "", *, safe: str = "", hint: str = "", next_number: int = 0) -> None:
        super().__init__(message, safe=safe, hint=hint)
        self.next_number = next_number


class LockedError(ConflictError):
    """Another process is at work on this folder."""

    code = "locked"


class NewerFormatError(ConflictError):
    """This was written by a newer modelsyncd."""

    code = "newer-format"


class GateFailedError(ConflictError):
    """A version did not prove itself where it was tried."""

    code = "gate-failed"


class NoVariantError(ConflictError):
    """No variant of a release fits a node."""

    code = "no-variant"


class ProtocolError(ModelsyncError):
    """The other side said something that the protocol does not allow here."""

    code = "protocol"
    exit_code = 9


class WrongProtocolError(ProtocolError):
    """The other side speaks another protocol number."""

    code = "wrong-protocol"


# --- The road's fault ---


class RoadError(ModelsyncError):
    """The link failed."""

    code = "road"
    exit_code = 6
    retryable = True


class NoProgressError(RoadError):
    """Nothing arrived for too long."""

    code = "no-progress"


# --- The disk's fault ---


class DiskError(ModelsyncError):
    """The disk or its file system failed."""

    code = "disk"
    exit_code = 7
    retryable = True


class DiskFullError(DiskError):
    """There is no room left."""

    code = "disk-full"


class DamageError(ModelsyncError):
    """Bytes are not what their digest says."""

    code = "damage"
    exit_code = 8


def first_of(group: BaseExceptionGroup[ModelsyncError]) -> ModelsyncError:
    """The error that ended a TaskGroup: the others are its echoes.

    To be raised after the `except*`, not in it: before Python 3.11.4 what is raised there comes out in a group again
    (https://github.com/python/cpython/issues/103590).
    """
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, ModelsyncError)  # noqa: S101 for the type checker: the group holds nothing else
    return found


def error_classes() -> dict[str, type[ModelsyncError]]:
    """Every class by its code: the door from a code on the wire back to an error."""
    found: dict[str, type[ModelsyncError]] = {}
    pending: list[type[ModelsyncError]] = [ModelsyncError]
    while pending:
        cls = pending.pop()
        found[cls.code] = cls
        pending.extend(cls.__subclasses__())
    return found
