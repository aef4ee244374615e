"""The only place that judges patterns of models and channels: what a right to publish is for. Pure.

A pattern is a name, or the beginning of names with one `*` behind it: "acme/helmet", "acme/helmet-*", "acme/*". The
namespace is always written out: what nodes of one namespace may do never reaches into another by a slip of the hand.
"""

from __future__ import annotations

from collections.abc import Callable

from modelsyncd.errors import InvalidNameError
from modelsyncd.names import parse_channel, parse_model

_REST = "*"
_ANY = "x"  # stands for the rest of a name while the beginning is judged


def parse_models(text: str) -> str:
    """A pattern of models. Raises InvalidNameError."""
    hint = "write acme/helmet, acme/helmet-* or acme/*"
    return _parsed(text, parse_model, "models", hint)


def parse_channels(text: str) -> str:
    """A pattern of channels. Raises InvalidNameError."""
    hint = "write stable, edge-* or *"
    return _parsed(text, parse_channel, "channels", hint)


def covers(pattern: str, name: str) -> bool:
    """Whether a pattern that was parsed is for this name: "namespace/name" of a model, or a channel's."""
    if pattern.endswith(_REST):
        return name.startswith(pattern.removesuffix(_REST))
    return name == pattern


def _parsed(text: str, parse: Callable[[str], object], what: str, hint: str) -> str:
    stem = text.removesuffix(_REST)
    try:
        parse(stem + _ANY if stem != text else text)
    except InvalidNameError as error:
        raise InvalidNameError(f"{text[:80]!r} is no pattern of {what}", hint=hint) from error
    return text
