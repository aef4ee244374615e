"""Log lines: one event, one line, key=value, and no secrets."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelsyncd.daemon.log import Log, Style, setup
from modelsyncd.errors import BadInputError, RoadError


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("modelsyncd")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:], level, our_level = before
    root.setLevel(level)
    ours.setLevel(our_level)


def line(capsys: pytest.CaptureFixture[str]) -> str:
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    return text.rstrip("\n")


def test_a_line_is_time_level_event_and_facts_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    setup(style=Style.TEXT)
    Log().bind(node="kiosk-7").info("uplink.connected", ms=1.23456, again=True, path=Path("/d"), none=None)
    moment, rest = line(capsys).split(" ", 1)
    assert len(moment) == len("2027-01-15T08:00:00.000Z")
    assert rest == "INFO uplink.connected node=kiosk-7 ms=1.235 again=true path=/d"


def test_values_with_spaces_quotes_and_line_ends_stay_one_value_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    setup(style=Style.TEXT)
    Log().info("x", a="two words", b='say "hi"', c="one\nINFO forged", d="", e="k=v", f="\x1b[31m")
    assert line(capsys).split(" x ")[1] == (
        r'a="two words" b="say \"hi\"" c="one\nINFO forged" d="" e="k=v" f="\u001b[31m"'
    )


def test_a_digest_is_shown_by_its_first_twelve_digits(capsys: pytest.CaptureFixture[str]) -> None:
    setup(style=Style.TEXT)
    Log().info("x", manifest=bytes(range(32)))
    assert line(capsys).endswith("manifest=000102030405")


@pytest.mark.parametrize("style", [Style.TEXT, Style.JSON, Style.JOURNAL])
def test_a_secret_is_hidden_even_from_a_caller_who_forgets_to(capsys: pytest.CaptureFixture[str], style: Style) -> None:
    setup(style=style)
    Log({"token": "hunter2"}).info("x", why="bad invite msi1_hunter2", key=b"hunter2", pem="PRIVATE KEY hunter2")
    shown = line(capsys)
    assert "hunter2" not in shown
    assert b"hunter2".hex()[:12] not in shown
    assert shown.count("[secret]") == 4


def test_json_has_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    setup(style=Style.JSON)
    Log().warning("x", n=3, ok=False, text="a\nb")
    parsed = json.loads(line(capsys))
    assert parsed.pop("time").endswith("Z")
    assert parsed == {"level": "WARNING", "event": "x", "n": 3, "ok": False, "text": "a\nb"}


def test_an_error_with_a_name_is_one_line_and_as_loud_as_it_is_lasting(capsys: pytest.CaptureFixture[str]) -> None:
    setup(style=Style.TEXT)
    Log().failure("x", RoadError("the hub is away"))
    assert " WARNING x error=road " in line(capsys)
    Log().failure("x", BadInputError("no", hint="try that"), model="a/b")
    assert line(capsys).endswith('ERROR x model=a/b error=bad-input why=no hint="try that"')


@pytest.mark.parametrize("style", [Style.TEXT, Style.JSON])
def test_an_error_without_a_name_shows_its_trace(capsys: pytest.CaptureFixture[str], style: Style) -> None:
    setup(style=style)
    try:
        raise ValueError("planted \x1b[2J")
    except ValueError as error:
        Log().failure("x", error)
    shown = capsys.readouterr().err
    assert "ValueError: planted" in shown
    assert "\x1b" not in shown
    assert all(part.startswith("    ") for part in shown.splitlines()[1:])


def test_debug_is_silent_until_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    setup(style=Style.TEXT)
    Log().debug("x")
    assert capsys.readouterr().err == ""
    setup("debug", Style.TEXT)
    Log().debug("x")
    assert " DEBUG x" in line(capsys)


def test_what_a_library_says_has_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    setup(style=Style.TEXT)
    logging.getLogger("some.library").warning("slow %s", "disk")
    assert line(capsys).endswith('WARNING "slow disk"')


def test_lines_for_the_journal_carry_a_priority_and_no_time(tmp_path: Path) -> None:
    code = "from modelsyncd.daemon.log import *; setup(); Log().warning('x', n=1)"
    out = tmp_path / "journal"
    with out.open("wb") as stream:
        status = os.fstat(stream.fileno())
        subprocess.run(
            [sys.executable, "-c", code],
            stderr=stream,
            env={**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"},
            check=True,
        )
    assert out.read_text() == "<4>x n=1\n"
