"""A job on a node: asks the agent for a path, answers from the model there, and again whenever a better one is there.

Started with the agent's socket and a reference; prints one JSON line for each version that it answers from.
"""

from __future__ import annotations

import json
import sys
import time

from docs.demo.minilm import MiniLM
from docs.demo.sentences import QUESTION
from modelsyncd.client import Client


def main() -> None:
    """Runs until it is ended."""
    with Client(f"unix:{sys.argv[1]}") as agent:
        for model in agent.watch(sys.argv[2]):
            told = time.time()
            similarity = MiniLM(model.path).similarity(*QUESTION)
            print(json.dumps({"number": model.number, "told": told, "similarity": similarity}), flush=True)


if __name__ == "__main__":
    main()
