"""The only place that reads in which variants something is to be pushed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelsyncd.ctl import pairs
from modelsyncd.errors import BadInputError
from modelsyncd.fitting import check_selector
from modelsyncd.names import ModelName, ModelRef, parse_ref, parse_variant
from modelsyncd.release import DEFAULT_VARIANT


@dataclass(frozen=True, slots=True)
class Forms:
    """The variant that PATH is, those that come with it, whom each is for, and the release that all are added to."""

    name: str
    also: Mapping[str, Path]
    selectors: Mapping[str, Mapping[str, str]]
    base: ModelRef | None

    def selector(self, name: str) -> Mapping[str, str]:
        """Whom a variant is for."""
        return self.selectors.get(name, {})


def forms(
    model: ModelName, variant: str | None, selector: Sequence[str], also: Sequence[str], base: str | None
) -> Forms:
    """From the options of `push`. Raises BadInputError and its kind."""
    name = parse_variant(variant) if variant else DEFAULT_VARIANT
    others: dict[str, Path] = {}
    for argument in also:
        other, equals, path = argument.partition("=")
        if not equals or not path:
            raise BadInputError(f"{argument[:80]!r} is no variant", hint="write it as --also int8=helmet-int8/")
        if parse_variant(other) in {name, *others}:
            raise BadInputError(f"two variants are called {other!r}", hint="name the first with --variant")
        others[other] = Path(path)
    return Forms(name, others, _selectors(selector, name, others), _base(model, base, name, variant))


def _selectors(arguments: Sequence[str], name: str, others: Mapping[str, Path]) -> Mapping[str, Mapping[str, str]]:
    given: dict[str, list[str]] = {}
    for argument in arguments:
        whose, colon, pair = argument.partition(":")
        known = colon and whose in {name, *others} and "=" not in whose
        given.setdefault(whose if known else name, []).append(pair if known else argument)
    found = {whose: pairs.selector(words) for whose, words in given.items()}
    for selector in found.values():
        check_selector(selector)
    return found


def _base(model: ModelName, base: str | None, name: str, variant: str | None) -> ModelRef | None:
    if base is None:
        return None
    ref = parse_ref(base)
    if variant is None:
        raise BadInputError(
            f"the variant that is added to {ref} needs a name",
            hint=f"--variant NAME; {name!r} is the usual one",
        )
    if ref.model != model:
        raise BadInputError(f"{ref} is no release of {model}", hint="a variant is added to a release of the same model")
    return ref
