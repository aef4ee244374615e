"""The only place that reads and shows what a link carries: `20Mbit`, `1.5 MB`, `64kbit/s`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import click

_UNITS = {"bit": 1 / 8, "B": 1.0}
_POWERS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}
_FORM = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*([kKMG]i?)?(bit|B)(?:/s|ps)?\s*")
_STEPS = ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s"))


class Rate(click.ParamType[float]):
    """A rate on the command line, as bytes a second."""

    name = "rate"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Reads it; click tells the person what is wrong with it."""
        if isinstance(value, float):
            return value
        rate = parse(str(value))
        if rate is None:
            self.fail(f"{value!r} is no rate: write it like 20Mbit or 1.5MB, both for each second", param, ctx)
        return rate


def rate_option(help_text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds --rate to a verb."""
    return click.option("--rate", type=Rate(), metavar="RATE", default=None, help=help_text)


def parse(text: str) -> float | None:
    """Bytes a second; None for what is no rate above zero."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    number, power, unit = found.groups()
    rate = float(number) * _POWERS[power or ""] * _UNITS[unit]
    return rate if 0 < rate < math.inf else None


def shown(rate: float) -> str:
    """Bytes a second as people speak of links: in bits, of which 1 Mbit are 1,000,000."""
    bits = rate * 8
    for step, unit in _STEPS:
        if bits >= step:
            return f"{bits / step:.3g} {unit}" if bits < 1000 * step else f"{bits / step:,.0f} {unit}"
    return f"{bits:.0f} bit/s"
