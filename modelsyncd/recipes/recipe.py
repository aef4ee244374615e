"""The only place that says what a recipe is, and finds those that are installed.

A recipe makes one folder of files into another, and nothing else: no network, no clock, no randomness that is not in
its options. So the same recipe on the same parent is the same step, and need not be taken twice. Others add their own
under the entry point group `modelsyncd.recipes`
(https://packaging.python.org/specifications/entry-points).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from modelsyncd.digest import Digest, digest_of
from modelsyncd.errors import BadInputError, NotFoundError

GROUP = "modelsyncd.recipes"


@runtime_checkable
class Recipe(Protocol):
    """One way to derive a model. `version` grows whenever the same input would give other bytes."""

    name: ClassVar[str]
    version: ClassVar[str]
    summary: ClassVar[str]
    """One line for people."""
    options: ClassVar[Mapping[str, str]]
    """Options with their defaults."""

    def derive(self, source: Path, target: Path, options: Mapping[str, str]) -> None:
        """Makes the files of `source` (to be left as they are) into those of `target`, an empty folder that is there.

        Raises BadInputError for files or options that it can't work with.
        """
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """A recipe with its options: what is done to a parent."""

    recipe: Recipe
    options: Mapping[str, str]

    @property
    def digest(self) -> Digest:
        """Names the step: the same for the same recipe, version and options."""
        said = {"recipe": self.recipe.name, "version": self.recipe.version, "options": dict(self.options)}
        return digest_of(json.dumps(said, sort_keys=True, ensure_ascii=True).encode())


def installed() -> dict[str, EntryPoint]:
    """The recipes that are installed, by name; none is loaded."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def named(name: str) -> Recipe:
    """A recipe by its name.

    Raises NotFoundError when there is none, BadInputError for one that can't be loaded, as when what it needs is not
    installed.
    """
    known = installed()
    entry = known.get(name)
    if entry is None:
        close = difflib.get_close_matches(name, known, n=2)
        hint = "" if close else f"there are: {', '.join(sorted(known)) or 'none'}"
        raise NotFoundError(f"there is no recipe {name[:80]!r}", hint=hint, nearest=close)
    try:
        recipe: object = entry.load()()
    except ImportError as error:
        raise BadInputError(
            f"recipe {name} can't be loaded: {error}", hint="pip install 'modelsyncd[recipes]', or what it names"
        ) from error
    if not isinstance(recipe, Recipe):
        raise BadInputError(f"{entry.value} is no recipe", hint="docs/derive.md shows what a recipe has")
    return recipe


def step(recipe: Recipe, chosen: Mapping[str, str]) -> Step:
    """A recipe with some options chosen, the others as they are by default. Raises BadInputError for an unknown one."""
    for name in chosen:
        if name not in recipe.options:
            close = difflib.get_close_matches(name, recipe.options, n=1)
            said = f"did you mean {close[0]}?" if close else f"it has: {', '.join(recipe.options) or 'none'}"
            raise BadInputError(f"recipe {recipe.name} has no option {name[:80]!r}", hint=said)
    return Step(recipe, {**recipe.options, **chosen})
