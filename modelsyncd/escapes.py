"""The only place that makes text from elsewhere harmless for a terminal: what could steer one is shown as an escape.

So a card, a label or a file's name can't move the cursor, colour or hide what stands beside it, or turn the order of
what is read around. Whoever looks sees that something was there, as in `\\x1b[2J`.
"""

from __future__ import annotations

import unicodedata

_STEERING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # control, direction, halves of characters, ends of lines
_JOINERS = "\u200c\u200d"  # invisible, and needed to write Persian, or a family of emoji
_NO_CHARACTERS = range(0xFDD0, 0xFDF0)  # for a program's own use; ours is colours (ctl/screen.py)


def harmless(text: str) -> str:
    """Text of many lines: line feeds, tabs and joiners stay, and other ends of lines than Unix's become those."""
    return _shown(text.replace("\r\n", "\n"), "\n\t" + _JOINERS)


def plain(text: str) -> str:
    """Text for one line: what would begin another is escaped as well."""
    return _shown(text, "")


def _shown(text: str, stays: str) -> str:
    if text.isprintable():
        return text
    return "".join(_escaped(char) if char not in stays and _steers(char) else char for char in text)


def _steers(char: str) -> bool:
    return unicodedata.category(char) in _STEERING or ord(char) in _NO_CHARACTERS


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
