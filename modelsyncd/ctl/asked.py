"""The only place for what every verb shares: --context, --hub and --json, and where its answer goes.

Each may stand before the verb or after it. Answers go to stdout, everything else (progress, notes, errors) to stderr,
so that stdout can always be read by a program.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Concatenate, ParamSpec

import click

from modelsyncd.ctl import screen

P = ParamSpec("P")
Document = Mapping[str, object]


class Interrupted(Exception):  # noqa: N818 -- not an error: a person's wish
    """Ctrl-C; carries the sentence on what is safe."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asked for besides the verb's own arguments."""

    context: Path | None = None
    hub: str | None = None
    json: bool = False

    def answer(self, document: Document, text: str) -> None:
        """The verb's whole answer: one JSON document, or text."""
        if self.json:
            screen.tell(document)
        else:
            screen.say(text)

    def event(self, document: Document, text: str) -> None:
        """One of many answers of a verb that streams: one JSON line, or a line of text."""
        self.answer(document, text)

    def repaint(self, document: Document, text: str) -> None:
        """One of many answers, each of which takes the place of the one before where a terminal shows them."""
        if not self.json:
            screen.clear()
        self.event(document, f"{text}\n")

    def note(self, text: str) -> None:
        """A word by the way, on stderr; silent with --json."""
        if not self.json:
            screen.say(text, err=True)

    def run(self, work: Coroutine[None, None, None], *, interrupted: str = "Nothing was changed.") -> None:
        """Runs a verb's coroutine. Raises Interrupted with the sentence when Ctrl-C ends it."""
        import asyncio  # noqa: PLC0415 -- 25 ms that --help and mistyped commands need not pay

        try:
            asyncio.run(work)
        except (KeyboardInterrupt, asyncio.CancelledError):  # nobody but Ctrl-C cancels a verb
            raise Interrupted(interrupted) from None


def asked(verb: Callable[Concatenate[Asked, P], None]) -> Callable[..., None]:
    """Adds the shared options to a verb, which gets them as its first argument."""

    @functools.wraps(verb)
    def inner(context: Path | None, hub: str | None, json: bool, *args: P.args, **kwargs: P.kwargs) -> None:
        before = click.get_current_context().find_object(Asked) or Asked()
        verb(Asked(context or before.context, hub or before.hub, json or before.json), *args, **kwargs)

    return shared_options(inner)


def shared_options(target: Callable[..., None]) -> Callable[..., None]:
    """The three options themselves."""
    for option in (
        click.option("--json", is_flag=True, help="Print one JSON document (JSON lines for what streams)."),
        click.option("--hub", metavar="HOST:PORT", help="Speak to this address instead of the context's."),
        click.option(
            "--context",
            type=click.Path(path_type=Path, dir_okay=False),
            help="The context file: which hub, and as whom.",
        ),
    ):
        target = option(target)
    return target
