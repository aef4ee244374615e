"""`modelsyncctl derive`: one form of a model becomes another, where this is typed, and is published with its origin."""

from __future__ import annotations

import click

from modelsyncd.ctl import derived
from modelsyncd.ctl.asked import Asked, asked
from modelsyncd.ctl.derived import Order, Target
from modelsyncd.ctl.pairs import selector as read_selector
from modelsyncd.errors import BadInputError
from modelsyncd.exchange.derivation import Doing, by_command, by_recipe
from modelsyncd.fitting import check_selector
from modelsyncd.names import ModelRef, parse_channel, parse_ref, parse_variant


@click.command("derive")
@click.argument("release", metavar="MODEL[@CHANNEL|:NUMBER]")
@click.argument("command_words", nargs=-1, metavar="[-- COMMAND {in} {out}]")
@click.option("--recipe", metavar="NAME[:K=V,…]", help="What to do to it; `modelsyncctl recipes` lists them.")
@click.option("--variant", metavar="NAME", help="Which of the release's variants; by default the only one.")
@click.option("--as-variant", metavar="NAME", help="Publish the result beside the release's variants, under this name.")
@click.option("--selector", multiple=True, metavar="K=V", help="Nodes that the new variant is for; repeatable.")
@click.option("--as", "model", metavar="MODEL", help="Publish the result as the next release of this model.")
@click.option("--channel", metavar="C", help="Move this channel to what is published.")
@click.option("--note", default="", help="A sentence for people.")
@click.option("--again", is_flag=True, help="Take the step though its result is there already.")
@click.option("--watch", is_flag=True, help="Go on with each new release of the model, until it is ended.")
@asked
def command(
    asked: Asked,
    *,
    release: str,
    command_words: tuple[str, ...],
    recipe: str | None,
    variant: str | None,
    as_variant: str | None,
    selector: tuple[str, ...],
    model: str | None,
    channel: str | None,
    note: str,
    again: bool,
    watch: bool,
) -> None:
    """Make a release's other form, by a recipe or a command, and publish it with its origin.

    It runs on this machine, never on the hub. The same step on the same version is taken once:

    modelsyncctl derive acme/helmet:3 --recipe onnx-int8 --as-variant int8 --selector memory='<4GiB'

    modelsyncctl derive acme/helmet --as acme/helmet-onnx -- python export.py {in} {out}/model.onnx
    """
    ref = parse_ref(release)
    target = _target(ref, model, channel, as_variant, note=note, selector=selector)
    order = Order(variant, _doing(recipe, command_words), target)
    if watch and (ref.channel is not None or again):
        raise BadInputError(
            "--watch follows all releases of a model, and makes each form once",
            hint=f"write {ref.model}, or {ref.model}:NUMBER for those from that one on, and no --again",
        )
    if watch and target.variant is None and target.model == ref.model:
        raise BadInputError(
            f"each result would be a new release of {ref.model}, and be worked on in its turn, without end",
            hint=f"--as-variant NAME, or another model, as in --as {ref.model}-int8",
        )
    work = derived.watch(asked, ref, order) if watch else derived.derive(asked, ref, order, again=again)
    asked.run(
        work,
        interrupted="Nothing was published, unless it says so above; what was fetched is kept for the next try.",
    )


def _doing(recipe: str | None, words: tuple[str, ...]) -> Doing:
    if (recipe is None) == (not words):
        raise BadInputError(
            "it is not said what to do" if recipe is None else "a recipe and a command are named",
            hint="--recipe NAME, or a command behind --, as in: -- python export.py {in} {out}",
        )
    if recipe is None:
        return by_command(words)
    name, _, rest = recipe.partition(":")
    options: dict[str, str] = {}
    for one in filter(None, rest.split(",")):
        key, equals, value = one.partition("=")
        if not equals:
            raise BadInputError(f"{one[:80]!r} is no option", hint="write it as --recipe cast:dtype=bf16")
        options[key] = value
    return by_recipe(name, options)


def _target(
    ref: ModelRef,
    model: str | None,
    channel: str | None,
    as_variant: str | None,
    *,
    selector: tuple[str, ...],
    note: str,
) -> Target:
    if (as_variant is None) == (model is None):
        raise BadInputError(
            "the result is published either as a variant or as a model of its own",
            hint=f"--as-variant int8, or --as {ref.model}-int8",
        )
    if selector and as_variant is None:
        raise BadInputError("--selector says whom a variant is for", hint="name it with --as-variant")
    whom = read_selector(selector)
    check_selector(whom)
    into = parse_ref(model) if model else ModelRef(ref.model)
    if into.number is not None:
        raise BadInputError(f"the hub gives the number: write {into.model}")
    moved = parse_channel(channel) if channel else into.channel or ""
    return Target(into.model, moved, parse_variant(as_variant) if as_variant else None, whom, note)
