"""The only place that decides how a run ends: what stderr says and which exit code follows (docs/exit-codes.md)."""

from __future__ import annotations

import io

import click

from modelsyncd.ctl import screen
from modelsyncd.ctl.asked import Interrupted
from modelsyncd.errors import BadInputError, ModelsyncError
from modelsyncd.escapes import harmless

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
BROKEN_PIPE = 141  # 128 + SIGPIPE


def tell(error: ModelsyncError, *, as_json: bool) -> int:
    """Says what happened, what is safe and what to type next; returns the exit code."""
    if as_json:
        screen.tell({"error": document(error)}, err=True)
        return error.exit_code
    screen.say(f"{screen.painted('error:', 'red')} {_indented(error.message)}", err=True)
    if error.safe:
        screen.say(f"safe:  {_indented(error.safe)}", err=True)
    if error.hint:
        screen.say(f"next:  {_indented(error.hint)}", err=True)
    return error.exit_code


def _indented(text: str) -> str:
    """So that no line of it looks as if it were one of ours."""
    return harmless(text).replace("\n", "\n" + " " * len("error: "))


def document(error: ModelsyncError) -> dict[str, object]:
    """An error for programs."""
    return {
        "code": error.code,
        "message": error.message,
        "safe": error.safe,
        "hint": error.hint,
        "retryable": error.retryable,
        "exit_code": error.exit_code,
    }


def tell_usage(error: click.ClickException, *, as_json: bool) -> int:
    """A wrong command line: click's own words, with the usage line for people."""
    if as_json:
        return tell(BadInputError(error.format_message(), hint="modelsyncctl --help"), as_json=True)
    with io.StringIO() as said:
        error.show(said)
        screen.say(said.getvalue().rstrip("\n"), err=True)
    return BadInputError.exit_code


def tell_interrupted(interrupted: Interrupted, *, as_json: bool) -> int:
    """Ctrl-C, and what is safe."""
    if as_json:
        error = {
            "code": "interrupted",
            "message": "interrupted",
            "safe": str(interrupted),
            "hint": "",
            "retryable": True,
            "exit_code": INTERRUPTED,
        }
        screen.tell({"error": error}, err=True)
    else:
        screen.say(f"\nInterrupted. {interrupted}", err=True)
    return INTERRUPTED
