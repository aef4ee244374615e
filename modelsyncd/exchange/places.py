"""The only place that says where a person's contexts rest, and where a job in the cloud keeps what it fetched."""

from __future__ import annotations

import os
from pathlib import Path

CONTEXT = "MODELSYNCD_CONTEXT"
CACHE = "MODELSYNCD_CACHE"


def config_folder() -> Path:
    """Where a person's contexts rest: XDG_CONFIG_HOME/modelsyncd, by default ~/.config/modelsyncd."""
    return _base("XDG_CONFIG_HOME", ".config") / "modelsyncd"


def usual_context() -> Path:
    """The file of $MODELSYNCD_CONTEXT, else the one that `modelsyncctl login` chose."""
    named = os.environ.get(CONTEXT)
    return Path(named) if named else config_folder() / "context.toml"


def usual_cache() -> Path:
    """The folder of $MODELSYNCD_CACHE, else XDG_CACHE_HOME/modelsyncd, by default ~/.cache/modelsyncd."""
    named = os.environ.get(CACHE)
    return Path(named) if named else _base("XDG_CACHE_HOME", ".cache") / "modelsyncd"


def _base(variable: str, name: str) -> Path:
    found = os.environ.get(variable, "")
    return Path(found) if Path(found).is_absolute() else Path.home() / name  # the XDG rules ignore relative ones
