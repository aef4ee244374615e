"""`python -m modelsyncd.recipes NAME OPTIONS SOURCE TARGET`: a recipe in a process of its own.

So a library that dies, or takes all memory, takes nobody with it. OPTIONS is a JSON object. What went wrong is said on
stderr, in one line, with exit code 2 for what a person can mend.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from modelsyncd.errors import ModelsyncError
from modelsyncd.recipes.recipe import named, step


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    name, options, source, target = arguments
    try:
        recipe = named(name)
        chosen = step(recipe, json.loads(options))
        recipe.derive(Path(source), Path(target), chosen.options)
    except ModelsyncError as error:
        sys.stderr.write(f"{error.message}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
