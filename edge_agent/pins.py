"""The only place that reads which releases a node keeps whatever else it needs room for."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from modelsyncd.errors import BadInputError
from modelsyncd.names import ModelRef, parse_ref
from modelsyncd.store.version import Version


def parse_pins(words: Iterable[str]) -> frozenset[ModelRef]:
    """Each is MODEL:NUMBER. Raises InvalidNameError, BadInputError for a name without a number."""
    pins = frozenset(map(parse_ref, words))
    for pin in pins:
        if pin.number is None:
            raise BadInputError(f"{pin} names no release", hint=f"a pin is MODEL:NUMBER, as in {pin.model}:3")
    return pins


def is_pinned(version: Version, pins: Collection[ModelRef]) -> bool:
    """Whether one of the pins names this version."""
    return ModelRef(version.model, number=version.number) in pins
