"""The only place where rows become aligned text.

Widths count what is seen, so wide characters line up.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from modelsyncd.ctl.screen import painted
from modelsyncd.escapes import plain

_GAP = "  "


@dataclass(frozen=True, slots=True)
class Column:
    """A column's title and which side its cells lean to; numbers lean right."""

    title: str
    right: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell with a colour that the screen knows."""

    text: str
    colour: str


Row = Sequence[str | Cell]


def table(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """Lines with a title row; no rows give only the titles, and a row that ends early is empty from there."""
    rows = [[*row, *[""] * (len(columns) - len(row))] for row in rows]
    texts = [[_text(cell) for cell in row] for row in rows]
    widths = [max([width(column.title), *(width(row[index]) for row in texts)]) for index, column in enumerate(columns)]
    lines = [_line(columns, widths, [Cell(column.title, "bright_black") for column in columns])]
    lines += [_line(columns, widths, row) for row in rows]
    return "\n".join(lines)


def fields(pairs: Sequence[tuple[str, str]]) -> str:
    """A name and its value on each line, the values aligned."""
    widest = max((width(name) for name, _ in pairs), default=0)
    return "\n".join(f"{name:<{widest}}{_GAP}{plain(value)}" for name, value in pairs)


def width(text: str) -> int:
    """Columns that a terminal uses for the text."""
    return sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _text(cell: str | Cell) -> str:
    return plain(cell.text if isinstance(cell, Cell) else cell)


def _line(columns: Sequence[Column], widths: Sequence[int], row: Row) -> str:
    seen = [_padded(columns[index], widths[index], cell) for index, cell in enumerate(row)]
    return _GAP.join(seen).rstrip()


def _padded(column: Column, wide: int, cell: str | Cell) -> str:
    text = _text(cell)
    space = " " * (wide - width(text))
    shown = painted(text, cell.colour) if isinstance(cell, Cell) else text
    return space + shown if column.right else shown + space
