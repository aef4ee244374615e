"""The only place where an error becomes a fault that travels, and a fault that arrived becomes an error again.

Law: nothing of an error that is not ours travels: its text may name paths, addresses or secrets of this machine. The
one who catches it writes it to the log; the peer learns only that it happened.
"""

from __future__ import annotations

from modelsyncd.errors import ModelsyncError, NumberTakenError, error_classes
from modelsyncd.session.fault import Fault

INTERNAL = Fault(
    code=ModelsyncError.code,
    message="the other side failed in a way that it has no name for",
    hint="its log says what happened",
)


def fault_of(error: BaseException) -> Fault:
    """The fault to send for an error. Of a group, the first error of ours in it speaks for all."""
    ours = _ours(error)
    if ours is None:
        return INTERNAL
    free = ours.next_number if isinstance(ours, NumberTakenError) else 0
    return Fault(ours.code, ours.message, ours.safe, ours.hint, ours.retryable, free)


def error_of(fault: Fault) -> ModelsyncError:
    """The error to raise for a fault that arrived.

    A code that this version does not know becomes a plain ModelsyncError that names the code in its message.
    """
    known = error_classes().get(fault.code)
    if known is NumberTakenError:
        return NumberTakenError(fault.message, safe=fault.safe, hint=fault.hint, next_number=fault.next_number)
    if known is not None:
        return known(fault.message, safe=fault.safe, hint=fault.hint)
    return ModelsyncError(f"{fault.message} ({fault.code})", safe=fault.safe, hint=fault.hint)


def _ours(error: BaseException) -> ModelsyncError | None:
    if isinstance(error, ModelsyncError):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next((found for inner in error.exceptions if (found := _ours(inner)) is not None), None)
    return None
