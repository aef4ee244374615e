"""A planted bug: the module `os` as one of our modules sees it, where some calls do nothing."""

from __future__ import annotations

import os


class Without:
    """`monkeypatch.setattr(module, "os", Without("fsync"))`."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def __getattr__(self, name: str) -> object:
        return (lambda *_: None) if name in self._names else getattr(os, name)
