"""A little model and a big one as a bundle: they come together, change together, and go back together.

python -m docs.examples.joint
"""

from __future__ import annotations

import sys
from typing import Any

from docs.demo.fleet import Fleet
from docs.examples.joint.job import PAIR
from docs.examples.joint.shapes import BIG, LITTLE, train
from docs.examples.story import Job, expect, run

NODE, PAIR_MODEL = "gate-4", PAIR.partition("@")[0]
WAVES = {"little": LITTLE, "big": BIG}


def walk(here: Fleet) -> None:
    """The story."""
    print("1. Two models that were trained for two arms become one release")
    hub = here.start_hub()
    here.start_agent(NODE, hub)
    here.ctl("assign", PAIR, "--node", NODE)
    push(here, "little", arms=2)
    push(here, "big", arms=2)
    bundle(here)
    job = Job(here, NODE, "docs.examples.joint.job")
    first = heard(job, 1, arms=2)

    print("2. There is a third arm. Both models are trained anew and published, one after the other")
    push(here, "little", arms=3)
    push(here, "big", arms=3)
    expect(job.silent, "models that are in no bundle yet change nothing on the node")
    bundle(here)
    heard(job, 2, arms=3)

    print("3. Somebody takes it back")
    here.ctl("rollback", PAIR_MODEL)
    again = heard(job, 1, arms=2)
    expect(again == first, "everything is as it was")


def push(here: Fleet, name: str, arms: int) -> None:
    """Trains one of the two, and publishes it by itself."""
    folder = train(here.root / f"{name}-{arms}", WAVES[name], arms)
    done = here.ctl("push", str(folder), f"plant/spiral-{name}", "--channel", "stable")
    print(f"   plant/spiral-{name}:{done['number']}, {done['bytes'] / 1e3:.1f} kB")


def bundle(here: Fleet) -> None:
    """Makes a release of what both channels name now."""
    members = [word for name in WAVES for word in ("--member", f"{name}=plant/spiral-{name}@stable")]
    done = here.ctl("bundle", "create", PAIR_MODEL, *members, "--channel", "stable")
    print(f"   {PAIR_MODEL}:{done['number']} has both")


def heard(job: Job, number: int, arms: int) -> dict[str, Any]:
    """What the job says of a release, checked."""
    said = job.next()
    print(
        f"   {PAIR_MODEL}:{said['number']} on the node: the little model is right {said['alone']:.0%} of the time;"
        f" it asked the big one {said['asked']:.0%} of the time, and together they are right {said['together']:.0%}"
    )
    expect(said["number"] == number, f"the job answers from release {number}")
    names = [f"arm-{index}" for index in range(arms)]
    expect(said["classes"] == {"little": names, "big": names}, "both models are of one kind")
    expect(said["asked"] < 0.9, "the little model answers some by itself")
    expect(said["together"] > max(0.9, said["alone"] + 0.05), "together they are better")
    return said


if __name__ == "__main__":
    sys.exit(run(walk))
