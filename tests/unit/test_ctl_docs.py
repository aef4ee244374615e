"""The reference of modelsyncctl names every verb, option and exit code that there is."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from modelsyncd.ctl.app import VERBS, cli
from modelsyncd.errors import error_classes

DOCS = Path(__file__).resolve().parents[2] / "docs"
SHARED = {"--json", "--hub", "--context", "--help"}


@pytest.mark.parametrize("name", VERBS)
def test_the_reference_has_each_verb_with_all_of_its_options(name: str) -> None:
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    commands = [command, *(command.commands.values() if isinstance(command, click.Group) else ())]
    options = {
        option for one in commands for parameter in one.params for option in parameter.opts if option[:2] == "--"
    }
    assert f"`{name}" in text or f"### {name}" in text or f"modelsyncctl {name}" in text
    assert {option for option in options - SHARED if option not in text} == set()


def test_the_list_of_exit_codes_has_each_code_in_the_row_of_its_exit() -> None:
    rows = {}
    for line in (DOCS / "exit-codes.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 3 and cells[1].isdecimal():
            rows[int(cells[1])] = set(cells[2].replace("`", "").split(", "))
    listed = {code: number for number, codes in rows.items() for code in codes if code}
    ours = {code: cls.exit_code for code, cls in error_classes().items()}
    assert listed == ours | {"interrupted": 130}
