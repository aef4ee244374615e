"""The only place that remembers over restarts which versions are on trial on this node, and which ones failed.

A trial is written before its channel is switched, and its end before anybody counts on it, so a node that is killed
between two steps knows when it starts again what has to prove itself, and where the way back leads. The file is for
this node alone: JSON after its checksum. One that is broken counts as none: then what is active stays.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from edge_agent.trials import Failed, Known, Trial
from modelsyncd.daemon.log import Log
from modelsyncd.digest import Digest, checksum
from modelsyncd.errors import DamageError, DiskError, ModelsyncError
from modelsyncd.names import ModelName, ModelRef, parse_channel, parse_model
from modelsyncd.store.failpoints import Point, passing
from modelsyncd.store.papers import read_paper, write_paper
from modelsyncd.store.version import Version

FILE = "trials.json"


class TrialFile:
    """The file `trials.json` in the agent's folder; without a folder nothing is remembered."""

    def __init__(self, folder: Path | None = None) -> None:
        self._path = folder / FILE if folder is not None else None

    def load(self) -> Known:
        """What was saved last; nothing for a file that is broken. Raises DiskError."""
        if self._path is None or not os.path.lexists(self._path):
            return Known()
        try:
            return _decoded(read_paper(self._path))
        except DiskError:
            raise
        except (ModelsyncError, ValueError, KeyError, TypeError, AttributeError) as error:
            Log().warning("trials.broken", path=self._path, why=str(error))
            return Known()

    def save(self, known: Known) -> None:
        """Durable when it returns. Raises DiskError."""
        if self._path is None:
            return
        passing(Point.TRIAL_WAITS)
        write_paper(self._path, _encoded(known))
        passing(Point.TRIAL_KEPT)


def _encoded(known: Known) -> bytes:
    trials = [
        _place(ref, one.version, one.back)
        | {"began": one.began, "deadline": one.deadline, "retry": one.retry, "starts": one.starts}
        for ref, one in known.trials.items()
    ]
    failures = [
        _place(ref, one.version, one.back) | {"why": one.why, "at": one.at, "retry": one.retry}
        for ref, several in known.failures.items()
        for one in several
    ]
    body = json.dumps({"trials": trials, "failures": failures}, indent=1).encode()
    return b"%016x\n%s" % (checksum(body), body)


def _decoded(raw: bytes) -> Known:
    """Raises DamageError, and whatever JSON leads to that nobody here wrote."""
    said, _, body = raw.partition(b"\n")
    if said != b"%016x" % checksum(body):
        raise DamageError("what was on trial was changed on this disk", hint="nothing; what is active stays active")
    found = json.loads(body)
    known = Known()
    for one in found["failures"]:
        ref, version, back = _placed(one)
        failed = Failed(version, back, str(one["why"]), float(one["at"]), int(one["retry"]))
        known = known.failed(ref, failed)
    trials: dict[ModelRef, Trial] = {}
    for one in found["trials"]:
        ref, version, back = _placed(one)
        began, deadline, starts = float(one["began"]), float(one["deadline"]), int(one.get("starts", 1))
        trials[ref] = Trial(version, back, began, deadline, int(one["retry"]), starts)
    return replace(known, trials=trials)


def _place(ref: ModelRef, version: Version, back: Version | None) -> dict[str, object]:
    return {
        "model": str(ref.model),
        "channel": ref.channel or "",
        "version": _named(version),
        "back": _named(back) if back is not None else None,
    }


def _placed(one: Mapping[str, str]) -> tuple[ModelRef, Version, Version | None]:
    model = parse_model(one["model"])
    back = _version(model, one["back"]) if one["back"] is not None else None
    return ModelRef(model, channel=parse_channel(one["channel"])), _version(model, one["version"]), back


def _named(version: Version) -> str:
    return f"{version.number}-{version.manifest.hex()}"


def _version(model: ModelName, named: str) -> Version:
    number, _, manifest = named.partition("-")
    return Version(model, int(number), Digest(bytes.fromhex(manifest)))
