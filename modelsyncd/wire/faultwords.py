"""The only place where a fault is written for the wire and read from it.

Its sentences end in logs and on terminals, so they are cut to a length and cleared of control characters on the way
in, and made of whole characters on the way out: a file name that is no UTF-8 must not keep an error from travelling.
"""

from __future__ import annotations

from modelsyncd.session.fault import Fault
from modelsyncd.wire.v1 import nouns_pb2

CODE_BYTES = 64  # bytes of UTF-8
SENTENCE_BYTES = 1_024  # bytes of UTF-8; three of them fit into gRPC's 8 KiB of metadata even in base64


def fault_to_pb(fault: Fault) -> nouns_pb2.Fault:
    """For the wire; long sentences are cut."""
    return nouns_pb2.Fault(
        code=_cut(fault.code, CODE_BYTES),
        message=_cut(fault.message, SENTENCE_BYTES),
        safe=_cut(fault.safe, SENTENCE_BYTES),
        hint=_cut(fault.hint, SENTENCE_BYTES),
        retryable=fault.retryable,
        next_number=max(0, fault.next_number),
    )


def fault_from_pb(message: nouns_pb2.Fault) -> Fault:
    """From the wire; whatever the peer wrote, the result is short and printable."""
    return Fault(
        code=_cut(_printable(message.code), CODE_BYTES),
        message=_cut(_printable(message.message), SENTENCE_BYTES),
        safe=_cut(_printable(message.safe), SENTENCE_BYTES),
        hint=_cut(_printable(message.hint), SENTENCE_BYTES),
        retryable=message.retryable,
        next_number=message.next_number,
    )


def _cut(text: str, most: int) -> str:
    raw = text.encode("utf-8", "replace")
    return raw.decode() if len(raw) <= most else raw[: most - 3].decode("utf-8", "ignore") + "…"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
