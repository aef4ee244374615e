"""Fifty task models as one release: two machines wear, two models are trained anew, and two models travel.

python -m docs.examples.lifelong
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from docs.demo.fleet import PATIENCE, DemoError, Fleet
from docs.examples.lifelong.job import MODEL
from docs.examples.lifelong.tasks import TASKS, learn, names, write_index
from docs.examples.story import Job, expect, run

NODE = "hall-2"
WORN = ["machine-07", "machine-23"]
PAPERS = 96 * 1024  # bytes of manifest, release and conversation, which an update needs however little changes


def walk(here: Fleet) -> None:
    """The story."""
    folder = here.root / "tasks"
    print(f"1. {TASKS} machines, a model for each, one release")
    for task in names():
        learn(folder, task, worn=False)
    write_index(folder)
    hub = here.start_hub()
    here.start_agent(NODE, hub)
    here.ctl("assign", MODEL, "--node", NODE)
    done = push(here, folder)
    print(f"   {done['files']} files, {done['bytes'] / 1e6:.1f} MB")
    job = Job(here, NODE, "docs.examples.lifelong.job", *WORN)
    before = job.next()
    expect(before["number"] == 1, "the job serves from the first release")
    off = {task: error for task, error in before["errors"].items() if error > 0.1}
    print("   the job serves all tasks; two machines have worn, and are read wrong: " + shown(off))
    expect(sorted(off) == WORN, "only what is worn is read wrong")

    print("2. Two models are trained anew")
    for task in WORN:
        learn(folder, task, worn=True)
    changed = sum((folder / task / "weights.npy").stat().st_size for task in WORN)
    done = push(here, folder)
    after = job.next()
    expect(after["number"] == 2, "the job was told of the second release")
    print("   the job goes on with the second release: " + shown({task: after["errors"][task] for task in WORN}))
    expect(max(after["errors"].values()) < 0.1, "every task is read well")
    same = [task for task in names() if task not in WORN]
    expect(all(before["errors"][one] == after["errors"][one] for one in same), "all other tasks are as they were")

    place = standing(here, 2)
    for who, wire in (("to the hub", done["bytes_wire"]), ("to the node", place["bytes_wire"])):
        whole = f"{done['bytes'] / 1e6:.1f} MB; two models are {changed / 1e3:.0f} kB"
        print(f"   {who} travelled {wire / 1e3:.0f} kB, of {whole}")
        expect(changed / 2 < wire < changed + PAPERS, f"{who} travel two models")


def push(here: Fleet, folder: Path) -> dict[str, Any]:
    """All tasks as one release."""
    return here.ctl("push", str(folder), MODEL.partition("@")[0], "--channel", "stable")


def standing(here: Fleet, number: int) -> dict[str, Any]:
    """What the node told the hub of its last transfer. Raises DemoError when it tells nothing."""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        (place,) = here.ctl("status", "--node", NODE)["places"]
        if place["active"] == number and place["phase"] == "active":
            return dict(place)
        time.sleep(0.5)
    raise DemoError(f"the hub was not told of {number}")


def shown(errors: dict[str, float]) -> str:
    """Errors for people."""
    return ", ".join(f"{task} by {error:.3f}" for task, error in sorted(errors.items()))


if __name__ == "__main__":
    sys.exit(run(walk))
