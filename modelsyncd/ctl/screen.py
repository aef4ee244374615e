"""The only place that writes to stdout and stderr: words for people, made harmless and coloured; JSON as it is.

Colours are marks in a text until it is written, so that an escape that somebody else wrote is never taken for one of
ours. They are click's, and vanish when the output is no terminal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import click

from modelsyncd.escapes import harmless, plain

COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white", "bright_black")
_MARKS = {colour: chr(0xFDD0 + place) for place, colour in enumerate(COLOURS)}  # Unicode keeps these for programs
_END = chr(0xFDEF)
_CODES = {mark: click.style("", fg=colour, reset=False) for colour, mark in _MARKS.items()} | {_END: click.style("")}
_MARK = re.compile(f"([{''.join(_CODES)}])")


def painted(text: str, colour: str) -> str:
    """One line, or a part of one, in one of `COLOURS`."""
    return f"{_MARKS[colour]}{plain(text)}{_END}"


def seen(text: str) -> str:
    """What a terminal gets to see."""
    parts = [_CODES.get(part) or harmless(part) for part in _MARK.split(text)]
    return "".join([*parts, _CODES[_END]] if len(parts) > 1 else parts)


def say(text: str, *, err: bool = False) -> None:
    """Words for people, with a line's end; at once, so that a pipe's other end has them."""
    click.echo(seen(text), err=err)


def clear() -> None:
    """Begins a new page, where stdout is a terminal."""
    click.clear()


def tell(document: Mapping[str, object], *, err: bool = False) -> None:
    """A JSON document for programs, on one line, as `jq` and a shell's `read` like it."""
    click.echo(json.dumps(document, ensure_ascii=False), err=err)
