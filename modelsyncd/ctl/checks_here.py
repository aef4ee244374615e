"""What can be looked at on this machine without any hub: versions, how TCP answers loss, and room on the disk."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

from modelsyncd import __version__
from modelsyncd.ctl.checks import Check, State, wrong
from modelsyncd.ctl.figures import size
from modelsyncd.errors import DiskError, DiskFullError
from modelsyncd.link.congestion import AUTO, Congestion, advice, answers_loss_well, system

LITTLE = 64 << 20  # bytes: a transfer is refused when less than this would be left
LOW = 1 << 30  # bytes: worth a word


def here(folder: Path) -> Iterator[Check]:
    """All of it; `folder` is where models are kept, or this one."""
    yield versions()
    yield congestion(os.environ.get("MODELSYNCD_CONGESTION") or AUTO)
    yield disk(folder)


def versions() -> Check:
    """What runs here."""
    facts = {
        "modelsyncd": __version__,
        "python": platform.python_version(),
        "grpcio": importlib.metadata.version("grpcio"),
        "system": f"{platform.system()} {platform.release()}",
    }
    says = ", ".join(f"{name} {value}" if name != "system" else value for name, value in facts.items())
    return Check("versions", State.WELL, says, facts=tuple(facts.items()))


def congestion(setting: str) -> Check:
    """How TCP answers loss on what this machine sends. Raises BadInputError for a setting that can be none."""
    found, chosen = system(), Congestion(setting)
    facts = (
        ("congestion", chosen.name),
        ("default", found.default),
        ("allowed", sorted(found.allowed)),
        ("available", sorted(found.available)),
    )
    if not chosen.name:
        return Check("congestion", State.UNKNOWN, "the kernel does not say how TCP answers loss", facts=facts)
    if answers_loss_well(chosen.name):
        says = f"what is sent from here answers loss by {chosen.name}: well"
        return Check("congestion", State.WELL, says, facts=facts)
    says = f"what is sent from here answers loss by {chosen.name}: links that lose packets will be slow"
    more = f" ({chosen.problem})" if chosen.problem else ""
    return Check("congestion", State.COULD_BE_BETTER, says + more, advice(found), facts)


def disk(folder: Path) -> Check:
    """Room where models are kept."""
    try:
        found = shutil.disk_usage(folder)
    except OSError as error:
        return wrong("disk", DiskError(f"can't look at {folder}: {error.strerror}"))
    says = f"{size(found.free)} of {size(found.total)} free at {folder}"
    facts = (("path", str(folder)), ("free", found.free), ("size", found.total))
    if found.free < LITTLE:
        full = DiskFullError(says, hint="make room: nothing can be taken in here")
        return wrong("disk", full, **dict(facts))
    return Check("disk", State.WELL if found.free >= LOW else State.COULD_BE_BETTER, says, facts=facts)
