"""What the documents name exists, and what operators meet is in the documents."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path

import click
import pytest

from cloud_hub.app import Settings as HubSettings
from edge_agent.settings import Settings as AgentSettings
from modelsyncd.ctl.app import VERBS, cli
from modelsyncd.errors import error_classes
from modelsyncd.session.frames import Phase
from tests.architecture.tree import ROOT, sources, tree

_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_EVENT = re.compile(r"[a-z]+\.[a-z-]+")
_LEVELS = {"info", "warning", "error", "failure"}
_SKIPPED = {".venv", "node_modules", ".git", ".hypothesis", ".pytest_cache", ".ruff_cache", ".mypy_cache"}
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.md") if not _SKIPPED & set(path.relative_to(ROOT).parts)
)


@cache
def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def broken_links(name: str) -> list[str]:
    """The links of a document that lead to no file of ours, or to no heading in it."""
    prose = _FENCE.sub("", text(name))
    return [link for link in _LINK.findall(prose) if "://" not in link and not leads_somewhere(ROOT / name, link)]


def leads_somewhere(document: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (document.parent / path).resolve() if path else document
    if not target.exists():
        return False
    return not anchor or anchor in anchors(target.read_text(encoding="utf-8"))


def anchors(document: str) -> set[str]:
    """What a heading may be linked by: lower case, spaces as hyphens, without punctuation."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_in_a_document_leads_somewhere(name: str) -> None:
    assert broken_links(name) == []


@pytest.mark.parametrize(
    ("link", "found"),
    [
        ("operations.md", True),
        ("operations.md#when-it-breaks", True),
        ("operations.md#a-heading-that-is-not-there", False),
        ("operating.md", False),
        ("../README.md", True),
    ],
)
def test_the_search_for_broken_links_looks_at_files_and_headings(link: str, found: bool) -> None:
    assert leads_somewhere(ROOT / "docs/cli.md", link) is found


def rows(name: str) -> Iterator[list[str]]:
    """The cells of every row of every table in a document."""
    for line in text(name).splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_every_file_that_the_glossary_names_exists() -> None:
    named = [file for row in rows("docs/glossary.md") if len(row) == 3 for file in re.findall(r"`([^`]+)`", row[2])]
    assert len(named) > 80
    assert [file for file in named if not (ROOT / file).is_file()] == []


def test_every_word_of_the_glossary_is_there_once_in_order_and_with_a_home() -> None:
    words = [row for row in rows("docs/glossary.md") if len(row) == 3 and row[0] != "word" and row[0].strip("-")]
    assert [row[0] for row in words if not row[2]] == []
    assert [row[0] for row in words] == sorted({row[0] for row in words})


def test_the_glossary_says_what_each_phase_means() -> None:
    explained = {word for row in rows("docs/glossary.md") if len(row) == 2 for word in row[0].split(", ")}
    assert {phase.name.lower().replace("_", "-") for phase in Phase} <= explained


@pytest.mark.parametrize("settings", [HubSettings, AgentSettings], ids=["hub", "agent"])
def test_every_setting_and_its_flag_are_in_the_tables_of_settings(settings: type[HubSettings | AgentSettings]) -> None:
    title = "### Hub" if settings is HubSettings else "### Agent"
    section = text("docs/operations.md").split(title, 1)[1].split("\n## ")[0].split("\n### ")[0]
    documented = re.findall(r"^\| `(\w+)` \| `(--[\w-]+)", section, re.MULTILINE)
    plain = [field.name for field in fields(settings) if not isinstance(field.default_factory, type)]
    assert documented == [(name, f"--{name.replace('_', '-')}") for name in plain]


def test_every_section_of_settings_with_names_of_its_own_is_explained() -> None:
    named = [field.name for field in fields(AgentSettings) if field.default_factory is dict]
    assert named
    page = text("docs/operations.md")
    assert [name for name in named if f"[{name}." not in page and f"`[{name}]`" not in page] == []


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every verb of modelsyncctl with the words that call it."""
    context = click.Context(cli)
    for name in VERBS:
        command = cli.get_command(context, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {verb}", inner) for verb, inner in command.commands.items())


def section_of(verb: str) -> str:
    """What docs/cli.md has under the verb's heading or in its row of a table; all of it where it has neither."""
    document = text("docs/cli.md")
    headed = re.search(rf"^### {verb}\b.*?(?=^##|\Z)", document, re.MULTILINE | re.DOTALL)
    row = re.search(rf"^\| `{verb}\b.*$", document, re.MULTILINE)
    return headed[0] if headed else row[0] if row else document


def options_of(command: click.Command) -> list[str]:
    shared = {"context", "hub", "json", "socket"}
    found = [one for one in command.params if isinstance(one, click.Option) and one.name not in shared]
    return [name for option in found for name in option.opts if name.startswith("--")]


@pytest.mark.parametrize(("verb", "command"), list(commands()), ids=[verb for verb, _ in commands()])
def test_every_verb_of_modelsyncctl_is_in_its_reference_with_every_option(verb: str, command: click.Command) -> None:
    assert re.search(rf"(`|^### |modelsyncctl ){verb}\b", text("docs/cli.md"), re.MULTILINE)
    assert [option for option in options_of(command) if option not in section_of(verb)] == []


def test_the_options_that_all_verbs_share_are_in_the_reference() -> None:
    assert [
        option
        for option in ("--context", "--hub", "--json", "--socket", "--help", "--version")
        if option not in text("docs/cli.md")
    ] == []


@pytest.mark.parametrize("code", sorted(error_classes()))
def test_every_error_code_stands_beside_its_exit_code(code: str) -> None:
    exit_code = str(error_classes()[code].exit_code)
    assert [row[0] for row in rows("docs/exit-codes.md") if f"`{code}`" in row[1]] == [exit_code]


@pytest.mark.parametrize("code", sorted(error_classes().keys() - {"protocol"}))
def test_every_error_code_is_in_a_table_of_what_to_do_when_it_breaks(code: str) -> None:
    """All but `protocol`, which no program of ours makes another one say."""
    broken = text("docs/operations.md").split("\n## When it breaks", 1)[1]
    assert f"`{code}`" in broken


def test_every_event_in_the_log_is_explained() -> None:
    said = {event for name in sources() for event in _events(tree(name))}
    assert len(said) > 25
    assert [event for event in sorted(said) if f"`{event}`" not in text("docs/operations.md")] == []


def _events(module: ast.Module) -> Iterator[str]:
    """The first words of calls of a log, and of calls that hand an event on to one."""
    for node in ast.walk(module):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr in _LEVELS | {"_tidy"}:
            words = (each.value for each in node.args if isinstance(each, ast.Constant))
            yield from (word for word in words if isinstance(word, str) and _EVENT.fullmatch(word))
