"""modelsyncctl itself: the table of verbs, loaded only when one is called, and the way out.

A verb's libraries (grpc above all) take a quarter of a second to load on a small machine; `--help`, completion and
mistyped commands must not pay for them. So the one-line helps stand here; a test holds them equal to the verbs' own.
"""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from modelsyncd import __version__
from modelsyncd.ctl import ending
from modelsyncd.ctl.asked import Asked, Interrupted
from modelsyncd.errors import ModelsyncError
from modelsyncd.names import nearest
from modelsyncd.store import failpoints


@dataclass(frozen=True, slots=True)
class Verb:
    """Where a verb lives, and its one line of help."""

    module: str
    help: str


VERBS = {
    "push": Verb("push", "Publish a file or folder as a model's next release."),
    "import": Verb("import_", "Publish somebody else's form of a model, with what the form says of it."),
    "export": Verb("export", "Write a release into a plain folder, with a list of SHA-256 digests beside its files."),
    "bundle": Verb("bundle", "Put releases together into one that moves as one."),
    "knowledge": Verb("knowledge", "Publish many task models as one release, and find each on this machine."),
    "pull": Verb("pull", "Fetch a release into a folder."),
    "list": Verb("list_", "List models with their channels and newest release."),
    "query": Verb("query", "Find releases by what they are: format, size, labels, metrics, lineage."),
    "show": Verb("show", "Show one release: files, tensors, labels, metrics, channels."),
    "metrics": Verb("metrics", "Show the numbers recorded about a model's releases, oldest first."),
    "history": Verb("history", "Show a model's releases and the moves of its channels."),
    "lineage": Verb("lineage", "Show what a release came from, and what came from it, as trees."),
    "derive": Verb("derive", "Make a release's other form, by a recipe or a command, and publish it with its origin."),
    "recipes": Verb("recipes", "List the recipes that are installed, with their options."),
    "diff": Verb("diff", "Compare two releases: files, chunks, tensors, bytes that would travel."),
    "plan": Verb("plan", "Show what it would take to fetch a release: bytes by way of saving, disk, time."),
    "promote": Verb("promote", "Move a channel to a release."),
    "rule": Verb("rule", "Have channels move by themselves when a release is better."),
    "retain": Verb("retain", "Say which releases are kept; gc removes the others."),
    "gc": Verb("gc", "Remove releases that no rule keeps, and free what they took."),
    "rollback": Verb("rollback", "Move a channel back to the release that it named before."),
    "assign": Verb("assign", "Make nodes follow a model's channel."),
    "unassign": Verb("unassign", "End an assignment."),
    "limit": Verb("limit", "Limit what nodes may use of their links and disks; without changes, show what holds."),
    "pause": Verb("pause", "Stop nodes from fetching until they are resumed."),
    "resume": Verb("resume", "Let nodes fetch again that were paused."),
    "pin": Verb("pin", "Keep a release on nodes that have it; without one, list the pins."),
    "unpin": Verb("unpin", "End a pin."),
    "retry": Verb("retry", "Have nodes try again what failed there."),
    "allow": Verb("allow", "Let nodes publish releases of some models; without models, list what is allowed."),
    "disallow": Verb("disallow", "Take back a right to publish."),
    "node": Verb("node", "Invite, list, show, label and remove nodes."),
    "status": Verb("status", "Show where every node stands."),
    "transfers": Verb("transfers", "Show what travels to which node, how fast, and what holds it up."),
    "why": Verb("why", "Explain why a node has, or does not have, what a channel names."),
    "watch": Verb("watch", "Print events as they happen."),
    "local": Verb("local", "See what this machine's agent has, where it lies and who holds it."),
    "run": Verb("run", "Run a command with a model of this machine, again at each switch."),
    "confirm": Verb("confirm", "Say whether the version that this machine tries works."),
    "publish": Verb(
        "publish", "Publish a file or folder from this machine by way of its agent, with or without a link."
    ),
    "outbox": Verb("outbox", "List, withdraw and send again what this machine has to publish."),
    "record": Verb("record", "Record numbers about a release; the agent brings them to the hub, once each."),
    "verify": Verb("verify", "Re-hash what rests at the hub, in an agent's store or in a folder."),
    "doctor": Verb("doctor", "Look for what is wrong: this machine, the way to the hub, and the hub."),
    "login": Verb("login", "Keep a context file as one of yours and use it."),
    "contexts": Verb("contexts", "List your contexts, or use another one."),
}


class Verbs(click.Group):
    """The group that knows its verbs by name and loads one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of a first day's work."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Loads the verb's file."""
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"modelsyncd.ctl.verbs.{VERBS[cmd_name].module}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but an unknown verb gets the nearest ones."""
        if args and not args[0].startswith("-") and args[0] not in VERBS:
            close = nearest(args[0], VERBS)
            advice = f" Did you mean {' or '.join(close)}?" if close else ""
            raise click.UsageError(f"There is no verb {args[0]!r}.{advice}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table, without loading any verb."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, verb.help) for name, verb in VERBS.items()])


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="modelsyncctl")
@click.option(
    "--context",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="MODELSYNCD_CONTEXT",
    show_envvar=True,
    help="The context file: which hub, and as whom. Default: ~/.config/modelsyncd/context.toml",
)
@click.option(
    "--hub",
    metavar="HOST:PORT",
    envvar="MODELSYNCD_HUB",
    show_envvar=True,
    help="Speak to this address instead of the context's.",
)
@click.option("--json", is_flag=True, help="Print one JSON document (JSON lines for what streams).")
@click.pass_context
def cli(ctx: click.Context, context: Path | None, hub: str | None, json: bool) -> None:
    """Publish models, choose what runs where, and see where everything stands.

    Answers go to stdout, progress and errors to stderr. Exit codes: docs/exit-codes.md.
    """
    ctx.obj = Asked(context, hub, json)


def main() -> None:
    """The entry point."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC's own log lines on stderr; our errors say what happened
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for one chunk, starting a second takes longer than the work
    sys.exit(run(sys.argv[1:]))


def run(args: list[str]) -> int:
    """Runs one command line; returns the exit code."""
    # A wrong command line is told before click has parsed it, so --json is looked for by hand.
    as_json = "--json" in args[: args.index("--")] if "--" in args else "--json" in args
    try:
        failpoints.arm_from(os.environ)
        code: object = cli.main(args, prog_name="modelsyncctl", standalone_mode=False)
    except ModelsyncError as error:
        return ending.tell(error, as_json=as_json)
    except click.ClickException as error:
        return ending.tell_usage(error, as_json=as_json)
    except Interrupted as error:
        return ending.tell_interrupted(error, as_json=as_json)
    except (KeyboardInterrupt, click.Abort):
        return ending.tell_interrupted(Interrupted("Nothing was changed."), as_json=as_json)
    except BrokenPipeError:
        # Whoever read our stdout has gone; without this the interpreter complains once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ending.BROKEN_PIPE
    return code if isinstance(code, int) else 0
