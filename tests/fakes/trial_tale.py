"""A node whose versions have to prove themselves, led by the real steward; for tests that kill it at any step.

One proves itself, the next fails and proves itself once somebody says so, the last one fails on two channels: on the
one the version before comes back, and the other led nowhere before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from edge_agent.gates import Gate
from edge_agent.steward import Steward
from edge_agent.switching import Switching
from edge_agent.trial_file import TrialFile
from edge_agent.watchers import Watchers
from modelsyncd.names import ModelRef
from modelsyncd.session.frames import Assignment, Desired, Phase
from tests.fakes.node_life import STABLE, here
from tests.fakes.node_tale import STORY, Node
from tests.fakes.oracle import whole_versions
from tests.fakes.versions import HELMET

Tell = Callable[..., None]
CANARY = ModelRef(HELMET, channel="canary")
TRIED = (0, 1, 2, 2, 3, 3)  # what each deed tries
WORKS = (False, True, False, True, False, False)
ENDS = (0, 1, 1, 2, 2, 2)  # what the stable channel leads to after so many deeds
RETRY = 3  # the deed before which somebody said that what failed is to be tried again
LAST = len(TRIED) - 1  # tries its version on the other channel, too
GATES = {STABLE: Gate(confirm=True, deadline=3_600.0), CANARY: Gate(confirm=True, deadline=3_600.0)}


class TrialTale:
    """As above."""

    name = "trials"

    def begin(self, root: Path) -> None:
        root.mkdir()
        node = Node(root, lambda *_: None)
        with patch.object(asyncio, "to_thread", here):
            for what in STORY.releases:
                asyncio.run(node.fetch(what, 0))
                asyncio.run(node.shelf.complete(what.offer))
        node.close()

    def live(self, root: Path, tell: Tell) -> None:
        with patch.object(asyncio, "to_thread", here):
            asyncio.run(self._live(root, tell))

    async def _live(self, root: Path, tell: Tell) -> None:
        node = Node(root, tell)
        watchers = Watchers()
        switching = Switching(node.store, watchers, TrialFile(root), GATES)
        steward = Steward(node.store, node.orders, watchers, switching=switching)
        await steward.load()
        async with asyncio.TaskGroup() as group:
            run = group.create_task(steward.run())
            for deed in range(max(1, steward.generation), LAST + 1):
                tell("phase", "trial")
                steward.propose(_desired(deed))
                await _settled(steward, switching, deed)
                tell("done", deed)
            run.cancel()
        node.close()

    def check(self, root: Path, told: Sequence[Sequence[Any]]) -> None:
        whole_versions(root)
        done = max((word[1] for word in told if word[0] == "done"), default=0)
        following = min(done + 1, LAST)
        assert _shown(root, "stable") in {ENDS[done], TRIED[following], ENDS[following]}, f"after {done} deeds"
        assert _shown(root, "canary") in ({0, TRIED[LAST]} if done == LAST - 1 else {0})
        known = TrialFile(root).load()
        for trial in known.trials.values():
            assert trial.back is None or trial.back.number == ENDS[done], "the way back leads to what failed"

    def check_end(self, root: Path, told: Sequence[Sequence[Any]]) -> None:
        assert (_shown(root, "stable"), _shown(root, "canary")) == (ENDS[LAST], 0)
        known = TrialFile(root).load()
        assert not known.trials
        assert {ref: [one.number for one in failed] for ref, failed in known.failures.items()} == {
            STABLE: [3],
            CANARY: [3],
        }
        assert whole_versions(root).keys() == {"acme/helmet:1", "acme/helmet:2", "acme/helmet:3"}


def _desired(deed: int) -> Desired:
    offer = STORY.release(TRIED[deed]).offer
    channels = ["stable", "canary"] if deed == LAST else ["stable"]
    retry = 1 if deed >= RETRY else 0
    return Desired(deed, tuple(Assignment(HELMET, channel, offer, retry=retry) for channel in channels), keep=5)


async def _settled(steward: Steward, switching: Switching, deed: int) -> None:
    """Says what there is to say about each version on trial, until nothing is."""
    async with asyncio.timeout(60):
        while True:
            changed = steward.changed
            places = {ModelRef(one.model, channel=one.channel): one for one in steward.standings()}
            for ref, place in places.items():
                if place.phase is Phase.CONFIRMING:
                    switching.confirm(ref, place.desired, WORKS[deed], "it does not load", "test")
            end = Phase.ACTIVE if WORKS[deed] else Phase.ROLLED_BACK
            rests = all(place.phase is end and place.active in (0, ENDS[deed]) for place in places.values())
            if steward.generation == deed and rests:
                return
            await changed.wait()


def _shown(root: Path, channel: str) -> int:
    link = root / "models" / str(HELMET) / channel
    return int(link.readlink().name.partition("-")[0]) if link.is_symlink() else 0
