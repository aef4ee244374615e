"""The only place where what nodes say of themselves is written as text, and read back."""

from __future__ import annotations

import json

from modelsyncd.session.frames import Facts

NONE = "{}"


def write(facts: Facts) -> str:
    """JSON that is the same text for the same facts."""
    return json.dumps({name: list(values) for name, values in facts.items()}, sort_keys=True, ensure_ascii=False)


def read(text: str) -> Facts:
    """The facts that `write` wrote."""
    found: dict[str, list[str]] = json.loads(text)
    return {name: tuple(values) for name, values in found.items()}
