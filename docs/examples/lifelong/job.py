"""A job on a node that serves fifty tasks: it picks the model of each from the release, and goes on with a better one.

Started with the agent's socket and the names of the machines that are worn by now; prints one JSON line for each
release.
"""

from __future__ import annotations

import json
import sys

from docs.examples.lifelong.tasks import names, wrong_by
from modelsyncd.client import Client

MODEL = "plant/sensors@stable"


def main(target: str, worn: list[str]) -> None:
    """Runs until it is ended."""
    with Client(target) as agent:
        for model in agent.follow(MODEL):
            errors = {task: wrong_by(model.path, task, task in worn) for task in names()}
            print(json.dumps({"number": model.number, "errors": errors}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
