"""The only place that decides how a run ends: what stderr says and which exit code follows (docs/exit-codes.md)."""

from __future__ import annotations

import json

import click

from modelsyncd.ctl.asked import Interrupted
from modelsyncd.ctl.figures import plain
from modelsyncd.errors import BadInputError, ModelsyncError

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
BROKEN_PIPE = 141  # 128 + SIGPIPE


def tell(error: ModelsyncError, *, as_json: bool) -> int:
    """Says what happened, what is safe and what to type next; returns the exit code."""
    if as_json:
        click.echo(json.dumps({"error": document(error)}, ensure_ascii=False), err=True)
        return error.exit_code
    click.echo(click.style("error: ", fg="red", bold=True) + plain(error.message), err=True)
    if error.safe:
        click.echo(f"safe:  {plain(error.safe)}", err=True)
    if error.hint:
        click.echo(f"next:  {plain(error.hint)}", err=True)
    return error.exit_code


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
    error.show()
    return BadInputError.exit_code


def tell_interrupted(interrupted: Interrupted, *, as_json: bool) -> int:
    """Ctrl-C, and what is safe."""
    if as_json:
        click.echo(
            json.dumps(
                {
                    "error": {
                        "code": "interrupted",
                        "message": "interrupted",
                        "safe": str(interrupted),
                        "hint": "",
                        "retryable": True,
                        "exit_code": INTERRUPTED,
                    }
                }
            ),
            err=True,
        )
    else:
        click.echo(f"\nInterrupted. {interrupted}", err=True)
    return INTERRUPTED
