"""What modelsyncctl reads from a command line, before any hub is asked."""

from __future__ import annotations

import json
import subprocess
import sys

import click
import pytest

from modelsyncd.ctl import pairs
from modelsyncd.ctl.app import VERBS, Verbs, cli, run
from modelsyncd.ctl.target import assignment, whom
from modelsyncd.errors import BadInputError, InvalidNameError


def test_labels_may_hold_equals_signs_and_empty_values() -> None:
    assert pairs.labels(["a=b=c", "d="]) == {"a": "b=c", "d": ""}


@pytest.mark.parametrize("argument", ["a", "=b", ""])
def test_a_label_without_a_name_or_a_sign_is_refused(argument: str) -> None:
    with pytest.raises(BadInputError, match="is no label"):
        pairs.labels([argument])


def test_a_label_given_twice_with_different_values_is_refused() -> None:
    with pytest.raises(BadInputError, match="twice"):
        pairs.labels(["a=1", "a=2"])
    assert pairs.labels(["a=1", "a=1"]) == {"a": "1"}


@pytest.mark.parametrize("value", ["x", "nan", "inf", "-inf", ""])
def test_a_metric_is_a_finite_number(value: str) -> None:
    with pytest.raises(BadInputError, match="metric accuracy"):
        pairs.metrics([f"accuracy={value}"])
    assert pairs.metrics(["accuracy=0.93", "loss=1e-3"]) == {"accuracy": 0.93, "loss": 0.001}


def test_an_assignment_follows_stable_when_no_channel_is_named() -> None:
    made = assignment("acme/helmet", "edge-1", ())
    assert (made.model, made.channel, made.node) == ("acme/helmet", "stable", "edge-1")
    assert whom(made) == "node edge-1"


def test_an_assignment_by_selector_needs_all_labels() -> None:
    made = assignment("acme/helmet@canary", None, ("site=north", "arch=arm64"))
    assert dict(made.selector) == {"site": "north", "arch": "arm64"}
    assert whom(made) == "every node with arch=arm64 site=north"


@pytest.mark.parametrize(("node", "selector"), [(None, ()), ("edge-1", ("a=b",))])
def test_an_assignment_is_for_a_node_or_a_selector_and_not_both(node: str | None, selector: tuple[str, ...]) -> None:
    with pytest.raises(BadInputError, match="whom"):
        assignment("acme/helmet", node, selector)


def test_nodes_follow_channels_and_not_numbers() -> None:
    with pytest.raises(BadInputError, match="channels, not numbers") as caught:
        assignment("acme/helmet:3", "edge-1", ())
    assert "modelsyncctl promote acme/helmet:3 stable" in caught.value.hint


def test_a_node_with_a_bad_name_is_refused() -> None:
    with pytest.raises(InvalidNameError):
        assignment("acme/helmet", "Edge 1", ())


@pytest.mark.parametrize("name", VERBS)
def test_each_verb_loads_and_its_line_of_help_is_the_tables(name: str) -> None:
    group = cli
    assert isinstance(group, Verbs)
    command = group.get_command(click.Context(group), name)
    assert command is not None
    assert (command.help or "").splitlines()[0] == VERBS[name].help
    assert command.name == name


def test_an_unknown_verb_gets_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["promot"]) == 2
    assert "Did you mean promote" in capsys.readouterr().err


def test_a_wrong_command_line_is_an_object_with_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["push", "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["error"]["code"] == "bad-input"


def test_a_bad_name_says_what_names_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["history", "nothing"]) == 2
    err = capsys.readouterr().err
    assert "error: 'nothing' is no model" in err
    assert "next:  a model is namespace/name" in err


def test_help_loads_no_verb_and_no_grpc() -> None:
    probe = (
        "import sys; from modelsyncd.ctl.app import run; run(['--help']);"
        "print([name for name in ('grpc', 'rich', 'asyncio', 'modelsyncd.ctl.verbs.push') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
