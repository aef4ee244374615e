"""`make bench`, or `python -m benchmarks WHICH … [--gib N]`: one table each; without WHICH, all of them."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks import (
    catalogue,
    coded,
    collecting,
    crowd,
    cuts,
    edge_search,
    federated,
    growth,
    jobs,
    links,
    memory,
    returns,
    transfer,
    unchanged,
    wear,
)
from benchmarks.table import machine


def main() -> None:  # noqa: C901, PLR0915 - a match with an arm for each benchmark is a table
    """Runs what was asked for, in a folder that is removed afterwards."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    every = ["transfer", "memory", "coded", "unchanged", "growth", "crowd", "wear", "cuts", "returns", "links", "jobs"]
    every += ["federated", "catalogue", "edge-search", "collecting"]
    parser.add_argument("which", nargs="*", default=every, help=", ".join(every))
    parser.add_argument("--gib", type=float, default=1.0, help="size for transfer, unchanged and federated (default 1)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of transfer (default 3)")
    parser.add_argument("--large", type=float, default=4.0, help="size for memory, GiB (default 4)")
    parser.add_argument("--sizes", type=float, nargs="*", default=[1, 4, 16], help="sizes for growth, GiB")
    parser.add_argument("--files", type=int, nargs="*", default=[10, 100, 1_000, 10_000], help="files for growth")
    parser.add_argument("--nodes", type=int, nargs="*", default=[1_000, 5_000], help="nodes for crowd")
    parser.add_argument(
        "--releases", type=int, nargs="*", default=[1_000, 10_000, 100_000], help="for catalogue and collecting"
    )
    parser.add_argument("--megabytes", type=int, default=200, help="size for cuts (default 200)")
    parser.add_argument("--cuts", type=int, default=100, help="how often cuts cuts (default 100)")
    parser.add_argument("--folder", type=Path, help="where to work (default: the system's temporary folder)")
    asked = parser.parse_args()
    print(f"{machine()}")
    for which in asked.which:
        with tempfile.TemporaryDirectory(prefix="bench-", dir=asked.folder) as made:
            root = Path(made)
            match which:
                case "transfer":
                    transfer.run(root, asked.gib, asked.rounds)
                case "memory":
                    memory.run(root, asked.large)
                case "coded":
                    coded.run(root)
                case "unchanged":
                    unchanged.run(root, asked.gib)
                case "growth":
                    growth.run(root, asked.sizes, asked.files)
                case "crowd":
                    crowd.run(root, asked.nodes)
                case "wear":
                    wear.run(root)
                case "cuts":
                    cuts.run(root, asked.megabytes, asked.cuts)
                case "returns":
                    returns.run(root, asked.rounds)
                case "links":
                    links.run(root, asked.rounds)
                case "federated":
                    federated.run(root, asked.gib)
                case "catalogue":
                    catalogue.run(root, asked.releases)
                case "edge-search":
                    edge_search.run(root, asked.releases)
                case "collecting":
                    collecting.run(root, asked.releases)
                case "jobs":
                    jobs.run(root, asked.gib, asked.rounds)
                case _:
                    parser.error(f"no benchmark {which!r}: {', '.join(every)}")


if __name__ == "__main__":
    main()
