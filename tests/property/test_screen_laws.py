"""Whatever others wrote, a terminal that shows it is not steered by it; programs get it exactly."""

from __future__ import annotations

import io
import json
import re
import unicodedata
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelsyncd.ctl import ending
from modelsyncd.ctl.asked import Asked, Interrupted
from modelsyncd.ctl.chart import Chart, Series, drawn
from modelsyncd.ctl.progress import Lines, meter
from modelsyncd.ctl.screen import painted, say, seen
from modelsyncd.ctl.table import Cell, Column, fields, table
from modelsyncd.errors import BadInputError
from modelsyncd.escapes import harmless, plain

HOSTILE = st.sampled_from([*map(chr, (*range(0x20), *range(0x7F, 0xA0), *range(0xFDD0, 0xFDF0))), "\u202e", "\ud800"])
TEXTS = st.lists(st.text(max_size=5) | HOSTILE | st.sampled_from(["\x1b[31m", "\r\n", "e", "模"])).map("".join)
OURS = re.compile(r"\x1b\[(3[0-7]|90|0)m")
"""Colours, which a painted text begins and ends with."""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def written(work: Callable[[], object]) -> str:
    """What a terminal gets of both streams."""
    with Terminal() as both, redirect_stdout(both), redirect_stderr(both):
        work()
        return both.getvalue()


def steering(text: str) -> set[str]:
    """What is in it that could steer a terminal; line feeds and tabs could not."""
    return {char for char in text if unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"}} - {"\n", "\t"}


def told(text: str) -> object:
    return ending.tell(BadInputError(text, safe=text, hint=text), as_json=False)


WAYS: dict[str, Callable[[str], object]] = {
    "say": say,
    "answer": partial(Asked().answer, {}),
    "event": partial(Asked().event, {}),
    "note": Asked().note,
    "error": told,
    "usage": lambda text: ending.tell_usage(click.UsageError(text), as_json=False),
    "interrupted": lambda text: ending.tell_interrupted(Interrupted(text), as_json=False),
    "progress": lambda text: Lines(text, partial(say, err=True)).note(text),
    "table": lambda text: say(table([Column(text)], [[text], [Cell(text, "red")]])),
    "fields": lambda text: say(fields([("name", text)])),
    "chart": lambda text: say(drawn(Chart(text, [Series(text, ((0, 1), (1, 2)))], lambda _: text))),
}


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=40)
@given(text=TEXTS)
def test_nothing_that_is_written_for_people_can_steer_a_terminal(way: str, text: str) -> None:
    assert steering(OURS.sub("", written(partial(WAYS[way], text)))) == set()


@settings(max_examples=40)
@given(text=TEXTS)
def test_where_nothing_is_painted_there_is_no_escape_at_all(text: str) -> None:
    assert steering(seen(harmless(text))) == steering(plain(text)) == set()
    assert not set(plain(text)) & set("\n\t")


@settings(max_examples=40)
@given(text=TEXTS)
def test_what_was_made_harmless_is_not_changed_again(text: str) -> None:
    assert harmless(harmless(text)) == harmless(text)
    assert plain(plain(text)) == plain(text)


@given(text=TEXTS.filter(lambda text: not re.search("[\ud800-\udfff]", text)))
def test_programs_get_it_exactly(text: str) -> None:
    asked = Asked(json=True)
    for work in (asked.answer, asked.event):
        assert json.loads(written(partial(work, {"text": text}, "for people"))) == {"text": text}


def test_a_card_keeps_its_lines_tabs_and_joiners_and_shows_the_rest() -> None:
    assert harmless("# T\r\n\ta\x1b[2J\u202eb\x9b1m\rن\u200cخ") == "# T\n\ta\\x1b[2J\\u202eb\\x9b1m\\rن\u200cخ"
    assert plain("a\x1b[31mb\nc\u202ed") == r"a\x1b[31mb\nc\u202ed"


def test_a_colour_ends_where_its_text_ends_and_marks_of_others_are_shown() -> None:
    assert seen(painted("a", "red") + "b") == "\x1b[31ma\x1b[0mb\x1b[0m"
    assert seen(painted(painted("a", "red"), "cyan")) == "\x1b[36m\\ufdd1a\\ufdef\x1b[0m\x1b[0m"


def test_a_bar_shows_what_it_is_of_as_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")

    def work() -> None:
        with meter("pushing a\x1b]0;x\x07[red]", silent=False) as shown:
            shown.note("lost\x1b]0;x\x07[red]")

    found = written(work)
    assert r"pushing a\x1b]0;x\x07[red]" in found
    assert r"lost\x1b]0;x\x07[red]" in found
    assert not {"\x1b]", "\x07"} & set(re.findall("\x1b\\]|\x07", found))


def test_no_line_of_an_error_looks_like_one_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    ending.tell(BadInputError("it broke\nnext:  rm -r /", hint="try that"), as_json=False)
    assert capsys.readouterr().err == "error: it broke\n       next:  rm -r /\nnext:  try that\n"
