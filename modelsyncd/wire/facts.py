"""The only place where what a node says of itself, and whom a variant does not fit, is written for the wire."""

from __future__ import annotations

from collections.abc import Iterable

from modelsyncd.errors import BadInputError, LimitError
from modelsyncd.limits import LIMITS, Limits
from modelsyncd.session.frames import Facts, Unfit
from modelsyncd.wire.v1 import sync_pb2


def facts_to_pb(facts: Facts) -> list[sync_pb2.Fact]:
    """For the wire."""
    return [sync_pb2.Fact(name=name, values=values) for name, values in facts.items()]


def facts_from_pb(messages: Iterable[sync_pb2.Fact], limits: Limits = LIMITS) -> Facts:
    """From the wire. Raises LimitError, or BadInputError for a fact without a name."""
    found: dict[str, tuple[str, ...]] = {}
    for message in messages:
        if not message.name:
            raise BadInputError("a fact needs a name")
        words = (message.name, *message.values)
        if len(words) > limits.labels or any(len(word) > limits.label_chars for word in words):
            raise LimitError(
                f"fact {message.name[:40]!r}: at most {limits.labels - 1} values of {limits.label_chars} characters"
            )
        found[message.name] = tuple(message.values)
    if len(found) > limits.labels:
        raise LimitError(f"a node may say {limits.labels} facts, not {len(found)}")
    return found


def unfit_to_pb(unfit: Unfit | None) -> sync_pb2.Misfit | None:
    """For the wire."""
    return None if unfit is None else sync_pb2.Misfit(number=unfit.number, why=unfit.why)


def unfit_from_pb(message: sync_pb2.Misfit, limits: Limits = LIMITS) -> Unfit:
    """From the wire; what is too long for people is cut."""
    return Unfit(message.number, tuple(why[: limits.note_chars] for why in message.why[: limits.variants]))
