"""The only place that reads the agent's command line: its verbs, and the flags that beat its settings file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from modelsyncd import __version__
from modelsyncd.daemon.log import Style

PROGRAM = "modelsync-agent"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options that these arguments give; exits with a word to the person for wrong ones."""
    return _parser().parse_args(_with_verb(list(arguments)))


def flags(options: argparse.Namespace) -> dict[str, object]:
    """The settings that were given as flags, by their names in `Settings`; None for those that were not."""
    names = (
        "hub",
        "congestion",
        "lanes",
        "invite",
        "jobs_listen",
        "http_listen",
        "keep",
        "quota",
        "pins",
        "scrub_rate",
        "log_format",
        "log_level",
    )
    paths = ("data", "invite_file", "socket")
    found: dict[str, object] = {name: getattr(options, name) for name in names}
    return found | {name: str(path) for name in paths if (path := getattr(options, name)) is not None}


def _with_verb(arguments: list[str]) -> list[str]:
    """`run` is meant when only flags are given."""
    if arguments and arguments[0].startswith("-") and arguments[0] not in ("-h", "--help", "--version"):
        return ["run", *arguments]
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(PROGRAM, description="Keeps this machine's models in step with a hub.")
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="run | verify")
    live_verb = verbs.add_parser("run", help="serve jobs and follow the hub until stopped")
    live_verb.add_argument("--data", type=Path, metavar="DIR", help="folder for all that the agent keeps")
    live_verb.add_argument("--hub", metavar="HOST:PORT", help="address of the hub")
    live_verb.add_argument("--invite", metavar="TOKEN", help="lets this node in; others can see it: better a file")
    live_verb.add_argument("--invite-file", type=Path, metavar="FILE", help="file with the invite")
    live_verb.add_argument("--config", type=Path, metavar="FILE", help="settings in TOML, named as these flags with _")
    live_verb.add_argument("--socket", type=Path, metavar="PATH", help="unix socket for jobs (DIR/agent.sock)")
    live_verb.add_argument("--jobs-listen", metavar="127.0.0.1:PORT", help="serve jobs there, too; loopback only")
    live_verb.add_argument("--http-listen", metavar="127.0.0.1:PORT", help="show models over HTTP there; loopback only")
    live_verb.add_argument(
        "--congestion", metavar="NAME", help="how TCP answers loss: auto (default), system, or a name"
    )
    live_verb.add_argument("--lanes", metavar="N", help="connections of one session: auto (default), or 1 to 8")
    live_verb.add_argument("--keep", type=int, metavar="N", help="versions of each model to keep; beats the hub's word")
    live_verb.add_argument("--quota", metavar="SIZE", help="disk that models may take, as in 20GB; beats a larger one")
    live_verb.add_argument("--pins", metavar="MODEL:NUMBER", nargs="*", help="releases that stay whatever needs room")
    live_verb.add_argument("--scrub-rate", metavar="SIZE", help="bytes a second that are read back at rest; 0 for none")
    live_verb.add_argument("--log-format", choices=list(Style), help="how log lines are written")
    live_verb.add_argument("--log-level", choices=["debug", "info", "warning", "error"])
    check_verb = verbs.add_parser("verify", help="read every version again, and have the agent mend what is damaged")
    check_verb.add_argument("--data", type=Path, metavar="DIR", required=True, help="folder of the agent")
    check_verb.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    return parser
