"""The only place that finds what a worker's `url` is on this machine, and judges whether it may be published.

Workers leave out DATA_PATH_PREFIX at the front of what they report, and containers have names of their own for folders.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath

from edge_agent.sedna.jobs import Job
from modelsyncd.digest import digest_of
from modelsyncd.errors import BadInputError, NotFoundError, RefusedError
from modelsyncd.store.durable import disk_errors

_LOCAL = "file://"


def local_path(job: Job, url: str) -> Path:
    """Where this lies here; the longest name that the settings know a folder by decides. Raises BadInputError."""
    text = url.removeprefix(_LOCAL)
    if "://" in text or not text.startswith("/") or "\0" in text:
        raise BadInputError(f"{url[:80]!r} is not the whole path of a file or folder on this machine")
    path = PurePosixPath(text)
    if ".." in path.parts:
        raise BadInputError(f"{url[:80]!r} leads up")
    known = sorted(job.aliases, key=lambda alias: len(alias.seen.parts), reverse=True)
    for alias in known:
        if path.is_relative_to(alias.seen):
            return alias.folder / path.relative_to(alias.seen)
    return Path(path)


def publishable(job: Job, url: str) -> Path:
    """The file or folder itself, without any link on the way.

    Raises BadInputError, RefusedError, NotFoundError.
    """
    path = local_path(job, url)
    try:
        real = Path(os.path.realpath(path, strict=True))
        roots = [Path(os.path.realpath(root)) for root in job.results]
    except OSError as error:
        raise NotFoundError(f"{path} was reported as trained by {job.name}: {error.strerror}") from error
    if not any(real.is_relative_to(root) for root in roots):
        allowed = ", ".join(str(root) for root in job.results) or "no folder"
        raise RefusedError(
            f"{path} is not in a folder that {job.name} may publish from: {allowed}",
            safe="nothing of it was read",
            hint=f'add its folder to results in [sedna.job."{job.name}"]',
        )
    return real


def mark(path: Path) -> str:
    """How a file, or all in a folder, looks without being read: other files and other content look otherwise.

    Which file it is, its size, and when it was last written to. Raises DiskError, NotFoundError.
    """
    seen: list[str] = []
    try:
        for one in sorted([path, *path.rglob("*")] if path.is_dir() else [path]):
            status = one.lstat()
            written = (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else ()
            seen.append(repr((os.fsencode(one), status.st_dev, status.st_ino, *written)))
    except FileNotFoundError as error:
        raise NotFoundError(f"{path} went away") from error
    except OSError:
        with disk_errors(path):
            raise
    return digest_of("\n".join(seen).encode()).hex()
